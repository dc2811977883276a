"""Options: the sessions.  See `schema`."""

from __future__ import annotations

from . import product, values
from .amounts import count
from .fields import Integer, SectionClass, option

__all__ = ["Session"]

YEAR_MINUTES = 366 * 24 * 60


class Session(SectionClass):
    IGNORED = product.SESSION

    max_sessions: int = count(10_000, "Sessions kept; the one unused for longest goes first.")
    max_chars: int = option(
        400_000, "Characters kept of one session; its oldest turns go first.", Integer(1_000, 100_000_000)
    )
    max_bytes: int = option(
        1 << 30,
        "Bytes kept of all sessions together; the one unused for longest goes first.",
        Integer(1 << 20, 1 << 50),
    )
    idle_minutes: int = option(
        0, "Minutes after its last turn for which a session is kept; 0 for no end.", Integer(0, 10 * YEAR_MINUTES)
    )
    store: str | None = option(
        None,
        "Where sessions are kept: `sqlite`, a file in the state folder (`GATEWAY_STATE_DIR` or one of the product's "
        "variables, else `~/.gateway`), a file of your own, or `memory`, until the end of the process.",
        values.StoreName(),
        shown="sqlite; embedded gateways: memory",
    )
