"""The grammar of HTTP/1.1 messages: one compiled expression for each element, its RFC clause above it.

Stricter than a recipient has to be: everything that RFC 9112 lets a recipient repair (bare LF, white space around the
request line, folded lines) is refused, because intermediaries repair it in different ways.
"""

from __future__ import annotations

from re import compile as pattern
from re import fullmatch

from ..model.http import Malformed

__all__ = [
    "AUTHORITY",
    "CHUNK_LINE",
    "CONTENT_LENGTH",
    "FIELD_VALUE",
    "METHOD_BYTES",
    "PATH_FAULT",
    "REQUEST_ID",
    "TOKEN",
    "field_line",
    "line_fault",
    "request_line",
    "tokens",
    "whole_head",
]

# RFC 9110, 5.6.2: token
_TCHAR = rb"!#$%&'*+\-.^_`|~0-9A-Za-z"
TOKEN = pattern(rb"[" + _TCHAR + rb"]+")

# The longest registered method (UPDATEREDIRECTREF, 17) and some room: without a bound, garbage could pass for a method.
METHOD_BYTES = 24

# RFC 9112, 3: method SP request-target SP HTTP-version.  The target may hold every visible ASCII character: those that
# RFC 3986 does not allow (quotes, braces, a fragment) come from real clients and mean nothing to framing.
_TARGET = rb"[!-~]+"
_REQUEST_LINE = pattern(rb"([" + _TCHAR + rb"]{1,%d}) (" % METHOD_BYTES + _TARGET + rb") HTTP/(1\.[01])\r\n")
# Compiled when one comes.
_OTHER_VERSION = rb"[" + _TCHAR + rb"]{1,%d} [!-~]+ HTTP/[0-9]\.[0-9]\r\n" % METHOD_BYTES

# RFC 9112, 5 and RFC 9110, 5.5: field-name ":" OWS field-value OWS, without folding (5.2) and without controls.
_FIELD_LINE = pattern(rb"([" + _TCHAR + rb"]+):([\t\x20-\x7e\x80-\xff]*)\r\n")
_HEADER_SECTION = pattern(rb"(?:[" + _TCHAR + rb"]+:[\t\x20-\x7e\x80-\xff]*\r\n)*+\r\n")
FIELD_VALUE = pattern(rb"[\t\x20-\x7e\x80-\xff]*")

# RFC 9110, 8.6: 1*DIGIT.  18 digits stay below 2**63 everywhere.
CONTENT_LENGTH = pattern(rb"[0-9]{1,18}")

# What no client sends in a path and readers take in different ways: a backslash, which is a slash for some, and an
# encoded control character, which RFC 3986, 7.3, wants refused where no raw data is expected.
PATH_FAULT = rb"\\|%(?:[01][0-9A-Fa-f]|7[Ff])"

# RFC 3986, 3.2: host [ ":" port ], no user information; reg-name without the comma, which makes two hosts of one.
AUTHORITY = pattern(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%!$&'()*+;=-]+)(?::[0-9]{0,5})?")

# RFC 9112, 7.1.1: chunk-size [ chunk-ext ] CRLF, without the bad white space that 7.1.1 allows around `;` and `=`.
# 15 digits stay below 2**60.
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
# Left to be compiled when it is used: most bodies have a length.
CHUNK_LINE = rb"([0-9A-Fa-f]{1,15})(?:;[" + _TCHAR + rb"]+(?:=(?:[" + _TCHAR + rb"]+|" + _QUOTED + rb"))?)*\r\n"

# What we accept as an `x-request-id` of the client: it is echoed and logged.
REQUEST_ID = pattern(rb"[A-Za-z0-9._-]{1,128}")

# Names of fields that usual clients send: each connection keeps those of its last head, and shares these.
_KNOWN = {
    name: name
    for name in (
        b"host accept accept-encoding accept-language connection user-agent content-type content-length authorization "
        b"x-stainless-lang x-stainless-package-version x-stainless-os x-stainless-arch x-stainless-runtime "
        b"x-stainless-runtime-version x-stainless-async x-stainless-retry-count x-stainless-read-timeout "
        b"x-stainless-raw-response traceparent tracestate x-request-id idempotency-key cookie origin referer "
        b"sec-fetch-mode sec-fetch-site sec-fetch-dest x-forwarded-for x-forwarded-proto x-forwarded-host x-real-ip"
    ).split()
}


def whole_head(raw: bytes) -> tuple[tuple[bytes, bytes, bytes], list[tuple[bytes, bytes]]] | None:
    """The request line and the fields of a complete head, read in three steps instead of one for each line.

    None where a line is not good: reading line by line then tells which, and why.
    """
    start = _REQUEST_LINE.match(raw)
    if start is None or _HEADER_SECTION.fullmatch(raw, start.end()) is None:
        return None
    known = _KNOWN.get
    fields = []
    for name, value in _FIELD_LINE.findall(raw, start.end()):
        lower = name.lower()
        fields.append((known(lower, lower), value.strip(b" \t")))
    return (start[1], start[2], start[3]), fields


def line_fault(line: bytes) -> str | None:
    """What is wrong with the ends of a line that ends in LF, or None; of two faults the one that comes first."""
    cr = line.find(b"\r")
    if cr < 0:
        return "a line ends in LF without CR"
    return None if cr == len(line) - 2 else "a line holds a CR that does not end it"


def request_line(line: bytes) -> tuple[bytes, bytes, bytes] | Malformed:
    """(method, target, version) of a line with its CRLF."""
    match = _REQUEST_LINE.fullmatch(line)
    if match is not None:
        return match[1], match[2], match[3]
    if fault := line_fault(line):
        return Malformed(400, fault)
    if fullmatch(_OTHER_VERSION, line):
        return Malformed(505, "only HTTP/1.1 and HTTP/1.0 are served")
    return Malformed(400, "the request line is not `method target HTTP/1.1`")


def field_line(line: bytes) -> tuple[bytes, bytes] | Malformed:
    """(name in lower case, value without surrounding white space) of a line with its CRLF."""
    match = _FIELD_LINE.fullmatch(line)
    if match is not None:
        return match[1].lower(), match[2].strip(b" \t")
    if fault := line_fault(line):
        return Malformed(400, fault)
    if line[:1] in {b" ", b"\t"}:
        return Malformed(400, "a header line begins with white space")
    name, colon, _ = line.partition(b":")
    if not colon or not TOKEN.fullmatch(name):
        return Malformed(400, "a header line is not `name: value`")
    return Malformed(400, "a header value holds a control character")


def tokens(value: bytes | None) -> list[bytes]:
    """The elements of a comma-separated list of tokens, in lower case (RFC 9110, 5.6.1)."""
    if not value:
        return []
    return [element for part in value.lower().split(b",") if (element := part.strip(b" \t"))]
