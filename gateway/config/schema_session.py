"""Options: the sessions.  See `schema`."""

from __future__ import annotations

from . import product
from .amounts import count
from .fields import Boolean, Integer, SectionClass, option

__all__ = ["Session"]


class Session(SectionClass):
    IGNORED = product.SESSION

    max_sessions: int = count(10_000, "Sessions kept in memory; the one unused for longest goes first.")
    max_chars: int = option(
        400_000, "Characters kept of one session; its oldest turns go first.", Integer(1_000, 100_000_000)
    )
    slash_commands: bool = option(
        False,
        "Answer `/status`, `/new`, `/reset`, `/stop` and `/model` of an operator, instead of giving them to the agent. "
        "Off, as over the product's HTTP: a program may mean such a text as it stands.",
        Boolean(),
    )
