"""What a session holds."""

from __future__ import annotations

from typing import NamedTuple

from .chat import Message

__all__ = ["Session", "SessionInfo", "Turn"]


class Turn(NamedTuple):
    """What one run adds to its session.

    `asked` are the new messages of the request, without instructions; `answered` what the run said: its steps with
    the gateway's tools, and last the answer that the caller saw.  `run_id` is that of the run, `at` the time of its
    end in seconds since the epoch.
    """

    run_id: str
    asked: tuple[Message, ...]
    answered: tuple[Message, ...]
    at: float = 0.0


class Session(NamedTuple):
    """`turns`, oldest first.  `trimmed`: older ones were there once.  `model`: chosen for it, as `provider/model`."""

    turns: tuple[Turn, ...] = ()
    trimmed: bool = False
    model: str | None = None


class SessionInfo(NamedTuple):
    """One line of a list of sessions.  Times in seconds since the epoch."""

    key: str
    turns: int
    characters: int
    created_at: float
    updated_at: float
    model: str | None = None
