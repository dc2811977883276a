"""Work that can wait, for a part of the time only: what a flood costs everybody else.

A peer that sends nothing but the smallest frames gives a hundred times more work for each byte than one that sends
messages, and an event loop that does all of it at once does nothing else meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ..ports import Timer, TimerHandle

__all__ = ["Turns"]


class Turns:
    """Calls what was added, one after the other and around again, for `share` of the time.

    `turn` is in seconds: how long it may take at a time, before it is made up for by a pause.
    """

    __slots__ = ("_handle", "_paid", "_share", "_timer", "_turn", "_waiting")

    def __init__(self, timer: Timer, turn: float, share: float) -> None:
        self._timer = timer
        self._turn = turn
        self._share = share
        self._waiting: deque[Callable[[], bool]] = deque()
        self._paid = 0.0  # the time at which all that was done has had its pause
        self._handle: TimerHandle | None = None

    def add(self, work: Callable[[], bool]) -> None:
        """Call `work`, a small piece of work each time, until it gives False; now, as far as there is time for it."""
        self._waiting.append(work)
        if self._handle is None:
            self._run()

    def _run(self) -> None:
        self._handle = None
        time, waiting = self._timer.time, self._waiting
        now = time()
        most = self._turn / self._share - self._turn
        try:
            while waiting and self._paid - now < most:
                work = waiting.popleft()
                if work():
                    waiting.append(work)
                began, now = now, time()
                self._paid = max(self._paid, began) + (now - began) / self._share
        finally:  # whatever happened to one, the others go on
            if waiting:
                self._handle = self._timer.call_at(self._paid, self._run)
