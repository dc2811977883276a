"""What happened lately, without what was said: for those who look after the gateway."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ..model.run import RunDone
from .record import Record
from .runs import RunBook

__all__ = ["CAPACITY", "Stability"]

CAPACITY = 1_000
"""Events kept, the last ones: what the product keeps."""

MESSAGE = "message.processed"


class Stability:
    """Keeps how each run ended.  `clock` gives seconds since the epoch."""

    def __init__(self, book: RunBook, clock: Callable[[], float]) -> None:
        book.listeners.append(self._seen)
        self._clock = clock
        self._events: deque[dict[str, Any]] = deque(maxlen=CAPACITY)
        self._seq = 0

    def _seen(self, record: Record, begins: bool) -> None:
        if begins:
            return
        self._seq += 1
        event = {
            "seq": self._seq, "ts": record.ended_at or int(self._clock() * 1000), "type": MESSAGE,
            "source": record.run.agent_id, "durationMs": (record.ended_at or record.started_at) - record.started_at,
        }  # fmt: skip
        ending = record.ending
        if isinstance(ending, RunDone):
            event["outcome"] = "completed"
        else:
            event["outcome"] = "aborted" if record.aborted else "error"
            if ending is not None:
                event["reason"] = ending.code
        self._events.append(event)

    def snapshot(self, limit: int, kind: str | None, since: int | None) -> dict[str, Any]:
        """The last `limit` events, of a kind, after a number."""
        found = [
            event for event in self._events if kind in {None, event["type"]} and (since is None or event["seq"] > since)
        ]
        payload: dict[str, Any] = {
            "generatedAt": datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds"),
            "capacity": CAPACITY, "count": len(found), "dropped": max(0, self._seq - CAPACITY),
            "events": found[-limit:], "summary": {"byType": dict(Counter(event["type"] for event in found))},
        }  # fmt: skip
        if found:
            payload |= {"firstSeq": found[0]["seq"], "lastSeq": found[-1]["seq"]}
        return payload
