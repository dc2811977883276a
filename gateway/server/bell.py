"""How the tasks that wait for messages are woken: all of one turn of the loop together.

A future is used up by one wait, and wakes its task by a handle of its own in the loop: together a third of what the
loop and the link do for a small message.  A bell is rung again and again, and all that are rung in one turn share a
handle.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, CancelledError
from collections.abc import Callable, Generator
from contextvars import Context

__all__ = ["Bell", "Bells"]


class Bells:
    """The bells of one server.  Tasks are woken in the next turn of the loop, in the order of the rings."""

    __slots__ = ("_rung", "loop")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.loop = loop
        self._rung: list[Bell] = []

    def add(self, bell: Bell) -> None:
        """Wake the task that waits for `bell`."""
        if not self._rung:
            self.loop.call_soon(self._wake)
        self._rung.append(bell)

    def _wake(self) -> None:
        # Those rung meanwhile wait for the next turn: two tasks that ring each other must not keep the loop.
        rung, self._rung = iter(self._rung), []
        try:
            for bell in rung:
                bell.wake()
        finally:  # SystemExit and KeyboardInterrupt come through; the others are woken when the loop goes on
            for bell in rung:
                self.add(bell)


class Bell:
    """What a task awaits until it is rung, as often as it likes; one task at a time.

    For asyncio it is a future: what makes an object one is told by `asyncio.isfuture`, and `Task` asks no more of it
    than what is here.
    """

    __slots__ = ("_asyncio_future_blocking", "_bells", "_callback", "_cancelled", "_context", "_loop", "_rung")

    def __init__(self, bells: Bells) -> None:
        self._asyncio_future_blocking = False
        self._loop = bells.loop
        self._bells = bells
        self._callback: Callable[[Bell], object] | None = None
        self._context: Context  # of the task that waits
        self._cancelled: tuple[str, ...] | None = None
        self._rung = False

    @property
    def awaited(self) -> bool:
        """Whether a task waits for it, even if it was rung and the task has not been woken yet."""
        return self._callback is not None

    def ring(self) -> None:
        """Wake the task that waits; nothing happens where none does."""
        if self._callback is not None and not self._rung:
            self._rung = True
            self._bells.add(self)

    def wake(self) -> None:
        """Let the task go on, now; for `Bells`."""
        callback = self._callback
        if callback is not None:
            self._callback = None
            self._rung = False
            self._context.run(callback, self)

    # What a task asks of a future

    def __await__(self) -> Generator[Bell, None, None]:
        self._asyncio_future_blocking = True
        return iter((self,))  # type: ignore[return-value]  # for a task, an iterator is enough

    def add_done_callback(self, callback: Callable[[Bell], object], *, context: Context) -> None:
        """By the task that waits from now on."""
        self._callback = callback
        self._context = context

    def cancel(self, msg: str | None = None) -> bool:
        """By `Task.cancel`; false where the task is about to go on anyhow."""
        if self._callback is None or self._rung:
            return False
        self._cancelled = () if msg is None else (msg,)
        self.ring()
        return True

    def result(self) -> None:
        """By the task that goes on.  Raises CancelledError where it was cancelled."""
        if self._cancelled is not None:
            message, self._cancelled = self._cancelled, None
            raise CancelledError(*message)
