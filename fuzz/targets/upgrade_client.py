"""The answer to our handshake of a WebSocket: what we take, websockets takes, and what follows the head is whole."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable

from h11 import CLIENT, Connection, InformationalResponse, Request
from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.http11 import Response
from websockets.uri import parse_uri

from fuzz.invariants import every_cutting_gives
from gateway.model.http import Malformed
from gateway.wire.upgrade_client import REFUSAL_BYTES, Outcome, Refused, Switched, UpgradeClient

__all__ = ["one_input"]

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, section 1.3
HEAD_BYTES = 4096


def one_input(data: bytes) -> None:
    outcome = every_cutting_gives(data, _read)
    match outcome:
        case Switched(rest):
            head = data[: len(data) - len(rest)]
            assert head.endswith(b"\n"), "the frames begin elsewhere than after the head"
            _accepted(head)
        case Refused(status, body):
            assert status >= 200
            assert len(body) <= REFUSAL_BYTES
        case Malformed(status, reason):
            assert status == 502
            assert reason


def _read(pieces: Iterable[bytes]) -> Outcome:
    """The outcome, with all that comes behind it where that is WebSocket, and the end of the connection."""
    client = UpgradeClient(b64decode(KEY), HEAD_BYTES)
    client.request(b"h", "/")
    outcome: Outcome | None = None
    for piece in pieces:
        if outcome is None:
            outcome = client.receive(piece)
        elif isinstance(outcome, Switched):
            outcome = Switched(outcome.rest + piece)
    outcome = outcome or client.eof()
    # How much is told of a chunk that is broken off depends on how it was cut.
    return outcome if not isinstance(outcome, Refused) else Refused(outcome.status, b"")


def _accepted(data: bytes) -> None:
    client = Connection(CLIENT)
    upgrade = [("Host", "h"), ("Upgrade", "websocket"), ("Connection", "Upgrade")]
    client.send(Request(method="GET", target="/", headers=upgrade))
    client.receive_data(data)
    while isinstance(head := client.next_event(), InformationalResponse) and head.status_code != 101:
        pass
    assert isinstance(head, InformationalResponse), head
    assert client.trailing_data[0] == b""
    protocol = ClientProtocol(parse_uri("ws://h/"))
    protocol.key = KEY
    headers = Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers])
    try:
        protocol.process_response(Response(101, "", headers))
    except InvalidHandshake as error:
        name = getattr(error, "name", "")
        assert name == "Connection", f"we take {headers}, websockets says {error!r}"  # it holds its whole grammar
