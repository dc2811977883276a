"""Options about tools and MCP servers, and the tools that agents get by them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway import Gateway
from gateway.config import effective, load
from gateway.errors import ConfigError

DATA = Path(__file__).parents[1] / "data" / "config"


def read(folder: Path, text: str, **environ: str) -> Any:
    (folder / "main.json5").write_text(text, encoding="utf-8")
    return load(str(folder / "main.json5"), environ=environ)


def test_faults_are_told_with_place_and_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DATA)
    with pytest.raises(ConfigError) as caught:
        load("tools.json5", environ={})
    assert list(caught.value.problems) == (DATA / "tools.txt").read_text(encoding="utf-8").splitlines()


WHOLE = """{
    tools: {
        allow: ["group:fs"],
        timeoutMs: 0,
        list: [
            { python: "json:dumps", name: "dump", parameters: { type: "object", properties: { obj: { pattern: "^${x}$" } } } },
            { name: "look", description: "Look.", command: {
                argv: ["cat", "--", "{path}"], cwd: "sub", env: { KEY: "${KEY}" }, timeoutMs: 5, maxOutputBytes: 7,
            }, parameters: { type: "object", properties: { path: { type: "string" } }, required: ["path"] } },
        ],
    },
    mcp: { servers: {
        docs: { command: "npx", args: ["-y", "x"], env: { TOKEN: "${KEY}" }, transport: "stdio", enabled: false },
        far: { type: "http", url: "https://example.com/mcp/", headers: { Authorization: "Bearer ${KEY}" }, enabled: false },
    } },
    agents: { defaults: { tools: ["dump"], maxToolRounds: 5 }, list: [
        { id: "main", model: "openai/x" },
        { id: "product", model: "openai/x", tools: { profile: "minimal" } },
        { id: "none", model: "openai/x", tools: [] },
        { id: "all", model: "openai/x", tools: ["*"], maxToolRounds: 7 },
    ] },
}"""


def test_values(tmp_path: Path) -> None:
    loaded = read(tmp_path, WHOLE, KEY="s3cret")
    config = loaded.config
    dump, look = config.tools.list
    assert dump.parameters == {"type": "object", "properties": {"obj": {"pattern": "^${x}$"}}}
    assert look.command.argv == ("cat", "--", "{path}")
    assert look.command.cwd == str(tmp_path / "sub")
    assert config.mcp.servers["far"].url == "https://example.com/mcp/"
    assert config.mcp.servers["far"].headers == {"Authorization": "Bearer s3cret"}
    assert [agent.tools for agent in config.agents.list] == [None, None, (), ("*",)]
    assert "s3cret" not in str(effective(config))
    assert effective(config)["tools"]["list"][0]["parameters"] == dump.parameters
    (warning,) = loaded.warnings
    assert "tools.allow" in warning
    assert "agents.list[].tools" in warning


def test_who_gets_what(tmp_path: Path) -> None:
    def given(a: int) -> int:
        """Something the program brings."""
        return a

    environ = {"OPENAI_API_KEY": "k", "KEY": "s3cret"}
    gateway = Gateway(read(tmp_path, WHOLE, **environ).config, environ=environ, tools=[given], listen="127.0.0.1:0")
    offers = gateway._assembly.offers

    async def names(agent: str) -> list[str]:
        return list(await offers[agent]())

    async def main() -> None:
        assert await names("main") == await names("product") == ["dump"]
        assert await names("all") == ["given", "dump", "look"]
        assert "none" not in offers

    asyncio.run(main())


def test_the_programs_tools_are_for_models_that_name_none(tmp_path: Path) -> None:
    config = read(tmp_path, '{agents: {list: [{id: "main", model: "openai/x"}]}}').config
    gateway = Gateway(config, environ={"OPENAI_API_KEY": "k"}, tools=[len_of], listen="127.0.0.1:0")
    assert list(asyncio.run(gateway._assembly.offers["main"]())) == ["len_of"]  # type: ignore[arg-type]  # a coroutine


def len_of(text: str) -> int:
    """How long."""
    return len(text)


@pytest.mark.parametrize(
    ("tools", "told"),
    [
        ('["dumb"]', "agents: main: tools: there is no tool 'dumb'; did you mean 'dump'?"),
        ('["mcp:x"]', "agents: main: tools: there is no tool 'mcp:x'; there are: dump"),
    ],
)
def test_tools_that_are_not_there(tools: str, told: str, tmp_path: Path) -> None:
    text = '{tools: {list: [{name: "dump", python: "json:dumps"}]}, agents: {list: [{id: "main", model: "openai/x", tools: %s}]}}'
    with pytest.raises(ConfigError) as caught:
        Gateway(read(tmp_path, text % tools).config, environ={"OPENAI_API_KEY": "k"}, listen="127.0.0.1:0")
    assert str(caught.value) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{python: "no_such_module:x"}', "tools.list[0]: python: the module of 'no_such_module:x' cannot be imported"),
        ('{python: "json:JSONDecoder"}', "tool JSONDecoder: .* is a class, not a function"),
    ],
)
def test_functions_that_make_no_tool(text: str, told: str, tmp_path: Path) -> None:
    config = read(
        tmp_path, f"{{tools: {{list: [{text}]}}, agents: {{list: [{{id: 'main', runtime: {{type: 'echo'}}}}]}}}}"
    )
    with pytest.raises(ConfigError, match=told.replace("[0]", r"\[0\]")):
        Gateway(config.config, listen="127.0.0.1:0")


def test_two_tools_of_one_name() -> None:
    with pytest.raises(ConfigError, match="two tools with the name 'len_of'"):
        Gateway(tools=[len_of, len_of], agents={"main": len_of}, listen="127.0.0.1:0")  # type: ignore[dict-item]  # never run
