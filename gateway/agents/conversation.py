"""Runs in a session: one at a time, on what was said before, and kept."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from logging import getLogger

from ..errors import AgentError
from ..model.chat import Message, ToolCall
from ..model.run import INSTRUCTIONS, RunDone, RunEvent, RunFailed, RunInput, Step, ToolCallDelta
from ..model.session import Session, Turn
from ..ports import SessionStore
from ..sessions.history import messages_of, surplus
from ..sessions.lanes import Lanes

__all__ = ["ANSWER_CHARACTERS", "TOO_LONG", "Conversations", "calls_of", "failed"]

# Of an answer that is held in memory, for its session or to be sent in one piece: a multiple of what models can say,
# and an end for agents that have none.
ANSWER_CHARACTERS = 4_000_000

TOO_LONG = RunFailed(f"the agent said more than {ANSWER_CHARACTERS} characters", "answer_too_long", 500)

_logger = getLogger(__name__)


class Conversations:
    """The sessions of all agents.  `characters`: what is kept of each.  `clock` gives seconds since the epoch."""

    def __init__(self, store: SessionStore, lanes: Lanes, clock: Callable[[], float], characters: int) -> None:
        self._store = store
        self._lanes = lanes
        self._clock = clock
        self._characters = characters

    async def session(self, key: str) -> Session:
        """What a session holds.  Raises AgentError."""
        return await self._store.load(key)

    async def reset(self, key: str) -> bool:
        """Forget what was said in a session, when the runs before this are over; false where there was nothing.

        Raises AgentError.
        """
        async with self._lanes.enter(key):
            model = (await self._store.load(key)).model
            found = await self._store.delete(key)
            if model is not None:
                await self._store.choose_model(key, model)
            return found

    async def choose_model(self, key: str, model: str | None) -> None:
        """Have the session's runs use a model; None for the agent's own.  Raises AgentError."""
        await self._store.choose_model(key, model)

    async def hold(
        self, run: RunInput, attempt: Callable[[RunInput], AsyncGenerator[RunEvent, None]]
    ) -> AsyncGenerator[RunEvent, None]:
        """The events of a run in its session; `attempt` gives those of the run itself."""
        try:
            key = run.session_key
            async with self._lanes.enter(key):
                session = await self._store.load(key)
                run = run._replace(history=messages_of(session.turns), model=run.model or session.model)
                said = _Said()
                async with aclosing(attempt(run)) as events:
                    async for event in events:
                        if isinstance(event, RunDone):  # kept before it is told
                            turn = Turn(run.run_id, _asked(run), said.messages(), self._clock())
                            drop = surplus((*session.turns, turn), self._characters)
                            await self._store.commit(key, turn, drop=drop)
                        elif not said.take(event):
                            yield TOO_LONG
                            return
                        yield event
        except AgentError as error:  # the lane is full, the store failed
            yield failed(error)
        except Exception:
            _logger.exception("%s: its session could not be read or kept", run.label)
            yield RunFailed("the session could not be read or kept", "session_error", 500)


class _Said:
    """Gathers what a run says, for its session."""

    def __init__(self) -> None:
        self._steps: list[Message] = []
        self._texts: list[str] = []
        self._calls: list[ToolCallDelta] = []
        self._size = 0

    def take(self, event: RunEvent) -> bool:
        """False where it is too much."""
        match event:
            case str():
                self._texts.append(event)
                self._size += len(event)
            case list():
                self._texts += event
                self._size += sum(map(len, event))
            case ToolCallDelta():
                self._calls.append(event)
                self._size += len(event.arguments) + len(event.id) + len(event.name)
            case Step():
                self._steps += event.messages
                self._size += sum(len(message.text) for message in event.messages)
                self._texts.clear()  # they are part of the step
            case _:
                pass
        return self._size <= ANSWER_CHARACTERS

    def messages(self) -> tuple[Message, ...]:
        """What was said, as messages."""
        return (*self._steps, Message("assistant", "".join(self._texts), tool_calls=calls_of(self._calls)))


def calls_of(deltas: list[ToolCallDelta]) -> tuple[ToolCall, ...]:
    """The calls that the pieces make up, in the order of their numbers."""
    found: dict[int, list[ToolCallDelta]] = {}
    for delta in deltas:
        found.setdefault(delta.number, []).append(delta)
    return tuple(
        ToolCall(pieces[0].id, pieces[0].name, "".join(piece.arguments for piece in pieces))
        for _, pieces in sorted(found.items())
    )


def _asked(run: RunInput) -> tuple[Message, ...]:
    """What a request adds to its session.  Instructions come with each request anew, so they are not kept."""
    return tuple(message for message in run.request.messages if message.role not in INSTRUCTIONS)


def failed(error: AgentError) -> RunFailed:
    """The end of a run for an error."""
    return RunFailed(error.message, error.code, error.status, error.retry_after)
