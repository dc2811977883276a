"""How a task that waits for messages is woken.

A future is used up by one wait, and wakes its task a turn of the loop later, by a handle of its own: together a third
of what a small message costs.  A bell is rung again and again, and who has nothing left to do but to wake the task can
do that at once.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, CancelledError, current_task
from collections.abc import Callable, Generator
from contextvars import Context

__all__ = ["Bell"]


class Bell:
    """What a task awaits until it is rung, as often as it likes; one task at a time.

    For asyncio it is a future: what makes an object one is told by `asyncio.isfuture`, and `Task` asks no more of it
    than what is here.
    """

    __slots__ = ("_asyncio_future_blocking", "_callback", "_cancelled", "_context", "_loop", "_rung")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False
        self._loop = loop
        self._callback: Callable[[Bell], object] | None = None
        self._context: Context  # of the task that waits
        self._cancelled: tuple[str, ...] | None = None
        self._rung = False

    @property
    def awaited(self) -> bool:
        """Whether a task waits for it, even if it was rung and the task has not gone on yet."""
        return self._callback is not None

    def ring(self) -> None:
        """Have the task that waits go on in the next turn of the loop; nothing happens where none does."""
        if self._callback is not None and not self._rung:
            self._rung = True
            self._loop.call_soon(self._wake)

    def ring_now(self) -> None:
        """Have it go on within this call, if that does not come from a task itself.

        For who has nothing else to do: the task may do anything meanwhile.
        """
        callback = self._callback
        if callback is not None and not self._rung:
            if current_task(self._loop) is None:
                self._callback = None
                self._context.run(callback, self)
            else:
                self.ring()

    def _wake(self) -> None:
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
