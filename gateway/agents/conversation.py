"""Runs in a session: one at a time, on what was said before, and kept."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from logging import getLogger

from ..errors import AgentError
from ..model.caller import Caller
from ..model.chat import Message, ToolCall
from ..model.run import (
    INSTRUCTIONS,
    NO_USAGE,
    ModelChange,
    RunDone,
    RunEvent,
    RunFailed,
    RunInput,
    Step,
    ToolCallDelta,
    Usage,
)
from ..model.session import Session, SessionInfo, Turn
from ..ports import Flow, LaneVisit, SessionLanes, SessionStore
from ..records import Protocol
from ..sessions.history import Bounds, coherent, following, kept, messages_of, overgrown, recent, size, stray
from ..sessions.keys import owns
from ..sessions.overlap import addition

__all__ = ["ANSWER_CHARACTERS", "STOPPED", "TOO_LONG", "Conversations", "Scribe", "calls_of", "failed"]

# Of an answer that is held in memory, for its session or to be sent in one piece: a multiple of what models can say,
# and an end for agents that have none.
ANSWER_CHARACTERS = 4_000_000

TOO_LONG = RunFailed(f"the agent said more than {ANSWER_CHARACTERS} characters", "answer_too_long", 500)

# Not 409, which SDKs try again: two clients of one session would end each other's runs for ever.
_INTERRUPTED = RunFailed("the run was ended for a newer one, or by request", "interrupted", 410)

STOPPED = frozenset({"run_aborted", "interrupted"})
"""How a run fails that somebody has ended."""

# How often a turn is looked for that was elsewhere by the time its session was free; it goes elsewhere only with it.
LOOKS = 3

_logger = getLogger(__name__)


class Scribe(Protocol):
    """Sees what is said in sessions.  Neither method may wait or raise."""

    def began(self, run: RunInput, asked: tuple[Message, ...], first: int) -> None:
        """A run's turn has come in its session, to which it is to add these messages; `first` as in `Turn`."""

    def kept(self, info: SessionInfo, turn: Turn) -> None:
        """A turn was kept, before its run is over."""


class Conversations:
    """The sessions of all agents.

    `characters` and `turns` are what is kept of each, and given to a model.  `clock` gives seconds since the epoch.
    `own_model` tells what an agent answers with where nothing else is said, as `provider/model`.
    """

    def __init__(
        self,
        store: SessionStore,
        lanes: SessionLanes,
        clock: Callable[[], float],
        characters: int = 400_000,
        turns: int = 200,
        *,
        own_model: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self._store = self.store = store
        """Where they are kept."""
        self._lanes = lanes
        self._clock = clock
        self._bounds = Bounds(characters, turns)
        self._own_model = own_model
        self.scribe: Scribe | None = None
        """Who is shown what is said from now on."""

    def watch_store(self, around: Callable[[SessionStore], SessionStore]) -> None:
        """From now on what is said is read and kept through what `around` makes of the store."""
        self._store = around(self.store)

    @property
    def waiting(self) -> int:
        """How many runs wait for their session."""
        return self._lanes.waiting

    async def interrupt(self, key: str) -> bool:
        """End the run under way in a session, which gets RunFailed (410, `interrupted`); false where there is none."""
        return await self._lanes.interrupt(key)

    async def check(self, run: RunInput) -> None:
        """Raises AgentError (404, `previous_response_not_found`) where there is no run to go on from.

        `hold` finds out too; this is for who has to know before it begins to answer.
        """
        if run.after is not None:
            located = await self._store.locate(run.after)
            if located is None or not owns(run.caller.id, located[0]):
                raise _not_found(run.after)

    async def session(self, key: str) -> Session:
        """What a session holds.  Raises AgentError."""
        return await self._store.load(key)

    async def reset(self, key: str) -> bool:
        """Forget what was said in a session, when the runs before this are over; false where there was nothing.

        Raises AgentError.
        """
        async with self._lanes.enter(key, waits=True):
            return await self._store.reset(key)

    async def delete(self, key: str) -> bool:
        """Forget a session, when the runs before this are over; false where there was none.  Raises AgentError."""
        async with self._lanes.enter(key, waits=True):
            return await self._store.delete(key)

    async def trim(self, key: str, messages: int) -> int:
        """Keep the last so many messages of a session, and the whole of their turns; how many are left.

        Raises AgentError.
        """
        async with self._lanes.enter(key, waits=True):
            sizes = [len(turn.asked) + len(turn.answered) for turn in (await self._store.load(key)).turns]
            drop, left = 0, sum(sizes)
            while drop < len(sizes) and left - sizes[drop] >= messages:
                left -= sizes[drop]
                drop += 1
            await self._store.trim(key, drop)
            return left

    async def add(self, key: str, turn: Turn) -> Turn:
        """Add what no run said to a session, when the runs before this are over; what was kept.  Raises AgentError."""
        async with self._lanes.enter(key, waits=True):
            session = await self._store.load(key)
            drop, turn = kept(session.turns, turn._replace(first=following(session.turns)), self._bounds)
            info = await self._store.commit(key, turn, drop=drop)
            if self.scribe is not None:
                self.scribe.kept(info, turn)
            return turn

    async def choose_model(self, key: str, model: str | None) -> None:
        """Have the session's runs use a model; None for the agent's own.  Raises AgentError."""
        await self._store.choose_model(key, model)

    async def answer_of(self, run_id: str, caller: Caller) -> Message | None:
        """What an earlier run of this caller answered in the end; None where that is not kept.  Raises AgentError."""
        located = await self._store.locate(run_id)
        if located is None or not owns(caller.id, located[0]):
            return None
        turns = _up_to((await self._store.load(located[0])).turns, run_id)
        return turns[-1].answered[-1] if turns and turns[-1].answered else None

    async def hold(
        self,
        run: RunInput,
        attempt: Callable[[RunInput], AsyncGenerator[RunEvent | Flow, None]],
        end: Callable[[str, RunFailed], bool],
    ) -> AsyncGenerator[RunEvent | Flow, None]:
        """The events of a run in its session.

        `attempt` gives those of the run itself; `end`, called with its id, has it end with this, and tells whether it
        was under way.
        """
        ending: RunDone | RunFailed = TOO_LONG
        began = self._clock()
        try:
            async with self._entered(run) as stay:
                run, keep, asked = self._planned(run, stay)
                if stay.visit is not None:
                    stay.visit.end = partial(end, run.run_id, _INTERRUPTED)
                    if self.scribe is not None:
                        self.scribe.began(run, asked, following(stay.session.turns[:keep]))
                said = _Said(run.model or self._own_model(run.agent_id))
                async with aclosing(attempt(run)) as events:
                    async for event in events:
                        # Kept before it is told.
                        if isinstance(event, RunDone) or (run.keeps and isinstance(event, RunFailed)):
                            await self._keep(stay, keep, said.turn(run, asked, began, self._clock(), event))
                        if isinstance(event, RunDone | RunFailed):
                            ending = event
                            break
                        if isinstance(event, Flow):
                            event.taps.append(said.take)
                            yield event
                            if not said.fits:
                                end(run.run_id, TOO_LONG)
                                break
                            continue
                        if not said.take(event):
                            end(run.run_id, TOO_LONG)
                            break
                        yield event
        except AgentError as error:  # the lane is full, the store failed
            ending = failed(error)
        except Exception:
            _logger.exception("%s: its session could not be read or kept", run.label)
            ending = RunFailed("the session could not be read or kept", "session_error", 500)
        yield ending

    @asynccontextmanager
    async def _entered(self, run: RunInput) -> AsyncIterator[_Stay]:
        """The run in its session.  Raises AgentError (409, `session_busy`; 404, `previous_response_not_found`)."""
        if run.after is None:
            async with self._lanes.enter(run.session_key) as visit:
                yield _Stay(await self._store.load(visit.key), visit)
            return
        for _ in range(LOOKS):
            located = await self._store.locate(run.after)
            if located is None or not owns(run.caller.id, located[0]):
                break
            if run.session is None:  # it only reads
                session = await self._store.load(located[0])
                if turns := _up_to(session.turns, run.after):
                    yield _Stay(session._replace(turns=turns), None)
                    return
                continue
            # Where it is the last turn is told by who is in the lane: two that go on from it shall not both think so.
            async with self._lanes.enter(located[0]) as visit:
                session = await self._store.load(visit.key)
                turns = _up_to(session.turns, run.after)
                if turns and len(turns) == len(session.turns):
                    yield _Stay(session, visit)
                    return
                if turns:
                    await self._store.fork(visit.key, len(turns), run.session)
            if turns:
                async with self._lanes.enter(run.session) as visit:
                    stay = _Stay(session._replace(turns=turns), visit)
                    try:
                        yield stay
                    finally:
                        if not stay.kept:
                            await self._store.delete(visit.key)
                return
        raise _not_found(run.after)

    def _planned(self, run: RunInput, stay: _Stay) -> tuple[RunInput, int, tuple[Message, ...]]:
        """The run with what it is to know, how many turns of its session stay, and what it adds to them.

        Raises AgentError (400) for results of tools that were not called, and for a turn without an
        end; 410 (`interrupted`) where it is to end already.
        """
        if stay.visit is not None and stay.visit.interrupted:
            raise AgentError(_INTERRUPTED.message, code=_INTERRUPTED.code, status=_INTERRUPTED.status)
        turns, trimmed, model = stay.session
        messages = run.request.messages
        if run.after is None:
            keep, asked = addition(turns, trimmed, messages, self._bounds)
        else:
            keep, asked = len(turns), tuple(message for message in messages if message.role not in INSTRUCTIONS)
        history = messages_of(turns[:keep])
        whole = (*history, *asked)
        if (call := stray(whole)) is not None:
            message = f"The result of the tool call '{call}' answers no call of this session."
            raise AgentError(message, code="tool_call_not_found", status=400)
        if overgrown(whole, len(asked), self._bounds):
            message = (
                "This turn of the session has grown too long (session.maxChars). Say something new, or begin another."
            )
            raise AgentError(message, code="session_turn_too_long", status=400)
        first = recent(whole, self._bounds)
        told = coherent(whole)
        history = tuple(message for message in told[first : len(history)] if message is not None)
        new = tuple(message for message in told[max(first, len(whole) - len(asked)) :] if message is not None)
        request = run.request
        if len(new) < sum(message.role not in INSTRUCTIONS for message in messages):
            instructions = (message for message in messages if message.role in INSTRUCTIONS)
            request = request._replace(messages=(*instructions, *new))
        session = None if stay.visit is None else stay.visit.key
        run = run._replace(session=session, request=request, history=history, model=run.model or model)
        return run, keep, asked

    async def _keep(self, stay: _Stay, keep: int, turn: Turn) -> None:
        if stay.visit is None:
            return
        turns = stay.session.turns
        turn = turn._replace(first=following(turns[:keep]))
        drop, turn = kept(turns[:keep], turn, self._bounds)
        info = await self._store.commit(stay.visit.key, turn, drop=drop, keep=keep if keep < len(turns) else None)
        stay.kept = True
        if self.scribe is not None:
            self.scribe.kept(info, turn)


class _Stay:
    """A run in its session, as it found it."""

    def __init__(self, session: Session, visit: LaneVisit | None) -> None:
        self.session = session
        self.visit = visit
        """None for a run that reads the session and adds nothing."""
        self.kept = False
        """Whether its turn is part of the session."""


def _not_found(run_id: str) -> AgentError:
    message = f"Previous response with id 'resp_{run_id}' not found."
    return AgentError(message, code="previous_response_not_found", status=404)


def _up_to(turns: Sequence[Turn], run_id: str) -> tuple[Turn, ...]:
    """The turns up to that of a run, itself included; none where it is not there."""
    number = next((number for number, turn in enumerate(turns, 1) if turn.run_id == run_id), 0)
    return tuple(turns[:number])


class _Said:
    """Gathers what a run says, for its session."""

    def __init__(self, model: str | None) -> None:
        self._model = model
        self._usage = NO_USAGE
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
                self._size += sum(map(size, event.messages))
                self._texts.clear()  # they are part of the step
            case Usage():
                self._usage = self._usage.plus(event).plausible
            case ModelChange():
                self._model = event.model
            case _:
                pass
        return self.fits

    @property
    def fits(self) -> bool:
        """Whether it is not too much."""
        return self._size <= ANSWER_CHARACTERS

    def turn(
        self, run: RunInput, asked: tuple[Message, ...], began: float, now: float, ending: RunDone | RunFailed
    ) -> Turn:
        """What the run adds to its session."""
        text = "".join(self._texts)
        if isinstance(ending, RunDone):
            finish = ending.finish_reason
            said = (*self._steps, Message("assistant", text, tool_calls=calls_of(self._calls)))
        else:  # its last calls may not be whole, and nobody will answer them
            finish = "aborted" if ending.code in STOPPED else "error"
            said = (*self._steps, Message("assistant", text)) if text else tuple(self._steps)
        return Turn(run.run_id, asked, said, now, began, 0, run.agent_id, self._model, self._usage, finish)


def calls_of(deltas: list[ToolCallDelta]) -> tuple[ToolCall, ...]:
    """The calls that the pieces make up, in the order of their numbers."""
    found: dict[int, list[ToolCallDelta]] = {}
    for delta in deltas:
        found.setdefault(delta.number, []).append(delta)
    return tuple(
        ToolCall(pieces[0].id, pieces[0].name, "".join(piece.arguments for piece in pieces))
        for _, pieces in sorted(found.items())
    )


def failed(error: AgentError) -> RunFailed:
    """The end of a run for an error."""
    return RunFailed(error.message, error.code, error.status, error.retry_after)
