"""The opening handshake (RFC 6455, section 4.2): the cases of data/websocket/handshakes.json, told in `frames`."""

from __future__ import annotations

from typing import Any

import pytest
from frames import HANDSHAKES, KEY, handshake
from h11 import CLIENT, Connection, InformationalResponse, Request
from wsproto.utilities import generate_accept_token

from gateway.errors import MisuseError, RequestError
from gateway.model.http import RequestHead
from gateway.wire.heads import read_request_head
from gateway.wire.upgrade import accept, accept_token, is_websocket


def head(*changes: str) -> RequestHead:
    read = read_request_head(handshake({"changes": changes}))
    assert isinstance(read, RequestHead), read
    return read


def test_the_example_of_the_rfc() -> None:
    assert accept_token(KEY.encode()) == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert accept(head()) == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )


def test_an_independent_reader_understands_the_answer() -> None:
    client = Connection(CLIENT)
    client.send(Request(method="GET", target="/", headers=list(head().headers)))
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


@pytest.mark.parametrize("case", HANDSHAKES.values(), ids=HANDSHAKES)
def test_case(case: dict[str, Any]) -> None:
    request = read_request_head(handshake(case))
    assert isinstance(request, RequestHead), request
    assert is_websocket(request) is not case.get("plain", False)
    if case["status"] == 101:
        answer = accept(request)
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
        assert b"Extensions" not in answer
        assert b"Sec-WebSocket-Protocol" not in answer
        return
    with pytest.raises(RequestError) as caught:
        accept(request)
    assert caught.value.status == case["status"]
    named = {(name.decode(), value.decode()) for name, value in caught.value.headers}
    assert named == {(name, value) for name, value in case.get("headers", [])}
    assert KEY not in caught.value.message
    if case["name"].startswith(("key", "version: ")):
        assert "Sec-WebSocket-" in caught.value.message


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
