"""The gateway protocol as a client, against a gateway that says what it is told to, and against what is none."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from scripted_gateway import Scripted, Wire, scripted
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.sync.server import unix_serve

from gateway.cli import rpc as module
from gateway.cli import websocket
from gateway.cli.console import FAILED, UNAVAILABLE, WRONG_USAGE, UnansweredError
from gateway.cli.place import Place
from gateway.cli.rpc import ALL, READ, ClosedError, Event, FailedError, Patience, Rpc, connected

TLS = Path(__file__).parent.parent / "data" / "tls"


def talk(place: Place | Scripted, work: Callable[[Rpc], Any] | None = None, *events: str) -> Any:
    """What `work` makes of a connection."""

    async def main() -> Any:
        async with asyncio.timeout(20), connected(to, READ, events) as rpc:
            return None if work is None else await work(rpc)

    to = Place(place.url, "t0ken") if isinstance(place, Scripted) else place
    return asyncio.run(main())


async def drained(rpc: Rpc) -> tuple[list[Event], ClosedError]:
    """All events there are, and the end of the connection."""
    found: list[Event] = []
    try:
        async for event in rpc.events():
            found += [event]
    except ClosedError as error:
        return found, error
    raise AssertionError("events end with an error")


def test_what_we_say_of_ourselves() -> None:
    seen: list[dict[str, Any]] = []
    with scripted(lambda wire: seen.append(wire.greet())) as gateway:
        talk(gateway)
        talk(Place(gateway.url.replace("ws://", "http://")))
    first, second = seen
    assert (first["minProtocol"], first["maxProtocol"], first["role"]) == (3, 4, "operator")
    assert first["auth"] == {"token": "t0ken"}
    assert "auth" not in second
    assert first["scopes"] == list(READ)
    client = first["client"]
    assert (client["id"], client["mode"]) == ("cli", "cli")
    assert client["version"]
    assert client["platform"]
    assert client["instanceId"] != second["client"]["instanceId"]
    assert set(READ) < set(ALL)


def test_answers_find_their_requests() -> None:
    def script(wire: Wire) -> None:
        wire.greet()
        first, second, third = wire.request("a"), wire.request("b"), wire.request("c")
        assert first["params"] == {"x": 1}
        assert "params" not in second
        wire.answer({"id": "99"}, "nobody's")
        wire.refuse(third, "INVALID_REQUEST", "no such thing", details={"code": "X"})
        wire.answer(second, "for b")
        wire.answer(first, "for a")
        wire.answer(first, "again")
        wire.request("d")
        wire.connection.recv()

    async def work(rpc: Rpc) -> None:
        asked = rpc.request("a", {"x": 1}), rpc.request("b"), rpc.request("c")
        answers = [*await asyncio.gather(*asked, return_exceptions=True)]
        assert answers[:2] == ["for a", "for b"]
        three = answers[2]
        assert isinstance(three, FailedError)
        assert (three.code, str(three), three.details) == ("INVALID_REQUEST", "no such thing", {"code": "X"})
        assert three.exit_code == FAILED
        with pytest.raises(UnansweredError, match=r"d was not answered within 0\.05 s"):
            await rpc.request("d", timeout=0.05)
        assert not rpc._pending

    with scripted(script) as gateway:
        talk(gateway, work)


def test_two_stages() -> None:
    def script(wire: Wire) -> None:
        wire.greet()
        for _ in range(2):
            request = wire.request("agent")
            wire.answer(request, {"status": "accepted", "runId": "r"})
            wire.answer(request, {"status": "ok"})
        request = wire.request("agent")
        wire.answer(request, {"status": "accepted"})
        wire.refuse(request, "UNAVAILABLE", "LLM request failed")
        wire.connection.recv()

    async def work(rpc: Rpc) -> None:
        assert await rpc.request("agent") == {"status": "accepted", "runId": "r"}
        assert await rpc.request("agent", final=True) == {"status": "ok"}
        with pytest.raises(FailedError, match="LLM request failed"):
            await rpc.request("agent", final=True)

    with scripted(script) as gateway:
        talk(gateway, work)


def test_events_that_are_wanted() -> None:
    def script(wire: Wire) -> None:
        wire.greet()
        wire.event("tick", ts=1)
        wire.event("chat", n=1)
        wire.send({"type": "event", "event": "chat", "payload": {"n": 2}, "seq": 7, "zzz": 1})
        wire.send({"type": "event", "event": "chat"})
        wire.send({"type": "later", "x": 1})
        wire.send(json.dumps({"type": "event", "event": "chat", "payload": {"n": 3}}).encode())
        wire.close(1012, "service restart")

    async def work(rpc: Rpc) -> list[Any]:
        found, over = await drained(rpc)
        assert over.code == 1012
        assert str(over) == "the gateway restarts"
        assert {event.name for event in found} == {"chat"}
        return [event.payload for event in found]

    with scripted(script) as gateway:
        assert talk(gateway, work, "chat") == [{"n": 1}, {"n": 2}, {}, {"n": 3}]


def test_a_flood_that_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_EVENTS", 10)

    def script(wire: Wire) -> None:
        wire.greet()
        for number in range(11):
            wire.event("chat", n=number)
        wire.connection.recv()

    async def work(rpc: Rpc) -> int:
        with pytest.raises(ClosedError, match="more was told than could be read"):
            await rpc.request("never")
        return len((await drained(rpc))[0])

    with scripted(script) as gateway:
        assert talk(gateway, work, "chat") == 11
        monkeypatch.setattr(module, "MAX_EVENTS", 1000)
        monkeypatch.setattr(module, "MAX_EVENT_CHARACTERS", 100)
        assert talk(gateway, work, "chat") < 11


def test_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE", 0.2)

    def script(wire: Wire) -> None:
        wire.greet(policy={"tickIntervalMs": 100})
        for _ in range(4):
            time.sleep(0.1)
            wire.event("tick", ts=1)
        wire.request("never")
        wire.connection.recv()

    async def work(rpc: Rpc) -> None:
        began = time.monotonic()
        with pytest.raises(ClosedError, match=r"silent for 0\.4 s"):
            await rpc.request("never")
        assert time.monotonic() - began > 0.6

    with scripted(script) as gateway:
        talk(gateway, work)


CLOSES = [
    (1000, "", "the gateway closed the connection: 1000", FAILED),
    (1008, "slow consumer", "the gateway closed the connection: 1008 slow consumer", FAILED),
    (1012, "service restart", "the gateway restarts", UNAVAILABLE),
    (1013, "gateway starting", "the gateway is starting", UNAVAILABLE),
    (4001, "auth\x1b[31m rotated", r"the gateway closed the connection: 4001 auth\x1b[31m rotated", FAILED),
]


@pytest.mark.parametrize(("code", "reason", "text", "exit_code"), CLOSES)
@pytest.mark.parametrize("when", ["before the challenge", "before the hello", "later"])
def test_closed_by_the_gateway(code: int, reason: str, text: str, exit_code: int, when: str) -> None:
    def script(wire: Wire) -> None:
        if when == "before the hello":
            wire.challenge()
        elif when == "later":
            wire.greet()
            wire.request()
        wire.close(code, reason)

    async def work(rpc: Rpc) -> None:
        await rpc.request("health")

    with scripted(script) as gateway, pytest.raises(ClosedError) as caught:
        talk(gateway, work)
    assert (str(caught.value), caught.value.exit_code, caught.value.code) == (text, exit_code, code)


def test_not_let_in() -> None:
    def script(wire: Wire) -> None:
        code, message = cases.pop(0)
        wire.refuse(wire.challenge(), code, message)
        wire.close(1008, message)

    cases = [("INVALID_REQUEST", "unauthorized: gateway token mismatch (hint)"), ("UNAVAILABLE", "gateway starting")]
    with scripted(script) as gateway:
        with pytest.raises(FailedError, match="unauthorized: gateway token mismatch") as caught:
            talk(gateway)
        assert caught.value.exit_code == FAILED
        with pytest.raises(FailedError, match="gateway starting") as caught:
            talk(gateway)
        assert caught.value.exit_code == UNAVAILABLE


def test_without_scopes() -> None:
    """As a gateway treats those who come over the network and show its token alone."""

    def script(wire: Wire) -> None:
        wire.greet(auth={"scopes": scopes})
        details = {"code": "MISSING_SCOPE", "missingScope": "operator.read"}
        wire.refuse(wire.request("status"), "FORBIDDEN", "missing scope: operator.read", details=details)
        wire.connection.recv()

    async def work(rpc: Rpc) -> str:
        with pytest.raises(FailedError) as caught:
            await rpc.request("status")
        return str(caught.value)

    with scripted(script) as gateway:
        scopes: list[str] = []
        assert talk(gateway, work).startswith("missing scope: operator.read. The gateway's token gives none")
        scopes.append("operator.approvals")
        assert talk(gateway, work) == "missing scope: operator.read"


def test_a_peer_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GREETING_TIME", 0.1)
    with scripted(Wire.request) as gateway, pytest.raises(UnansweredError, match=r"no challenge within 0\.1 s"):
        talk(gateway)

    def deaf(wire: Wire) -> None:
        wire.challenge()
        wire.request()

    with scripted(deaf) as gateway, pytest.raises(UnansweredError, match=r"connect was not answered within 0\.1 s"):
        talk(gateway)


@pytest.mark.parametrize(
    "frame",
    ["", "x", "[]", "1", "{}", '{"type":1}', "[" * 100_000, '{"type":"res"' + " " * 70_000, "1" * 5000],
    ids=range(9),
)
def test_what_is_no_frame(frame: str) -> None:
    def script(wire: Wire) -> None:
        wire.send(frame)
        wire.connection.recv()

    with scripted(script) as gateway, pytest.raises(ClosedError, match="is no gateway"):
        talk(gateway)


@pytest.mark.parametrize("payload", [None, 1, [], {"policy": 1, "server": []}, {"policy": {"tickIntervalMs": "x"}}])
def test_a_hello_of_any_shape(payload: object) -> None:
    def script(wire: Wire) -> None:
        wire.answer(wire.challenge(), payload)
        wire.answer(wire.request("health"), {"ok": True})
        wire.connection.recv()

    async def work(rpc: Rpc) -> Any:
        return await rpc.request("health")

    with scripted(script) as gateway:
        assert talk(gateway, work) == {"ok": True}


def test_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "MAX_MESSAGE", 10_000)

    def script(wire: Wire) -> None:
        wire.greet(policy={"maxPayload": 1000})
        wire.answer(wire.request("a"), "x" * 9000)
        wire.answer(wire.request("a"), "x" * 10_000)
        wire.connection.recv()

    async def work(rpc: Rpc) -> None:
        with pytest.raises(UnansweredError, match="the gateway takes 1000"):
            await rpc.request("a", {"x": "y" * 1000})
        assert await rpc.request("a") == "x" * 9000
        with pytest.raises(ClosedError, match="broke the protocol"):
            await rpc.request("a")

    with scripted(script) as gateway:
        talk(gateway, work)


# What is at the other end


@contextmanager
def saying(data: bytes, *, wait: bool = True) -> Iterator[str]:
    """A server that says this to whoever comes, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(10)
                if wait:
                    connection.recv(65_536)
                connection.sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


STRANGERS: list[tuple[bytes, str, int]] = [
    (b"", "no gateway: the server closed the connection before", FAILED),
    (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "no gateway: ", FAILED),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", r"refused \(HTTP 200\): <html>", FAILED),
    (
        b"HTTP/1.1 503 No\r\nContent-Length: 32\r\n\r\nToo many unauthenticated sockets",
        r"refused \(HTTP 503\): Too many unauthenticated sockets",
        UNAVAILABLE,
    ),
    (
        b'HTTP/1.1 401 No\r\nContent-Length: 45\r\n\r\n{"error": {"message": "who\\nare \\u001byou?"}}',
        r"refused \(HTTP 401\): who\\nare \\x1byou\?",
        FAILED,
    ),
    (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", r"refused \(HTTP 404\): without a word", FAILED),
    (b"HTTP/1.1 500 No\r\n\r\n" + b"y" * 9000, r"refused \(HTTP 500\): y{2048}$", FAILED),
    (
        b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: no\r\n\r\n",
        "no gateway: Sec-WebSocket-Accept",
        FAILED,
    ),
]


@pytest.mark.parametrize(("data", "text", "code"), STRANGERS, ids=range(len(STRANGERS)))
def test_strangers(data: bytes, text: str, code: int) -> None:
    with saying(data) as url, pytest.raises(UnansweredError, match=text) as caught:
        talk(Place(url))
    assert caught.value.exit_code == code


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    for url in (f"ws://127.0.0.1:{port}", "unix:/nowhere/at/all", "wss://x.invalid"):
        with pytest.raises(UnansweredError, match=r"cannot be reached: .*\. Start it with `gateway run`") as caught:
            talk(Place(url))
        assert caught.value.exit_code == UNAVAILABLE
    for url in ("127.0.0.1:1", "ftp://x", "ws://a b", "ws://user@x", "ws://x/\u00e4"):
        with pytest.raises(UnansweredError, match=r"--url: .* is not ws://HOST:PORT") as caught:
            talk(Place(url))
        assert caught.value.exit_code == WRONG_USAGE


def test_one_that_does_not_answer_the_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "UPGRADE_TIME", 0.1)
    monkeypatch.setattr(websocket, "CLOSE_TIME", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = Place(f"ws://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(UnansweredError, match="did not answer the handshake") as caught:
            talk(place)
    assert caught.value.exit_code == UNAVAILABLE


def test_one_that_does_not_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not waited for."""
    monkeypatch.setattr(websocket, "CLOSE_TIME", 0.1)
    done = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        protocol = ServerProtocol()
        with connection:
            protocol.receive_data(connection.recv(65_536))
            (request,) = protocol.events_received()
            assert isinstance(request, Request)
            protocol.send_response(protocol.accept(request))
            connection.sendall(b"".join(protocol.data_to_send()))
            done.wait(10)

    async def main() -> float:
        client = await websocket.dial(place, lambda _: None, lambda *_: None)
        began = time.monotonic()
        await client.close()
        return time.monotonic() - began

    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = Place(f"ws://127.0.0.1:{listener.getsockname()[1]}")
        thread = threading.Thread(target=serve)
        thread.start()
        assert 0.05 < asyncio.run(main()) < 5
        done.set()
        thread.join()


def test_tls() -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(TLS / "localhost.pem")
    trusting = ssl.create_default_context(cafile=str(TLS / "localhost.pem"))
    with scripted(Wire.greet, ssl=server) as gateway:
        url = f"wss://localhost:{gateway.port}"
        talk(Place(url, None, trusting))
        with pytest.raises(UnansweredError, match="no TLS connection: self-signed certificate") as caught:
            talk(Place(url))
        assert caught.value.exit_code == UNAVAILABLE


def test_a_unix_socket(tmp_path: Path) -> None:
    def handle(connection: Any) -> None:
        Wire(connection, []).greet()

    path = str(tmp_path / "s")
    with unix_serve(handle, path) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        talk(Place(f"unix:{path}"))
        server.shutdown()
        thread.join()


def test_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.0,))
    lost, refused = ClosedError(1006, ""), FailedError("INVALID_REQUEST", "unauthorized")
    down = UnansweredError("cannot be reached", UNAVAILABLE)

    async def main() -> None:
        told: list[str] = []
        patience = Patience(told.append)
        for error in (lost, refused, down):
            with pytest.raises(UnansweredError):  # it was never there
                await patience.pause(error)
        patience.connected()
        for error in (ClosedError(4001, ""), ClosedError(1002, ""), refused, UnansweredError("x")):
            with pytest.raises(UnansweredError):
                await patience.pause(error)
        for error in (lost, down, ClosedError(1012, ""), ClosedError(1008, "slow consumer")):
            await patience.pause(error)
        for _ in range(module.TRIES - 4):
            await patience.pause(down)
        with pytest.raises(UnansweredError):
            await patience.pause(down)
        patience.connected()
        with pytest.raises(UnansweredError):  # it was there for too short a time
            await patience.pause(down)
        monkeypatch.setattr(module, "LASTING", 0.0)
        patience.connected()
        await patience.pause(down)
        first, second = told
        assert first == "[the connection to the gateway was lost; trying again]"
        assert second == "[cannot be reached; trying again]"

    asyncio.run(main())
