"""What a connection is doing, and what it may do next.

Every move goes through `move`, so that the table is the whole truth; tests try the whole product, and that each move
which is allowed is made.
"""

from __future__ import annotations

from enum import IntEnum, auto

from ..errors import MisuseError

__all__ = ["NEXT", "Phase", "move"]


class Phase(IntEnum):
    """An IntEnum, since the hash of other enums is computed in Python, four times for each request."""

    IDLE = auto()
    """between two requests, or reading a head"""
    EXCHANGE = auto()
    """a handler's task is at work on a request"""
    DRAIN = auto()
    """the answer is complete; the rest of the request body is read and thrown away, then IDLE"""
    LINK = auto()
    """a WebSocket"""
    LINGER = auto()
    """the last answer is complete; what still comes is thrown away until the peer closes (RFC 9112, 9.6)"""
    CLOSED = auto()
    """over, or the transport is about to be"""


NEXT: dict[Phase, frozenset[Phase]] = {
    Phase.IDLE: frozenset({Phase.EXCHANGE, Phase.LINGER, Phase.CLOSED}),
    Phase.EXCHANGE: frozenset({Phase.IDLE, Phase.DRAIN, Phase.LINK, Phase.LINGER, Phase.CLOSED}),
    Phase.DRAIN: frozenset({Phase.IDLE, Phase.LINGER, Phase.CLOSED}),
    Phase.LINK: frozenset({Phase.LINGER, Phase.CLOSED}),
    Phase.LINGER: frozenset({Phase.CLOSED}),
    Phase.CLOSED: frozenset(),
}


def move(current: Phase, following: Phase) -> Phase:
    """`following`, if the table allows it after `current`.  Raises MisuseError otherwise."""
    if following not in NEXT[current]:
        raise MisuseError(f"a connection cannot go from {current.name} to {following.name}")
    return following
