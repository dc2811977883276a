"""The runs that are under way, whoever began them, as the clients of the protocol see them.

A record takes in what a run says, which costs the run an addition to a list.  What came in is told to clients a few
times a second, all runs at the same beat; the beat slows down where there are many clients to tell.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle, sleep, wait
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any, TypeAlias

from ..errors import AgentError
from ..model.run import RunDone, RunEvent, RunFailed, RunInput, ToolUse
from ..ports import Flow
from ..records import Protocol
from .hub import Hub
from .method import READ
from .problem import INVALID_REQUEST, RpcError, rpc_error
from .record import Record
from .watching import watched

__all__ = ["Command", "RunBook", "Starter"]

BEAT_SECONDS = 0.15
"""Between two deltas of a run: as often as a reader can tell, and the product does."""
BEAT_SHARE = 4
"""The beat is so many times as long as telling all clients took: that takes no more than a fifth of the time."""
LONGEST_BEAT_SECONDS = 2.0
"""How far the beat slows down where most clients cannot take what they are told: the way to them is full, and what is
put on it comes late."""
KEPT_RUNS = 1_000
KEPT_SECONDS = 300.0
KEPT_CHARACTERS = 16_000_000
"""Runs that are over, for those who ask again: as many, and as long, as the product keeps them; and their texts."""

_KINDS = {"context_length_exceeded": "context_length", "content_filter": "refusal"}


class Starter(Protocol):
    """Begins runs (`agents.run.Runs`)."""

    def run(self, run: RunInput) -> AsyncGenerator[RunEvent, None]: ...

    def abort(self, run_id: str) -> bool: ...


Command: TypeAlias = Callable[[RunInput], RunInput | AsyncGenerator[RunEvent, None]]
"""A run -> the answer to the slash command that its message is; else the run, as the agent is to see it."""


class RunBook:
    """Knows all runs that began since it is asked to watch (`Runs.observer`), and those of the last minutes.

    `clock` gives seconds since the epoch.  `shows_reasoning` tells whether an agent's thoughts are for its callers.
    """

    def __init__(
        self,
        starter: Starter,
        hub: Hub,
        loop: AbstractEventLoop,
        clock: Callable[[], float],
        shows_reasoning: Callable[[str], bool],
    ) -> None:
        self._starter = starter
        self._hub = hub
        self._loop = loop
        self._clock = clock
        self._shows_reasoning = shows_reasoning
        self._active: dict[str, Record] = {}
        self._by_session: dict[str, list[Record]] = {}  # the same, of each session; the first to begin first
        self._over: dict[str, Record] = {}  # the first to end first
        self._characters = 0
        self._waiting: list[Record] = []
        self._timer: TimerHandle | None = None
        self._last = 0.0
        self._patience = 0.0  # seconds that the beat is longer
        self.listeners: list[Callable[[Record, bool], None]] = []
        """Called with each record when it begins (True) and when it is over (False); they may not raise."""
        self.prepare: Callable[[RunInput], RunInput] | None = None
        """What a run that clients of the protocol begin is given besides."""
        self.elsewhere: Callable[[str], bool] | None = None
        """Ends a run that another process pulls; false where there is none."""

    # -- what there is

    def find(self, run_id: str, caller_id: str) -> Record | None:
        """A run that this caller may know of: its own; the operator (no id) knows all."""
        record = self._active.get(run_id)
        if record is None:
            self._forget()
            record = self._over.get(run_id)
        return None if record is None or (caller_id and record.run.caller.id != caller_id) else record

    def active_in(self, key: str) -> list[Record]:
        """The runs under way in a session, the first to begin first."""
        return [*self._by_session.get(key, ())]

    # -- what is done with them

    def start(self, run: RunInput, delay: float = 0.0, command: Command | None = None) -> Record:
        """Begin a run that nobody pulls, `delay` seconds from now: it goes on whether its client stays or not.

        `command` looks at it first.  Raises RpcError (INVALID_REQUEST) for an id that is taken; (UNAVAILABLE) where
        there are too many runs.
        """
        if run.run_id in self._active:
            raise RpcError(INVALID_REQUEST, f"there is a run {run.run_id!r} already: use another idempotencyKey")
        self._drop(run.run_id)
        run, events = self._begun(run, command)
        record = self._new(run)
        record.task = self._loop.create_task(_pull(events, delay), name="run")
        record.task.add_done_callback(lambda _: record.leave())  # also of one that is cancelled before its first step
        return record

    def _begun(self, run: RunInput, command: Command | None) -> tuple[RunInput, AsyncGenerator[RunEvent | Flow, None]]:
        """The run as the agent is to see it, and its events."""
        taken = run if command is None else command(run)
        if not isinstance(taken, RunInput):
            return run, self.watch(run, taken)
        if self.prepare is not None:
            taken = self.prepare(taken)
        try:
            return taken, self._starter.run(taken)
        except AgentError as error:
            raise rpc_error(error) from None

    def abort(self, record: Record, reason: str = "rpc") -> bool:
        """End a run; false where it is over, or where only its caller can end it (HTTP, while it waits)."""
        if record.ended_at is not None:
            return False
        record.stop_reason = reason
        if self._starter.abort(record.run.run_id):
            return True
        if record.task is None:
            return self.elsewhere is not None and self.elsewhere(record.run.run_id)
        return record.task.cancel()

    async def drain(self) -> None:
        """Wait for the runs that nobody else waits for."""
        while tasks := [record.task for record in self._active.values() if record.task is not None]:
            await wait(tasks)

    async def aclose(self) -> None:
        """End what is left of them."""
        if self._timer is not None:
            self._timer.cancel()
        tasks = [record.task for record in self._active.values() if record.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await wait(tasks)

    # -- what the records do

    def watch(
        self, run: RunInput, events: AsyncGenerator[RunEvent | Flow, None]
    ) -> AsyncGenerator[RunEvent | Flow, None]:
        """See `agents.run.Observer.watch`."""
        return watched(events, lambda: self.begin(run))

    def begin(self, run: RunInput) -> Record:
        """A run begins, wherever it is pulled; what it says is for the record to take."""
        record = self._active.get(run.run_id)
        if record is None:
            record = self._new(run)
        self._tell_agent(record, "lifecycle", {"phase": "start", "startedAt": record.started_at})
        self._listen(record, begins=True)
        return record

    def _new(self, run: RunInput) -> Record:
        record = self._active[run.run_id] = Record(self, run, self._now())
        self._by_session.setdefault(record.key, []).append(record)
        return record

    def queue(self, record: Record) -> None:
        """It has something to tell, at the next beat."""
        if record.queued:
            return
        record.queued = True
        self._waiting.append(record)
        if self._timer is None:
            self._timer = self._loop.call_at(max(self._last + BEAT_SECONDS, self._loop.time()), self._beat)

    def _beat(self) -> None:
        now = self._loop.time()
        if self._hub.busy:  # not everybody has got the last ones
            self._timer = self._loop.call_at(now + BEAT_SECONDS, self._beat)
            return
        if self._hub.slow_share > 1 / 2:
            self._patience = min(LONGEST_BEAT_SECONDS, 2 * max(self._patience, BEAT_SECONDS))
        else:
            self._patience = 0.0 if self._patience < BEAT_SECONDS else self._patience / 2
        self._last = now + max(self._patience, BEAT_SHARE * self._hub.pass_seconds)
        waiting, self._waiting = self._waiting, []
        self._timer = None
        for record in waiting:
            record.queued = False
            if record.ended_at is not None:
                continue
            if record.is_due(now):
                record.tell()
                record.postpone(now)
            else:
                self.queue(record)

    def end(self, record: Record) -> None:
        """It is over."""
        if self._active.get(record.run.run_id) is record:
            del self._active[record.run.run_id]
        if (records := self._by_session.get(record.key)) and record in records:
            records.remove(record)
            if not records:
                del self._by_session[record.key]
        record.tell()
        now = record.ended_at = self._now()
        ending = record.ending
        base = {"startedAt": record.started_at, "endedAt": now}
        if isinstance(ending, RunDone):
            data = {"phase": "end", **base, "aborted": False, "stopReason": ending.finish_reason}
            state: dict[str, Any] = {"state": "final", "stopReason": ending.finish_reason, "message": _message(record)}
        elif record.aborted:
            reason = record.stop_reason or "caller"
            data = {"phase": "end", **base, "aborted": True, "stopReason": reason}
            state = {"state": "aborted", "stopReason": reason}
            if record.text:
                state["message"] = _message(record)
        else:
            assert ending is not None, "`leave` sees to that"
            data = {"phase": "error", **base, "error": ending.message}
            state = {"state": "error", "errorMessage": ending.message, "errorKind": _kind(ending)}
        self._tell_agent(record, "lifecycle", data)
        self._tell_chat(record, state)
        self._keep(record)
        self._listen(record, begins=False)

    def tell_text(self, record: Record, delta: str) -> None:
        """More of the answer."""
        data = {"text": record.text, "delta": delta}
        self._tell_agent(record, "assistant", data, droppable=True)
        state = {"state": "delta", "deltaText": delta, "message": _message(record)}
        self._tell_chat(record, state, droppable=True)

    def tell_thoughts(self, record: Record, delta: str) -> None:
        """More of what a model thinks, where its callers may know."""
        if self._shows_reasoning(record.run.agent_id):
            self._tell_agent(record, "thinking", {"text": delta, "delta": delta}, droppable=True)

    def tell_tool(self, record: Record, use: ToolUse) -> None:
        """One of the gateway's tools is called, or has given its result."""
        data: dict[str, Any] = {"toolCallId": use.call.id, "name": use.call.name}
        if use.result is None:
            data |= {"phase": "start", "args": use.call.arguments}
        else:
            data |= {"phase": "result", "result": use.result, "isError": use.failed}
        self._tell_agent(record, "tool", data, cap="tool-events")

    def _tell_agent(
        self,
        record: Record,
        stream: str,
        data: Mapping[str, Any],
        *,
        droppable: bool = False,
        cap: str | None = None,
    ) -> None:
        payload = {
            "runId": record.run.run_id, "sessionKey": record.key, "agentId": record.run.agent_id, "stream": stream,
            "data": data, "seq": record.next(), "ts": self._now(),
        }  # fmt: skip
        self._hub.broadcast("agent", payload, scope=READ, about=record.key, droppable=droppable, cap=cap)

    def _tell_chat(self, record: Record, state: Mapping[str, Any], *, droppable: bool = False) -> None:
        payload = {
            "runId": record.run.run_id, "sessionKey": record.key, "agentId": record.run.agent_id, "seq": record.seq,
            **state,
        }  # fmt: skip
        self._hub.broadcast("chat", payload, scope=READ, about=record.key, droppable=droppable)

    # -- those that are over

    def _keep(self, record: Record) -> None:
        self._drop(record.run.run_id)
        self._over[record.run.run_id] = record
        self._characters += len(record.text)
        self._forget()

    def _forget(self) -> None:
        oldest = self._now() - KEPT_SECONDS * 1000
        while self._over:
            run_id, record = next(iter(self._over.items()))
            fits = len(self._over) <= KEPT_RUNS and self._characters <= KEPT_CHARACTERS
            if fits and (record.ended_at or 0) >= oldest:
                break
            self._drop(run_id)

    def _drop(self, run_id: str) -> None:
        record = self._over.pop(run_id, None)
        if record is not None:
            self._characters -= len(record.text)

    def _listen(self, record: Record, *, begins: bool) -> None:
        for listener in self.listeners:
            listener(record, begins)

    def _now(self) -> int:
        return int(self._clock() * 1000)


async def _pull(events: AsyncGenerator[RunEvent | Flow, None], delay: float) -> None:
    async with aclosing(events):
        if delay:
            await sleep(delay)
        async for _ in events:
            pass


def _message(record: Record) -> dict[str, Any]:
    content = [{"type": "text", "text": record.text}]
    return {"role": "assistant", "content": content, "timestamp": record.ended_at or record.started_at}


def _kind(ending: RunFailed) -> str:
    """`errorKind` of the product."""
    if ending.status == 504 or ending.code.endswith("timeout"):
        return "timeout"
    if ending.status == 429:
        return "rate_limit"
    return _KINDS.get(ending.code, "unknown")
