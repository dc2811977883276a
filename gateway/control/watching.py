"""Runs that others see as they happen.  Who watches never makes a run wait, and is told of its end, whatever it is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Protocol

from ..model.run import RunEvent

__all__ = ["Watch", "watched"]


class Watch(Protocol):
    """Sees one run.  Neither method may wait or raise."""

    def take(self, event: RunEvent) -> None:
        """One event, before the caller gets it; the last one, RunDone or RunFailed, included."""

    def leave(self) -> None:
        """The run is over: after its last event, or without one, where its caller has left."""


async def watched(events: AsyncGenerator[RunEvent, None], begin: Callable[[], Watch]) -> AsyncGenerator[RunEvent, None]:
    """The events of a run, each seen by a watch first."""
    watch = begin()  # not before somebody pulls: only then its end is certain to be seen
    try:
        async with aclosing(events):
            async for event in events:
                watch.take(event)
                yield event
    finally:
        watch.leave()
