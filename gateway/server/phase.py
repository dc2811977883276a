"""What a connection is doing, and what it may do next.

Every move goes through `move`, so that the table is the whole truth; tests try the whole product, and that each move
which is allowed is made.
"""

from __future__ import annotations

from ..errors import MisuseError
from ..records import Enum

__all__ = ["NEXT", "Phase", "move"]


class Phase(int, Enum):
    """In an order: from LINK on there are no more requests."""

    IDLE = 1
    """between two requests, or reading a head"""
    EXCHANGE = 2
    """a handler's task is at work on a request"""
    DRAIN = 3
    """the answer is complete; the rest of the request body is read and thrown away, then IDLE"""
    LINK = 4
    """a WebSocket"""
    LINGER = 5
    """the last answer is complete; what still comes is thrown away until the peer closes (RFC 9112, 9.6)"""
    CLOSED = 6
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
