"""Which tools an agent gets: its own, those of servers that come and go, and none that it does not name."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from scripted import Tool

from gateway.errors import ConfigError
from gateway.ports import GatewayTool
from gateway.tools.toolbox import Toolbox


async def _nothing(_: Mapping[str, Any]) -> str:
    return ""


class Server:
    def __init__(self, name: str, *tools: str) -> None:
        self.name = name
        self.prefix = f"{name}__"
        self.have = tools
        self.events: list[str] = []

    @property
    def known(self) -> list[str]:
        return [f"{self.prefix}{name}" for name in self.have]

    def start(self) -> None:
        self.events.append("start")

    async def tools(self) -> Mapping[str, GatewayTool]:
        return {f"{self.prefix}{name}": Tool(f"{self.prefix}{name}", _nothing) for name in self.have}

    async def aclose(self) -> None:
        self.events.append("close")


def names(toolbox: Toolbox, *wanted: str) -> list[str]:
    offered: list[str] = sorted(asyncio.run(toolbox.offer(wanted, "here")()))  # type: ignore[arg-type]  # it is a coroutine
    assert sorted(toolbox.known(wanted)) == offered
    return offered


def test_what_is_named() -> None:
    toolbox = Toolbox([Tool("a", _nothing), Tool("b", _nothing)], [Server("one", "x", "y"), Server("two", "x")])
    assert names(toolbox) == []
    assert names(toolbox, "b") == ["b"]
    assert names(toolbox, "a", "mcp:one") == ["a", "one__x", "one__y"]
    assert names(toolbox, "one__y", "mcp:two") == ["one__y", "two__x"]
    assert names(toolbox, "one__y", "mcp:one") == ["one__x", "one__y"]
    assert names(toolbox, "a", "*") == ["a", "b", "one__x", "one__y", "two__x"]
    for unknown in ("c", "mcp:three", "three__x"):
        with pytest.raises(ConfigError, match=f"here: there is no tool '{unknown}'"):
            toolbox.offer([unknown], "here")


def test_tools_come_and_go() -> None:
    server = Server("one")
    toolbox = Toolbox([Tool("a", _nothing)], [server])
    offer = toolbox.offer(["a", "mcp:one"], "here")

    async def main() -> None:
        assert sorted(await offer()) == ["a"]
        server.have = ("x",)
        assert sorted(await offer()) == ["a", "one__x"]

    asyncio.run(main())


def test_a_tool_that_a_server_has_not_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    server = Server("one")
    offer = Toolbox([], [server]).offer(["one__x", "one__z"], "agents: main: tools")

    async def main() -> None:
        assert not await offer()
        assert not caplog.text  # it cannot be reached: nobody knows what it has
        server.have = ("x", "y")
        assert [*await offer()] == [*await offer()] == ["one__x"]

    asyncio.run(main())
    assert caplog.text.count("agents: main: tools: the server one has no one__z") == 1


def test_an_own_tool_comes_before_that_of_a_server() -> None:
    own = Tool("one__x", _nothing)

    async def main() -> None:
        toolbox = Toolbox([own], [Server("one", "x")])
        assert (await toolbox.all())["one__x"] is own
        assert (await toolbox.offer(["one__x", "mcp:one"], "here")())["one__x"] is own

    asyncio.run(main())


def test_servers_start_and_end_with_it() -> None:
    servers = [Server("one"), Server("two")]
    toolbox = Toolbox([], servers)
    toolbox.start()
    asyncio.run(toolbox.aclose())
    assert [server.events for server in servers] == [["start", "close"]] * 2
