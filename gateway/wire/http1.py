"""The requests of one HTTP/1.1 connection, read as a server (RFC 9112), without I/O.

`receive` takes bytes as they come and gives events: RequestHead, BodyChunk.., BodyEnd, then nothing until `restart`
says that the next request may be read, or Malformed, and then nothing for ever.  It never raises on what a peer sends,
and its events do not depend on how the bytes were cut (but for the cuts between body chunks).
"""

from __future__ import annotations

from typing import TypeAlias

from ..errors import MisuseError
from ..model.http import NO_ANSWER, BodyChunk, BodyEnd, BodyEvent, Headers, Malformed, RequestHead
from ..records import Enum, NamedTuple
from .chunked import Chunked
from .heads import HeadScanner, request_head
from .repeats import Repeats
from .sniff import Sniffed, sniff

__all__ = ["Http1", "Http1Event", "Http1Limits"]

Http1Event: TypeAlias = RequestHead | BodyEvent

# RFC 9112, 2.2: a server should ignore at least one empty line before a request line; some old clients send one after
# a body.  More than two are somebody who plays with us.
LEADING_EMPTY_LINES = 2

_END = BodyEnd()
_NOT_HTTP1 = {
    Sniffed.HTTP2: Malformed(505, "HTTP/2 is not served here; use HTTP/1.1"),
    Sniffed.TLS: Malformed(NO_ANSWER, "a TLS handshake came to a port that speaks plain HTTP; use http:// or ws://"),
    Sniffed.OTHER: Malformed(400, "this port speaks HTTP/1.1, and something else came"),
}


class Http1Limits(NamedTuple):
    """Bounds of one head, in bytes and lines."""

    head_bytes: int = 32_768
    """The largest head of a real client, with a browser's cookies, stays below 16 KiB."""
    line_bytes: int = 16_384
    """The request line, never more than the head; RFC 9112, section 3, asks for at least 8,000."""
    header_count: int = 100
    """Browsers send about 20, SDKs about 17; each costs time to check."""


# RFC 9110, 6.5.1: what frames, routes, authenticates, modifies or describes the message has to stand in front of it.
_NO_TRAILERS = frozenset({
    b"transfer-encoding", b"content-length", b"trailer", b"te", b"connection", b"upgrade", b"expect",
    b"host", b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip",
    b"authorization", b"proxy-authorization", b"cookie", b"origin",
    b"cache-control", b"max-forwards", b"pragma", b"range", b"if-match", b"if-none-match", b"if-range",
    b"if-modified-since", b"if-unmodified-since",
    b"content-encoding", b"content-range",
})  # fmt: skip


def _trailer_fault(trailers: Headers) -> str | None:
    """Nothing here reads trailers; but who merges them into the header section would read another message."""
    for name, _ in trailers:
        if name in _NO_TRAILERS:
            return f"{name.decode('ascii').title()} must not be a trailer"
    return None


class _State(Enum):
    HEAD = "head"
    LENGTH = "length"
    CHUNKED = "chunked"
    COMPLETE = "complete"
    OVER = "over"


# Members of an Enum are looked up in Python up to 3.11, and named tuples are made in Python.
_HEAD = _State.HEAD
_COMPLETE = _State.COMPLETE
_new = tuple.__new__


class Http1:
    """Reads the requests of one connection, one at a time."""

    __slots__ = (
        "_again",
        "_chunked",
        "_keep_alive",
        "_left",
        "_limits",
        "_repeats",
        "_scanner",
        "_skipped",
        "_state",
        "complete",
        "pending",
    )

    def __init__(self, limits: Http1Limits) -> None:
        self._limits = limits
        self._state = _State.HEAD
        self.complete = False
        """The request has been read to its end."""
        self.pending: bytes | bytearray = b""
        """What came and is not yet part of an event: of an unfinished head, or of requests to come."""
        self._scanner: HeadScanner | None = None
        self._skipped = 0
        self._keep_alive = False
        self._again = False
        self._chunked: Chunked | None = None
        self._left = 0
        # It lives no longer than the connection, since a head holds secrets; `forget` ends it sooner.
        self._repeats: Repeats | None = None

    @property
    def buffered(self) -> int:
        """Bytes of `pending`."""
        return len(self.pending)

    @property
    def over(self) -> bool:
        """Nothing more will be read."""
        return self._state is _State.OVER

    @property
    def more(self) -> bool:
        """What came is not read to its end, since that is much work: `receive` is to be called again, with nothing."""
        return self._chunked is not None and self._chunked.more

    @property
    def remaining(self) -> int | None:
        """Bytes of body still to come; None where that is unknown (chunked)."""
        return None if self._state is _State.CHUNKED else self._left

    def forget(self) -> None:
        """Drop what is remembered of earlier heads."""
        self._repeats = None

    def detach(self) -> bytes:
        """What followed the request, for the protocol that takes over.  Nothing is read here from now on."""
        rest = bytes(self.pending)
        self._state = _State.OVER
        self.pending = b""
        self._chunked = None
        self._repeats = None
        return rest

    def restart(self) -> list[Http1Event]:
        """Go on with the next request; gives what is already there of it.  Raises MisuseError before BodyEnd."""
        if self._state is not _COMPLETE:
            raise MisuseError(f"restart in state {self._state.name}")
        self.complete = False
        if not self._keep_alive:
            self._state = _State.OVER
            self.pending = b""
            return []
        self._state = _HEAD
        self._again = True
        if not self.pending:
            return []
        data, self.pending = self.pending, b""
        return self.receive(bytes(data))

    def whole(self, data: bytes) -> tuple[RequestHead, bytes] | None:
        """The request that `data` is, no more and no less, and its body, where its head is alike to the one before.

        Else None: then nothing has happened, and `receive` reads it.
        """
        repeats = self._repeats
        if repeats is None or self.pending or self._state is not _HEAD:
            return None
        known = repeats.read(data, self._limits.head_bytes)
        if known is None:
            return None
        head, body = known
        if head.chunked or (head.content_length or 0) != len(body):
            return None
        self._skipped = 0
        self._keep_alive = head.keep_alive
        self._state = _COMPLETE
        self.complete = True
        return known

    def receive(self, data: bytes) -> list[Http1Event]:
        """The events that `data` completes."""
        state = self._state
        if state is _HEAD:
            repeats = self._repeats
            if repeats is not None and not self.pending:
                known = repeats.read(data, self._limits.head_bytes)
                if known is not None:
                    return self._begin(*known)
            return self._read_head(data)
        if state is _COMPLETE:
            self.pending = self.pending + data if self.pending else data
            return []
        return [] if state is _State.OVER else self._read_body(data)

    def _read_head(self, data: bytes) -> list[Http1Event]:
        if self.pending:
            buffer = self.pending if isinstance(self.pending, bytearray) else bytearray(self.pending)
            buffer += data
            self.pending = buffer
        else:
            self.pending = data
        if self._scanner is None:
            verdict = self._sniff()
            if verdict is Sniffed.MORE:
                return []
            if verdict is not Sniffed.HTTP1:
                return self._fail(_NOT_HTTP1[verdict])
            limits = self._limits
            self._scanner = HeadScanner(limits.head_bytes, limits.line_bytes, limits.header_count)
        end = self._scanner.scan(self.pending)
        if isinstance(end, Malformed):
            return self._fail(end)
        if not end:
            return []
        raw, rest = bytes(self.pending[:end]), bytes(self.pending[end:])
        start, fields = self._scanner.start, self._scanner.fields
        if start is None:
            raise MisuseError("a head without a request line")
        scanned = request_head(start, fields, raw)
        if isinstance(scanned, Malformed):
            return self._fail(scanned)
        if self._again:  # a client that sends a second request will send more; most send one and idle
            scanned.known = {}
            self._repeats = Repeats(raw, scanned, self._repeats)
        return self._begin(scanned, rest)

    def _sniff(self) -> Sniffed:
        while self.pending[:2] == b"\r\n" and self._skipped < LEADING_EMPTY_LINES:
            self.pending = self.pending[2:]
            self._skipped += 1
        if self.pending == b"\r" and self._skipped < LEADING_EMPTY_LINES:
            return Sniffed.MORE
        return sniff(self.pending)

    def _begin(self, head: RequestHead, rest: bytes) -> list[Http1Event]:
        self.pending = b""
        self._scanner = None
        self._skipped = 0
        self._keep_alive = head.keep_alive
        length = head.content_length
        if length and length == len(rest):  # all of it at once, as mostly
            self._state = _COMPLETE
            self.complete = True
            return [head, _new(BodyChunk, (rest,)), _END]
        events: list[Http1Event] = [head]
        if head.chunked:
            self._state = _State.CHUNKED
            self._chunked = Chunked()
        elif length:
            self._state = _State.LENGTH
            self._left = length
        else:
            self._state = _COMPLETE
            self.complete = True
            self.pending = rest
            events.append(_END)
            return events
        if rest:
            events += self._read_body(rest)
        return events

    def _read_body(self, data: bytes) -> list[Http1Event]:
        if self._chunked is not None:
            return self._read_chunked(self._chunked, data)
        left = self._left
        if len(data) < left:
            self._left = left - len(data)
            return [BodyChunk(data)] if data else []
        self._left = 0
        self._state = _COMPLETE
        self.complete = True
        self.pending = data[left:]
        return [BodyChunk(data[:left]), _END]

    def _read_chunked(self, chunked: Chunked, data: bytes) -> list[Http1Event]:
        events: list[Http1Event] = [*chunked.receive(data)]
        if events:
            match events[-1]:
                case BodyEnd(trailers) if fault := _trailer_fault(trailers):
                    self._chunked = None
                    events[-1:] = self._fail(Malformed(400, fault))
                case BodyEnd():
                    self._chunked = None
                    self._state = _COMPLETE
                    self.complete = True
                    self.pending = chunked.rest
                case Malformed():
                    self._chunked = None
                    self._state = _State.OVER
                case _:
                    pass
        return events

    def _fail(self, malformed: Malformed) -> list[Http1Event]:
        self._state = _State.OVER
        self.pending = b""
        self._scanner = None
        return [malformed]
