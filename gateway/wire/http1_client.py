"""One HTTP/1.1 connection as a client, without the socket: requests to bytes, bytes to responses (RFC 9112)."""

from __future__ import annotations

from collections.abc import Callable
from re import compile as pattern

from ..errors import MisuseError
from ..model.http import BodyChunk, BodyEnd, BodyEvent, Headers, Malformed, ResponseHead
from ..records import Enum
from .chunked import BulkChunked
from .grammar import FIELD_VALUE, TOKEN
from .heads import read_response_head

__all__ = ["HEAD_BYTES", "Http1Client", "ResponseEvent"]

HEAD_BYTES = 65_536
"""What the head of a response, with the interim (1xx) heads before it, may have.  Twice what our own server takes: some
providers send cookies and policies by the kilobyte."""

ResponseEvent = ResponseHead | BodyEvent

# What we may send as a request target: visible ASCII without a fragment.
_TARGET = pattern(rb"(?:/|\*\Z)[!\x22$-~]*")
# Which header fields say how long a message is, or what the connection becomes: those are ours.
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"expect", b"te", b"trailer"})
# The end of a head; a bare LF is let through to the head's reader, which says what is wrong with it.
_HEAD_END = pattern(rb"\n\r?\n")


class _State(Enum):
    IDLE = "idle"  # no request is under way
    HEAD = "head"
    SIZED = "sized"
    CHUNKED = "chunked"
    UNTIL_EOF = "until eof"  # also the other protocol, after a 101
    OVER = "over"  # no other request may follow


class Http1Client:
    """One connection, one request at a time.

    `receive` and `eof` never raise on what the server sends: its faults end their lists with Malformed, whose status
    is always 502.  Interim responses are skipped.
    """

    __slots__ = (
        "_buffer",
        "_chunks",
        "_head_left",
        "_keep_alive",
        "_left",
        "_limit",
        "_method",
        "_scanned",
        "_state",
        "_upgrade",
    )

    def __init__(self, head_bytes: int = HEAD_BYTES) -> None:
        self._limit = head_bytes
        self._state = _State.IDLE
        self._buffer = b""
        self._chunks = BulkChunked()
        self._head_left = 0
        self._keep_alive = True
        self._left = 0
        self._method = "GET"
        self._scanned = 0
        self._upgrade = False

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent on this connection now."""
        return self._state is _State.IDLE

    def request(
        self, method: str, target: str, headers: Headers, body: bytes = b"", *, upgrade: bytes | None = None
    ) -> bytes:
        """The bytes of a request.  `headers` hold Host; the body's length is added.

        `upgrade` asks for another protocol, a token; after a 101 the chunks of the body are what is said in that one.
        Raises MisuseError while a request is under way, and ValueError for whatever could not be sent as it is, or
        would change the framing; its text names the header but never shows a value, which may be a secret.
        """
        if self._state is not _State.IDLE:
            raise MisuseError("this connection cannot take a request now")
        line = method.encode("utf-8", "surrogatepass"), target.encode("utf-8", "surrogatepass")
        if not TOKEN.fullmatch(line[0]) or method == "CONNECT":
            raise ValueError(f"{method!r} is not a method that can be sent")
        if not _TARGET.fullmatch(line[1]):
            raise ValueError("the request target holds characters that have to be percent-encoded")
        pieces = [b"%s %s HTTP/1.1\r\n" % line]
        for name, value in headers:
            if not TOKEN.fullmatch(name) or name.lower() in _FRAMING:
                raise ValueError(f"{name!r} is not a header that can be set")
            if not FIELD_VALUE.fullmatch(value):
                raise ValueError(f"the value of the header {name.decode()} holds a control character")
            pieces.append(b"%s: %s\r\n" % (name, value))
        if body or method not in {"GET", "HEAD", "DELETE", "OPTIONS"}:  # RFC 9110, 8.6
            pieces.append(b"content-length: %d\r\n" % len(body))
        if upgrade is not None:
            pieces.append(b"connection: upgrade\r\nupgrade: %s\r\n" % upgrade)
        pieces.append(b"\r\n")
        pieces.append(body)
        self._state = _State.HEAD
        self._upgrade = upgrade is not None
        self._method = method
        self._head_left = self._limit
        self._scanned = 0
        return b"".join(pieces)

    def receive(self, data: bytes) -> list[ResponseEvent]:
        """The events that `data` completes."""
        if not data:
            return []
        match self._state:
            case _State.CHUNKED:
                return self._chunked(data)
            case _State.UNTIL_EOF:
                return [BodyChunk(data)]
            case _State.SIZED:
                return self._sized(data)
            case _State.HEAD:
                return self._head(data)
            case _State.IDLE:
                return [self._malformed("the server sent something that nobody asked for")]
            case _State.OVER:
                return []

    @property
    def chunk(self) -> Callable[[bytes], bytes | None] | None:
        """What reads the body that is under way as long as it comes chunk by chunk; None where it does not.

        It is given what `receive` would be given, and gives the part of the body that this is; or None, where it is not
        one chunk and no more: then it has read nothing, and `receive` does.
        """
        return self._chunks.one if self._state is _State.CHUNKED else None

    @property
    def between_chunks(self) -> bool:
        """Whether a body is under way, and the next byte begins a chunk of it."""
        return self._state is _State.CHUNKED and self._chunks.between

    def eof(self) -> list[ResponseEvent]:
        """The server will send nothing more.  Empty where that is in order; BodyEnd where it ends a body."""
        state = self._state
        self._state = _State.OVER
        match state:
            case _State.HEAD:
                where = "in the middle of the response head" if self._buffer else "before the response"
                return [self._malformed(f"the server closed the connection {where}")]
            case _State.SIZED | _State.CHUNKED:
                return [self._malformed("the server closed the connection in the middle of the response body")]
            case _State.UNTIL_EOF:
                return [BodyEnd()]
            case _State.IDLE | _State.OVER:
                return []

    def _head(self, data: bytes) -> list[ResponseEvent]:
        buffer = self._buffer + data
        while True:
            # The end may straddle what was searched before by three bytes.
            match = _HEAD_END.search(buffer, max(0, self._scanned - 3))
            end = match.end() if match else 0
            if max(end, 0 if match else len(buffer)) > self._head_left:
                return [self._malformed(f"the response head is longer than {self._limit} bytes")]
            if not match:
                self._buffer = buffer
                self._scanned = len(buffer)
                return []
            head = read_response_head(buffer[:end], self._method, upgrade=self._upgrade)
            self._head_left -= end
            self._scanned = 0
            buffer = buffer[end:]
            if isinstance(head, Malformed):
                return [self._malformed(head.reason)]
            if head.status == 101:
                self._buffer = b""
                self._state = _State.UNTIL_EOF
                return [head, *self.receive(buffer)]
            if head.status >= 200:
                self._buffer = b""
                return [head, *self._body(head, buffer)]

    def _body(self, head: ResponseHead, rest: bytes) -> list[ResponseEvent]:
        self._keep_alive = head.keep_alive
        if head.chunked:
            self._state = _State.CHUNKED
            self._chunks = BulkChunked()
        elif head.content_length is None:
            self._state = _State.UNTIL_EOF
        else:
            self._state = _State.SIZED
            self._left = head.content_length
            return self._sized(rest)
        return self.receive(rest)

    def _sized(self, data: bytes) -> list[ResponseEvent]:
        left = self._left
        piece, rest = (data, b"") if len(data) <= left else (data[:left], data[left:])
        events: list[ResponseEvent] = [BodyChunk(piece)] if piece else []
        self._left = left - len(piece)
        if self._left == 0:
            events += self._end(BodyEnd(), rest)
        return events

    def _chunked(self, data: bytes) -> list[ResponseEvent]:
        events: list[ResponseEvent] = []
        for event in self._chunks.receive(data):
            if isinstance(event, BodyEnd):
                events += self._end(event, self._chunks.rest)
            elif isinstance(event, Malformed):
                events.append(self._malformed(event.reason))
            else:
                events.append(event)
        return events

    def _end(self, end: BodyEnd, rest: bytes) -> list[ResponseEvent]:
        self._state = _State.IDLE if self._keep_alive else _State.OVER
        return [end, *self.receive(rest)]  # what follows a response, nobody asked for (RFC 9112, 9.2)

    def _malformed(self, reason: str) -> Malformed:
        self._state = _State.OVER
        self._buffer = b""
        return Malformed(502, reason)
