"""A gateway until a signal comes."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from logging import getLogger
from types import FrameType
from typing import Any

from ..config import Config, Loaded
from ..errors import ConfigError
from ..logring import LogRing
from ..records import Protocol
from ..server.cuts import LOG_PAUSE
from .console import StartError, patience, say
from .systemd import Notifier

if sys.platform != "win32":
    import resource

__all__ = [
    "Gateway",
    "Worker",
    "beside_a_terminal",
    "give_signs_of_life",
    "keep_log",
    "raise_file_limit",
    "reloading",
    "serve",
    "stopping",
]

_logger = getLogger(__name__)

COLLECT_AFTER = (10_000, 20, 20)
"""For the garbage collector, whose rounds everybody waits for.  With the usual 700 new objects it begins one with every
third stream; with 500 streams of a token each 10 ms, the longest gaps were a ninth shorter with these, and a token cost
a fifteenth less.  What is garbage and waits for a round is a few MiB at most."""

OPEN_FILES = 10_240
"""What macOS allows although it calls its limit infinite (OPEN_MAX)."""


class Gateway(Protocol):
    """The part of `app.Gateway` that is needed here.  A supervisor, which serves nothing, has no need for the rest."""

    config: Config
    runs: Any

    @property
    def urls(self) -> list[str]: ...

    async def start(self) -> None: ...

    def reload(self, config: Config | None = None, environ: Mapping[str, str] | None = None) -> tuple[str, ...]: ...

    async def drain(self, deadline: float | None = None, patience: float = 0.0) -> None: ...

    async def aclose(self) -> None: ...


class Worker(Protocol):
    """The part of `workers.worker.Worker` that is needed here: between this process and its supervisor."""

    watchdog: float

    async def join(self, drain: Callable[[float], int]) -> None: ...

    def ready(self, status: str) -> None: ...

    def alive(self) -> None: ...

    def stopping(self, status: str) -> None: ...

    def reloading(self) -> None: ...

    async def aclose(self) -> None: ...


def serve(
    gateway: Gateway,
    announce: Callable[[list[str]], None],
    reread: Callable[[], Loaded] | None = None,
    worker: Worker | None = None,
) -> int:
    """Listen, `announce(urls)`, and serve until SIGINT or SIGTERM; then drain.  The result is the exit code.

    A second signal ends the process at once, with 128 and the signal's number.  SIGHUP reads certificates anew, and the
    keys of the configuration that `reread` gives.  A service manager is told how it goes; or the supervisor of a
    `worker`, which says when it is to end, and starts another one with what is new.  Raises StartError.
    """
    new_loop = _new_loop(gateway.config.gateway.loop)
    raise_file_limit()
    notifier = Notifier(os.environ)
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(_Service(gateway, worker or notifier, reread, worker).run(announce))
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


def give_signs_of_life(manager: Worker | Notifier, loop: asyncio.AbstractEventLoop) -> None:
    """Now and again and again.  From the loop: one that an agent keeps from turning is what a watchdog is for."""
    if manager.watchdog:
        manager.alive()
        loop.call_later(manager.watchdog, give_signs_of_life, manager, loop)


def keep_log() -> LogRing:
    """Keep the end of the log in memory, for operators that ask for it."""
    ring = LogRing()
    getLogger().addHandler(ring)
    return ring


class _Service:
    """A gateway that runs, and what people and the service manager are told of it."""

    def __init__(
        self,
        gateway: Gateway,
        manager: Worker | Notifier,
        reread: Callable[[], Loaded] | None,
        worker: Worker | None,
    ) -> None:
        self._gateway = gateway
        self._manager = manager
        self._reread = reread
        self._worker = worker
        self._stop = asyncio.Event()
        self._patience = 0.0

    async def run(self, announce: Callable[[list[str]], None]) -> None:
        gateway = self._gateway
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_without_repeats())
        with ExitStack() as signals:
            if self._worker is None:
                signals.enter_context(stopping(loop, self._stop))
                signals.enter_context(reloading(loop, self._reload))
            else:
                signals.enter_context(stopping(loop, self._stop, numbers=(signal.SIGTERM,)))
                await self._worker.join(self._drain)
            thresholds = gc.get_threshold()
            try:
                await gateway.start()
            except ConfigError as error:
                raise StartError(*error.problems) from error
            try:
                announce(gateway.urls)
                self._ready()
                give_signs_of_life(self._manager, loop)
                # What stands in memory now stays for good: the collector need not walk it in each of its rounds, nor
                # do forked children copy the pages it would touch.  There is hardly any garbage among it, some 300
                # objects: to collect that first would take 3 ms from the first request.
                gc.freeze()
                gc.set_threshold(*COLLECT_AFTER)
                await self._stop.wait()
                runs = gateway.runs.active
                self._manager.stopping(f"stopping, runs under way: {runs}")
                if runs and self._worker is None:
                    say(patience(runs, gateway.config.gateway.shutdown.drain_ms))
                await gateway.drain(patience=self._patience)
            finally:
                await gateway.aclose()
                if self._worker is not None:
                    await self._worker.aclose()
                gc.unfreeze()
                gc.set_threshold(*thresholds)

    def _drain(self, patience: float) -> int:
        """The supervisor says that this process is to end."""
        self._patience = patience
        self._stop.set()
        return int(self._gateway.runs.active)

    def _ready(self) -> None:
        self._manager.ready(f"listening on {', '.join(self._gateway.urls)}")

    def _reload(self) -> None:
        if self._stop.is_set():
            return
        self._manager.reloading()
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
def stopping(
    loop: asyncio.AbstractEventLoop,
    stop: asyncio.Event,
    at_once: Callable[[], None] = lambda: None,
    numbers: Iterable[int] = (signal.SIGINT, signal.SIGTERM),
) -> Iterator[None]:
    """Let the first of these signals set `stop`, and the second end the process, after `at_once()`.

    Handlers of `signal.signal`, not of the loop: those work on Windows as well, and the second signal ends the process
    also when an agent keeps the loop from turning.
    """
    seen = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal seen
        if seen:
            at_once()
            os._exit(128 + number)
        seen = True
        loop.call_soon_threadsafe(stop.set)

    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def reloading(loop: asyncio.AbstractEventLoop, reload: Callable[[], None]) -> Iterator[None]:
    """Let SIGHUP call `reload`; but not in a terminal, whose end is to end what was started there."""
    if sys.platform == "win32" or os.isatty(0):
        yield
        return
    before = signal.signal(signal.SIGHUP, lambda _number, _frame: loop.call_soon_threadsafe(reload))
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


@contextmanager
def beside_a_terminal() -> Iterator[None]:
    """Take no notice of signals that a terminal sends to all processes in it: the supervisor says what follows.

    They have a handler instead of being ignored, because programs that agents start would inherit that.  Up to here
    they were blocked, by the supervisor.
    """
    numbers = [number for name in ("SIGHUP", "SIGINT") if (number := getattr(signal, name, None)) is not None]
    before = {number: signal.signal(number, lambda _number, _frame: None) for number in numbers}
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def raise_file_limit() -> None:
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
