"""What agents are told that nobody said: system events, and the runs that these begin."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from ..model.caller import Caller
from ..model.chat import ChatRequest, Message
from ..model.run import RunDone, RunInput
from ..ports import Ids
from .hub import Hub
from .record import Record
from .runs import RunBook

__all__ = ["CHARACTERS", "Wakes"]

EVENTS = 20
"""That wait in one session, the last ones: what the product keeps."""
SESSIONS = 1_000
"""In which some wait; the longest unused go first."""
CHARACTERS = 8_000
"""Of one event: it waits in memory, and is told with a message that is about something else."""
CALLERS = 256
"""Whose last wake is remembered."""
PREVIEW_CHARACTERS = 200


class Wakes:
    """An event waits for the next run of its session, or begins one.  `clock` gives seconds since the epoch."""

    def __init__(self, book: RunBook, hub: Hub, clock: Callable[[], float], ids: Ids) -> None:
        self.enabled = True
        """Whether events begin runs (`set-heartbeats`)."""
        self._book = book
        self._hub = hub
        self._clock = clock
        self._ids = ids
        self._queued: dict[str, deque[str]] = {}  # by the keys of sessions, the longest unused first
        self._given: dict[str, tuple[Message, frozenset[str]]] = {}  # to a run that is to begin in a session
        self._waking: set[str] = set()
        self._last: dict[str, Mapping[str, Any]] = {}
        book.prepare = self.take
        book.listeners.append(self._seen)

    def queue(self, key: str, text: str) -> None:
        """Tell it with the next run of a session that a client of the protocol begins.

        `text` has CHARACTERS at most; who takes it sees to that.
        """
        events = self._queued.pop(key, None) or deque(maxlen=EVENTS)
        if not events or events[-1] != text:
            events.append(text)
        self._queued[key] = events
        if len(self._queued) > SESSIONS:
            oldest = next(iter(self._queued))
            del self._queued[oldest]
            self._given.pop(oldest, None)

    def queued(self, key: str) -> list[str]:
        """What waits in a session."""
        return list(self._queued.get(key, ()))

    def take(self, run: RunInput) -> RunInput:
        """A run that is to begin, with what waits in its session; that waits on until it has begun."""
        events = self.queued(run.session_key)
        if not events:
            return run
        told = Message("system", "\n".join(f"System: {text}" for text in events))
        self._given[run.session_key] = told, frozenset(events)
        return run._replace(request=run.request._replace(messages=(told, *run.request.messages)))

    def wake(self, key: str, agent_id: str, caller: Caller, text: str) -> None:
        """Begin a run that is told it; where that is off, it waits.  Raises RpcError."""
        if not self.enabled:
            self.queue(key, text)
            return
        request = ChatRequest((Message("user", f"System: {text}"),))
        run = RunInput(self._ids(32), agent_id, key, request, (), None, caller)
        self._waking.add(run.run_id)
        try:
            self._book.start(run)
        except BaseException:
            self._waking.discard(run.run_id)
            raise

    def last(self, caller_id: str) -> Mapping[str, Any] | None:
        """How the last run ended that an event of a caller began; None before the first."""
        return self._last.get(caller_id)

    def _seen(self, record: Record, begins: bool) -> None:
        if begins:
            self._begun(record)
        elif record.run.run_id in self._waking:
            self._over(record)

    def _begun(self, record: Record) -> None:
        """What it was given waits no longer."""
        told, events = self._given.get(record.key, (None, frozenset()))
        if told is not None and record.run.request.messages[0] is told:
            del self._given[record.key]
            left = [text for text in self.queued(record.key) if text not in events]
            self._queued.pop(record.key, None)
            for text in left:
                self.queue(record.key, text)

    def _over(self, record: Record) -> None:
        self._waking.discard(record.run.run_id)
        done = isinstance(record.ending, RunDone)
        told: dict[str, Any] = {
            "ts": int(self._clock() * 1000),
            "status": "sent" if done else "failed",
            "reason": "wake",
            "agentId": record.run.agent_id,
            "sessionKey": record.key,
            "durationMs": (record.ended_at or record.started_at) - record.started_at,
            "indicatorType": "alert" if done else "error",
        }
        if record.text:
            told["preview"] = record.text[:PREVIEW_CHARACTERS]
        caller_id = record.run.caller.id
        self._last.pop(caller_id, None)
        self._last[caller_id] = told
        if len(self._last) > CALLERS:
            del self._last[next(iter(self._last))]
        self._hub.broadcast("heartbeat", told, about=record.key)
