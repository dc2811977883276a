"""Backpressure: the gate of a connection is shut while its transport holds more than it should."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future

__all__ = ["Gate"]


class Gate:
    """Shut by the transport above high water, opened below low water or when the connection is lost."""

    __slots__ = ("_waiters", "shut")

    def __init__(self) -> None:
        self.shut = False
        self._waiters: list[Future[None]] | None = None

    def open(self) -> None:
        """Let everybody through who waits."""
        self.shut = False
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, loop: AbstractEventLoop) -> None:
        """Wait until the gate is open; several tasks may."""
        while self.shut:
            waiter = loop.create_future()
            if self._waiters is None:
                self._waiters = []
            self._waiters.append(waiter)
            await waiter
