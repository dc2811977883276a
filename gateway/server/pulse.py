"""One timer for all streams that hold something back: what they have leaves in one turn of the loop.

With a timer for each, their sends lie apart, and the kernel's network code and the interpreter push each other out of
the caches at each of them (see `outbox`); and each timer costs as much as a token.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, Handle
from collections.abc import Callable

__all__ = ["Pulse"]


class Pulse:
    """Calls each of those added, once, `after` seconds at most from now: with the first that was added before it.

    An `after` of 0 is the next turn of the loop.
    """

    __slots__ = ("_handle", "_loop", "_waiting", "after")

    def __init__(self, loop: AbstractEventLoop, after: float) -> None:
        self.after = after
        self._loop = loop
        self._waiting: dict[Callable[[], None], None] = {}
        self._handle: Handle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, call: Callable[[], None]) -> None:
        """`call` must not raise."""
        self._waiting[call] = None
        if self._handle is None:
            loop, after = self._loop, self.after
            self._handle = loop.call_at(loop.time() + after, self._beat) if after > 0 else loop.call_soon(self._beat)

    def remove(self, call: Callable[[], None]) -> None:
        """Call it no more; does nothing where it was not to be."""
        self._waiting.pop(call, None)

    def close(self) -> None:
        """Call nobody any more."""
        self._waiting.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _beat(self) -> None:
        self._handle = None
        waiting, self._waiting = self._waiting, {}
        for call in waiting:
            call()
