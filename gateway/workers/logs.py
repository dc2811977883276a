"""The log of all processes in one place: operators ask the first worker for it (`logs.tail`)."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

from ..logring import MAX_LINE_CHARS, LogRing
from .channel import SUPERVISOR, Channel, ChannelError, number_of

__all__ = ["FIRST", "LOG", "LogForward", "LogOfAll"]

LOG = "log"
"""What the first worker is told: a tuple of lines, each (name, level, seconds since the epoch, message)."""
HISTORY = "log: history"
"""What a process that is to be the first worker asks the one that is; the answer is that of `LogRing.lines`."""
ANSWER_SECONDS = 2.0
"""For that; a process that does not answer is why it is replaced."""
FIRST = 1
"""The worker that serves operators: clients, presence and devices are the state of one process."""
MAX_WAITING = 1_000
"""Lines of one turn of the loop, or from before there is one; more are counted, and lost here.  None is on stderr."""

_FORMAT = logging.Formatter()


class LogForward(logging.Handler):
    """Tells the first worker what this process logs.  May be used by any thread; what is told leaves in batches."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lines: list[tuple[str, int, float, str]] = []
        self._lost = 0

    def open(self) -> None:
        """From now on, in this loop."""
        self._loop = asyncio.get_running_loop()
        self._tell()

    def close(self) -> None:
        """See logging.Handler.  The loop ends."""
        self._loop = None
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        if len(self._lines) >= MAX_WAITING:
            self._lost += 1
            return
        message = record.getMessage()
        if record.exc_info:
            message = f"{message}\n{_FORMAT.formatException(record.exc_info)}"
        self._lines.append((record.name, record.levelno, record.created, message[: 2 * MAX_LINE_CHARS]))
        if len(self._lines) == 1 and self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        self.acquire()
        try:
            lines, self._lines = self._lines, []
            lost, self._lost = self._lost, 0
        finally:
            self.release()
        if lost:
            lines.append((__name__, logging.WARNING, lines[-1][2], f"{lost} lines more are not shown here"))
        if lines:
            self._channel.tell(FIRST, LOG, tuple(lines))


class LogOfAll(LogRing):
    """The log of the first worker, with what the others tell of theirs; each line says whose it is."""

    def __init__(self, worker: Channel) -> None:
        super().__init__()
        worker.handle(LOG, self._told)
        worker.handle(HISTORY, lambda _sender: self.lines())

    async def take_over(self, worker: Channel) -> None:
        """Go on with the log of the process whose place this one takes, where there is one."""
        with suppress(ChannelError):
            self.resume(*await worker.ask(FIRST, HISTORY, timeout=ANSWER_SECONDS))

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler.  A line of this process."""
        own = logging.makeLogRecord({**record.__dict__, "msg": f"worker={FIRST} {record.getMessage()}", "args": ()})
        super().emit(own)

    def _told(self, sender: int, lines: tuple[Any, ...]) -> None:
        whose = "supervisor" if sender == SUPERVISOR else f"worker={number_of(sender)}"
        self.acquire()
        try:
            for name, level, created, message in lines:
                members = {"name": name, "levelno": level, "created": created, "msecs": created % 1 * 1000}
                super().emit(logging.makeLogRecord({**members, "msg": f"{whose} {message}"}))
        finally:
            self.release()
