"""HTTP/1.1 messages as events (RFC 9112)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..records import NamedTuple

__all__ = [
    "NO_ANSWER",
    "REASONS",
    "BodyChunk",
    "BodyEnd",
    "BodyEvent",
    "Headers",
    "Malformed",
    "Peer",
    "RequestHead",
    "ResponseHead",
]

NO_ANSWER = 0
"""In place of a status: the peer does not speak HTTP, and would understand no answer."""

REASONS = {
    100: "Continue", 101: "Switching Protocols", 102: "Processing", 103: "Early Hints",
    200: "OK", 201: "Created", 202: "Accepted", 203: "Non-Authoritative Information", 204: "No Content",
    205: "Reset Content", 206: "Partial Content", 207: "Multi-Status", 208: "Already Reported", 226: "IM Used",
    300: "Multiple Choices", 301: "Moved Permanently", 302: "Found", 303: "See Other", 304: "Not Modified",
    305: "Use Proxy", 307: "Temporary Redirect", 308: "Permanent Redirect",
    400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 406: "Not Acceptable", 407: "Proxy Authentication Required", 408: "Request Timeout",
    409: "Conflict", 410: "Gone", 411: "Length Required", 412: "Precondition Failed", 413: "Content Too Large",
    414: "URI Too Long", 415: "Unsupported Media Type", 416: "Range Not Satisfiable", 417: "Expectation Failed",
    418: "I'm a Teapot", 421: "Misdirected Request", 422: "Unprocessable Content", 423: "Locked",
    424: "Failed Dependency", 425: "Too Early", 426: "Upgrade Required", 428: "Precondition Required",
    429: "Too Many Requests", 431: "Request Header Fields Too Large", 451: "Unavailable For Legal Reasons",
    500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Gateway Timeout", 505: "HTTP Version Not Supported", 506: "Variant Also Negotiates",
    507: "Insufficient Storage", 508: "Loop Detected", 510: "Not Extended", 511: "Network Authentication Required",
}  # fmt: skip
"""Statuses and their reason phrases (RFC 9110, section 15, and IANA's registry).  `http.HTTPStatus` knows them too, and
costs the start a millisecond."""

Headers = tuple[tuple[bytes, bytes], ...]
"""Field lines in the order of the wire; names in lower case, values without surrounding white space."""


class RequestHead:  # noqa: PLW1641 - no hash, since a mapping is part of it
    """A request line and its header section, accepted and checked.  Nobody changes it but for `known`.

    `target` is the request target as sent (ASCII); `path` and `query` are its parts, still percent-encoded (of an
    absolute-form target, the parts after the authority).  `fields` maps each name to its value, values of repeated
    lines joined by `, ` (RFC 9110, section 5.3); where no name comes twice, `headers` may be left out.
    `content_length` is None where none was given; then `chunked` tells whether a body follows.  `keep_alive`: the
    client allows another request on this connection.

    Clients repeat themselves, and what is known of a head holds for the next.  Who reads it may leave in `known`, where
    that is not None, under itself, what it made of the method, the target, and which fields there are; not of the
    values of fields, but for those of Connection and Upgrade.  It is no part of the head: heads are equal without it.
    """

    # No named tuple: the members are read a dozen times for each request, and a slot costs a tenth.
    __slots__ = (
        "_lines", "chunked", "content_length", "expects_continue", "fields", "keep_alive", "known", "method", "path",
        "query", "target", "version",
    )  # fmt: skip

    def __init__(
        self,
        *,
        method: str,
        target: str,
        path: str,
        query: str,
        version: str,
        headers: Headers = (),
        fields: Mapping[bytes, bytes],
        content_length: int | None,
        chunked: bool,
        keep_alive: bool,
        expects_continue: bool,
    ) -> None:
        self.method = method
        self.target = target
        self.path = path
        self.query = query
        self.version = version
        # Mostly they are the same as `fields`: a stream, which keeps its head to its end, has a KiB less to hold.
        self._lines = headers if len(headers) != len(fields) else ()
        self.fields = fields
        self.content_length = content_length
        self.chunked = chunked
        self.keep_alive = keep_alive
        self.expects_continue = expects_continue
        self.known: dict[object, Any] | None = None

    @property
    def headers(self) -> Headers:
        """The header lines as they came; made anew each time."""
        return self._lines or tuple(self.fields.items())

    def alike(self, values: Mapping[bytes, bytes], content_length: int | None) -> RequestHead:
        """The same head with other values of fields that do not frame the message; what is known of it stays.

        `values` by name, none of them one that comes twice.
        """
        other = RequestHead.__new__(RequestHead)
        other.method = self.method
        other.target = self.target
        other.path = self.path
        other.query = self.query
        other.version = self.version
        other._lines = self._lines and tuple((name, values.get(name, value)) for name, value in self._lines)
        other.fields = {**self.fields, **values}
        other.content_length = content_length
        other.chunked = self.chunked
        other.keep_alive = self.keep_alive
        other.expects_continue = self.expects_continue
        other.known = self.known
        return other

    def fold(self) -> None:
        """Hold the fields in half of the memory, until somebody asks for one: of a stream mostly nobody does."""
        if self.known is None and not self._lines:
            _fields.__set__(self, b"\n".join([b"%b:%b" % field for field in self.fields.items()]))
            self.__class__ = _Folded

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RequestHead) and self._members() == other._members()

    def __repr__(self) -> str:
        return f"RequestHead{self._members()}"

    def _members(self) -> tuple[object, ...]:
        return self.headers, *(getattr(self, name) for name in self.__slots__ if name not in {"known", "_lines"})


_fields: Any = RequestHead.fields  # type: ignore[misc]  # the slot, which mypy takes for a member of instances


class _Folded(RequestHead):
    """A head whose slot holds its fields in one piece; it becomes a plain one when they are asked for."""

    __slots__ = ()

    @property
    def fields(self) -> Mapping[bytes, bytes]:  # type: ignore[override]  # of a plain one, nobody but this sets it
        lines = _fields.__get__(self).split(b"\n")
        fields = {name: value for name, _, value in (line.partition(b":") for line in lines if line)}
        self.__class__ = RequestHead  # type: ignore[assignment]  # mypy holds that a class stays what it was
        _fields.__set__(self, fields)
        return fields


class ResponseHead(NamedTuple):
    """A status line and its header section, read as a client.

    `content_length` is None for a body that is chunked or ends with the connection.
    """

    status: int
    headers: Headers
    fields: Mapping[bytes, bytes]
    content_length: int | None
    chunked: bool
    keep_alive: bool


class BodyChunk(NamedTuple):
    """A piece of a body, as it came off the wire; never empty."""

    data: bytes


class BodyEnd(NamedTuple):
    """The body is complete.  Follows every head, also of messages without a body."""

    trailers: Headers = ()


class Malformed(NamedTuple):
    """The peer broke the protocol.  Always the last event.

    `status` is the answer it deserves, or NO_ANSWER; `reason` a sentence.
    """

    status: int
    reason: str


BodyEvent = BodyChunk | BodyEnd | Malformed


class Peer(NamedTuple):
    """Who is at the other end: `host` is an IP address, or empty on a unix socket; `port` 0 there.

    Behind a trusted proxy it is the client that the proxy speaks for: never `local`, without a port, and `tls` as the
    client speaks to the proxy.  `authority` then is the host that the client asked for, where the proxy tells.
    """

    host: str
    port: int
    local: bool
    """Whether the peer is on this machine: a loopback address or a unix socket."""
    tls: bool = False
    authority: bytes = b""
    certificate: str = ""
    """The subject of the client certificate, verified, as `CN=alice,O=Example`; empty where none was shown."""
