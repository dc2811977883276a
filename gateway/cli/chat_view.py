"""A conversation as a person sees it: what is said goes to standard output, what happens to standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from .console import legible, say, write
from .rpc import part

__all__ = ["ChatView", "text_of"]

MAX_RUNS = 64
"""Answers that grow at once; of more, the oldest are no longer followed."""

_PROMPT = "> "


class ChatView:
    """Shows messages and answers that grow.  `interactive`: somebody types at this terminal, and sees a prompt."""

    def __init__(self) -> None:
        self.interactive = sys.stdin.isatty() and sys.stdout.isatty()
        self._shared = sys.stdout.isatty()  # then what is written to standard error stands between
        self._last = "\n"
        self._prompted = False
        self._current = ""
        self._shown: dict[str, str] = {}

    @property
    def growing(self) -> bool:
        """Whether an answer is under way."""
        return bool(self._shown)

    def history(self, messages: Iterable[Mapping[str, Any]]) -> None:
        """What was said before, or by others."""
        self._end_line()
        for message in messages:
            text = text_of(message)
            if message.get("role") == "user":
                text = _PROMPT + text.replace("\n", "\n  ")
            elif message.get("role") != "assistant":
                continue
            if text:
                self._put(text)
                self._end_line()

    def begin(self, run: str) -> None:
        """An answer is awaited."""
        self._shown.setdefault(run, "")
        while len(self._shown) > MAX_RUNS:
            del self._shown[next(iter(self._shown))]

    def grow(self, run: str, text: str) -> None:
        """An answer is `text` so far; what of it is not on the screen is added."""
        self.begin(run)
        known = self._shown[run]
        if known.startswith(text):
            return
        self._shown[run] = text
        if self._current != run or self._prompted:
            self._end_line()
        if text.startswith(known):
            text = text[len(known) :]
        else:  # it has been written anew
            self._end_line()
        self._current = run
        self._put(text)

    def finish(self, run: str) -> None:
        """An answer is over."""
        if self._shown.pop(run, None):
            self._end_line()

    def keep(self, *runs: str) -> None:
        """No other answers than these are under way, whatever was missed."""
        self._shown = {run: text for run, text in self._shown.items() if run in runs}

    def note(self, text: str) -> None:
        """Something that happened."""
        if self._shared:
            self._end_line()
        say(f"[{legible(text).strip('[]')}]")

    def prompt(self) -> None:
        """It is somebody's turn to say something."""
        if self.interactive and not self._prompted:
            self._end_line()
            write(_PROMPT)
            self._prompted = True

    def typed(self) -> None:
        """A line was typed: the cursor is at the beginning of the next one."""
        self._prompted = False
        if self.interactive:
            self._last = "\n"

    def interrupted(self) -> None:
        """Ctrl-C was typed, which terminals show as `^C`."""
        if self.interactive:
            write("\n")
        self.typed()

    def end(self) -> None:
        """The shell's prompt comes on a line of its own."""
        self._end_line()

    def _put(self, text: str) -> None:
        write(text)
        self._last = text[-1]

    def _end_line(self) -> None:
        if self._last != "\n" or self._prompted:
            self._prompted = False
            write("\n")
            self._last = "\n"


def text_of(message: Mapping[str, Any]) -> str:
    """What a message of the protocol says: its text, or the texts among its parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = map(part, content) if isinstance(content, list) else ()
    return "".join(str(one.get("text", "")) for one in parts if one.get("type") == "text")
