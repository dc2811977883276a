"""Standard input, line by line, for a program that does other things meanwhile."""

from __future__ import annotations

import os
import sys
from asyncio import get_running_loop
from collections.abc import Callable
from threading import Semaphore, Thread

__all__ = ["Lines"]

LINE_BYTES = 4 * 1024 * 1024
"""The longest line: a book, and not a whole disk by mistake."""

AHEAD = 64
"""Lines that are read before those before them are dealt with; enough for what a person types meanwhile."""

READ_BYTES = 65_536


class Lines:
    """Gives each line, without its end, to `deliver` of `start`, and at last None; in the event loop that runs now.

    A thread of its own reads: files, terminals and pipes cannot all be waited for in another way.  It does not keep the
    program from ending.
    """

    def __init__(self) -> None:
        self._loop = get_running_loop()
        self._room = Semaphore(AHEAD)
        self._encoding = sys.stdin.encoding or "utf-8"
        # Not through sys.stdin: at its end, the interpreter would wait for the lock that a reader holds.
        self._file = sys.stdin.fileno()

    def start(self, deliver: Callable[[str | None], None]) -> None:
        """Begin to read."""
        Thread(target=self._read, args=(deliver,), daemon=True).start()

    def done(self) -> None:
        """A line is dealt with: there is room for another."""
        self._room.release()

    def _read(self, deliver: Callable[[str | None], None]) -> None:
        rest = b""
        try:
            while data := os.read(self._file, READ_BYTES):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._give(deliver, line)
                while len(rest) > LINE_BYTES:  # it is cut there: nobody means it
                    self._give(deliver, rest[:LINE_BYTES])
                    rest = rest[LINE_BYTES:]
        except OSError:  # the terminal has gone
            pass
        if rest:
            self._give(deliver, rest)
        self._call(deliver, None)

    def _give(self, deliver: Callable[[str | None], None], line: bytes) -> None:
        self._room.acquire()
        self._call(deliver, line.removesuffix(b"\r").decode(self._encoding, "replace"))

    def _call(self, deliver: Callable[[str | None], None], line: str | None) -> None:
        try:
            self._loop.call_soon_threadsafe(deliver, line)
        except RuntimeError:  # the loop is closed: nobody listens any more
            self._room.release()
