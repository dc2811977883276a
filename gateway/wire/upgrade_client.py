"""The opening handshake of a WebSocket as a client, without I/O (RFC 6455, section 4.1).

No extension is offered, and no subprotocol.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TypeAlias

from ..errors import MisuseError
from ..model.http import BodyChunk, BodyEnd, Headers, Malformed, ResponseHead
from ..records import NamedTuple
from .grammar import tokens
from .http1_client import HEAD_BYTES, Http1Client, ResponseEvent
from .upgrade import accept_token

__all__ = ["REFUSAL_BYTES", "Outcome", "Refused", "Switched", "UpgradeClient"]

REFUSAL_BYTES = 2048
"""What is kept of the body of a refusal: a sentence for a person."""

_NONCE = 16  # section 4.1, item 7 of the second list


class Switched(NamedTuple):
    """The server speaks WebSocket now; `rest` is what it has said in it already."""

    rest: bytes


class Refused(NamedTuple):
    """The server answered with another status than 101; `body` is the first REFUSAL_BYTES of what it says."""

    status: int
    body: bytes


Outcome: TypeAlias = Switched | Refused | Malformed


class UpgradeClient:
    """One handshake.  `receive` and `eof` never raise on what the server sends; with the outcome it is over.

    `nonce`: 16 bytes that nobody has used before (section 4.1).  The status of a Malformed is always 502.
    """

    __slots__ = ("_body", "_http", "_key", "_over", "_status")

    def __init__(self, nonce: bytes, head_bytes: int = HEAD_BYTES) -> None:
        if len(nonce) != _NONCE:
            raise MisuseError(f"the nonce of a WebSocket handshake has {_NONCE} bytes")
        self._key = b64encode(nonce)
        self._http = Http1Client(head_bytes)
        self._status = 0  # of a refusal whose body has yet to come
        self._body = b""
        self._over = False

    def request(self, host: bytes, target: str, headers: Headers = ()) -> bytes:
        """The request, to be sent first.  Raises ValueError as `Http1Client.request`."""
        ours = ((b"sec-websocket-key", self._key), (b"sec-websocket-version", b"13"))
        return self._http.request("GET", target, ((b"host", host), *ours, *headers), upgrade=b"websocket")

    def receive(self, data: bytes) -> Outcome | None:
        """The outcome, once it is known.  A refusal is known when its body has ended, or is longer than is kept."""
        return self._judge(self._http.receive(data))

    def eof(self) -> Outcome:
        """The server sends nothing more."""
        outcome = self._judge(self._http.eof())
        assert outcome is not None
        return outcome

    def _judge(self, events: list[ResponseEvent]) -> Outcome | None:
        if self._over:
            raise MisuseError("this handshake is over")
        outcome: Outcome | None = None
        for event in events:
            match event:
                case ResponseHead(status=101):
                    fault = self._fault(event)
                    if fault is not None:
                        outcome = Malformed(502, fault)
                        break
                    outcome = Switched(b"")
                case ResponseHead():
                    self._status = event.status
                case BodyChunk(data) if isinstance(outcome, Switched):
                    outcome = Switched(outcome.rest + data)
                case BodyChunk(data):
                    self._body = (self._body + data)[:REFUSAL_BYTES]
                    if len(self._body) == REFUSAL_BYTES:
                        outcome = Refused(self._status, self._body)
                        break
                case BodyEnd():
                    outcome = Refused(self._status, self._body)
                    break
                case Malformed():
                    # What was cut off, or broke, in the middle of a refusal is a refusal all the same.
                    outcome = Refused(self._status, self._body) if self._status else event
        self._over = outcome is not None
        return outcome

    def _fault(self, head: ResponseHead) -> str | None:
        """Section 4.1, what the client must check of a 101, in its order."""
        fields = head.fields
        if fields.get(b"upgrade", b"").lower() != b"websocket":
            return "the server switches to another protocol than WebSocket"
        if b"upgrade" not in tokens(fields.get(b"connection")):
            return "the 101 has no `Connection: Upgrade`"
        if fields.get(b"sec-websocket-accept") != accept_token(self._key):
            return "Sec-WebSocket-Accept does not answer our key"
        if b"sec-websocket-extensions" in fields:
            return "the server uses an extension that was not offered"
        if b"sec-websocket-protocol" in fields:
            return "the server takes a subprotocol that was not offered"
        return None
