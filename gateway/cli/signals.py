"""Signals that end a command, and what it has begun."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from .console import UnansweredError, complain

__all__ = ["concluded", "until_signal"]


def concluded(work: Coroutine[Any, Any, int | None]) -> int:
    """Do the work of a command that asks a gateway; returns the exit code, after a word about what went wrong."""
    try:
        return asyncio.run(until_signal(work))
    except UnansweredError as error:
        complain(*str(error).split("\n"))
        return error.exit_code


async def until_signal(work: Coroutine[Any, Any, int | None]) -> int:
    """The exit code, 0 where the work gives none.

    Another signal than Ctrl-C ends the work as well, and what it has started.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    received: list[int] = []

    def end(number: int) -> None:
        received.append(number)
        task.cancel()

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:  # `nohup` wants it ignored
            with suppress(NotImplementedError, ValueError, RuntimeError):  # on Windows, or beside the main thread
                loop.add_signal_handler(number, end, number)
    try:
        return await task or 0
    except asyncio.CancelledError:
        if not received:
            raise
        return 128 + received[0]
