"""`gateway run --workers N`: the process above the workers, as people and the service manager see it."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from argparse import Namespace
from collections.abc import Sequence

from ..config import Loaded, resolve_auth
from ..errors import ConfigError
from ..listening import addresses_of
from ..server.listeners import Address
from ..sessions.lanes import Lanes
from ..workers.book import LaneBook
from ..workers.logs import LogForward
from ..workers.process import WorkerError
from ..workers.sockets import SocketSet
from ..workers.supervisor import Plan, Supervisor
from .console import FAILED, StartError, complain, introduction, patience, say
from .serve import give_signs_of_life, raise_file_limit, reloading, stopping
from .setup import load_config, log_to_stderr
from .systemd import Notifier, inherited_sockets

__all__ = ["supervise"]

LEAST_SILENCE = 0.5
"""Seconds without a sign of life that say anything: a machine with much to do holds a process up for as long."""


def supervise(options: Namespace, loaded: Loaded) -> int:
    """Keep workers until SIGINT or SIGTERM, then let them drain; returns the exit code.

    SIGHUP replaces the workers one after another, by some that read the configuration anew.  A second signal ends all
    processes at once.  Raises ConfigError where they cannot be started, and StartError.
    """
    say(*(f"warning: {warning}" for warning in loaded.warnings))
    log_to_stderr(logging.DEBUG if options.verbose else logging.INFO)
    raise_file_limit()
    inherited = inherited_sockets(os.environ)
    addresses = addresses_of(loaded.config, inherited or None)
    try:
        sockets = SocketSet(addresses, loaded.config.gateway.workers)
    except ConfigError as error:
        raise StartError(*error.problems) from error
    notifier = Notifier(os.environ)
    try:
        # Whatever loop the workers have: uvloop leaves nobody else SIGCHLD.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            return runner.run(_Service(options, loaded, sockets, None if inherited else addresses, notifier).run())
    finally:
        sockets.close()
        notifier.close()


class _Service:
    def __init__(
        self,
        options: Namespace,
        loaded: Loaded,
        sockets: SocketSet,
        addresses: Sequence[Address] | None,
        notifier: Notifier,
    ) -> None:
        self._options = options
        self._loaded = loaded
        self._sockets = sockets
        self._addresses = addresses
        self._notifier = notifier
        self._stop = asyncio.Event()
        self._hang_up = asyncio.Event()
        self._supervisor = Supervisor(self._plan(loaded), sockets, os.environ)
        self._lanes = Lanes()
        self._limit_lanes(loaded)
        LaneBook(self._supervisor.switch, self._lanes)

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        supervisor = self._supervisor
        forward = LogForward(supervisor.switch)
        logging.getLogger().addHandler(forward)
        forward.open()
        with stopping(loop, self._stop, supervisor.kill), reloading(loop, self._hang_up.set):
            stop = loop.create_task(self._stop.wait())
            work = loop.create_task(self._work(loop))
            try:
                await asyncio.wait({stop, work}, return_when=asyncio.FIRST_COMPLETED)
                if work.done() and not self._stop.is_set():  # else they have heard the same signal as we have
                    work.result()
                work.cancel()
                runs = await supervisor.drain()
                self._notifier.stopping(f"stopping, runs under way: {runs}")
                if runs:
                    say(patience(runs, self._loaded.config.gateway.shutdown.drain_ms))
            except WorkerError as error:
                complain(*error.problems)
                return 128 - error.code if error.code < 0 else error.code or FAILED
            finally:
                for task in (stop, work):
                    task.cancel()
                await asyncio.wait({stop, work})
                logging.getLogger().removeHandler(forward)
                forward.close()
                await supervisor.aclose()
        return 0

    async def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """Raises WorkerError where they cannot be started."""
        await self._supervisor.start()
        gateway = self._loaded.config.gateway
        mode = resolve_auth(gateway, self._loaded.environ).mode
        chat = gateway.http.endpoints.chat_completions.enabled
        say(*introduction(self._urls(), mode, chat=chat, path=self._loaded.path))
        self._ready()
        give_signs_of_life(self._notifier, loop)
        while True:
            await self._hang_up.wait()
            self._hang_up.clear()
            self._notifier.reloading()
            await self._reload()
            self._ready()

    async def _reload(self) -> None:
        try:
            loaded = load_config(self._options, verbose=self._options.verbose)
            self._supervisor.plan = self._plan(loaded)
            self._compare(loaded)
            await self._supervisor.reload()
        except (ConfigError, WorkerError) as error:
            say(*(f"{problem}; what is in use stays" for problem in error.problems))
            self._supervisor.plan = self._plan(self._loaded)
        else:
            self._loaded = loaded
            self._limit_lanes(loaded)
            say(f"read anew: {self._count} workers were replaced")

    def _limit_lanes(self, loaded: Loaded) -> None:
        queue = loaded.config.session.queue
        self._lanes.limit(queue.max_waiting, queue.max_wait_ms / 1000, queue.mode)

    def _compare(self, loaded: Loaded) -> None:
        """Tell what is new in a configuration and cannot be taken over."""
        say(*(f"warning: {warning}" for warning in loaded.warnings if warning not in self._loaded.warnings))
        if loaded.config.gateway.workers != self._count:
            say(f"gateway.workers: {loaded.config.gateway.workers} takes effect with the next start")
        if self._addresses is not None and addresses_of(loaded.config, None) != self._addresses:
            say("gateway.bind, gateway.port, gateway.unixSocket: what is new takes effect with the next start")

    @property
    def _count(self) -> int:
        return len(self._sockets.of)

    def _urls(self) -> list[str]:
        return self._sockets.urls("https" if self._loaded.config.gateway.tls.enabled else "http")

    def _plan(self, loaded: Loaded) -> Plan:
        gateway = loaded.config.gateway
        # Of the two the shorter one: a service manager that wants signs of life would end us all for one that has none.
        limits = (gateway.worker_timeout_ms / 1000, 2 * self._notifier.watchdog)
        silence = min((max(limit, LEAST_SILENCE) for limit in limits if limit), default=0.0)
        return Plan(_command(self._options.arguments), gateway.shutdown.drain_ms / 1000, silence)

    def _ready(self) -> None:
        self._notifier.ready(f"listening on {', '.join(self._urls())}, workers: {self._count}")


def _command(arguments: Sequence[str]) -> list[str]:
    """What starts this program again, with the same flags, and the same options of the interpreter."""
    started = len(sys.orig_argv) - len(sys.argv) + 1
    if list(arguments) == sys.argv[1:] == sys.orig_argv[started:]:
        return [sys.executable, *sys.orig_argv[1:started], *arguments]
    return [sys.executable, "-m", __package__.rpartition(".")[0], *arguments]
