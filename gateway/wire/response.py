"""The answers of one HTTP/1.1 exchange, written as a server (RFC 9112), without I/O.

A writer of our own: h11's send side validates each header twice and costs twenty times as much for a chunk.  Tests read
its output back with h11 and with http.client.

    state     call       next
    NEW       interim    NEW
    NEW       whole      DONE
    NEW       upgrade    DONE
    NEW       head       LENGTH, CHUNKED, CLOSE (until the connection closes) or BODILESS
    LENGTH    data       LENGTH
    CHUNKED   data       CHUNKED
    CLOSE     data       CLOSE
    BODILESS  data       BODILESS (HEAD, 204, 304: the body is not sent)
    any but NEW and DONE   end   DONE

Every other call raises MisuseError, as does one that would break the framing: a body longer or shorter than its length,
a header or a status that cannot be sent.  A call that raises changes nothing.
"""

from __future__ import annotations

from functools import lru_cache

from ..errors import MisuseError
from ..model.http import REASONS, Headers
from ..records import Enum
from .grammar import FIELD_VALUE, TOKEN

__all__ = ["ResponseState", "ResponseWriter", "encode_headers"]


class ResponseState(Enum):
    NEW = "new"
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"
    BODILESS = "bodiless"
    DONE = "done"


# Members of an Enum are looked up in Python up to 3.11.
_NEW, _CHUNKED, _DONE = ResponseState.NEW, ResponseState.CHUNKED, ResponseState.DONE

_STATUS_LINES = {s: f"HTTP/1.1 {s} {reason}\r\n".encode() for s, reason in REASONS.items() if s >= 200}
# 101 is not among them: what follows it is another protocol.
_INTERIM = {s: f"HTTP/1.1 {s} {REASONS[s]}\r\n\r\n".encode() for s in (100, 102, 103)}


def _status_line(status: int) -> bytes:
    line = _STATUS_LINES.get(status)
    if line is None:
        raise MisuseError(f"not a final status of HTTP: {status}")
    return line


# The header sets of answers are few and constant; 256 leaves room for those with an Allow or a Retry-After.
@lru_cache(maxsize=256)
def encode_headers(headers: Headers) -> bytes:
    """Header lines as bytes.  Raises MisuseError for a name or a value that would break the framing."""
    for name, value in headers:
        if not TOKEN.fullmatch(name) or not FIELD_VALUE.fullmatch(value):
            raise MisuseError(f"not a header: {name!r}: {value!r}")
    return b"".join(b"%b: %b\r\n" % header for header in headers)


class ResponseWriter:
    """Formats one answer.

    `method` and `version` are those of the request.  `keep_alive` may be set to False until the head is written.
    """

    __slots__ = ("_left", "_method", "_version", "keep_alive", "state", "status")

    def __init__(self, method: str, version: str, *, keep_alive: bool) -> None:
        self._method = method
        self._version = version
        self._left = 0
        self.keep_alive = keep_alive
        self.state = _NEW
        self.status = 0

    def interim(self, status: int) -> bytes:
        """An interim answer (100).  Empty for HTTP/1.0, which has none (RFC 9110, 15.2)."""
        self._require(_NEW)
        line = _INTERIM.get(status)
        if line is None:
            raise MisuseError(f"not an interim status of HTTP: {status}")
        return line if self._version == "1.1" else b""

    def upgrade(self, answer: bytes) -> bytes:
        """`answer`, a complete 101, after which the connection speaks another protocol."""
        self._require(_NEW)
        self.status = 101
        self.state = _DONE
        return answer

    def head(self, status: int, common: bytes, headers: Headers, length: int | None) -> bytes:
        """The status line and the header section.

        `common` are encoded header lines; `length` is that of the body, None for a body that is written piece by piece.
        Where it raises MisuseError, nothing has changed: another head can still be written.
        """
        self._require(_NEW)
        line, fields = _status_line(status), encode_headers(headers)
        if length is not None and length < 0:
            raise MisuseError(f"not a length: {length}")
        self.status = status
        if status in {204, 304}:
            self.state = ResponseState.BODILESS
            framing = b""
        elif length is not None:
            self.state = ResponseState.BODILESS if self._method == "HEAD" else ResponseState.LENGTH
            self._left = length
            framing = b"content-length: %d\r\n" % length
        elif self._version == "1.1":
            self.state = ResponseState.BODILESS if self._method == "HEAD" else _CHUNKED
            framing = b"transfer-encoding: chunked\r\n"
        else:
            self.state = ResponseState.BODILESS if self._method == "HEAD" else ResponseState.CLOSE
            self.keep_alive = False
            framing = b""
        close = b"" if self.keep_alive else b"connection: close\r\n"
        return b"".join((line, common, fields, framing, close, b"\r\n"))

    def whole(self, status: int, common: bytes, headers: Headers, body: bytes) -> bytes:
        """`head`, `data` and `end` of an answer that is there in one piece."""
        if self.state is not _NEW or self._method == "HEAD" or status in {204, 304}:
            head = self.head(status, common, headers, len(body))
            return head + self.data(body) + self.end()
        line, fields = _STATUS_LINES.get(status) or _status_line(status), encode_headers(headers)
        self.status = status
        self.state = _DONE
        close = b"" if self.keep_alive else b"connection: close\r\n"
        return b"%b%b%bcontent-length: %d\r\n%b\r\n%b" % (line, common, fields, len(body), close, body)

    def data(self, data: bytes) -> bytes:
        """A piece of the body, framed."""
        if self.state is _CHUNKED:
            return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        match self.state:
            case ResponseState.LENGTH:
                left = self._left - len(data)
                if left < 0:
                    raise MisuseError("the body is longer than its Content-Length")
                self._left = left
                return data
            case ResponseState.CLOSE:
                return data
            case ResponseState.BODILESS:
                return b""
            case _:
                raise MisuseError(f"data in state {self.state.name}")

    def end(self) -> bytes:
        """The end of the body."""
        state = self.state
        if state is _NEW or state is _DONE:
            raise MisuseError(f"end in state {state.name}")
        if state is ResponseState.LENGTH and self._left:
            raise MisuseError("the body is shorter than its Content-Length")
        self.state = _DONE
        return b"0\r\n\r\n" if state is _CHUNKED else b""

    def _require(self, state: ResponseState) -> None:
        if self.state is not state:
            raise MisuseError(f"called in state {self.state.name}, not {state.name}")
