"""A thread that does what coroutines ask of it, as much as has come together at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from logging import getLogger
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeAlias, TypeVar

from ..errors import MisuseError, StoreError

__all__ = ["GROUP", "WAITING", "Job", "Serve", "Worker"]

GROUP = 256
"""Jobs that are done together: they share one write to the disk."""

WAITING = 4_096
"""Jobs that wait: each is a run that goes no further.  More of them mean a disk that stands still."""

T = TypeVar("T")

_logger = getLogger(__name__)


class Job(Generic[T]):
    """Something to do.  Whoever claims it decides: the thread that it is done, or its coroutine that it is not."""

    __slots__ = ("_claims", "_future", "_loop", "error", "result", "work")

    def __init__(self, work: Callable[[Any], T], loop: asyncio.AbstractEventLoop) -> None:
        self.work = work
        self.result: T | None = None
        self.error: Exception | None = None
        self._loop = loop
        self._future: asyncio.Future[None] = loop.create_future()
        self._claims = [None]  # taking from a list is one step for all threads

    def claim(self) -> bool:
        """Whether nobody else has."""
        try:
            self._claims.pop()
        except IndexError:
            return False
        return True

    async def wait(self) -> T:
        """What `work` gave.

        One who is cancelled leaves at once where the job was not begun, and it never will be; else when it is done:
        otherwise what comes next could find it half done.
        """
        try:
            await asyncio.shield(self._future)
        except asyncio.CancelledError:
            if not self.claim():
                await asyncio.shield(self._future)
            raise
        if self.error is not None:
            raise self.error
        return self.result  # type: ignore[return-value]  # it is a T once the job is done

    def tell(self) -> None:
        """In the loop: that the job is done."""
        if not self._future.done():
            self._future.set_result(None)


Serve: TypeAlias = Callable[[list[Job[Any]]], bool]
"""Do these jobs: set their `result` or `error`.  With none, there is time to tidy up; true where more is to be done."""


class Worker:
    """A thread that begins with the first job.  After `pause` seconds without one it tidies up.

    The thread does not keep the interpreter from ending: what a job has done is kept, and what it has not was not told.
    """

    def __init__(self, name: str, serve: Serve, end: Callable[[], None], pause: float | None = None) -> None:
        self._serve = serve
        self._end = end
        self._pause = pause
        self._jobs: SimpleQueue[Job[Any] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._state = "new"

    async def do(self, work: Callable[[Any], T]) -> T:
        """Have it done; raises what it raises, and StoreError where too much waits already."""
        if self._state != "started":
            if self._state == "closed":
                raise MisuseError("the store was closed")
            self._state = "started"
            self._thread.start()
        if self._jobs.qsize() >= WAITING:
            raise StoreError(f"sessions cannot be kept: {WAITING} wait for the disk already. Is it standing still?")
        job = Job(work, asyncio.get_running_loop())
        self._jobs.put(job)
        return await job.wait()

    async def close(self) -> None:
        """End the thread, when it has done what waits."""
        was, self._state = self._state, "closed"
        if was == "started":
            self._jobs.put(None)
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        more: bool | None = True
        while more is not None:
            try:
                first = self._jobs.get(timeout=0 if more else self._pause)
            except Empty:
                more = self._serve([])
                continue
            more = self._do_group(first)
        self._end()

    def _do_group(self, job: Job[Any] | None) -> bool | None:
        """Do what has come together; None where the end was among it."""
        group = []
        while job is not None:
            if job.claim():
                group.append(job)
            if len(group) == GROUP:
                break
            try:
                job = self._jobs.get_nowait()
            except Empty:
                break
        if group:
            try:
                self._serve(group)
            except Exception as error:  # a fault of ours: nobody may wait for ever
                _logger.exception("sessions could not be kept")
                for one in group:
                    one.error = error
            _tell(group)
        return None if job is None else False


def _tell(group: list[Job[Any]]) -> None:
    loops: dict[asyncio.AbstractEventLoop, list[Job[Any]]] = {}
    for job in group:
        loops.setdefault(job._loop, []).append(job)
    for loop, jobs in loops.items():
        try:
            loop.call_soon_threadsafe(_tell_all, jobs)
        except RuntimeError:  # the loop is closed: nobody waits any more
            continue


def _tell_all(jobs: list[Job[Any]]) -> None:
    for job in jobs:
        job.tell()
