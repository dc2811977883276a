"""WebSocket extensions: what a client offers, and what of it is taken (RFC 6455, section 9.1; RFC 7692, section 7.1).

One is known, permessage-deflate.  Here it is agreed upon; `deflate` carries it out.
"""

from __future__ import annotations

from ..model.http import RequestHead
from ..records import NamedTuple
from .upgrade import offers

__all__ = ["Agreement", "Compression", "agree"]

_NAME = b"permessage-deflate"
_SERVER_ALONE = b"server_no_context_takeover"
_CLIENT_ALONE = b"client_no_context_takeover"
_SERVER_BITS = b"server_max_window_bits"
_CLIENT_BITS = b"client_max_window_bits"
_KNOWN = {_SERVER_ALONE, _CLIENT_ALONE, _SERVER_BITS, _CLIENT_BITS}
# RFC 7692, 7.1.2: a decimal integer between 8 and 15 without leading zeros.
_BITS: dict[bytes | None, int] = {b"%d" % bits: bits for bits in range(8, 16)}


class Compression(NamedTuple):
    """How messages are compressed, for peers that can do it too."""

    window_bits: int = 12
    """Windows of 4 KiB (9 to 15: 512 bytes to 32 KiB), ours and, where it lets us choose, the client's."""
    memory_level: int = 5
    """1 to 9.  With windows of 4 KiB, compressing takes 33 KiB and 5 us for a small message; with zlib's defaults it
    takes 268 KiB, and ten times as long to get hold of them."""
    level: int = 1
    """1 to 9.  The higher ones save 2 to 8 % on top, and take up to twice the time."""
    threshold: int = 128
    """Shorter messages are sent as they are: a packet is a packet."""
    takeover: bool = False
    """Whether each side remembers its window from one message to the next.  Messages that are alike shrink far more
    then, but every connection keeps 40 KiB or more, idle ones too, and what one message tells about the next (CRIME)
    reaches across messages."""


class Agreement(NamedTuple):
    """What permessage-deflate is to be on one connection."""

    compression: Compression
    server_takeover: bool
    client_takeover: bool
    server_bits: int
    client_bits: int
    answer: bytes
    """The value of Sec-WebSocket-Extensions that tells the client."""


def agree(head: RequestHead, compression: Compression | None) -> Agreement | None:
    """The first good offer of permessage-deflate, taken as a server; None where there is none, or nothing is wanted.

    Raises RequestError 400 for a list of offers that breaks the grammar, wanted or not.
    """
    value = head.fields.get(b"sec-websocket-extensions")
    if value is None:
        return None
    for name, parameters in offers(value):
        if name == _NAME and compression is not None:
            agreement = _take(parameters, compression)
            if agreement is not None:
                return agreement
    return None


def _take(parameters: list[tuple[bytes, bytes | None]], compression: Compression) -> Agreement | None:
    """One offer; None for what RFC 7692, 7.1 has declined: unknown, repeated, misplaced or impossible parameters."""
    given = dict(parameters)
    if len(given) < len(parameters) or not given.keys() <= _KNOWN:
        return None
    if given.get(_SERVER_ALONE) is not None or given.get(_CLIENT_ALONE) is not None:
        return None
    server_bits, client_bits = compression.window_bits, 15
    answer = [_NAME]
    if _SERVER_BITS in given:
        if given[_SERVER_BITS] not in _BITS:
            return None
        server_bits = min(server_bits, _BITS[given[_SERVER_BITS]])
        answer.append(b"%b=%d" % (_SERVER_BITS, server_bits))
    if _CLIENT_BITS in given:  # without a value, the client leaves it to us
        if given[_CLIENT_BITS] not in _BITS and given[_CLIENT_BITS] is not None:
            return None
        client_bits = min(compression.window_bits, _BITS.get(given[_CLIENT_BITS], 15))
        answer.append(b"%b=%d" % (_CLIENT_BITS, client_bits))
    server_takeover = compression.takeover and _SERVER_ALONE not in given
    client_takeover = compression.takeover and _CLIENT_ALONE not in given
    if not server_takeover:
        answer.append(_SERVER_ALONE)
    if not client_takeover:
        answer.append(_CLIENT_ALONE)
    return Agreement(compression, server_takeover, client_takeover, server_bits, client_bits, b"; ".join(answer))
