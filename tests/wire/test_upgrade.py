"""The opening handshake (RFC 6455, section 4.2)."""

from __future__ import annotations

import base64

import pytest
from h11 import CLIENT, Connection, InformationalResponse, Request
from wsproto.utilities import generate_accept_token

from gateway.errors import MisuseError, RequestError
from gateway.model.http import RequestHead
from gateway.wire.heads import read_request_head
from gateway.wire.upgrade import accept, accept_token, is_websocket

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
GOOD = [
    "Host: example.org",
    "Upgrade: websocket",
    "Connection: Upgrade",
    f"Sec-WebSocket-Key: {KEY}",
    "Sec-WebSocket-Version: 13",
]


def head(*changes: str, line: str = "GET /chat?x=1 HTTP/1.1") -> RequestHead:
    """The good handshake, in which a change `Name: value` replaces the line of that name, `Name` alone removes it."""
    names = {change.partition(":")[0].lower() for change in changes}
    lines = [good for good in GOOD if good.partition(":")[0].lower() not in names]
    lines += [change for change in changes if ":" in change]
    read = read_request_head("\r\n".join((line, *lines, "", "")).encode("latin-1"))
    assert isinstance(read, RequestHead), read
    return read


def refusal(request: RequestHead) -> RequestError:
    with pytest.raises(RequestError) as caught:
        accept(request)
    return caught.value


def test_the_example_of_the_rfc() -> None:
    assert accept_token(KEY.encode()) == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert accept(head()) == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )


def test_an_independent_reader_understands_the_answer() -> None:
    client = Connection(CLIENT)
    client.send(
        Request(
            method="GET",
            target="/",
            headers=[(name, value) for name, _, value in (line.partition(": ") for line in GOOD)],
        )
    )
    client.receive_data(accept(head("Sec-WebSocket-Protocol: chat, superchat"), "superchat"))
    event = client.next_event()
    assert isinstance(event, InformationalResponse)
    assert event.status_code == 101
    assert dict(event.headers) == {
        b"upgrade": b"websocket",
        b"connection": b"Upgrade",
        b"sec-websocket-accept": generate_accept_token(KEY.encode()),
        b"sec-websocket-protocol": b"superchat",
    }


@pytest.mark.parametrize(
    "changes",
    [
        ["Upgrade: WebSocket", "Connection: keep-alive, Upgrade"],
        ["Upgrade: h2c, websocket", "Connection: UPGRADE"],
        ["Connection: keep-alive", "Connection: Upgrade"],
        ["Connection: Upgrade, \xff"],
        ["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"],
        ["Sec-WebSocket-Protocol: chat"],
        ["Content-Length: 0"],
    ],
)
def test_good_ones(changes: list[str]) -> None:
    request = head(*changes)
    assert is_websocket(request)
    answer = accept(request)
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
    assert b"Extensions" not in answer
    assert b"Sec-WebSocket-Protocol" not in answer


@pytest.mark.parametrize(
    "changes",
    [
        ["Upgrade"],
        ["Connection"],
        ["Upgrade: h2c"],
        ["Upgrade: websocket/13"],
        ["Connection: keep-alive"],
        ["Upgrade: web, socket"],
    ],
)
def test_plain_requests(changes: list[str]) -> None:
    request = head(*changes)
    assert not is_websocket(request)
    error = refusal(request)
    assert error.status == 426
    assert (b"upgrade", b"websocket") in error.headers


@pytest.mark.parametrize(
    "key",
    ["", "AQIDBAUGBwgJCgsMDQ4PEA", *(base64.b64encode(bytes(length)).decode() for length in (13, 15, 17, 19)),
     base64.b64encode(bytes(18)).decode(), f"{KEY}, {KEY}", "dGhlIHNhbXBsZSBub25jZ!==", "dGhlIHNhbXBsZSBub25j_Q==",
     "dGhlIHNhbXBsZS Bub25jQ==", f"{KEY}\xff"],
)  # fmt: skip
def test_bad_keys(key: str) -> None:
    error = refusal(head(f"Sec-WebSocket-Key: {key}"))
    assert (error.status, "Sec-WebSocket-Key" in error.message) == (400, True)
    assert KEY not in error.message


def test_missing_and_repeated_keys() -> None:
    assert refusal(head("Sec-WebSocket-Key")).status == 400
    assert refusal(head(f"Sec-WebSocket-Key: {KEY}", f"sec-websocket-key: {KEY}")).status == 400


@pytest.mark.parametrize(
    "version",
    ["Sec-WebSocket-Version", *(f"Sec-WebSocket-Version: {v}" for v in ("", "0", "8", "12", "14", "25", "255", "013"))],
)
def test_other_versions(version: str) -> None:
    error = refusal(head(version))
    assert error.status == 426
    assert set(error.headers) == {
        (b"sec-websocket-version", b"13"),
        (b"upgrade", b"websocket"),
        (b"connection", b"upgrade"),
    }


@pytest.mark.parametrize("versions", [["13, 13"], ["13", "13"], ["8", "13"], ["thirteen"], ["-13"], ["13.0"]])
def test_malformed_versions(versions: list[str]) -> None:
    assert refusal(head(*(f"Sec-WebSocket-Version: {version}" for version in versions))).status == 400


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "get"])
def test_other_methods(method: str) -> None:
    error = refusal(head(line=f"{method} / HTTP/1.1"))
    assert (error.status, error.headers) == (405, ((b"allow", b"GET"),))


def test_http_1_0() -> None:
    assert refusal(head(line="GET / HTTP/1.0")).status == 400


@pytest.mark.parametrize("body", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_with_a_body(body: str) -> None:
    assert refusal(head(body)).status == 400


def test_subprotocols_that_were_not_offered() -> None:
    offer = head("Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol:  v2.chat ,x")
    assert accept(offer, "v2.chat").endswith(b"\r\nSec-WebSocket-Protocol: v2.chat\r\n\r\n")
    for request, name in (
        (head(), "chat"),
        (offer, "Chat"),
        (offer, ""),
        (offer, "chat, x"),
        (offer, "x\r\nSet-Cookie: a=b"),
    ):
        with pytest.raises(MisuseError, match="offer"):
            accept(request, name)
