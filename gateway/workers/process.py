"""One process of a worker, as the supervisor sees it: from its start to its end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from logging import getLogger
from typing import Any

from ..errors import GatewayError
from .channel import ChannelError, number_of
from .switch import Switch
from .worker import DRAIN

__all__ = ["Process", "WorkerError"]

_logger = getLogger(__name__)

START_TIME = 300.0
"""Seconds from the start of a process until it serves: agents in Python may load models of their own first."""
DRAIN_ANSWER = 5.0
"""Seconds for a worker to say that it has begun to drain; one that does not is given its time all the same."""
GRACE = 8.0
"""Seconds beyond the drain, for the last frames of runs that were cut off, and for the programs that they started."""
LAST_WORDS = 1.0
"""Seconds to read what a process said before its end, while others whom it started may hold its socket."""


class WorkerError(GatewayError):
    """A process could not begin to serve.

    `problems` are lines for people, those of the process itself if it said why; `code` is what it ended with.
    """

    def __init__(self, problems: Sequence[str], code: int) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)
        self.code = code


class Process:
    """Started by the constructor, which raises OSError where there can be no more processes.

    `drain` is how long its runs may go on after it was asked to end, `silence` how long it may give no sign of life, in
    seconds.
    """

    def __init__(
        self,
        address: int,
        switch: Switch,
        command: Sequence[str],
        environment: Mapping[str, str],
        descriptors: Sequence[int],
        *,
        drain: float,
        silence: float,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.address = address
        self.number = number_of(address)
        self.problems: tuple[str, ...] = ()
        """What it said before it failed."""
        self.born = self.sign = loop.time()
        """When it was started, and when it last gave a sign of life."""
        self.serves: asyncio.Future[None] = loop.create_future()
        self.exited: asyncio.Future[int] = loop.create_future()
        """Its exit code, negative for the number of a signal."""
        self.mute: asyncio.Future[None] = loop.create_future()
        """Its channel has ended."""
        self.silence = silence
        self._switch = switch
        self._drain = drain
        self._reaping: asyncio.Task[None] | None = None
        # Blocked until it has handlers for them: what a terminal sends to all would end it before.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
        try:
            self._popen = subprocess.Popen(  # noqa: S603 - this program itself
                list(command), env=dict(environment), pass_fds=tuple(descriptors), stdin=subprocess.DEVNULL
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    @property
    def pid(self) -> int:
        return self._popen.pid

    def poll(self) -> None:
        """Look whether it has ended."""
        code = self._popen.poll()
        if code is not None and self._reaping is None:
            self._reaping = asyncio.get_running_loop().create_task(self._reap(code))

    async def _reap(self, code: int) -> None:
        await asyncio.wait({self.mute}, timeout=LAST_WORDS)
        self._switch.detach(self.address)
        if not self.exited.done():
            self.exited.set_result(code)

    async def until_it_serves(self) -> None:
        """Raises WorkerError where it does not, and then it is gone."""
        lost = asyncio.ensure_future(self.until_it_is_lost())
        either: set[asyncio.Future[Any]] = {self.serves, lost}
        try:
            await asyncio.wait(either, timeout=START_TIME, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()
        if self.serves.done():
            return
        how = f"did not come to serve within {START_TIME:g} seconds"
        if self.exited.done() or self.mute.done():
            how = f"{self.fate()} before it could serve"
        self.kill()
        await asyncio.wait({self.exited})
        raise WorkerError(self.problems or (f"worker {self.number} {how}",), self.exited.result())

    async def until_it_is_lost(self) -> None:
        """It has ended, or cannot be talked with any more."""
        either: set[asyncio.Future[Any]] = {self.exited, self.mute}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not self.exited.done():
            await asyncio.wait({self.exited}, timeout=LAST_WORDS)

    async def ask_to_drain(self, patience: float = 0.0) -> int:
        """It takes no more requests, but for `patience` one on each connection; how many runs are under way there."""
        try:
            return int(await self._switch.ask(self.address, DRAIN, patience, timeout=DRAIN_ANSWER))
        except ChannelError:
            return 0

    async def retire(self, patience: float = 0.0) -> None:
        """Ask it to end, wait as long as it may take, and end it then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._drain + GRACE):
                await self.ask_to_drain(patience)
                await asyncio.wait({self.exited})
                return
        _logger.error("worker %s (pid %s) does not end: killed", self.number, self.pid)
        self.kill()
        await asyncio.wait({self.exited})

    def kill(self) -> None:
        """At once."""
        if self._popen.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def fate(self) -> str:
        """How it has ended, for people."""
        return _fate(self.exited.result()) if self.exited.done() else "has closed its channel"


def _fate(code: int) -> str:
    if code >= 0:
        return f"has ended with exit code {code}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"
