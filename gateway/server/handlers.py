"""The tasks in which requests are handled.

Making a task costs as much as reading a request does, and most requests of a busy turn of the loop are answered
without waiting for anything.  So those that come in one turn share a task, one after the other, as they would have run
anyway; once one of them waits, the task is its own, and each of the others gets one too.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, Task
from collections import deque
from collections.abc import Coroutine
from contextvars import copy_context
from typing import Any

from ..records import Protocol

__all__ = ["Handlers", "Served"]


class Served(Protocol):
    """A connection with a request that is to be handled."""

    task: Task[None] | None
    """That in which the request is being handled; None while it waits for its turn."""

    def serve(self) -> Coroutine[Any, Any, None]:
        """Handle the request; does nothing where the peer has left meanwhile."""


class Handlers:
    """One per server."""

    __slots__ = ("_context", "_loop", "_waiting", "shared")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._context = copy_context()
        self._waiting: deque[Served] = deque()
        self.shared: Task[None] | None = None
        """The task that will handle what waits."""

    def add(self, connection: Served) -> None:
        """Handle its request in the next turn of the loop."""
        self._waiting.append(connection)
        if self.shared is None:
            self.shared = self._task(self._serve_all())

    async def _serve_all(self) -> None:
        waiting, own = self._waiting, self.shared
        assert own is not None, "it is this task"
        if len(waiting) > 1:
            self._loop.call_soon(self._part, own)
        connection = waiting.popleft()
        try:
            while True:
                if not waiting:
                    self.shared = None  # whatever comes now has its own turn
                connection.task = own
                await connection.serve()
                # What a handler leaves behind in its task must not be found by the next.
                if self.shared is not own or own.cancelling() or copy_context() != self._context:
                    break
                connection = waiting.popleft()
        finally:
            self._part(own)
            del own, connection  # a task that was cancelled keeps this frame, which must not keep the task

    def _part(self, shared: Task[None]) -> None:
        """Give each of those that still wait for this task one of its own."""
        if self.shared is not shared:
            return
        self.shared = None
        while self._waiting:
            connection = self._waiting.popleft()
            connection.task = self._task(connection.serve())

    def _task(self, work: Coroutine[Any, Any, None]) -> Task[None]:
        # In the context of the server's start, since this may be called in that of a handler.
        return Task(work, loop=self._loop, name="exchange", context=self._context.copy())
