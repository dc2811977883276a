"""Runs that others see as they happen.  Who watches never makes a run wait, and is told of its end, whatever it is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from ..model.run import RunEvent
from ..ports import Flow
from ..records import Protocol

__all__ = ["Watch", "watched"]


class Watch(Protocol):
    """Sees one run.  None of its methods may wait or raise."""

    pending: list[str]
    """Where pieces of text go, each before the caller gets it: without a call, since there is one for each token."""

    def wake(self) -> None:
        """There is going to be something in `pending`."""

    def take(self, event: RunEvent) -> None:
        """Any other event, before the caller gets it; the last one, RunDone or RunFailed, included."""

    def leave(self) -> None:
        """The run is over: after its last event, or without one, where its caller has left."""


async def watched(
    events: AsyncGenerator[RunEvent | Flow, None], begin: Callable[[], Watch]
) -> AsyncGenerator[RunEvent | Flow, None]:
    """The events of a run, each seen by a watch first."""
    watch = begin()  # not before somebody pulls: only then its end is certain to be seen
    pending: list[object] = watch.pending  # type: ignore[assignment]  # of texts, by the test below

    def see(texts: list[str]) -> bool:
        watch.take(texts)
        return True

    try:
        async with aclosing(events):
            async for event in events:
                if event.__class__ is str:
                    if not pending:
                        watch.wake()
                    pending.append(event)
                elif isinstance(event, Flow):
                    event.taps.append(see)
                else:
                    watch.take(event)
                yield event
    finally:
        watch.leave()
