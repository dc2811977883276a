"""Heads of messages: bytes up to and with the empty line in, RequestHead or ResponseHead out.

The only file that imports h11.  h11 reads every head once, behind a guard of our own (`grammar`) and before checks of
our own, since it lets through much that RFC 9112 forbids (see `_request_faults`).  Nothing here raises on what a peer
sends: a head that is not good is `Malformed`.
"""

from __future__ import annotations

from re import search

from h11 import CLIENT, SERVER, Connection, InformationalResponse, RemoteProtocolError, Request, Response

from ..model.http import Malformed, RequestHead, ResponseHead
from .grammar import AUTHORITY, CONTENT_LENGTH, PATH_FAULT, field_line, request_line, tokens, whole_head

__all__ = ["HeadScanner", "read_request_head", "read_response_head", "request_head"]

Line = tuple[bytes, bytes]

_METHODS = {b"GET": "GET", b"POST": "POST"}
"""The usual ones, so that each head need not keep its own copy."""
_BARE_CR = "a line holds a CR that does not end it"
_ONE_WAY = 2**63  # for h11's own limit on incomplete heads: ours are checked before it sees the head


class HeadScanner:
    """Checks a head line by line while it arrives, so that the verdict never depends on how its bytes were cut.

    `head_bytes` is the limit of the whole head, `line_bytes` that of the first line (never more than the head's),
    `header_count` that of the lines after it.  Once the head is complete, `start` is what stands in the first line,
    `fields` in the others.
    """

    __slots__ = ("_limits", "_line", "fields", "start")

    def __init__(self, head_bytes: int, line_bytes: int, header_count: int) -> None:
        self._limits = (head_bytes, min(line_bytes, head_bytes), header_count)
        self.start: tuple[bytes, bytes, bytes] | None = None
        self.fields: list[Line] = []
        self._line = 0

    def scan(self, buffer: bytes | bytearray) -> int | Malformed:
        """Check the lines that have come since the last call.

        Returns the length of the head once it is complete, 0 while it is not.  `buffer` begins with the head.
        """
        head_bytes, line_bytes, header_count = self._limits
        begin = self._line
        if not begin and (end := buffer.find(b"\r\n\r\n") + 4) > 3:  # it came in one piece, as most do
            found = whole_head(bytes(buffer[:end])) if end <= head_bytes else None
            if found is not None and len(found[1]) <= header_count and buffer.find(b"\n", 0, line_bytes) >= 0:
                self.start, self.fields = found
                return end
        fields = self.fields
        while (end := buffer.find(b"\n", begin) + 1) > 0:
            line = bytes(buffer[begin:end])
            if self.start is None:
                if end > line_bytes:
                    return _too_long(buffer, begin, line_bytes, 414, "request line")
                first = request_line(line)
                if isinstance(first, Malformed):
                    return first
                self.start = first
            elif end > head_bytes:
                return _too_long(buffer, begin, head_bytes, 431, "head")
            elif line == b"\r\n":
                return end
            else:
                field = field_line(line)
                if isinstance(field, Malformed):
                    return field
                fields.append(field)
                if len(fields) > header_count:
                    return Malformed(431, f"there are more than {header_count} header lines")
            begin = end
        self._line = begin
        return self._unfinished(buffer, begin)

    def _unfinished(self, buffer: bytes | bytearray, begin: int) -> int | Malformed:
        head_bytes, line_bytes, _ = self._limits
        if self.start is None and len(buffer) > line_bytes:
            return _too_long(buffer, begin, line_bytes, 414, "request line")
        if len(buffer) > head_bytes:
            return _too_long(buffer, begin, head_bytes, 431, "head")
        if -1 < buffer.find(b"\r", begin) < len(buffer) - 1:
            return Malformed(400, _BARE_CR)
        return 0


def _too_long(buffer: bytes | bytearray, begin: int, limit: int, status: int, what: str) -> Malformed:
    """For a line that goes over `limit`: the fault that would have been found first, had it come byte by byte."""
    cr = buffer.find(b"\r", begin, limit)
    if cr >= 0 and buffer[cr + 1 : cr + 2] != b"\n":
        return Malformed(400, _BARE_CR)
    return Malformed(status, f"the {what} is longer than {limit} bytes")


def request_head(start: tuple[bytes, bytes, bytes], fields: list[Line], raw: bytes) -> RequestHead | Malformed:
    """What `HeadScanner` found, as a head; `raw` are the bytes of the whole head."""
    connection = Connection(SERVER, max_incomplete_event_size=_ONE_WAY)
    connection.receive_data(raw)
    try:
        event = connection.next_event()
    except RemoteProtocolError as error:
        # Our own checks speak first where they know more: their sentences name the rule.
        return _request_faults(start, fields, _joined(fields)) or Malformed(error.error_status_hint, str(error))
    if not isinstance(event, Request):
        return Malformed(400, "the head is not complete")
    by_name = _joined(fields)
    if fault := _request_faults(start, fields, by_name):
        return fault
    method = _METHODS.get(start[0]) or start[0].decode("ascii")
    target = start[1].decode("ascii")
    version = "1.1" if start[2] == b"1.1" else start[2].decode("ascii")
    path, _, query = _without_authority(target).partition("#")[0].partition("?")
    length = by_name.get(b"content-length")
    expectation = by_name.get(b"expect")
    return RequestHead(
        method=method,
        target=target,
        path=path,
        query=query,
        version=version,
        headers=() if len(by_name) == len(fields) else tuple(fields),
        fields=by_name,
        content_length=None if length is None else int(length),
        chunked=b"transfer-encoding" in by_name,
        # RFC 9112, 9.3: a server may grant `keep-alive` to HTTP/1.0, if it wishes to.  It is not granted: nothing in
        # use needs it, and a proxy in between that does not know it waits for an end that does not come (C.2.2).
        # What follows a CONNECT may be meant for the tunnel: it is never read as a request.
        keep_alive=version == "1.1" and method != "CONNECT" and b"close" not in tokens(by_name.get(b"connection")),
        expects_continue=expectation is not None and version == "1.1",
    )


def _request_faults(
    start: tuple[bytes, bytes, bytes], fields: list[Line], by_name: dict[bytes, bytes]
) -> Malformed | None:
    """What RFC 9110 and 9112 forbid and h11 lets through, or says less clearly."""
    method, target, version = start
    host = by_name.get(b"host")
    if host is None and version == b"1.1":  # RFC 9112, 3.2
        return Malformed(400, "there has to be a Host header")
    if len(by_name) != len(fields) and (fault := _repeated(fields)):
        return Malformed(400, fault)
    if host is not None and not AUTHORITY.fullmatch(host):
        return Malformed(400, "the Host header is not `host` or `host:port`")
    if fault := _target_fault(method, target, host):
        return Malformed(400, fault)
    length, coding = by_name.get(b"content-length"), by_name.get(b"transfer-encoding")
    if length is not None:
        if not CONTENT_LENGTH.fullmatch(length):
            return Malformed(400, "Content-Length has to be one decimal number")
        if coding is not None:  # RFC 9112, 6.3, item 3: ought to be handled as an error
            return Malformed(400, "Content-Length and Transfer-Encoding exclude each other")
    if coding is not None:
        if version == b"1.0":  # RFC 9112, 6.1
            return Malformed(400, "HTTP/1.0 has no Transfer-Encoding")
        if coding.lower() != b"chunked":
            # RFC 9112, 6.1 and 6.3: an unknown coding below `chunked` is 501, anything whose end cannot be told is 400
            codings = tokens(coding)
            unknown = codings[-1:] == [b"chunked"] and codings.count(b"chunked") == 1
            return Malformed(501 if unknown else 400, "the only Transfer-Encoding served is `chunked`")
    for name in _MISTAKABLE:
        if name in by_name:
            return Malformed(400, f"the header name {name.decode('ascii')} is not acceptable")
    expectation = by_name.get(b"expect")
    if expectation is not None and expectation.lower() != b"100-continue" and version == b"1.1":  # RFC 9110, 10.1.1
        return Malformed(417, "the only expectation served is `100-continue`")
    return None


# A proxy that turns `_` into `-` would make a second one of the header that frames the message.
_MISTAKABLE = (b"content_length", b"transfer_encoding")


def _repeated(fields: list[Line]) -> str | None:
    """RFC 9112, 3.2 and 6.3, item 5, RFC 9110, 5.3: what must not come twice, not even with the same value.

    Of two, some readers take the first and some the last: of Content-Type and Authorization (RFC 9110, 8.3 and 11.6.2)
    as of those that frame the message.
    """
    names = [name for name, _ in fields]
    for name in (b"host", b"content-length", b"transfer-encoding", b"authorization", b"content-type"):
        if names.count(name) > 1:
            return f"there is more than one {name.decode('ascii').title()} header"
    return None


def _target_fault(method: bytes, target: bytes, host: bytes | None) -> str | None:
    """RFC 9112, 3.2: which form of target goes with which method, and with which Host."""
    if method == b"CONNECT":
        return None if AUTHORITY.fullmatch(target) and b":" in target else "CONNECT takes `host:port`"
    if target == b"*":
        return None if method == b"OPTIONS" else "only OPTIONS takes the target `*`"
    if (b"%" in target or b"\\" in target) and search(PATH_FAULT, target.partition(b"#")[0].partition(b"?")[0]):
        return "the path in the request target holds a backslash or an encoded control character"
    if target.startswith(b"/"):
        return None
    scheme, colon, rest = target.partition(b"://")
    if colon and scheme.lower() in {b"http", b"https"}:
        authority = rest.partition(b"/")[0].partition(b"?")[0]
        if not AUTHORITY.fullmatch(authority):
            return "the authority in the target is not `host` or `host:port`"
        port = b":443" if scheme.lower() == b"https" else b":80"
        if host is not None and _without_port(authority, port) != _without_port(host, port):
            return "the request target and the Host header name different hosts"  # and readers differ on which counts
        return None
    return "the request target does not begin with `/`"


def _without_port(authority: bytes, port: bytes) -> bytes:
    return authority.lower().removesuffix(port).removesuffix(b":")


def _without_authority(target: str) -> str:
    if target.startswith("/") or "://" not in target:
        return target
    rest = target.partition("://")[2]
    authority = rest.partition("/")[0].partition("?")[0]
    return rest[len(authority) :] if rest[len(authority) :].startswith("/") else "/" + rest[len(authority) :]


def _joined(fields: list[Line]) -> dict[bytes, bytes]:
    """Name to value; the values of repeated lines joined by a comma (RFC 9110, 5.3)."""
    by_name = dict(fields)
    if len(by_name) != len(fields):
        by_name = {}
        for name, value in fields:
            by_name[name] = by_name[name] + b", " + value if name in by_name else value
    return by_name


def read_request_head(
    raw: bytes, *, head_bytes: int = 32_768, line_bytes: int = 16_384, header_count: int = 100
) -> RequestHead | Malformed:
    """A whole request head, from the request line through the empty line."""
    scanner = HeadScanner(head_bytes, line_bytes, header_count)
    end = scanner.scan(raw)
    if isinstance(end, Malformed):
        return end
    if end != len(raw) or scanner.start is None:
        return Malformed(400, "the head is not complete")
    return request_head(scanner.start, scanner.fields, raw)


def read_response_head(raw: bytes, request_method: str, *, upgrade: bool = False) -> ResponseHead | Malformed:
    """A whole response head, from the status line through the empty line; interim (1xx) heads too.

    `request_method` decides about the body (RFC 9112, 6.3), `upgrade`, whether the request asked for one, about 101.
    The status of a Malformed is always 502.
    """
    connection = Connection(CLIENT, max_incomplete_event_size=_ONE_WAY)
    asked = [("Connection", "upgrade"), ("Upgrade", "any")] if upgrade else []
    connection.send(Request(method=request_method, target="/", headers=[("Host", "upstream"), *asked]))
    connection.receive_data(raw)
    try:
        event = connection.next_event()
    except RemoteProtocolError as error:
        return Malformed(502, str(error))
    if not isinstance(event, Response | InformationalResponse):
        return Malformed(502, "the response head is not complete")
    fields = [(bytes(name), bytes(value)) for name, value in event.headers]
    by_name = _joined(fields)
    length, coding = by_name.get(b"content-length"), by_name.get(b"transfer-encoding")
    if coding is not None and coding.lower() != b"chunked":
        return Malformed(502, "the only Transfer-Encoding understood is `chunked`")
    if length is not None and not CONTENT_LENGTH.fullmatch(length):
        return Malformed(502, "Content-Length has to be one decimal number")
    bodiless = request_method == "HEAD" or event.status_code in {204, 304} or event.status_code < 200
    keep_alive = event.http_version == b"1.1" and b"close" not in tokens(by_name.get(b"connection"))
    return ResponseHead(
        status=event.status_code,
        headers=tuple(fields),
        fields=by_name,
        content_length=0 if bodiless else None if length is None or coding is not None else int(length),
        chunked=coding is not None and not bodiless,
        # Both framings at once: the body is read as chunked, the connection is not used again (RFC 9112, 6.3, item 3).
        keep_alive=keep_alive and (length is None or coding is None),
    )
