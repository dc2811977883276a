"""Who has to wait: a writer whose peer does not read, at the gate; input that is expensive to read, for its turn."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future
from typing import Protocol

__all__ = ["REST", "WORK", "Expensive", "Gate", "Turns"]

# Seconds after which those who wait let others go first.
WORK = 0.001
# A quarter of the loop is for expensive input, when there is other work.
REST = 3


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


class Expensive(Protocol):
    """A connection with input that is much work to read."""

    def __hash__(self) -> int: ...

    def take_turn(self) -> None:
        """Do a small part of it, and `add` the connection again where another one is to be done now."""


class Turns:
    """A bounded share of the loop for connections whose input is expensive to read.  One per server.

    A read of 64 KiB can hold ten thousand chunks, and those take 70 ms in which nobody else is served: one peer that
    sends nothing else would multiply everybody's waiting.  So such a read is done in parts, and the connections that
    have parts left take turns: WORK seconds of reading, then REST times as long for others.
    """

    __slots__ = ("_armed", "_loop", "_waiting")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[Expensive, None] = {}
        self._armed = False

    def add(self, connection: Expensive) -> None:
        """`connection` has parts left; does nothing where that is known."""
        self._waiting[connection] = None
        if not self._armed:
            self._armed = True
            self._loop.call_soon(self._run)

    def forget(self, connection: Expensive) -> None:
        """The connection is over."""
        self._waiting.pop(connection, None)

    def _run(self) -> None:
        clock = self._loop.time
        began = clock()
        while self._waiting:
            connection = next(iter(self._waiting))
            del self._waiting[connection]  # to stand behind the others, where it comes back
            connection.take_turn()
            now = clock()
            if now - began > WORK:
                self._loop.call_later(REST * (now - began), self._run)
                return
        self._armed = False
