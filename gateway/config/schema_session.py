"""Options: the sessions.  See `schema`."""

from __future__ import annotations

from . import product
from .amounts import count
from .fields import Integer, SectionClass, option

__all__ = ["Session"]


class Session(SectionClass):
    IGNORED = product.SESSION

    max_sessions: int = count(10_000, "Sessions kept in memory; the one unused for longest goes first.")
    max_chars: int = option(
        400_000, "Characters kept of one session; its oldest turns go first.", Integer(1_000, 100_000_000)
    )
