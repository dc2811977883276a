"""`python -m gateway.testing echo`, the target for conformance suites, and WebSockets on it with a client not ours."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator

import pytest
from processes import Launch, Running
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    launcher = Launch(tmp_path_factory.mktemp("echo"))
    try:
        yield launcher.start("echo", "--port", "0", module="gateway.testing")
    finally:
        launcher.close()


def test_http(target: Running) -> None:
    client = http.client.HTTPConnection("127.0.0.1", target.port, timeout=10)
    for method, path, body, headers, wanted in (
        ("GET", "/", None, {}, b"OK"),
        ("POST", "/", b"a body" * 1000, {}, b"a body" * 1000),
        ("POST", "/", iter([b"in ", b"chunks"]), {}, b"in chunks"),
        ("POST", "/", b"", {}, b""),
        ("GET", "/cookie", None, {"Cookie": "a=1; b=2"}, b"a=1\nb=2"),
    ):
        client.request(method, path, body, headers, encode_chunked=not isinstance(body, bytes | None))
        answer = client.getresponse()
        assert answer.status == 200
        assert answer.getheader("date")
        assert answer.read().strip() == wanted
    client.request("GET", "/echo", headers={"X-One": "1"})
    assert "x-one: 1" in client.getresponse().read().decode().lower().splitlines()
    client.close()


@pytest.mark.parametrize("message", ["", "text", "grüße \U0001f980", "x" * 1_000_000, b"", bytes(range(256)) * 1000])
def test_websocket_echo(target: Running, message: str | bytes) -> None:
    with connect(f"ws://127.0.0.1:{target.port}/any/path", max_size=None) as link:
        link.send(message)
        assert link.recv(10) == message


def test_websocket_fragments_pings_and_close(target: Running) -> None:
    with connect(f"ws://127.0.0.1:{target.port}/") as link:
        link.send(iter(["one ", "two ", "three"]))
        assert link.recv(10) == "one two three"
        assert link.ping(b"there?").wait(10)
        for number in range(1000):
            link.send(str(number))
        assert [link.recv(10) for _ in range(1000)] == [str(number) for number in range(1000)]
        link.close(1000, "thank you")
    assert link.protocol.close_rcvd is not None
    assert link.protocol.close_rcvd.code == 1000


def test_websocket_that_is_not_utf8(target: Running) -> None:
    with connect(f"ws://127.0.0.1:{target.port}/") as link:
        link.send(b"\xff\xfe", text=True)
        with pytest.raises(ConnectionClosedError) as closed:
            link.recv(10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1007


def test_upgrade_on_the_second_request_with_a_frame_at_once(target: Running) -> None:
    with socket.create_connection(("127.0.0.1", target.port), timeout=10) as connection:
        connection.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            b"\x81\x82\x00\x00\x00\x00hi"
        )
        got = b""
        while not got.endswith(b"\x81\x02hi"):
            piece = connection.recv(65536)
            assert piece, got
            got += piece
    assert got.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 101 " in got
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in got  # RFC 6455, section 1.3
