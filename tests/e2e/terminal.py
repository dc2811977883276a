"""A program in a terminal of its own, which a test types into and reads.  Needs tmux."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

__all__ = ["Terminal"]


class Terminal:
    """`command` in a terminal of 120 columns and 40 lines, until the end of the `with` block."""

    def __init__(self, command: list[str], env: Mapping[str, str], folder: Path) -> None:
        tmux = shutil.which("tmux")
        if tmux is None:
            pytest.skip("tmux is not installed")
        self._tmux = (tmux, "-S", str(folder / "tmux"), "-f", "/dev/null")
        self._env = {**env, "TERM": "screen-256color"}
        # What stays on the screen when the program has ended; a pane without a program would be closed.
        self._command = f"{shlex.join(command)}; echo ended with $?; sleep 600"

    def __enter__(self) -> Self:
        self._run("new-session", "-d", "-x", "120", "-y", "40", self._command)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._run("kill-server")

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._tmux, *arguments], env=self._env, capture_output=True, text=True, timeout=20, check=True
        )
        return done.stdout

    def screen(self) -> str:
        """What can be read now, without empty lines."""
        return "\n".join(line.rstrip() for line in self._run("capture-pane", "-p").splitlines() if line.strip())

    def press(self, key: str) -> None:
        """A key by its name: Enter, Escape, C-c."""
        self._run("send-keys", key)

    def enter(self, line: str) -> None:
        self._run("send-keys", "-l", line)
        time.sleep(0.3)  # a program that is told all at once takes it for pasted, and the key for a line break
        self.press("Enter")

    def wait(self, *texts: str, without: str | None = None, seconds: float = 60.0) -> str:
        """Wait until all `texts` can be read, and `without` cannot; answers the screen."""
        end = time.monotonic() + seconds
        while True:
            screen = self.screen()
            if all(text in screen for text in texts) and (without is None or without not in screen):
                return screen
            assert time.monotonic() < end, f"waited {seconds} s in vain for {texts}, {without=}:\n{screen}"
            time.sleep(0.1)
