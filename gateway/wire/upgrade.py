"""The opening handshake of a WebSocket, read and answered as a server (RFC 6455, section 4.2), without I/O.

The head has been read as HTTP before; the bytes after it belong to `websocket`.
"""

from __future__ import annotations

from base64 import b64encode
from re import finditer, fullmatch
from typing import TypeAlias

from ..errors import MisuseError, RequestError
from ..model.http import RequestHead
from .grammar import TOKEN, tokens

__all__ = ["Offer", "accept", "accept_token", "is_websocket", "offers"]

Offer: TypeAlias = tuple[bytes, list[tuple[bytes, bytes | None]]]
"""The name of an extension and its parameters, in order; None where a parameter has no value."""

# Patterns are left to be compiled when they are used.
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_KEY = rb"[A-Za-z0-9+/]{22}=="  # RFC 6455, section 4.1: the base64 form of 16 bytes
_VERSION = rb"[0-9]{1,3}"  # RFC 6455, section 4.3: version = DIGIT | (NZDIGIT DIGIT) | ...

# RFC 6455, 9.1: extension-param = token [ "=" (token | quoted-string) ], what is quoted being a token as well.  White
# space as in RFC 2616, 2.1, which the section builds on, and empty list elements as there; but not nothing else.
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED = rb'"(?:\\?[!#$%&\'*+\-.^_`|~0-9A-Za-z])++"'
_PARAMETER = rb"[ \t]*;[ \t]*(" + _TOKEN + rb")(?:[ \t]*=[ \t]*(" + _TOKEN + rb"|" + _QUOTED + rb"))?"
_EXTENSION = rb"(" + _TOKEN + rb")((?:" + _PARAMETER + rb")*+)"
_LIST = rb"[ \t,]*+" + _EXTENSION + rb"(?:[ \t]*,[ \t,]*+" + _EXTENSION + rb")*+[ \t,]*+"

# RFC 9110, 15.5.22 and RFC 6455, 4.4: what a 426 has to name.
_UPGRADE = ((b"upgrade", b"websocket"), (b"connection", b"upgrade"), (b"sec-websocket-version", b"13"))


def is_websocket(head: RequestHead) -> bool:
    """Whether the request asks to become a WebSocket, well or badly: `accept` finds out which."""
    fields = head.fields
    return b"websocket" in tokens(fields.get(b"upgrade")) and b"upgrade" in tokens(fields.get(b"connection"))


def accept(head: RequestHead, subprotocol: str | None = None, extensions: bytes | None = None) -> bytes:
    """The complete 101 response.

    `subprotocol` must be one that the client offered, else MisuseError; `extensions` is what was taken of its `offers`.
    Raises RequestError for a handshake that is not a good one: 405 for another method than GET, 426 for a request
    without upgrade or for another version than 13, 400 for the rest.
    """
    fields = head.fields
    if not is_websocket(head):
        raise RequestError(
            426, "this is a WebSocket endpoint: send `Upgrade: websocket` and `Connection: Upgrade`", headers=_UPGRADE
        )
    if head.method != "GET":
        raise RequestError(405, "a WebSocket handshake is a GET request", headers=((b"allow", b"GET"),))
    if head.version != "1.1":
        raise RequestError(400, "a WebSocket handshake takes HTTP/1.1")
    if head.content_length or head.chunked:
        # What follows the head would be read as frames by us and as a body by a proxy.
        raise RequestError(400, "a WebSocket handshake has no body")
    version = fields.get(b"sec-websocket-version", b"")
    if version != b"13":
        if version and not fullmatch(_VERSION, version):
            raise RequestError(400, "Sec-WebSocket-Version has to be given once, as a number")
        raise RequestError(
            426, "the WebSocket version served is 13: send `Sec-WebSocket-Version: 13`", headers=_UPGRADE
        )
    key = fields.get(b"sec-websocket-key", b"")
    if not fullmatch(_KEY, key):
        raise RequestError(400, "Sec-WebSocket-Key has to be given once, as the base64 form of 16 bytes")
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + accept_token(key),
    ]
    subprotocols = _subprotocols(fields.get(b"sec-websocket-protocol"))
    if subprotocol is not None:
        if subprotocol not in subprotocols:
            raise MisuseError(f"the client did not offer the subprotocol {subprotocol!r}")
        lines.append(b"Sec-WebSocket-Protocol: " + subprotocol.encode())
    if extensions is not None:
        lines.append(b"Sec-WebSocket-Extensions: " + extensions)
    elif b"sec-websocket-extensions" in fields:
        offers(fields[b"sec-websocket-extensions"])  # of no interest, but RFC 6455, 9.1 lets no bad list pass
    return b"\r\n".join((*lines, b"", b""))


def offers(value: bytes) -> list[Offer]:
    """The extensions in the value of Sec-WebSocket-Extensions.  Raises RequestError 400 where it breaks the grammar."""
    if fullmatch(_LIST, value) is None:
        raise RequestError(400, "Sec-WebSocket-Extensions is not a list of `name; parameter=value`")
    found: list[Offer] = []
    for extension in finditer(_EXTENSION, value):
        parameters = [
            (parameter[1], parameter[2] and parameter[2].strip(b'"').replace(b"\\", b""))
            for parameter in finditer(_PARAMETER, extension[2])
        ]
        found.append((extension[1], parameters))
    return found


def _subprotocols(value: bytes | None) -> list[str]:
    """RFC 6455, 4.1, item 10: tokens, none of them twice."""
    if value is None:
        return []
    names = [name for part in value.split(b",") if (name := part.strip(b" \t"))]
    if not names or len(set(names)) < len(names) or not all(map(TOKEN.fullmatch, names)):
        raise RequestError(400, "Sec-WebSocket-Protocol is not a list of different tokens")
    return [name.decode("ascii") for name in names]


def accept_token(key: bytes) -> bytes:
    """The value of Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455, section 4.2.2, item 5.4)."""
    from hashlib import sha1  # noqa: PLC0415 - for WebSockets only: it costs the start 2 ms

    return b64encode(sha1(key + _GUID, usedforsecurity=False).digest())
