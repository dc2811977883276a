"""Web pages, proxies and guessers at the door of a whole gateway, over real sockets."""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asking import CHAT, TOKEN, Answer, ask, parse, say, serving

from gateway import Gateway, Limits
from gateway.agents.function import echo
from gateway.config import Auth, ChatCompletions, Config, ControlUi, Cors, Endpoints, Http, RateLimit
from gateway.config import Gateway as Settings
from gateway.errors import AgentError
from gateway.ports import Link
from gateway.server.services import Services

APP = "https://app.example.com"
EVIL = "https://evil.example"
MODELS = "/v1/models"
CORS_HEADERS = {
    "access-control-allow-origin": APP,
    "access-control-expose-headers": "x-request-id, retry-after, idempotent-replayed, x-openclaw-fallback, "
    "x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests",
    "vary": "Origin",
}
HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def config(
    origins: tuple[str, ...] = (), hosts: tuple[str, ...] = (), rate: dict[str, Any] | None = None, **settings: Any
) -> Config:
    endpoints = Endpoints(chat_completions=ChatCompletions(enabled=True, max_body_bytes=1000))
    http = Http(endpoints=endpoints, cors=Cors(allowed_origins=origins), allowed_hosts=hosts)
    return Config(gateway=Settings(http=http, auth=Auth(rate_limit=RateLimit(**(rate or {}))), **settings))


async def broken(run: Any) -> str:
    if "raise" in run.request.messages[-1].text:
        raise AgentError("it broke", status=502)
    return "fine"


async def serve_link(link: Link) -> None:
    await link.send(f"{link.peer.host} {link.peer.tls}")
    await link.close()


def trial(test: Callable[[Gateway], Any], settings: Config | None = None, **more: Any) -> None:
    agents = {"main": echo, "broken": broken}
    serving(test, **{"config": settings or config(), "agents": agents, "links": {"/ws": serve_link}, **more})


async def raw(gateway: Gateway, data: bytes, method: str = "GET") -> Answer:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gateway.urls[0].rpartition(":")[2]))
    writer.write(data)
    try:
        return parse(await asyncio.wait_for(reader.read(), 10), method)
    finally:
        writer.close()


async def upgrade(gateway: Gateway, headers: dict[str, str], path: str = "/ws") -> tuple[int, bytes]:
    """Status of a handshake, and all bytes of its answer."""
    lines = {"Host": "localhost", "Authorization": f"Bearer {TOKEN}", **HANDSHAKE, **headers}
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gateway.urls[0].rpartition(":")[2]))
    writer.write(f"GET {path} HTTP/1.1\r\n{text}\r\n".encode())
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        if head.split()[1] == b"101":
            head += await asyncio.wait_for(reader.readexactly(2), 5)
            head += await asyncio.wait_for(reader.readexactly(head[-1] & 0x7F), 5)
        return int(head.split()[1]), head
    finally:
        writer.close()


def cors(answer: Answer) -> dict[str, str]:
    return {
        name: value for name, value in answer.headers.items() if name.startswith("access-control") or name == "vary"
    }


# -- CORS


def test_off_by_default() -> None:
    async def test(gateway: Gateway) -> None:
        answer = await ask(gateway, body=say(), headers={"Origin": APP})
        assert (answer.status, cors(answer)) == (200, {})
        asked = {"Origin": APP, "Access-Control-Request-Method": "POST"}
        preflight = await ask(gateway, method="OPTIONS", headers=asked, token=None)
        assert (preflight.status, cors(preflight)) == (405, {})

    trial(test)


def test_preflight_needs_no_secret() -> None:
    async def test(gateway: Gateway) -> None:
        asked = {
            "Origin": APP,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,x-stainless-os",
            "Access-Control-Request-Private-Network": "true",
        }
        answer = await ask(gateway, method="OPTIONS", headers=asked, token=None)
        assert (answer.status, answer.body) == (204, b"")
        assert cors(answer) == CORS_HEADERS | {
            "access-control-allow-methods": "POST",
            "access-control-allow-headers": "authorization,content-type,x-stainless-os",
            "access-control-allow-private-network": "true",
            "access-control-max-age": "600",
        }
        for path, methods in ((MODELS, "GET, HEAD"), ("/nowhere", "GET, HEAD, POST, OPTIONS"), ("/ws", "GET, HEAD")):
            answer = await ask(gateway, path, method="OPTIONS", headers={**asked}, token=None)
            assert (answer.status, answer.headers["access-control-allow-methods"]) == (204, methods)

    trial(test, config((APP,)))


@pytest.mark.parametrize("origin", [EVIL, "null", "http://app.example.com", f"{APP}:8443", f"{APP}, {EVIL}"])
def test_preflight_of_an_origin_that_is_not_listed(origin: str) -> None:
    async def test(gateway: Gateway) -> None:
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        answer = await ask(gateway, method="OPTIONS", headers=asked, token=None)
        assert (answer.status, answer.error["code"]) == (403, "origin_not_allowed")
        assert "gateway.http.cors.allowedOrigins" in answer.error["message"]
        assert cors(answer) == {"vary": "Origin"}
        answer = await ask(gateway, body=say(), headers={"Origin": origin})
        assert (answer.status, cors(answer)) == (200, {"vary": "Origin"}), (
            "the secret was right, the page reads nothing"
        )

    trial(test, config((APP,)))


@pytest.mark.parametrize("names", ["a b", "a,,b", "x" * 2000, "a;b", "", ","])
def test_what_cannot_be_header_names_is_not_sent_back(names: str) -> None:
    async def test(gateway: Gateway) -> None:
        asked = {"Origin": APP, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": names}
        answer = await ask(gateway, MODELS, method="OPTIONS", headers=asked, token=None)
        assert answer.status == 204
        assert "access-control-allow-headers" not in answer.headers

    trial(test, config((APP,)))


def test_a_plain_options_is_no_preflight() -> None:
    async def test(gateway: Gateway) -> None:
        answer = await ask(gateway, method="OPTIONS", headers={"Origin": APP}, token=None)
        assert (answer.status, answer.headers["allow"]) == (405, "POST")
        assert cors(answer) == CORS_HEADERS
        answer = await ask(gateway, method="OPTIONS", headers={"Access-Control-Request-Method": "POST"}, token=None)
        assert answer.status == 405

    trial(test, config((APP,)))


def test_a_page_can_read_every_answer() -> None:
    async def test(gateway: Gateway) -> None:
        page = {"Origin": APP}
        slow = "x" * 2000
        broken_chunk = (
            f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nOrigin: {APP}\r\nAuthorization: Bearer {TOKEN}\r\n"
            "Transfer-Encoding: chunked\r\n\r\nnonsense\r\n"
        )
        for status, answer in (
            (200, await ask(gateway, body=say(), headers=page)),
            (200, await ask(gateway, body=say(stream=True), headers=page)),
            (200, await ask(gateway, MODELS, method="GET", headers=page)),
            (200, await ask(gateway, "/healthz", method="GET", headers=page)),
            (200, await ask(gateway, MODELS, method="HEAD", headers=page)),
            (400, await ask(gateway, body=b"{", headers=page)),
            (400, await raw(gateway, broken_chunk.encode())),
            (401, await ask(gateway, body=say(), headers=page, token=None)),
            (404, await ask(gateway, "/nowhere", headers=page)),
            (404, await ask(gateway, body=say(model="nobody"), headers=page)),
            (405, await ask(gateway, MODELS, headers=page)),
            (408, await raw(gateway, broken_chunk.replace("nonsense\r\n", "").encode())),
            (413, await ask(gateway, body=say(slow), headers=page)),
            (426, await ask(gateway, "/ws", method="GET", headers=page)),
            (502, await ask(gateway, body=say("raise", model="openclaw/broken"), headers=page)),
        ):
            assert answer.status == status
            assert cors(answer) == CORS_HEADERS, status
            assert answer.headers["x-request-id"]

    trial(test, config((APP,)), limits=Limits(body_idle=0.3))


def test_a_page_can_read_that_the_gateway_failed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    async def test(gateway: Gateway) -> None:
        monkeypatch.setattr("gateway.api.guard.Guard.check", fail)
        answer = await ask(gateway, MODELS, method="GET", headers={"Origin": APP})
        assert (answer.status, cors(answer)) == (500, CORS_HEADERS)

    trial(test, config((APP,)))
    assert "ZeroDivisionError" in caplog.text


def test_any_origin_but_null() -> None:
    async def test(gateway: Gateway) -> None:
        for origin in (APP, EVIL, "app://obsidian.md"):
            answer = await ask(gateway, body=say(), headers={"Origin": origin})
            assert cors(answer)["access-control-allow-origin"] == origin
        assert cors(await ask(gateway, body=say(), headers={"Origin": "null"})) == {"vary": "Origin"}

    trial(test, config(("*",)))


def test_null_where_it_is_listed() -> None:
    async def test(gateway: Gateway) -> None:
        answer = await ask(gateway, body=say(), headers={"Origin": "null"})
        assert cors(answer)["access-control-allow-origin"] == "null"

    trial(test, config(("null",)))


# -- hosts and origins


def test_without_a_secret_names_and_origins_are_checked() -> None:
    async def test(gateway: Gateway) -> None:
        port = gateway.urls[0].rpartition(":")[2]

        async def status(host: str, **headers: str) -> int:
            lines = [("Host", host), *headers.items()]
            text = "".join(f"{name}: {value}\r\n" for name, value in lines)
            return (await raw(gateway, f"GET {MODELS} HTTP/1.1\r\n{text}Connection: close\r\n\r\n".encode())).status

        for host in ("127.0.0.1", f"127.0.0.1:{port}", f"localhost:{port}", "[::1]", socket.gethostname()):
            assert await status(host) == 200
        assert await status(f"evil.example:{port}") == 421
        assert await status("localhost", Origin=EVIL) == 403
        assert await status("localhost", Origin="null") == 403
        assert await status("localhost", Origin="http://localhost:5173") == 200
        assert await status(f"evil.example:{port}", Origin=f"http://evil.example:{port}") == 421
        answer = await raw(gateway, b"GET /v1/models HTTP/1.0\r\n\r\n")
        assert answer.status == 200, "HTTP/1.0 without a Host: no browser"
        simple = "text/plain"  # what a page may send without a preflight
        answer = await ask(gateway, body=say(), headers={"Origin": EVIL, "Content-Type": simple}, token=None)
        assert (answer.status, answer.error["code"]) == (403, "origin_not_allowed")
        assert (await ask(gateway, "/healthz", method="GET", headers={"Origin": EVIL}, token=None)).status == 200

    trial(test, token=None)


def test_with_a_secret_every_name_is_good() -> None:
    """No page knows the secret; a gateway behind another name than its own goes on without being told of it."""

    async def test(gateway: Gateway) -> None:
        for host in ("myhost:18789", "ai.example.com", "gateway"):
            head = f"GET {MODELS} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
            assert (await raw(gateway, f"{head}\r\n".encode())).status == 401
            assert (await raw(gateway, f"{head}Authorization: Bearer {TOKEN}\r\n\r\n".encode())).status == 200

    trial(test)


def test_names_that_are_listed_are_the_only_ones() -> None:
    async def test(gateway: Gateway) -> None:
        async def status(host: str, path: str = MODELS) -> int:
            head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
            return (await raw(gateway, head.encode())).status

        for host in ("ai.example.com", "AI.example.com:443", "x.lan.example.com", "localhost", "192.0.2.1"):
            assert await status(host) == 200
        for host in ("myhost", "example.com", "evil.example", "ai.example.com.evil.example"):
            assert await status(host) == 421
            assert await status(host, "/healthz") == 200

    trial(test, config(hosts=("ai.example.com", ".lan.example.com")))


def test_the_origin_of_a_websocket() -> None:
    async def test(gateway: Gateway) -> None:
        port = gateway.urls[0].rpartition(":")[2]
        for origin, host, status in (
            (None, "localhost", 101),
            (APP, "localhost", 101),
            (EVIL, "localhost", 403),
            ("null", "localhost", 403),
            (f"http://localhost:{port}", f"localhost:{port}", 101),
            (f"http://evil.example:{port}", f"evil.example:{port}", 403),
            ("http://localhost:5173", f"127.0.0.1:{port}", 101),
        ):
            headers = {"Host": host} if origin is None else {"Host": host, "Origin": origin}
            got, answer = await upgrade(gateway, headers)
            assert got == status, (origin, answer)
            assert b"x-request-id: " in answer
            assert b"x-content-type-options: nosniff\r\n" in answer

    trial(test, config((APP,)))


def test_the_products_name_for_the_list() -> None:
    """Both names make one list; see config/checks.py, which joins them when a file is read."""
    assert ControlUi(allowed_origins=(APP,)).allowed_origins == (APP,)


# -- guessers


def test_who_guesses_too_often_has_to_wait(caplog: pytest.LogCaptureFixture) -> None:
    async def test(gateway: Gateway) -> None:
        for _ in range(3):
            assert (await ask(gateway, body=say(), token=None)).status == 401, "no secret is no guess"
        for _ in range(3):
            assert (await ask(gateway, body=say(), token="wrong")).status == 401
        for token in ("wrong", TOKEN, None):
            answer = await ask(gateway, body=say(), token=token)
            assert (answer.status, answer.error["code"]) == (429, "rate_limited")
            assert answer.error["type"] == "rate_limit_error"
            assert 1 <= int(answer.headers["retry-after"]) <= 2
        assert (await ask(gateway, "/healthz", method="GET")).status == 200
        await asyncio.sleep(1.2)
        assert (await ask(gateway, body=say())).status == 200

    trial(test, config(rate={"max_attempts": 3, "lockout_ms": 1100, "exempt_loopback": False}))
    assert caplog.text.count("127.0.0.1 is locked out for 1 s") == 1
    assert "wrong" not in caplog.text.replace("wrong secrets", "")


def test_a_page_learns_when_to_come_again() -> None:
    async def test(gateway: Gateway) -> None:
        first, second = [await ask(gateway, body=say(), token="wrong", headers={"Origin": APP}) for _ in range(2)]
        assert (first.status, cors(first)) == (401, CORS_HEADERS)
        assert (second.status, cors(second)) == (429, CORS_HEADERS)
        assert int(second.headers["retry-after"]) > 100

    trial(test, config((APP,), rate={"max_attempts": 1}))


def test_the_right_secret_resets_the_count() -> None:
    async def test(gateway: Gateway) -> None:
        for token in ("wrong", TOKEN, "wrong", "wrong", TOKEN, "wrong"):
            assert (await ask(gateway, body=say(), token=token)).status == (200 if token == TOKEN else 401)

    trial(test, config(rate={"max_attempts": 3, "exempt_loopback": False}))


def test_this_machine_is_exempt_but_not_those_it_stands_for() -> None:
    async def test(gateway: Gateway) -> None:
        for _ in range(20):
            assert (await ask(gateway, body=say(), token="wrong")).status == 401
        for headers in (
            {"Origin": EVIL},  # a page in a browser here
            {"X-Forwarded-For": "127.0.0.1"},  # a proxy here that nobody has told of
        ):
            for status in (401, 401, 429, 429):
                assert (await ask(gateway, body=say(), token="wrong", headers=headers)).status == status
            assert (await ask(gateway, body=say(), headers=headers)).status == 429
        rebound = (
            "GET /v1/models HTTP/1.1\r\nHost: evil.example\r\nAuthorization: Bearer wrong\r\nConnection: close\r\n\r\n"
        )
        assert [(await raw(gateway, rebound.encode())).status for _ in range(3)] == [401, 401, 429]
        assert (await ask(gateway, body=say(), headers={"Origin": APP})).status == 200, "pages count one by one"
        assert (await ask(gateway, body=say())).status == 200

    trial(test, config(rate={"max_attempts": 2}))


# -- proxies


def test_clients_behind_a_trusted_proxy_count_one_by_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def test(gateway: Gateway) -> None:
        guesser, other = {"X-Forwarded-For": "1.2.3.4, 192.0.2.7"}, {"X-Forwarded-For": "192.0.2.8"}
        for status in (401, 401, 429):
            assert (await ask(gateway, body=say(), token="wrong", headers=guesser)).status == status
        assert (await ask(gateway, body=say(), headers=guesser)).status == 429
        moved = {"X-Forwarded-For": "6.6.6.6, 192.0.2.7"}
        assert (await ask(gateway, body=say(), headers=moved)).status == 429, "what stands left may be made up"
        assert (await ask(gateway, body=say(), headers=other)).status == 200
        assert (await ask(gateway, body=say())).status == 200

    settings = config(rate={"max_attempts": 2}, trusted_proxies=("127.0.0.0/8",))
    gateway = settings.gateway
    settings = settings.replace(gateway=gateway.replace(http=gateway.http.replace(access_log=True)))
    trial(test, settings)
    assert '192.0.2.7 "POST /v1/chat/completions" 429' in caplog.text
    assert '192.0.2.8 "POST /v1/chat/completions" 200' in caplog.text
    assert "192.0.2.7 is locked out" in caplog.text


def test_forwarded_headers_of_others_are_ignored(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def test(gateway: Gateway) -> None:
        headers = {"X-Forwarded-For": "192.0.2.7", "Forwarded": "for=192.0.2.7", "X-Real-IP": "192.0.2.7"}
        assert (await ask(gateway, body=say(), headers=headers)).status == 200

    settings = config(trusted_proxies=("10.0.0.0/8",))
    gateway = settings.gateway
    settings = settings.replace(gateway=gateway.replace(http=gateway.http.replace(access_log=True)))
    trial(test, settings)
    assert '127.0.0.1 "POST /v1/chat/completions" 200' in caplog.text
    assert "192.0.2.7" not in caplog.text


def test_a_proxy_is_not_counted_as_one_peer_its_clients_are() -> None:
    async def test(gateway: Gateway) -> None:
        port = int(gateway.urls[0].rpartition(":")[2])
        head = f"GET /ws HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        lines = "".join(f"{name}: {value}\r\n" for name, value in HANDSHAKE.items())
        held = []
        for client, status in (("192.0.2.7", 101), ("192.0.2.7", 101), ("192.0.2.7", 503), ("192.0.2.8", 101)):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"{head}{lines}X-Forwarded-For: {client}\r\n\r\n".encode())
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            assert int(answer.split()[1]) == status, answer
            assert (b"retry-after: 5\r\n" in answer) is (status == 503)
            held.append(writer)
        for writer in held:
            writer.close()

    async def wait(link: Link) -> None:
        async for _ in link:
            pass

    limits = Limits(connections_per_peer=2, unauthenticated_per_peer=2, exempt_local=False)
    trial(test, config(trusted_proxies=("127.0.0.1",)), limits=limits, links={"/ws": wait})


def test_a_websocket_knows_its_client() -> None:
    async def test(gateway: Gateway) -> None:
        forwarded = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "localhost"}
        status, answer = await upgrade(gateway, {"Host": "backend", **forwarded, "Origin": "https://localhost"})
        assert status == 101
        assert answer.endswith(b"192.0.2.7 True")
        status, _ = await upgrade(gateway, {"Host": "backend", **forwarded, "Origin": "http://localhost"})
        assert status == 403, "a plain page of a host that is served encrypted"
        status, _ = await upgrade(gateway, {"Host": "backend", **forwarded, "Origin": "https://backend"})
        assert status == 403

    trial(test, config(trusted_proxies=("127.0.0.1",)))


def test_a_unix_socket_may_be_a_proxy(tmp_path: Path) -> None:
    async def test(gateway: Gateway) -> None:
        headers = {"X-Forwarded-For": "192.0.2.7"}
        for status in (401, 429):
            assert (await ask(gateway, body=say(), token="wrong", headers=headers)).status == status
        assert (await ask(gateway, body=say(), headers={"X-Forwarded-For": "192.0.2.8"})).status == 200

    settings = config(rate={"max_attempts": 1}, trusted_proxies=("unix",))
    trial(test, settings, listen=f"unix:{tmp_path}/gw.sock")


# -- what every answer carries


def test_every_answer_carries_the_security_headers() -> None:
    async def test(gateway: Gateway) -> None:
        head = b"Host: localhost\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n"
        answers = [
            await ask(gateway, body=say()),
            await ask(gateway, body=say(stream=True)),
            await ask(gateway, "/healthz", method="GET"),
            await ask(gateway, "*", method="OPTIONS"),
            await ask(gateway, body=say(), token="wrong"),
            await ask(gateway, "/nowhere"),
            await raw(gateway, b"nonsense\r\n\r\n"),
            await raw(gateway, b"GET / HTTP/1.1\r\n\r\n"),
            await raw(gateway, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            await raw(gateway, b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000),
            await raw(gateway, b"POST /v1/chat/completions HTTP/1.1\r\n" + head + b"Content-Length: 9999\r\n\r\n"),
            await raw(gateway, b"CONNECT h:1 HTTP/1.1\r\nConnection: close\r\n" + head + b"\r\n"),
        ]
        ids = set()
        for answer in answers:
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["permissions-policy"] == "camera=(), microphone=(self), geolocation=()"
            assert answer.headers["date"]
            if answer.body:
                assert answer.headers["cache-control"] in {"no-store", "no-cache, no-transform"}
            ids.add(answer.headers["x-request-id"])
        assert len(ids) == len(answers)

    trial(test)


@pytest.mark.parametrize(
    ("given", "taken"),
    [("a", True), ("A.b_c-9", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("a,b", False),
     ("", False), ("é", False), ("<b>", False), ("%0d%0a", False)],
)  # fmt: skip
def test_request_ids(given: str, taken: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def test(gateway: Gateway) -> None:
        for answer in (
            await ask(gateway, body=say(), headers={"X-Request-Id": given}),
            await ask(gateway, body=say(stream=True), headers={"X-Request-Id": given}),
            await ask(gateway, body=say(), headers={"X-Request-Id": given}, token="wrong"),
            await ask(gateway, "/nowhere", headers={"X-Request-Id": given}),
        ):
            found = answer.headers["x-request-id"]
            assert (found == given) is taken
            assert f"req={found}" in caplog.text
        status, upgraded = await upgrade(gateway, {"X-Request-Id": given})
        assert status == 101
        assert (f"x-request-id: {given}\r\n".encode() in upgraded) is taken

    settings = config()
    gateway = settings.gateway
    trial(test, settings.replace(gateway=gateway.replace(http=gateway.http.replace(access_log=True))))


# -- as real programs see it


async def curl(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec("curl", *arguments, stdout=asyncio.subprocess.PIPE)
    out, _ = await asyncio.wait_for(process.communicate(), 20)
    return out.decode()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl() -> None:
    async def test(gateway: Gateway) -> None:
        url = gateway.urls[0] + CHAT
        preflight = await curl(
            "-si", "-X", "OPTIONS", url, "-H", f"Origin: {APP}", "-H", "Access-Control-Request-Method: POST",
            "-H", "Access-Control-Request-Headers: authorization, content-type",
        )  # fmt: skip
        assert preflight.startswith("HTTP/1.1 204 No Content\r\n")
        assert f"access-control-allow-origin: {APP}\r\n" in preflight
        assert "access-control-allow-headers: authorization, content-type\r\n" in preflight
        wrong = ("-si", url, "-H", f"Origin: {APP}", "-H", "Authorization: Bearer no", "-d", "{}")
        await curl(*wrong)
        last = await curl(*wrong)
        assert last.startswith("HTTP/1.1 429 Too Many Requests\r\n")
        assert "\r\nretry-after: " in last
        assert f"access-control-allow-origin: {APP}\r\n" in last

    trial(test, config((APP,), rate={"max_attempts": 1}))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_is_told_that_the_gateway_is_full(tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(b"x" * 500_000)

    async def test(gateway: Gateway) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(gateway.urls[0].rpartition(":")[2]))
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        told = await curl("-si", gateway.urls[0] + CHAT, "--data-binary", f"@{body}")
        assert told.startswith("HTTP/1.1 503 Service Unavailable\r\n")
        assert "\r\nretry-after: 5\r\n" in told
        assert "too many connections" in told
        writer.close()

    trial(test, limits=Limits(connections=1))


def test_services_are_not_asked_for_what_is_off() -> None:
    """CORS and proxies that are not configured stand in nobody's way."""

    async def test(gateway: Gateway) -> None:
        server = gateway._server
        assert server is not None
        services: Services = server.services
        assert services.options.handler.__qualname__ == "Router.route"
        assert services.options.is_proxy is None

    trial(test)
