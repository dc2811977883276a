"""Models of a configuration: faults are told at the start, and what asks them is loaded with the first run."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.config import load
from gateway.errors import ConfigError, RequestError
from gateway.suppliers import Suppliers

CONFIG = """{models: {providers: {
    mine: {baseUrl: "http://127.0.0.1:1/v1", api: "openai-completions", models: [
        {id: "sees", input: ["text", "image"]}, {id: "blind", input: ["text"]}, "plain"]},
    claude: {baseUrl: "http://127.0.0.1:2", api: "anthropic-messages"},
    newer: {baseUrl: "http://127.0.0.1:3", api: "openai-responses"},
}}}"""


@pytest.fixture
def suppliers(tmp_path: Path) -> Suppliers:
    file = tmp_path / "gateway.json5"
    file.write_text(CONFIG, encoding="utf-8")
    loaded = load(str(file), environ={})
    return Suppliers(loaded.config, {})


def test_each_agent_is_made_once_and_speaks_the_api_of_its_provider(suppliers: Suppliers) -> None:
    names = ("mine/plain", "claude/x", "newer/x", "ollama/x")
    agents = suppliers.agents(names, "prompt")
    assert ([*agents], len(agents)) == ([*names], 4)
    dialects = [type(agents[name]._dialect).__name__ for name in names]  # type: ignore[attr-defined]  # a Model
    assert dialects == ["Completions", "Messages", "Responses", "Completions"]
    assert all(agents[name] is agents[name] for name in names)
    assert agents.get("mine/sees") is None
    asyncio.run(suppliers.aclose())
    assert suppliers.catalog()._posts["mine"].upstream.closed


def test_what_is_missing_is_told_before_a_run(suppliers: Suppliers) -> None:
    for ask in (lambda: suppliers.agents(["openai/gpt-4o"], None), lambda: suppliers.takes_images("openai/gpt-4o")):
        with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
            ask()
    for ask in (lambda: suppliers.agents(["nobody/x"], None), lambda: suppliers.expect("nobody/x")):
        with pytest.raises(ConfigError, match="there is no provider 'nobody'"):
            ask()


def test_what_the_configuration_uses_is_there_though_it_is_not_listed(suppliers: Suppliers) -> None:
    for name in ("one", "two"):
        with pytest.raises(RequestError, match="no model"):
            suppliers.catalog().check(name, "mine", "x")
    suppliers.agents(["mine/one"], None)
    suppliers.expect("mine/two")
    assert [suppliers.catalog().check(name, "mine", "x") for name in ("one", "two")] == ["mine/one", "mine/two"]


def test_images(suppliers: Suppliers) -> None:
    names = ("mine/sees", "mine/blind", "mine/plain", "claude/x")
    assert [suppliers.takes_images(name) for name in names] == [True, False, None, None]


def test_a_gateway_with_a_model_starts_without_what_asks_it(tmp_path: Path) -> None:
    file = tmp_path / "gateway.json5"
    file.write_text(CONFIG.removesuffix("}") + ', agents: {list: [{id: "main", model: "mine/plain"}]}}', "utf-8")
    code = (
        "import sys, gateway.config\nfrom gateway import Gateway\n"
        "gw = Gateway(gateway.config.load(sys.argv[1], environ={}).config, token='t')\n"
        "print([name for name in sys.modules if name.startswith('gateway.providers.')])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['gateway.providers.settings']"
