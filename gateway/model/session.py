"""What a session holds."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..records import NamedTuple
from .chat import Message
from .run import NO_USAGE, Usage

__all__ = ["NO_SETTINGS", "Session", "SessionInfo", "Turn", "UsageRow"]

NO_SETTINGS: Mapping[str, Any] = MappingProxyType({})


class Turn(NamedTuple):
    """What one run adds to its session.

    `asked` are the new messages of the request, without instructions; `answered` what the run said: its steps with
    the gateway's tools, and last the answer that the caller saw.  `run_id` is that of the run, `began` and `at` the
    times of its beginning and its end in seconds since the epoch; `began` is 0 where it is not known.

    `first` is the number of its first message among all that were ever said in the session, from 1; 0 where it is not
    known.  `agent` is the id of the agent, empty for what no run said; `model` answered, as `provider/model`.
    `finish` is RunDone's `finish_reason`, or `aborted` or `error` for a run that did not end well.
    """

    run_id: str
    asked: tuple[Message, ...]
    answered: tuple[Message, ...]
    at: float = 0.0
    began: float = 0.0
    first: int = 0
    agent: str = ""
    model: str | None = None
    usage: Usage = NO_USAGE
    finish: str = "stop"


class Session(NamedTuple):
    """`turns`, oldest first.  `trimmed`: older ones were there once.  `model`: chosen for it, as `provider/model`."""

    turns: tuple[Turn, ...] = ()
    trimmed: bool = False
    model: str | None = None


class SessionInfo(NamedTuple):
    """One line of a list of sessions.  Times in seconds since the epoch.

    `id` is a UUID that no other session ever has.  `settings` are what clients want kept with it.  `agent`,
    `answered_by` (as `provider/model`) and `last` are the agent, the model and the tokens of its last turn.
    """

    key: str
    turns: int
    characters: int
    created_at: float
    updated_at: float
    model: str | None = None
    id: str = ""
    settings: Mapping[str, Any] = NO_SETTINGS
    agent: str = ""
    answered_by: str | None = None
    last: Usage = NO_USAGE


class UsageRow(NamedTuple):
    """Tokens that were used on one day (`day` counts them from the epoch, in UTC) by one agent with one model.

    `key` is that of the session; empty for those that are gone, or where sessions are not told apart.
    """

    key: str
    day: int
    agent: str
    model: str | None
    turns: int
    usage: Usage
