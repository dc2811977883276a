"""The one way in which an agent is run, whoever asks: HTTP, the WebSocket protocol, the command line.

A run is pulled: nothing happens in it that its caller does not wait for, and it ends with its caller.  Whatever the
agent does, the last event is exactly one of RunDone and RunFailed; only a caller that leaves gets none.
"""

from __future__ import annotations

from asyncio import CancelledError, current_task
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from logging import getLogger
from types import AsyncGeneratorType
from typing import Any, TypeAlias, TypeVar, cast

from ..errors import AgentError, PeerGone
from ..model.caller import OPERATOR, Caller
from ..model.chat import Message
from ..model.run import (
    Answer,
    ModelChange,
    ReasoningDelta,
    RunDone,
    RunEvent,
    RunFailed,
    RunInput,
    Step,
    ToolCallDelta,
    ToolUse,
    Usage,
)
from ..ports import Flow
from ..records import Protocol
from .calling import calling
from .conversation import Conversations, failed
from .limits import MOST_RUNS, ActiveRun, AgentRuns, too_many
from .registry import Registry
from .sink import Gathered, Sink, as_text, as_texts

__all__ = ["Interceptor", "Observer", "Runs"]

_logger = getLogger(__name__)
_DONE = RunDone()
_OTHERS = (Usage, ToolCallDelta, ReasoningDelta, ToolUse, Step, ModelChange)
# Of these, what shows that an agent is at work, as text does.
_SIGNS = (ToolCallDelta, ReasoningDelta, ToolUse)
_ENDINGS = (RunDone, RunFailed)
_Noted = TypeVar("_Noted")
_STOPPED = RunFailed("the gateway is shutting down", "shutting_down", 503)
# 410: a status that SDKs do not take as an invitation to ask again.
_ABORTED = RunFailed("the run was stopped", "run_aborted", 410)
_BROKEN = RunFailed("the agent failed", "agent_error", 500)


class Interceptor(Protocol):
    """Looks at messages before they become runs."""

    def take(self, runs: Runs, run: RunInput, /) -> RunInput | AsyncGenerator[RunEvent, None]:
        """The answer to a message that is not for the agent; else the run, as the agent is to see it."""


class Observer(Protocol):
    """Sees runs as they happen."""

    def watch(
        self, run: RunInput, events: AsyncGenerator[RunEvent | Flow, None], /
    ) -> AsyncGenerator[RunEvent | Flow, None]:
        """The events, as they are; the observer sees each of them before the caller does."""


_Attempt: TypeAlias = Callable[[RunInput], AsyncGenerator[RunEvent | Flow, None]]


class _RefusedError(Exception):
    """A run that may not begin."""

    def __init__(self, ending: RunFailed) -> None:
        super().__init__(ending.message)
        self.ending = ending


class Runs:
    """Starts runs and knows those under way, of which there are at most `most` at a time."""

    def __init__(
        self,
        registry: Registry,
        conversations: Conversations,
        most: int = MOST_RUNS,
        interceptor: Interceptor | None = None,
    ) -> None:
        self._active: dict[str, ActiveRun] = {}  # by run_id
        self._agents = {
            entry.id: AgentRuns(entry.id, entry.agent, entry.limits, self._active) for entry in registry.by_id.values()
        }
        self._conversations = conversations
        self._most = most
        self._interceptor = interceptor
        self.observer: Observer | None = None
        """Who is shown the runs that begin from now on."""
        self._stopped = False
        # For runs in a session, which are kept account of where they are pulled, below their session.
        self._elsewhere = elsewhere = ActiveRun()
        elsewhere.agent = elsewhere.task = elsewhere.ending = None
        elsewhere.silent = 0

    @property
    def active(self) -> int:
        """How many runs are under way; those that wait for their session are not."""
        return len(self._active)

    def active_in(self, session: str) -> tuple[str, ...]:
        """The ids of the runs under way in a session."""
        return tuple(run_id for run_id, active in self._active.items() if active.run.session == session)

    def abort(self, run_id: str) -> bool:
        """End one run, with RunFailed (`run_aborted`); false where it is not under way."""
        return self._end(run_id, _ABORTED)

    def _end(self, run_id: str, ending: RunFailed) -> bool:
        active = self._active.get(run_id)
        if active is not None:
            active.end(ending)
        return active is not None

    async def check(self, run: RunInput) -> None:
        """See `Conversations.check`."""
        await self._conversations.check(run)

    async def answer_of(self, run_id: str, caller: Caller) -> Message | None:
        """See `Conversations.answer_of`."""
        return await self._conversations.answer_of(run_id, caller)

    def run(self, run: RunInput) -> AsyncGenerator[RunEvent, None]:
        """The events of a run.  Close the generator (`aclosing`) when you stop before its end.

        Raises AgentError (429, `too_many_runs`) where it could not begin now, so that a stream can still be refused.
        """
        return cast("AsyncGenerator[RunEvent, None]", self._observed(run, self._attempt))

    def _observed(self, run: RunInput, attempt: _Attempt) -> AsyncGenerator[RunEvent | Flow, None]:
        events = self._events(run, attempt)
        return events if self.observer is None else self.observer.watch(run, events)

    def _events(self, run: RunInput, attempt: _Attempt) -> AsyncGenerator[RunEvent | Flow, None]:
        if self._interceptor is not None:
            taken = self._interceptor.take(self, run)
            if not isinstance(taken, RunInput):
                return taken
            run = taken
        self._admit(run)
        if run.session is None and run.after is None:
            return attempt(run)
        return self._conversations.hold(run, attempt, self._end)

    def open(self, run: RunInput) -> AsyncGenerator[RunEvent | Flow, None] | None:
        """For `pull`, before anything is told of the answer: the run's events where others see them too, else None.

        Raises AgentError as `run` does.
        """
        if self._is_seen(run):
            return self._observed(run, self._attempt_with_flow)
        self._admit(run)
        return None

    def _is_seen(self, run: RunInput) -> bool:
        """Whether others than the caller have to do with it."""
        return (
            self.observer is not None
            or self._interceptor is not None
            or run.session is not None
            or run.after is not None
        )

    def _admit(self, run: RunInput) -> None:
        if refused := self._refusal(run):
            raise AgentError(refused.message, code=refused.code, status=refused.status, retry_after=refused.retry_after)

    async def answer(self, run: RunInput) -> Answer:
        """The whole answer of a run, for those who show nothing before its end."""
        said = Gathered()
        return said.answer(await self.pull(run, said))

    async def pull(
        self, run: RunInput, sink: Sink, events: AsyncGenerator[RunEvent | Flow, None] | None = None
    ) -> RunDone | RunFailed:
        """Run it to its end, which is the result; what it says goes into `sink`.  `events` are of `open`.

        Where nobody else sees them there is no generator around the agent: that would cost a short request a ninth more
        instructions, and a token a seventh.
        """
        ending: RunDone | RunFailed = _DONE
        source: Any = None
        active = self._elsewhere
        put = sink.put
        try:
            try:
                source = events
                if source is None and self._is_seen(run):
                    source = self._observed(run, self._attempt_with_flow)
                elif source is None:
                    active = self._begin(run, flows=True)
                    source = active.produced
                if source.__class__ is AsyncGeneratorType or hasattr(source, "__aiter__"):
                    async for event in source:
                        if event.__class__ is str:
                            if event:
                                active.silent = 0
                                if put(event):
                                    await sink.drain()
                        elif event.__class__ is list:
                            if found := as_texts(event):
                                active.silent = 0
                                if sink.put_all(found):
                                    await sink.drain()
                        elif isinstance(event, _ENDINGS):
                            ending = event if event.__class__ is RunDone else self._note(active, event)
                            break
                        elif isinstance(event, Flow):
                            if await _flow(event, sink, active):
                                await sink.drain()
                        elif self._hand_on(event, sink, active):
                            await sink.drain()
                        if active.ending is not None:
                            break
                    else:
                        source = None  # nothing is left that would have to be given back
                elif (said := as_text(await source)) and active.ending is None and put(said):
                    await sink.drain()
                if active.ending is not None:
                    ending = self._outcome(active)
            except BaseException as error:
                ending = self._judge(run, active, error)
            finally:
                self._leave(active)
                if source is not None and _is_open(source):
                    await _close(source, run)
            rest = sink.end(ending)
            if rest is not None:
                await rest
        finally:
            del sink, put  # who keeps the agent's error keeps this frame, and must not keep the connection
        return ending

    def _hand_on(self, event: RunEvent, sink: Sink, active: ActiveRun) -> bool:
        """Put an event that is not the text of every day into `sink`; whether that is full."""
        event = self._heard(event, active)
        return sink.put(event) if isinstance(event, str) else sink.take(event)

    def _heard(self, event: RunEvent, active: ActiveRun) -> RunEvent:
        """The same event, noted.  Raises AgentError for what is none."""
        if isinstance(event, _SIGNS):
            active.silent = 0
        else:
            self._note(active, event)
        return event if isinstance(event, _OTHERS) else as_text(event)

    def stop_all(self) -> None:
        """End all runs, those that wait for their session too, and begin no more.

        Each ends with RunFailed (`shutting_down`), which its caller can still pass on.
        """
        self._stopped = True
        for active in self._active.values():
            active.end(_STOPPED)

    def close(self) -> None:
        """Keep no timers, once there are no runs any more."""
        for agent in self._agents.values():
            agent.close()

    def _attempt_with_flow(self, run: RunInput) -> AsyncGenerator[RunEvent | Flow, None]:
        return self._attempt(run, flows=True)

    async def _attempt(self, run: RunInput, *, flows: bool = False) -> AsyncGenerator[RunEvent | Flow, None]:
        ending: RunDone | RunFailed = _DONE
        active = self._elsewhere
        produced: Any = None
        try:
            active = self._begin(run, flows=flows)
            produced = active.produced
            if not hasattr(produced, "__aiter__"):
                answer = as_text(await produced)
                self._leave(active)  # it is complete: whatever comes now, the caller may have it
                if active.ending is None:
                    yield answer
            else:
                async for event in produced:
                    if event.__class__ is str:
                        if event:
                            active.silent = 0
                            yield event
                    elif event.__class__ is list:
                        if found := as_texts(event):
                            active.silent = 0
                            yield found
                    elif isinstance(event, _ENDINGS):
                        ending = event if event.__class__ is RunDone else self._note(active, event)
                        break
                    elif flows and isinstance(event, Flow):
                        active.flow = event
                        yield event
                        active.flow = None
                    else:
                        yield self._heard(event, active)
                    if active.ending is not None:
                        break
            if active.ending is not None:
                ending = self._outcome(active)
        except BaseException as error:
            ending = self._judge(run, active, error)
        finally:
            self._leave(active)
            if _is_open(produced):  # what it holds is given back now, not when the garbage is collected
                await _close(produced, run)
        yield ending

    def _refusal(self, run: RunInput) -> RunFailed | None:
        agents = run.caller.agents
        if agents is not None and run.agent_id not in agents:  # who planned it has asked, or else has forgotten to
            return RunFailed(f"this API key may not use the agent `{run.agent_id}`", "agent_not_allowed", 403)
        if len(self._active) >= self._most:
            return too_many(f"{self._most} runs are under way, as many as `agents.maxConcurrentRuns` allows")
        return self._agents[run.agent_id].refusal

    def _begin(self, run: RunInput, *, flows: bool = False) -> ActiveRun:
        agent = self._agents[run.agent_id]
        if self._stopped:
            raise _RefusedError(_STOPPED)
        # Without a call in the usual case.
        unusual = run.caller is not OPERATOR or agent.accounts or len(self._active) >= self._most
        if unusual and (refused := self._refusal(run)):
            raise _RefusedError(refused)
        produced: Any = agent.with_flow(run) if flows else agent.agent(run)
        if run.request.tools:
            produced = calling(produced, run)
        if produced.__class__ is not AsyncGeneratorType and hasattr(produced, "__aiter__"):
            produced = _generator(produced)
        active = self._active[run.run_id] = ActiveRun()
        active.run = run
        active.agent = agent
        active.task = current_task()
        active.produced = produced
        active.silent = agent.unheard
        active.ending = None
        active.cancelled = False
        active.flow = None
        if agent.enters:
            agent.enter(active)
        return active

    def _leave(self, active: ActiveRun) -> None:
        """A run has ended; does nothing for one that was left before."""
        agent, active.agent = active.agent, None
        if agent is not None:
            self._active.pop(active.run.run_id, None)
            if agent.accounts:
                agent.leave(active)

    def _note(self, active: ActiveRun, event: _Noted) -> _Noted:  # noqa: ARG002 - for who overrides it
        """Something of a run that is neither text nor a sign of life: for who counts runs (`agents.counted`)."""
        return event

    @staticmethod
    def _outcome(active: ActiveRun) -> RunFailed:
        """How a run ends that was ended, where its agent has kept the cancellation to itself."""
        active.take_back()
        assert active.ending is not None, "this is asked for such runs only"
        return active.ending

    def _judge(self, run: RunInput, active: ActiveRun, error: BaseException) -> RunFailed:
        """What an error means for the run in which it came up.  Raises it again where it is not the agent's."""
        if isinstance(error, _RefusedError):
            return error.ending
        if isinstance(error, PeerGone):  # of the sink
            raise error
        task = current_task()
        if isinstance(error, CancelledError) and (task is None or task.cancelling()):
            if not active.take_back() or active.ending is None:
                raise error
            return active.ending
        if not isinstance(error, Exception | CancelledError):
            active.take_back()
            raise error
        if active.ending is not None:  # whatever the agent makes of being cancelled
            active.take_back()
            return active.ending
        if isinstance(error, AgentError):
            _logger.warning("%s failed: %s", run.label, error.message)
            return failed(error)
        # Also where what the agent waited for was cancelled, and not the run.
        _logger.error("%s failed", run.label, exc_info=error)
        return _BROKEN


async def _flow(flow: Flow, sink: Sink, active: ActiveRun) -> bool:
    """Have it write its text; whether `sink` is full."""
    active.flow = flow
    try:
        return await flow.into(sink)
    finally:
        active.flow = None


async def _generator(iterator: AsyncIterator[RunEvent]) -> AsyncGenerator[RunEvent, None]:
    """An iterator of another kind as a generator, of which one can tell whether it is being pulled."""
    try:
        async for event in iterator:
            yield event
    finally:
        close = getattr(iterator, "aclose", None)
        if close is not None:
            await close()


def _is_open(produced: Any) -> bool:
    """Whether what an agent gave holds something that has to be given back."""
    return getattr(produced, "ag_frame", produced) is not None and hasattr(produced, "aclose")


async def _close(produced: Any, run: RunInput) -> None:
    """Give it back."""
    try:
        await produced.aclose()
    except Exception:  # whatever its clean-up does, the run has come to its end
        _logger.exception("%s failed when it was closed", run.label)
