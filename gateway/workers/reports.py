"""What workers tell each other of runs: messages that can be pickled, and hold no more than those who watch see."""

from __future__ import annotations

from typing import Any, Self, TypeAlias

from ..model.caller import Caller
from ..model.chat import ChatRequest, Image, Message
from ..model.run import RunInput
from ..model.session import NO_SETTINGS, SessionInfo, Turn

__all__ = [
    "ABORT",
    "ASKED",
    "BATCH",
    "BEGAN",
    "EVENT",
    "KEPT",
    "LEFT",
    "OFFER",
    "OVER",
    "TEXT",
    "WATCH",
    "Absent",
    "Report",
    "Seen",
    "asked",
    "kept",
    "light",
    "session_of",
]

WATCH = "runs: watch"
"""(on): whether whoever sends it wants to be told."""
OFFER = "runs: offer"
"""A worker has begun to serve: who wants to be told of its runs says so."""
BATCH = "runs: batch"
"""(reports): asked, and answered when they were shown, so that no more than one is under way."""
OVER = "runs: over"
"""Nothing more is told of the runs that were told."""
ABORT = "runs: abort"
"""(run_id): end it."""

BEGAN, TEXT, EVENT, LEFT, ASKED, KEPT = range(6)
"""Kinds of reports: a run begins (`Seen`), says something (its id, text), gives another event (its id, event), is over
(its id); what it is to add to its session (`Seen`, messages, number of the first); what was kept (session, turn)."""

Report: TypeAlias = tuple[Any, ...]


class Absent(bytes):
    """Bytes that stayed in another process: of a picture only the size is shown."""

    size: int

    def __new__(cls, size: int) -> Self:
        """In place of so many."""
        made = super().__new__(cls)
        made.size = size
        return made

    def __len__(self) -> int:
        return self.size

    def __reduce__(self) -> tuple[type[Absent], tuple[int]]:
        return Absent, (self.size,)


class Seen:
    """A run, as far as those who watch it see it."""

    __slots__ = ("agent_id", "asked", "caller", "model", "run_id", "session")

    def __init__(self, run: RunInput) -> None:
        self.run_id = run.run_id
        self.agent_id = run.agent_id
        self.session = run.session
        self.model = run.model
        self.caller: tuple[Any, ...] = tuple(run.caller)
        self.asked = light(run.request.messages[-1:])

    def run(self) -> RunInput:
        """The run, with the last of its messages."""
        request = ChatRequest(self.asked)
        return RunInput(
            self.run_id, self.agent_id, self.session, request, model=self.model, caller=Caller(*self.caller)
        )


def light(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Without the bytes of pictures."""
    return tuple(message._replace(parts=tuple(map(_light, message.parts))) if message.parts else message
                 for message in messages)  # fmt: skip


def _light(part: Any) -> Any:
    return part._replace(data=Absent(len(part.data))) if isinstance(part, Image) else part


def asked(run: RunInput, messages: tuple[Message, ...], first: int) -> Report:
    """The report of what a run is to add to its session."""
    return ASKED, Seen(run), light(messages), first


def kept(info: SessionInfo, turn: Turn) -> Report:
    """The report of a turn that was kept."""
    settings = None if info.settings is NO_SETTINGS else dict(info.settings)
    turn = turn._replace(asked=light(turn.asked), answered=light(turn.answered))
    return KEPT, (*info._replace(settings={}), settings), turn


def session_of(members: tuple[Any, ...]) -> SessionInfo:
    """What `kept` made of a session."""
    *plain, settings = members
    return SessionInfo(*plain)._replace(settings=NO_SETTINGS if settings is None else settings)
