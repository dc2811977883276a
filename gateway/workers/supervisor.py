"""The process above the workers: it starts them, starts them again, replaces them one by one, and ends them."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from logging import getLogger
from typing import Any

from ..model.names import WORKER_PLACE
from ..records import NamedTuple
from .process import Process, WorkerError
from .sockets import SocketSet
from .switch import Switch
from .worker import ALIVE, FAILED, READY, place

__all__ = ["Plan", "Supervisor"]

_logger = getLogger(__name__)

STEADY = 10.0
"""Seconds that a process has lived after which its end is an accident, and not the next one in a row."""
LEAST_PAUSE = 0.5
"""Seconds before the second start in a row; the first one comes at once, and each one more waits twice as long."""
LONGEST_PAUSE = 15.0
"""Connections wait meanwhile in the queue of the worker that is missing: as long as clients wait for an answer."""
PATIENCE = 5.0
"""Seconds in which connections to a process that was replaced may send one more request.  Those that have none then are
closed, as any are that have none for long.
"""
SIGNS = 4
"""Signs of life within the time after which a worker without one is given up."""
LONGEST_WATCH = 15.0
"""Seconds until it is looked again whether any process has to give signs of life."""


class Plan(NamedTuple):
    """What workers are started with.

    `drain`: seconds that runs may go on in a worker that is to end.  `silence`: seconds without a sign of life after
    which a worker is ended; 0 for no limit.
    """

    command: Sequence[str]
    drain: float
    silence: float


class _Slot:
    """The place of one worker, which several processes fill one after another."""

    def __init__(self, number: int, listen: Sequence[socket.socket]) -> None:
        self.number = number
        self.listen = listen
        self.inbox, self.outbox = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.changing = asyncio.Lock()
        self.reloaded = asyncio.Event()
        self.serving: Process | None = None
        self.leaving: set[asyncio.Task[None]] = set()
        self.failures = 0

    def close(self) -> None:
        self.inbox.close()
        self.outbox.close()


class Supervisor:
    """Workers on the sockets that it is given.  To be used in one event loop, on the main thread.

    `plan` may be replaced: it is that of the processes to come.
    """

    def __init__(self, plan: Plan, sockets: SocketSet, environ: Mapping[str, str]) -> None:
        self.plan = plan
        self.switch = Switch(len(sockets.of))
        self._sockets = sockets
        self._environ = environ
        self._slots = [_Slot(number, listen) for number, listen in enumerate(sockets.of, 1)]
        self._processes: dict[int, Process] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.switch.handle(READY, self._ready)
        self.switch.handle(FAILED, self._failed)
        self.switch.handle(ALIVE, self._alive)
        self.switch.on_lost(self._mute)

    async def start(self) -> None:
        """All workers serve when this returns.  Raises WorkerError, that of the first that does not."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._look)
        starting = [asyncio.ensure_future(self._fill(slot)) for slot in self._slots]
        try:
            await asyncio.gather(*starting)
        except BaseException:
            for task in starting:
                task.cancel()
            await asyncio.wait(starting)
            raise
        for slot in self._slots:
            self._begin(self._keep(slot))
        self._begin(self._watch())

    async def reload(self) -> None:
        """Replace the processes one after another: the old one drains once the new one serves.

        Raises WorkerError where a new process does not come to serve; it and those after it stay what they were.
        """
        for slot in self._slots:
            async with slot.changing:
                if slot.leaving:  # no more than two processes of a worker at a time
                    await asyncio.wait(slot.leaving)
                await self._fill(slot)
            slot.failures = 0
            slot.reloaded.set()
            slot.reloaded.clear()

    async def drain(self) -> int:
        """Take no more requests; how many runs are under way."""
        for task in self._tasks:
            task.cancel()
        # A worker lets go of its sockets when it begins to drain: without ours they are closed, and clients refused.
        self._sockets.close()
        return sum(await asyncio.gather(*(process.ask_to_drain() for process in self._processes.values())))

    async def aclose(self) -> None:
        """Wait for the end of all processes, as long as their runs may go on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(process.retire() for process in list(self._processes.values())))
        await self.switch.aclose()
        self._sockets.close()
        for slot in self._slots:
            slot.close()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)

    def kill(self) -> None:
        """End all processes at once.  To be called from anywhere, also from a signal handler."""
        for process in list(self._processes.values()):
            process.kill()

    # -- one worker

    async def _fill(self, slot: _Slot) -> None:
        """Put a new process into the place, and let the one that was there drain.  Raises WorkerError."""
        process = await self._launch(slot)
        try:
            await process.until_it_serves()
        except BaseException:
            process.kill()
            raise
        old, slot.serving = slot.serving, process
        self.switch.serving[slot.number] = process.address
        if old is not None and not old.exited.done():
            task = self._begin(old.retire(PATIENCE))
            slot.leaving.add(task)
            task.add_done_callback(slot.leaving.discard)

    async def _launch(self, slot: _Slot) -> Process:
        address = self.switch.address(slot.number)
        plan = self.plan
        outboxes = {one.number: one.outbox for one in self._slots}  # its own: to the one that takes its place
        ours: socket.socket | None = None
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                text, descriptors = place(
                    slot.number, len(self._slots), channel=theirs, listen=slot.listen, inbox=slot.inbox,
                    outboxes=outboxes, watchdog=plan.silence / SIGNS,
                )  # fmt: skip
                process = Process(
                    address, self.switch, plan.command, {**self._environ, WORKER_PLACE: text}, descriptors,
                    drain=plan.drain, silence=plan.silence,
                )  # fmt: skip
        except OSError as error:  # no more files, or processes
            if ours is not None:
                ours.close()
            reason = f"worker {slot.number} cannot be started: {error.strerror or error}"
            raise WorkerError((reason,), os.EX_OSERR) from error
        ours.setblocking(False)
        self._processes[address] = process
        process.exited.add_done_callback(lambda _: self._processes.pop(address, None))
        try:
            await self.switch.attach(address, ours)
        except BaseException:
            process.kill()
            raise
        return process

    async def _keep(self, slot: _Slot) -> None:
        """Let another process take the place of one that has ended."""
        while True:
            process = slot.serving
            assert process is not None, "all have begun to serve"
            await process.until_it_is_lost()
            if slot.serving is process:
                await self._start_again(slot, process)

    async def _start_again(self, slot: _Slot, lost: Process) -> None:
        loop = asyncio.get_running_loop()
        slot.failures = 0 if loop.time() - lost.born > STEADY else slot.failures + 1
        _logger.error("worker %s (pid %s) %s; another one takes its place", slot.number, lost.pid, lost.fate())
        while slot.serving is lost:
            pause = LEAST_PAUSE * 2 ** min(slot.failures - 1, 16) if slot.failures else 0.0
            with suppress(TimeoutError):
                async with asyncio.timeout(min(pause, LONGEST_PAUSE)):
                    await slot.reloaded.wait()
            async with slot.changing:
                if slot.serving is not lost:  # a reload was quicker
                    return
                try:
                    await self._fill(slot)
                except WorkerError as error:
                    slot.failures += 1
                    said = "; ".join(error.problems)
                    _logger.error("worker %s could not be started again: %s", slot.number, said)  # noqa: TRY400 - no fault of ours

    # -- what is heard of them

    def _ready(self, sender: int) -> None:
        process = self._processes.get(sender)
        if process is not None and not process.serves.done():
            process.sign = asyncio.get_running_loop().time()
            process.serves.set_result(None)

    def _failed(self, sender: int, problems: tuple[str, ...]) -> None:
        process = self._processes.get(sender)
        if process is not None:
            process.problems = problems

    def _alive(self, sender: int) -> None:
        process = self._processes.get(sender)
        if process is not None:
            process.sign = asyncio.get_running_loop().time()

    def _mute(self, address: int) -> None:
        process = self._processes.get(address)
        if process is not None and not process.mute.done():
            process.mute.set_result(None)

    def _look(self) -> None:
        for process in list(self._processes.values()):
            process.poll()

    async def _watch(self) -> None:
        """End those whose event loop stands still."""
        loop = asyncio.get_running_loop()
        while True:
            serving = [slot.serving for slot in self._slots if slot.serving is not None]
            pause = min((one.silence for one in serving if one.silence), default=LONGEST_WATCH * SIGNS) / SIGNS
            before = loop.time()
            await asyncio.sleep(pause)
            now = loop.time()
            for process in serving:
                if now - before > 2 * pause:  # we stood still ourselves, and have heard nobody
                    process.sign = now
                elif 0 < process.silence < now - process.sign and not process.exited.done():
                    _logger.error(
                        "the event loop of worker %s (pid %s) has stood still for %g seconds: killed",
                        process.number, process.pid, process.silence,
                    )  # fmt: skip
                    process.kill()

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _logger.critical("the supervision of a worker failed", exc_info=error)
