"""Path, method, secret, body: what is checked, and in which order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asking import CHAT, TOKEN, Answer, ask, parse, say, serving

from gateway import Gateway
from gateway.agents.function import echo
from gateway.config import AgentEntry, Agents, ChatCompletions, Config, Endpoints, Http, Runtime
from gateway.config import Gateway as GatewaySettings


def configured(**chat: Any) -> Config:
    """A configuration with one echo agent."""
    endpoints = Endpoints(chat_completions=ChatCompletions(**chat))
    agents = Agents(list=(AgentEntry(id="main", runtime=Runtime(type="echo")),))
    return Config(gateway=GatewaySettings(http=Http(endpoints=endpoints)), agents=agents)


@pytest.mark.parametrize("chat", [{}, {"enabled": False}])
@pytest.mark.parametrize("token", [TOKEN, None])
def test_off_unless_enabled(chat: dict[str, Any], token: str | None) -> None:
    async def test(gateway: Gateway) -> None:
        for method, path in (("POST", CHAT), ("GET", CHAT), ("GET", "/v1/models"), ("GET", "/v1/models/openclaw")):
            answer = await ask(gateway, path, method=method, body=say() if method == "POST" else b"", token=token)
            assert (answer.status, answer.error["code"]) == (404, "not_found")
        assert (await ask(gateway, "/healthz", method="GET")).status == 200

    serving(test, config=configured(**chat))


def test_on_when_enabled() -> None:
    async def test(gateway: Gateway) -> None:
        assert (await ask(gateway, body=say())).text == "Echo: hi"
        assert (await ask(gateway, "/v1/models", method="GET")).status == 200

    serving(test, config=configured(enabled=True))


@pytest.mark.parametrize(
    "path",
    [
        "//", "/v1", "/v1/chat", "/chat/completions", f"{CHAT}/", f"/{CHAT}", CHAT.upper(), "/v1/chat%2Fcompletions",
        f"/x/..{CHAT}", "/v1/chat/./completions", "/v1/completions", "/v1/models/", "/healthz/",
    ],
)  # fmt: skip
def test_paths_are_exact(path: str) -> None:
    async def test(gateway: Gateway) -> None:
        for method in ("GET", "POST", "DELETE"):
            answer = await ask(gateway, path, method=method, body=say() if method == "POST" else b"", token=None)
            assert answer.status == 404, "an unknown path is not found, whoever asks"
            assert answer.error["code"] == "not_found"
            assert path in answer.error["message"]

    serving(test, agents={"main": echo})


@pytest.mark.parametrize("target", [f"{CHAT}?x=1", f"{CHAT}?", f"http://localhost{CHAT}?a=%2F", f"{CHAT}#a?b"])
def test_forms_of_a_path(target: str) -> None:
    async def test(gateway: Gateway) -> None:
        assert (await ask(gateway, target, body=say())).text == "Echo: hi"

    serving(test, agents={"main": echo})


@pytest.mark.parametrize(
    ("path", "allow", "methods"),
    [
        (CHAT, "POST", ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "FROB")),
        ("/v1/models", "GET, HEAD", ("POST", "PUT", "DELETE", "OPTIONS")),
        ("/v1/models/openclaw/main", "GET, HEAD", ("POST", "DELETE")),
        ("/healthz", "GET, HEAD", ("POST",)),
        ("/readyz", "GET, HEAD", ("POST", "PUT")),
    ],
)
def test_methods_come_before_the_secret(path: str, allow: str, methods: tuple[str, ...]) -> None:
    async def test(gateway: Gateway) -> None:
        for method in methods:
            answer = await ask(gateway, path, method=method, body=b"{}" if method == "POST" else b"", token=None)
            assert (answer.status, answer.headers["allow"]) == (405, allow)
            if method == "HEAD":
                assert answer.body == b""
            else:
                assert answer.error["code"] == "method_not_allowed"
                assert method in answer.error["message"]

    serving(test, agents={"main": echo})


async def send(gateway: Gateway, data: bytes) -> Answer:
    host, _, port = gateway.urls[0].removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    try:
        return parse(await asyncio.wait_for(reader.read(), 5))
    finally:
        writer.close()


def test_a_post_without_a_body() -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"

    async def test(gateway: Gateway) -> None:
        answer = await send(gateway, head.encode() + b"\r\n")
        assert answer.status == 401, "the secret comes first"
        answer = await send(gateway, f"{head}Authorization: Bearer {TOKEN}\r\n\r\n".encode())
        assert (answer.status, answer.error["code"]) == (411, "length_required")
        answer = await send(gateway, f"{head}Authorization: Bearer {TOKEN}\r\nContent-Length: 0\r\n\r\n".encode())
        assert (answer.status, answer.error["message"]) == (400, "The request body is empty.")
        chunked = b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
        answer = await send(gateway, f"{head}Authorization: Bearer {TOKEN}\r\n".encode() + chunked)
        assert (answer.status, answer.error["param"]) == (400, "messages")

    serving(test, agents={"main": echo})


def test_a_body_that_is_too_large() -> None:
    config = configured(enabled=True, max_body_bytes=200)

    async def test(gateway: Gateway) -> None:
        assert (await ask(gateway, body=say("x" * 100))).status == 200
        answer = await ask(gateway, body=say("x" * 200))
        assert (answer.status, answer.error["code"]) == (413, "payload_too_large")
        assert "200 bytes" in answer.error["message"]
        assert (await ask(gateway, body=say("x" * 200), token=None)).status == 401
        assert (await ask(gateway, body=say("x" * 200_000))).status == 413, "it is read to the end, not reset"

    serving(test, config=config)


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/xml; q=1", "?"])
def test_json_whatever_the_content_type_says(kind: str | None) -> None:
    async def test(gateway: Gateway) -> None:
        answer = await ask(gateway, body=say(), headers={} if kind is None else {"Content-Type": kind})
        assert answer.text == "Echo: hi"

    serving(test, agents={"main": echo})


def test_every_answer_is_json_with_an_id() -> None:
    async def test(gateway: Gateway) -> None:
        for answer in (
            await ask(gateway, body=say()),
            await ask(gateway, body=b"{"),
            await ask(gateway, body=say(), token=None),
            await ask(gateway, "/nowhere"),
            await ask(gateway, "/healthz", method="GET"),
        ):
            assert answer.headers["content-type"] == "application/json; charset=utf-8"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert len(answer.headers["x-request-id"]) == 32
            assert int(answer.headers["content-length"]) == len(answer.body)
        named = await ask(gateway, body=b"{", headers={"x-request-id": "mine-1"})
        assert named.headers["x-request-id"] == "mine-1"

    serving(test, agents={"main": echo})


def test_no_tunnel_and_no_other_protocol() -> None:
    async def test(gateway: Gateway) -> None:
        for target in ("example.com:443", "127.0.0.1:22"):
            answer = await send(gateway, f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\nGET / x".encode())
            assert (answer.status, answer.error["code"]) == (501, "not_implemented")
        upgrade = {"Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"}
        answer = await ask(gateway, "/healthz", method="GET", headers=[*upgrade.items(), ("Connection", "Upgrade")])
        assert (answer.status, "upgrade" in answer.headers) == (200, False)

    serving(test, agents={"main": echo})


def test_options_of_the_server() -> None:
    async def test(gateway: Gateway) -> None:
        answer = await ask(gateway, "*", method="OPTIONS", token=None)
        assert (answer.status, answer.body) == (204, b"")
        assert "POST" in answer.headers["allow"]

    serving(test, agents={"main": echo})


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ((b"Transfer-Encoding: chunked\r\n\r\n5;\r\nhello\r\n0\r\n\r\n",), 400),
        ((b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\nhel", b"lo\r\nx\r\n"), 400),
        ((b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\nhel", b"lo\r\n0\r\n\r\n"), 404),
        ((b"Content-Length: 5\r\n\r\n", b"hello"), 404),
        ((b"Content-Length: 10000000\r\n\r\n", b"x" * 70_000), 404),
        ((b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n",), 404),
    ],
)
def test_broken_framing_comes_before_a_refusal(pieces: tuple[bytes, ...], status: int) -> None:
    """Who frames a message in a way that others read otherwise is told that, whatever else was wrong."""

    async def test(gateway: Gateway) -> None:
        host, _, port = gateway.urls[0].rpartition("//")[2].rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /nothing HTTP/1.1\r\nHost: h\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        assert (await reader.readline()).startswith(b"HTTP/1.1 %d " % status)
        writer.close()
        await writer.wait_closed()

    serving(test, agents={"main": echo})
