"""A gateway until a signal comes."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from logging import getLogger
from types import FrameType
from typing import Any

from ..app import Gateway
from ..config import Loaded
from ..errors import ConfigError
from ..logring import LogRing
from ..server.cuts import LOG_PAUSE
from .console import StartError, say
from .systemd import Notifier

if sys.platform != "win32":
    import resource

__all__ = ["keep_log", "serve"]

_logger = getLogger(__name__)

OPEN_FILES = 10_240
"""What macOS allows although it calls its limit infinite (OPEN_MAX)."""


def serve(gateway: Gateway, announce: Callable[[list[str]], None], reread: Callable[[], Loaded] | None = None) -> int:
    """Listen, `announce(urls)`, and serve until SIGINT or SIGTERM; then drain.  The result is the exit code.

    A second signal ends the process at once, with 128 and the signal's number.  SIGHUP reads certificates anew, and the
    keys of the configuration that `reread` gives.  A service manager is told how it goes.  Raises StartError.
    """
    new_loop = _new_loop(gateway.config.gateway.loop)
    _raise_file_limit()
    notifier = Notifier(os.environ)
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(_Service(gateway, notifier, reread).run(announce))
    finally:
        notifier.close()
    return 0


def _new_loop(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the event loop that is called so; None for the usual one.  Raises StartError where there is none."""
    if name == "asyncio":
        return None
    if sys.platform == "win32":
        raise StartError("gateway.loop: there is no uvloop for Windows. Leave the option and --loop out")
    try:
        uvloop: Any = import_module(name)
    except ImportError as error:
        remedy = "Install it (pip install 'gateway[uvloop]'), or leave the option and --loop out"
        raise StartError(f"gateway.loop: uvloop cannot be loaded: {error}. {remedy}") from None
    make: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return make


def keep_log() -> LogRing:
    """Keep the end of the log in memory, for operators that ask for it."""
    ring = LogRing()
    getLogger().addHandler(ring)
    return ring


class _Service:
    """A gateway that runs, and what people and the service manager are told of it."""

    def __init__(self, gateway: Gateway, notifier: Notifier, reread: Callable[[], Loaded] | None) -> None:
        self._gateway = gateway
        self._notifier = notifier
        self._reread = reread
        self._stop = asyncio.Event()

    async def run(self, announce: Callable[[list[str]], None]) -> None:
        gateway = self._gateway
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_without_repeats())
        with _signals(loop, self._stop), _hang_up(loop, self._reload):
            try:
                await gateway.start()
            except ConfigError as error:
                raise StartError(*error.problems) from error
            try:
                announce(gateway.urls)
                self._ready()
                self._sign_of_life(loop)
                # What stands in memory now stays for good: the collector need not walk it in each of its rounds, nor
                # do forked children copy the pages it would touch.
                gc.collect()
                gc.freeze()
                await self._stop.wait()
                runs = gateway.runs.active
                self._notifier.stopping(f"stopping, runs under way: {runs}")
                if runs:
                    patience = gateway.config.gateway.shutdown.drain_ms / 1000
                    say(
                        f"runs under way: {runs}; they have up to {patience:g} s to end, "
                        "a second signal ends them at once"
                    )
                await gateway.drain()
            finally:
                await gateway.aclose()
                gc.unfreeze()

    def _ready(self) -> None:
        self._notifier.ready(f"listening on {', '.join(self._gateway.urls)}")

    def _sign_of_life(self, loop: asyncio.AbstractEventLoop) -> None:
        """Now and again and again.  From the loop: one that an agent keeps from turning is what a watchdog is for."""
        if self._notifier.watchdog:
            self._notifier.alive()
            loop.call_later(self._notifier.watchdog, self._sign_of_life, loop)

    def _reload(self) -> None:
        if self._stop.is_set():
            return
        self._notifier.reloading()
        try:
            loaded = None if self._reread is None else self._reread()
            done = self._gateway.reload() if loaded is None else self._gateway.reload(loaded.config, loaded.environ)
        except ConfigError as error:
            say(*(f"{problem}; what is in use stays" for problem in error.problems))
        else:
            nothing = "SIGHUP: there is no certificate to read anew, and there are no keys"
            say(f"read anew: {', '.join(done)}" if done else nothing)
        self._ready()


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


@contextmanager
def _hang_up(loop: asyncio.AbstractEventLoop, reload: Callable[[], None]) -> Iterator[None]:
    """Let SIGHUP call `reload`; but not in a terminal, whose end is to end what was started there."""
    if sys.platform == "win32" or os.isatty(0):
        yield
        return
    before = signal.signal(signal.SIGHUP, lambda _number, _frame: loop.call_soon_threadsafe(reload))
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


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
