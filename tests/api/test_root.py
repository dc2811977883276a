"""The bare address of a gateway."""

from __future__ import annotations

import asyncio

import pytest
from asking import CHAT, ask, serving

from gateway import Gateway, __version__
from gateway.agents.function import echo
from gateway.config import AgentEntry, Agents, Config, Runtime
from gateway.config import Gateway as GatewayConfig
from gateway.config.schema import Ws
from gateway.ports import Link

UPGRADE = {
    "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}  # fmt: skip


@pytest.mark.parametrize("token", ["s3cret-of-the-gateway", "wrong", None])
def test_anybody_is_told_where_the_api_is(token: str | None) -> None:
    async def test(gateway: Gateway) -> None:
        answer = await ask(gateway, "/", method="GET", token=token)
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json; charset=utf-8")
        assert answer.json["service"] == "gateway"
        assert CHAT in answer.json["paths"]
        for path in answer.json["paths"]:
            assert (await ask(gateway, path, method="TRACE")).status == 405, "what is listed is there"
        assert __version__ not in answer.body.decode()
        assert "server" not in answer.headers
        bodiless = await ask(gateway, "/", method="HEAD", token=token)
        assert (bodiless.status, bodiless.body) == (200, b"")
        assert bodiless.headers["content-length"] == str(len(answer.body))

    serving(test, agents={"main": echo})


def test_what_is_off_is_not_listed() -> None:
    agents = Agents(list=(AgentEntry(id="main", runtime=Runtime(type="echo")),))

    async def test(gateway: Gateway) -> None:
        assert CHAT not in (await ask(gateway, "/", method="GET")).json["paths"]

    serving(test, config=Config(agents=agents))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "get", "FOOBAR"])
def test_other_methods(method: str) -> None:
    async def test(gateway: Gateway) -> None:
        answer = await ask(gateway, "/", method=method, token=None)
        assert answer.status == 405
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}

    serving(test, agents={"main": echo})


def test_options() -> None:
    async def test(gateway: Gateway) -> None:
        answer = await ask(gateway, "/", method="OPTIONS", token=None)
        assert (answer.status, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
        assert "content-length" not in answer.headers

    serving(test, agents={"main": echo})


def test_a_websocket_is_told_that_there_is_none() -> None:
    async def test(gateway: Gateway) -> None:
        headers = {name: value for name, value in UPGRADE.items() if name != "Connection"}
        answer = await ask(gateway, "/", method="GET", headers={**headers, "connection": "close, Upgrade"})
        assert (answer.status, answer.error["code"]) == (404, "not_found")
        headers |= {"Connection": "close, Upgrade", "Sec-WebSocket-Version": "12"}
        answer = await ask(gateway, "/", method="GET", headers=headers)
        assert (answer.status, answer.headers["sec-websocket-version"]) == (426, "13")

    serving(test, agents={"main": echo}, config=Config(gateway=GatewayConfig(ws=Ws(enabled=False))))


def test_a_link_may_have_the_bare_address() -> None:
    async def hello(link: Link) -> None:
        await link.send("hello")

    async def test(gateway: Gateway) -> None:
        host, _, port = gateway.urls[0].rpartition("//")[2].rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        lines = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items())
        writer.write(
            f"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer s3cret-of-the-gateway\r\n{lines}\r\n".encode()
        )
        assert (await reader.readline()).startswith(b"HTTP/1.1 101 ")
        writer.close()
        await writer.wait_closed()

    serving(test, agents={"main": echo}, links={"/": hello})


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_broken_framing_is_told_here_too(method: str) -> None:
    async def test(gateway: Gateway) -> None:
        host, _, port = gateway.urls[0].rpartition("//")[2].rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"{method} / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
        writer.close()
        await writer.wait_closed()

    serving(test, agents={"main": echo})
