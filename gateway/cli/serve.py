"""A gateway until a signal comes."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from logging import getLogger
from types import FrameType
from typing import Any

from ..app import Gateway
from ..errors import ConfigError
from ..server.cuts import LOG_PAUSE
from .console import StartError, say

if sys.platform != "win32":
    import resource

__all__ = ["serve"]

_logger = getLogger(__name__)

OPEN_FILES = 10_240
"""What macOS allows although it calls its limit infinite (OPEN_MAX)."""


def serve(gateway: Gateway, announce: Callable[[list[str]], None]) -> int:
    """Listen, `announce(urls)`, and serve until SIGINT or SIGTERM; then drain.  The result is the exit code.

    A second signal ends the process at once, with 128 and the signal's number.  Raises StartError.
    """
    _raise_file_limit()
    asyncio.run(_serve(gateway, announce))
    return 0


async def _serve(gateway: Gateway, announce: Callable[[list[str]], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_without_repeats())
    with _signals(loop, stop):
        try:
            await gateway.start()
        except ConfigError as error:
            raise StartError(*error.problems) from error
        try:
            announce(gateway.urls)
            # What stands in memory now stays for good: the collector need not walk it in each of its rounds, nor do
            # forked children copy the pages it would touch.
            gc.collect()
            gc.freeze()
            await stop.wait()
            if runs := gateway.runs.active:
                patience = gateway.config.gateway.shutdown.drain_ms / 1000
                say(f"runs under way: {runs}; they have up to {patience:g} s to end, a second signal ends them at once")
            await gateway.drain()
        finally:
            await gateway.aclose()
            gc.unfreeze()


def _without_repeats() -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """A handler for the errors of the loop that lets those of `accept` not fill the log.

    When no file descriptor is left asyncio complains, with a traceback, each second for each connection that waits.
    """
    quiet_until = 0.0

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal quiet_until
        if "accept" not in context.get("message", ""):
            loop.default_exception_handler(context)
        elif loop.time() >= quiet_until:
            quiet_until = loop.time() + LOG_PAUSE
            _logger.error("no connection can be taken: %s; raise the limit on open files", context.get("exception"))

    return handle


@contextmanager
def _signals(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM set `stop`, and the second end the process.

    Handlers of `signal.signal`, not of the loop: those work on Windows as well, and the second signal ends the process
    also when an agent keeps the loop from turning.
    """
    seen = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal seen
        if seen:
            os._exit(128 + number)
        seen = True
        loop.call_soon_threadsafe(stop.set)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _raise_file_limit() -> None:
    """Allow as many open files as may be allowed: each connection is one, and the usual limit is 1,024."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    for limit in (hard, max(soft, OPEN_FILES)):
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            return
