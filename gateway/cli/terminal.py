"""An answer as it comes, for a person: on a terminal with a sign of life while nothing comes, in a pipe as it is."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from itertools import cycle
from time import monotonic
from typing import Any, Self, TextIO

from .console import write

__all__ = ["Spinner", "View"]

PATIENCE = 0.4
"""Seconds of silence before a spinner: a quick answer needs none."""

PACE = 0.12
"""Seconds between two frames."""

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_PLAIN_FRAMES = "|/-\\"
_CLEAR = "\r\x1b[K"
_DIM, _BRIGHT = "\x1b[2m", "\x1b[22m"


class Spinner:
    """Turns on standard error while somebody waits, where that is a terminal that can; else it is not there."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._able = self._stream.isatty() and _is_capable()
        self._task: asyncio.Task[None] | None = None
        self._shown = False
        self._since = monotonic()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to turn, soon."""
        if self._able and self._task is None:
            self._task = asyncio.create_task(self._turn())

    def stop(self) -> None:
        """Leave the line as it was."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._shown:
            self._shown = False
            self._put(_CLEAR)

    async def _turn(self) -> None:
        await asyncio.sleep(PATIENCE)
        for frame in cycle(self._frames()):
            self._shown = True
            self._put(f"\r{frame} {monotonic() - self._since:.0f} s\x1b[K")
            await asyncio.sleep(PACE)

    def _frames(self) -> str:
        try:
            _FRAMES.encode(self._stream.encoding or "ascii")
        except (UnicodeEncodeError, LookupError):
            return _PLAIN_FRAMES
        return _FRAMES

    def _put(self, text: str) -> None:
        with suppress(OSError):  # the terminal has gone: what matters is told elsewhere
            self._stream.write(text)
            self._stream.flush()


class View:
    """The chunks of one answer.

    The text goes to standard output.  What is thought, and the tools that are called, go to standard error, and only
    where that is a terminal.
    """

    def __init__(self, spinner: Spinner) -> None:
        self._spinner = spinner
        self._aside = sys.stderr.isatty()
        self._shared = sys.stdout.isatty()  # then what is written to either stands on one screen
        self._last = "\n"
        self._thinking = False

    def show(self, chunk: Mapping[str, Any]) -> None:
        """One chunk object."""
        match chunk:
            case {"choices": [{"delta": dict(delta)}, *_]}:
                pass
            case _:
                return
        if self._aside:
            self._think(delta.get("reasoning_content"))
            for call in delta.get("tool_calls") or ():
                match call:
                    case {"function": {"name": str(name)}} if name:
                        self._note(f"calls {name}")
                    case _:
                        pass
        text = delta.get("content")
        if isinstance(text, str) and text:
            self._spinner.stop()
            self._stop_thinking()
            write(text)
            self._last = text[-1]
            if self._last == "\n" or not self._shared:
                self._spinner.start()

    def end(self) -> None:
        """The shell's prompt comes on a line of its own."""
        self._spinner.stop()
        self._stop_thinking()
        if self._last != "\n":
            self._last = "\n"
            write("\n")

    def _think(self, text: object) -> None:
        if not isinstance(text, str) or not text:
            return
        self._spinner.stop()
        if not self._thinking:
            self._thinking = True
            self._begin_aside()
            self._raw(_DIM)
        write(text, sys.stderr)

    def _stop_thinking(self) -> None:
        if self._thinking:
            self._thinking = False
            self._raw(f"{_BRIGHT}\n")

    def _note(self, text: str) -> None:
        self._spinner.stop()
        self._stop_thinking()
        self._begin_aside()
        self._raw(_DIM)
        write(f"[{text}]", sys.stderr)
        self._raw(f"{_BRIGHT}\n")
        self._spinner.start()

    def _begin_aside(self) -> None:
        if self._shared and self._last != "\n":
            self._last = "\n"
            self._raw("\n")

    @staticmethod
    def _raw(text: str) -> None:
        if not _is_capable():
            text = text.replace(_DIM, "").replace(_BRIGHT, "")
        sys.stderr.write(text)
        sys.stderr.flush()


def _is_capable() -> bool:
    """Whether the terminal says what it is, and that it is more than a printer."""
    return (os.environ.get("TERM") or "dumb") != "dumb"
