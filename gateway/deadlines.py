"""Many equal time limits for the price of one timer.

All entries of one `Deadlines` wait equally long, so that they fall due in the order in which they were set, and a dict,
which keeps that order, is the whole queue.  Setting an entry again moves it to the end: no handle to make, none to
cancel.  A server arms two or three limits for each request; with one loop timer each, that alone would cost more than
reading the head.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from .ports import Timer, TimerHandle

__all__ = ["Deadlines"]

Key = TypeVar("Key", bound=Hashable)

SHARE = 8
"""A dict keeps the places of what was deleted until it grows, and its first entry is looked for behind them: each of
many entries that fall due one by one would cost a walk past all before it.  Once these are an eighth of those that are
left, the dict is made anew."""


class Deadlines(Generic[Key]):
    """Calls `expire(key)` once `after` seconds have passed since `set(key)`, unless `clear(key)` came first.

    An `after` of 0 or less switches the limit off.
    """

    __slots__ = ("_due", "_expire", "_gone", "_handle", "_timer", "after")

    def __init__(self, timer: Timer, after: float, expire: Callable[[Key], None]) -> None:
        self.after = after
        self._timer = timer
        self._expire = expire
        self._due: dict[Key, float] = {}
        self._gone = 0  # entries that fell due since the dict was made
        self._handle: TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._due)

    def set(self, key: Key) -> None:
        """Start the limit for `key`, or start it anew."""
        if self.after <= 0:
            return
        due = self._due
        due.pop(key, None)
        due[key] = self._timer.time() + self.after
        if self._handle is None:
            self._arm()

    def clear(self, key: Key) -> None:
        """Forget the limit for `key`; does nothing where there is none."""
        self._due.pop(key, None)

    def close(self) -> None:
        """Forget all limits."""
        self._due.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self) -> None:
        if self._due and self._handle is None:
            self._handle = self._timer.call_at(next(iter(self._due.values())), self._fire)

    def _fire(self) -> None:
        self._handle = None
        now = self._timer.time()
        over = []
        for key, when in self._due.items():
            if when > now:
                break
            over.append((key, when))
        for key, when in over:
            if self._due.get(key) == when:  # an earlier `expire` may have cleared or renewed it
                del self._due[key]
                self._gone += 1
                self._expire(key)
        if self._gone * SHARE > len(self._due):
            self._due = {key: when for key, when in self._due.items()}  # noqa: C416 - `dict` may keep those places
            self._gone = 0
        self._arm()
