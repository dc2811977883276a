"""What the first bytes of a request head say about the protocol a peer speaks."""

from __future__ import annotations

from ..records import Enum
from .grammar import METHOD_BYTES, TOKEN

__all__ = ["Sniffed", "sniff"]

# RFC 9113, 3.4.
_HTTP2_PREFACE = b"PRI * HTTP/2"


class Sniffed(Enum):
    """The verdict on the bytes so far."""

    MORE = "more bytes are needed"
    HTTP1 = "a request line of HTTP/1"
    HTTP2 = "the preface of HTTP/2"
    TLS = "a TLS handshake"
    OTHER = "no HTTP"


def sniff(prefix: bytes | bytearray) -> Sniffed:
    """Decide by a prefix of the input; more input never changes a verdict other than MORE."""
    if not prefix:
        return Sniffed.MORE
    if prefix[0] == 0x16:  # RFC 8446, 5.1: the content type `handshake`
        return Sniffed.TLS
    method, space, _ = bytes(prefix[: METHOD_BYTES + 1]).partition(b" ")
    if not TOKEN.fullmatch(method) or (not space and len(prefix) > METHOD_BYTES):
        return Sniffed.OTHER
    if not space:
        return Sniffed.MORE
    if method == b"PRI":
        beginning = prefix[: len(_HTTP2_PREFACE)]
        if beginning == _HTTP2_PREFACE:
            return Sniffed.HTTP2
        if _HTTP2_PREFACE.startswith(beginning):
            return Sniffed.MORE
    return Sniffed.HTTP1
