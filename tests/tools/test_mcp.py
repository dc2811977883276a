"""MCP servers, which are those of the official SDK: over stdio and HTTP, dying, hanging, and not there at all."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigError, ToolError
from gateway.tools import mcp
from gateway.tools.mcp import McpServer, McpSettings
from gateway.tools.toolbox import Toolbox

needs_sdk = pytest.mark.skipif(find_spec("mcp") is None, reason="the extra mcp is not installed")
PROGRAM = str(Path(__file__).with_name("mcp_server.py"))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def lines(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


def settings(log: Path, **members: Any) -> McpSettings:
    environment = {"MCP_LOG": str(log), **members.pop("environment", {})}
    return McpSettings(command=sys.executable, args=(PROGRAM,), environment=environment, **members)


@asynccontextmanager
async def connected(settings: McpSettings, name: str = "test") -> AsyncIterator[McpServer]:
    server = McpServer(name, settings)
    server.start()
    try:
        yield server
    finally:
        await server.aclose()


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def http_server(port: int, log: Path) -> AsyncIterator[subprocess.Popen[bytes]]:
    """The same server over HTTP, once it listens."""
    process = subprocess.Popen([sys.executable, PROGRAM, str(port)], env={**os.environ, "MCP_LOG": str(log)})
    try:

        def listens() -> bool:
            with socket.socket() as client:
                return client.connect_ex(("127.0.0.1", port)) == 0

        await until(listens)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
    return number


async def by_stdio(log: Path, _port: int, test: Callable[[McpServer], Awaitable[None]], **members: Any) -> None:
    async with connected(settings(log, **members)) as server:
        await test(server)


async def by_http(log: Path, port: int, test: Callable[[McpServer], Awaitable[None]], **members: Any) -> None:
    members.pop("environment", None)
    async with http_server(port, log), connected(McpSettings(url=f"http://127.0.0.1:{port}/mcp", **members)) as server:
        await test(server)


both = pytest.mark.parametrize("by", [by_stdio, by_http])


@needs_sdk
@both
def test_its_tools(by: Any, log: Path, port: int) -> None:
    async def test(server: McpServer) -> None:
        tools = await server.tools()
        assert list(tools) == [
            f"test__{name}" for name in ("odd_name_with_dots", "add", "fails", "dies", "slow", "variables", "picture")
        ]
        add = tools["test__add"]
        assert add.description == "Add two numbers."
        assert set(add.parameters["properties"]) == {"a", "b"}
        assert await add.call({"a": 1, "b": 2}) == "3"
        assert await tools["test__odd_name_with_dots"].call({}) == "odd"
        assert await tools["test__picture"].call({}) == "Look:\n[image/png, 3 bytes, which cannot be shown here]"
        with pytest.raises(ToolError, match="there is no such thing"):
            await tools["test__fails"].call({})
        with pytest.raises(ToolError, match="valid integer"):
            await add.call({"a": "x", "b": 2})
        results = await asyncio.gather(*(add.call({"a": n, "b": n}) for n in range(5)))
        assert results == ["0", "2", "4", "6", "8"]

    asyncio.run(by(log, port, test))


@needs_sdk
@both
def test_who_is_cancelled_ends_the_call_there_too(by: Any, log: Path, port: int) -> None:
    async def test(server: McpServer) -> None:
        tools = await server.tools()
        calling = asyncio.ensure_future(tools["test__slow"].call({}))
        await until(lambda: "begun" in lines(log))
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await until(lambda: "cancelled" in lines(log))
        assert await tools["test__add"].call({"a": 1, "b": 1}) == "2"  # the connection lives

    asyncio.run(by(log, port, test))


@needs_sdk
@both
def test_a_call_has_limited_time(by: Any, log: Path, port: int) -> None:
    async def test(server: McpServer) -> None:
        tools = await server.tools()
        with pytest.raises(ToolError, match=r"it took longer than 0\.5 s"):
            await tools["test__slow"].call({})
        assert await tools["test__add"].call({"a": 1, "b": 1}) == "2"

    asyncio.run(by(log, port, test, call_time=0.5))


def pids(log: Path) -> list[int]:
    return [int(line.removeprefix("pid ")) for line in lines(log) if line.startswith("pid ")]


@needs_sdk
@pytest.mark.parametrize("how", ["in a call", "between calls"])
def test_a_server_that_dies_is_started_again(how: str, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp, "FIRST_PAUSE", 0.05)

    async def main() -> None:
        async with connected(settings(log)) as server:
            tools = await server.tools()
            if how == "in a call":
                with pytest.raises(ToolError, match=r"the server test is gone"):
                    await tools["test__dies"].call({})
            else:
                os.kill(pids(log)[0], signal.SIGKILL)
            await until(lambda: len(pids(log)) == 2)
            assert await tools["test__add"].call({"a": 1, "b": 2}) == "3"
            assert "test__add" in await server.tools()

    asyncio.run(main())


@needs_sdk
def test_an_http_server_that_comes_back(log: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(mcp, "PATIENCE", 20)

    async def main() -> None:
        async with connected(McpSettings(url=f"http://127.0.0.1:{port}/mcp")) as server:
            assert await server.tools() == {}  # it is not there yet, and that holds up nobody for long
            async with http_server(port, log):
                await until(lambda: server._client is not None)
                tools = await server.tools()
                assert await tools["test__add"].call({"a": 1, "b": 2}) == "3"
            with pytest.raises(ToolError, match=r"gone|did not answer"):
                await tools["test__add"].call({"a": 1, "b": 2})
            async with http_server(port, log):
                assert await tools["test__add"].call({"a": 1, "b": 2}) == "3"

    asyncio.run(main())


@needs_sdk
@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"command": "/no/such/program"}, "cannot be reached: "),
        ({"command": sys.executable, "args": ("-c", "print('hello')")}, "cannot be reached: "),
        (
            {"command": sys.executable, "args": ("-c", "import time; time.sleep(60)"), "connect_time": 0.5},
            "reached: Time",
        ),
    ],
)
def test_what_is_no_server(members: Any, told: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "gateway")

    async def main() -> None:
        begun = time.monotonic()
        async with connected(McpSettings(**members)) as server:
            assert await server.tools() == {}
            assert time.monotonic() - begun < 20
            assert told in caplog.text
            assert "mcp server test: " in caplog.text

    asyncio.run(main())


@needs_sdk
def test_a_call_while_it_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp, "PATIENCE", 0.05)

    async def main() -> None:
        async with connected(McpSettings(command="/no/such/program")) as server:
            with pytest.raises(ToolError, match="the server test cannot be reached at the moment"):
                await server.call("add", {})

    asyncio.run(main())


@needs_sdk
def test_it_ends_with_the_gateway_and_knows_no_secrets(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET_OF_THE_GATEWAY", "x")

    async def main() -> None:
        async with connected(settings(log)) as server:
            tools = await server.tools()
            assert "SECRET" not in await tools["test__variables"].call({})
            assert "MCP_LOG" in await tools["test__variables"].call({})
        assert server._task is None
        (pid,) = pids(log)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    asyncio.run(main())


@needs_sdk
def test_in_a_toolbox(log: Path) -> None:
    async def main() -> None:
        servers = [McpServer("one", settings(log)), McpServer("two", settings(log))]
        toolbox = Toolbox((), servers)
        toolbox.start()
        try:
            assert len(await toolbox.all()) == 14
            assert len(await toolbox.offer(["mcp:one"], "here")()) == 7
            assert list(await toolbox.offer(["two__add", "one__fails"], "here")()) == ["two__add", "one__fails"]
            assert len(await toolbox.offer(["two__add", "mcp:one"], "here")()) == 8
        finally:
            await toolbox.aclose()

    asyncio.run(main())


def test_without_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(ConfigError, match=r"mcp.servers: test: .*pip install 'gateway\[mcp\]'"):
        McpServer("test", McpSettings(command="x"))
