"""Programs on a real pseudo-terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

__all__ = ["ROOT", "Screen", "on_terminal"]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


class Screen:
    """The other end of a pseudo-terminal, and the program on it."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self._master = master
        self.seen = b""

    def until(self, condition: Callable[[bytes], object], seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not condition(self.seen):
            assert self._read(), f"it ended before that: {self.seen!r}"
            assert time.monotonic() < end, f"waited in vain: {self.seen!r}"

    def end(self) -> int:
        """Its exit code, when all is read."""
        while self._read():
            pass
        return self.process.wait(20)

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def _read(self) -> bool:
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: nobody is at the other end any more
            return False
        self.seen += data
        return bool(data)


@contextmanager
def on_terminal(
    folder: Path, *arguments: str, env: Mapping[str, str] | None = None, stdout: int | None = None
) -> Iterator[Screen]:
    """`gateway ...` in `folder` with a terminal as its standard streams; `stdout` takes one away from it."""
    master, slave = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", *arguments],
        stdin=slave,
        stdout=slave if stdout is None else stdout,
        stderr=slave,
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}",
            "TERM": "xterm",
            "PYTHONIOENCODING": "utf-8",
            **(env or {}),
        },
        start_new_session=True,
        preexec_fn=_own_the_terminal,  # noqa: PLW1509 - this process has no other threads then
    )
    os.close(slave)
    try:
        yield Screen(process, master)
    finally:
        process.kill()
        process.wait()
        os.close(master)


def _own_the_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C there is a signal here
