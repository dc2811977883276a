"""The opening handshake as a client (RFC 6455, section 4.1): the cases of data/websocket/client_handshakes.json.

Each is a good answer to the key of section 1.3 but for its `changes`, as in `frames`; `before` and `body` stand around
it, `cut` is how much of it comes, `eof` ends the connection.  `text` is what is left over (`switched`), what the refusal
says, or part of the reason.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode
from typing import Any

import pytest
from frames import DATA, KEY
from websockets.datastructures import Headers
from websockets.http11 import Response
from websockets.server import ServerProtocol

from gateway.errors import MisuseError
from gateway.model.http import Malformed, RequestHead
from gateway.wire.heads import read_request_head
from gateway.wire.upgrade import accept
from gateway.wire.upgrade_client import REFUSAL_BYTES, Outcome, Refused, Switched, UpgradeClient

CASES: dict[str, dict[str, Any]] = {
    case["name"]: case for case in json.loads((DATA / "client_handshakes.json").read_text("utf-8"))
}
GOOD = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]


def client(head_bytes: int = 65_536) -> UpgradeClient:
    made = UpgradeClient(b64decode(KEY), head_bytes)
    made.request(b"example.org", "/ws")
    return made


def answer(case: dict[str, Any]) -> bytes:
    names = {change.partition(":")[0].lower() for change in case["changes"]}
    lines = [line for line in GOOD if line.partition(":")[0].lower() not in names]
    lines += [change for change in case["changes"] if ":" in change]
    head = "\r\n".join((case.get("line", "HTTP/1.1 101 Switching Protocols"), *lines, "", ""))
    whole: str = case.get("before", "") + head + case.get("body", "")
    return whole[: case.get("cut", len(whole))].encode("latin-1")


def outcome(case: dict[str, Any], *pieces: bytes) -> Outcome:
    """The outcome, and what came after it where that is WebSocket."""
    handshake = client()
    found: Outcome | None = None
    for piece in pieces:
        if isinstance(found, Switched):
            found = Switched(found.rest + piece)
        elif found is None:
            found = handshake.receive(piece)
    if found is None and case.get("eof"):
        found = handshake.eof()
    assert found is not None
    return found


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_case(case: dict[str, Any]) -> None:
    data = answer(case)
    found = outcome(case, data)
    match found:
        case Switched(rest):
            assert case["outcome"] == "switched"
            assert rest == case.get("text", "").encode("latin-1")
        case Refused(status, body):
            assert case["outcome"] == "refused"
            assert (status, body.decode()) == (case["status"], case["text"])
        case Malformed(status, reason):
            assert case["outcome"] == "malformed"
            assert status == 502
            assert case.get("text", "") in reason
    assert outcome(case, *(data[place : place + 1] for place in range(len(data)))) == found


def test_the_request_is_a_good_handshake() -> None:
    sent = UpgradeClient(b64decode(KEY)).request(b"example.org:1", "/ws?x=1", ((b"x-more", b"1"),))
    head = read_request_head(sent)
    assert isinstance(head, RequestHead)
    assert (head.method, head.target, head.version) == ("GET", "/ws?x=1", "1.1")
    assert dict(head.headers) == {
        b"host": b"example.org:1",
        b"connection": b"upgrade",
        b"upgrade": b"websocket",
        b"sec-websocket-key": KEY.encode(),
        b"sec-websocket-version": b"13",
        b"x-more": b"1",
    }
    assert client().receive(accept(head) + b"rest") == Switched(b"rest")


def test_websockets_takes_the_request_and_we_take_its_answer() -> None:
    handshake = UpgradeClient(os.urandom(16))
    server = ServerProtocol()
    server.receive_data(handshake.request(b"example.org", "/"))
    (request,) = server.events_received()
    response = server.accept(request)  # type: ignore[arg-type]  # events are requests or frames
    assert response.status_code == 101, response
    server.send_response(response)
    assert handshake.receive(b"".join(server.data_to_send())) == Switched(b"")


def test_websockets_refuses_and_we_say_why() -> None:
    handshake = client()
    refusal = Response(403, "Forbidden", Headers([("Content-Length", "3")]), b"no!")
    assert handshake.receive(refusal.serialize()) == Refused(403, b"no!")


def test_only_so_much_of_a_refusal_is_kept() -> None:
    handshake = client()
    assert (
        handshake.receive(b"HTTP/1.1 500 No\r\nContent-Length: 10000000\r\n\r\n" + b"x" * (REFUSAL_BYTES - 1)) is None
    )
    assert handshake.receive(b"y" * 5000) == Refused(500, b"x" * (REFUSAL_BYTES - 1) + b"y")


def test_a_head_without_end() -> None:
    handshake = client(head_bytes=1000)
    assert handshake.receive(b"HTTP/1.1 101 X\r\nA: ") is None
    found = handshake.receive(b"x" * 1000)
    assert isinstance(found, Malformed)
    assert "longer than 1000 bytes" in found.reason


def test_what_cannot_be_sent() -> None:
    for host, target, headers in (
        (b"a\r\nb", "/", ()),
        (b"a", "/ /", ()),
        (b"a", "x", ()),
        (b"a", "/", ((b"connection", b"close"),)),
        (b"a", "/", ((b"a", b"\r\nb"),)),
    ):
        with pytest.raises(ValueError, match=r"target|header"):
            UpgradeClient(bytes(16)).request(host, target, headers)


def test_misuse() -> None:
    with pytest.raises(MisuseError, match="16 bytes"):
        UpgradeClient(b"short")
    handshake = client()
    handshake.receive(answer(CASES["good"]))
    with pytest.raises(MisuseError, match="over"):
        handshake.receive(b"x")
    with pytest.raises(MisuseError):
        handshake.request(b"h", "/")
