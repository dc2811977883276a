"""Where a run puts what its agent says: into an answer that is shown at its end, or into a stream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from ..errors import AgentError
from ..model.run import (
    NO_USAGE,
    Answer,
    ModelChange,
    ReasoningDelta,
    RunDone,
    RunEvent,
    RunFailed,
    ToolCallDelta,
    Usage,
)
from ..ports import TextSink
from .conversation import ANSWER_CHARACTERS, TOO_LONG, calls_of

__all__ = ["Gathered", "Sink", "as_text", "as_texts"]

# What an event counts besides its characters, as a message does.
EVENT_CHARACTERS = 100


class Sink(TextSink, Protocol):
    """Takes the events of a run: `take` all that is no text, and `end` the last one, when the run is over.

    True means that nothing more should come before `drain` was awaited.  What they raise is not the agent's: PeerGone
    where nobody listens any more.  What `end` gives is waited for, where it is not None.
    """

    @property
    def drain(self) -> Callable[[], Awaitable[None]]: ...
    def take(self, event: RunEvent, /) -> bool: ...
    def end(self, ending: RunDone | RunFailed, /) -> Awaitable[None] | None: ...


class Gathered:
    """A whole answer, of a bounded size."""

    __slots__ = ("_rest", "_size", "_texts")

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._rest: list[RunEvent] = []  # what is not text: rare, and looked at in the end
        self._size = 0

    def put(self, text: str) -> bool:
        """See `Sink`."""
        self._texts.append(text)
        self._size += len(text)
        return self._size > ANSWER_CHARACTERS

    def put_all(self, texts: list[str]) -> bool:
        """See `Sink`."""
        self._texts += texts
        self._size += sum(map(len, texts))
        return self._size > ANSWER_CHARACTERS

    def take(self, event: RunEvent) -> bool:
        """See `Sink`."""
        self._rest.append(event)
        self._size += _size(event)
        return self._size > ANSWER_CHARACTERS

    async def drain(self) -> None:
        """Raises AgentError: there never is room again."""
        raise AgentError(TOO_LONG.message, code=TOO_LONG.code, status=TOO_LONG.status)

    def end(self, ending: RunDone | RunFailed) -> Awaitable[None] | None:
        """See `Sink`.  For who shows the answer then: `answer` makes it."""

    def answer(self, ending: RunDone | RunFailed) -> Answer:
        """All of it, and how the run ended."""
        text = "".join(self._texts)
        if not self._rest:
            return _new(Answer, (text, NO_USAGE, ending, (), "", None))
        usage, change = NO_USAGE, None
        calls: list[ToolCallDelta] = []
        reasoning: list[str] = []
        for event in self._rest:
            match event:
                case Usage():
                    usage = usage.plus(event)
                case ToolCallDelta():
                    calls.append(event)
                case ReasoningDelta():
                    reasoning.append(event.text)
                case ModelChange():
                    change = event
                case _:
                    pass
        return Answer(text, usage, ending, calls_of(calls), "".join(reasoning), change)


_new = tuple.__new__  # see api/parse.py


def _size(event: RunEvent) -> int:
    """What an event adds to an answer that is held in memory."""
    match event:
        case ToolCallDelta():
            return len(event.id) + len(event.name) + len(event.arguments) + EVENT_CHARACTERS
        case ReasoningDelta():
            return len(event.text) + EVENT_CHARACTERS
        case _:
            return EVENT_CHARACTERS


def as_text(value: object) -> str:
    """Raises AgentError for what is no text."""
    if isinstance(value, str):
        return value
    raise AgentError(f"the agent gave {type(value).__name__} where text was expected", code="agent_error")


def as_texts(values: list[str]) -> list[str]:
    """Those that are not empty.  Raises AgentError where one is no text."""
    try:
        "".join(values)
    except TypeError:
        return [*map(as_text, values)]  # raises
    return values if all(values) else [text for text in values if text]
