"""One run at a time in each session, first come, first served."""

from __future__ import annotations

from asyncio import CancelledError, Future, get_running_loop
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self

from ..deadlines import Deadlines
from ..errors import AgentError
from ..records import Protocol

__all__ = ["Keeper", "Lanes", "Visit"]

# Runs that wait for one session.  A person types one message at a time; a queue this long is a program gone wild.
WAITING = 64
# Seconds that each waits: about as long as clients wait for an answer to begin.
WAIT = 60.0
# Seconds after which those who were refused may come again.
RETRY_AFTER = 1


class _Lane:
    """Who is inside, and those who wait, in the order in which they came."""

    __slots__ = ("inside", "waiting")

    def __init__(self, inside: Visit) -> None:
        self.inside = inside
        self.waiting: dict[Future[None], Visit] = {}


class Keeper(Protocol):
    """Who lets visits in, one at a time for each key."""

    async def admit(self, visit: Visit) -> None:
        """Wait for its turn.  Raises AgentError where it has none."""

    def release(self, visit: Visit) -> None:
        """It is over; only for one that was let in."""


class Lanes:
    """`ports.SessionLanes` of one process: a FIFO of runs for each session key.  Sessions without a run cost nothing.

    `waiting` run at most wait for one session, each for `wait` seconds; 0 is no limit.  `mode` tells what becomes of
    one that finds its session busy: `queue`, it waits; `reject`, it is refused; `interrupt`, it waits for the end of
    the run under way, which is ended for it.  Those who waited before it go before it all the same.
    """

    def __init__(self, waiting: int = WAITING, wait: float = WAIT, mode: str = "queue") -> None:
        self._lanes: dict[str, _Lane] = {}
        self._limits: Deadlines[tuple[str, Future[None]]] | None = None
        self._queued = 0
        self.limit(waiting, wait, mode)

    def limit(self, waiting: int, wait: float, mode: str) -> None:
        """The limits of those who come from now on; who waits already waits as long as before."""
        self._most = waiting
        self._rejects = mode == "reject"
        self._interrupts = mode == "interrupt"
        self._wait = wait
        self._limits = None

    def __len__(self) -> int:
        """How many sessions have a run."""
        return len(self._lanes)

    @property
    def waiting(self) -> int:
        """How many wait for their turn, in all sessions."""
        return self._queued

    def enter(self, key: str, *, waits: bool = False) -> Visit:
        """See `ports.SessionLanes.enter`."""
        return Visit(self, key, waits=waits)

    async def interrupt(self, key: str) -> bool:
        """See `ports.SessionLanes.interrupt`."""
        lane = self._lanes.get(key)
        return lane is not None and lane.inside.interrupt()

    async def admit(self, visit: Visit) -> None:
        """See `Keeper.admit`."""
        key = visit.key
        lane = self._lanes.get(key)
        if lane is None:
            self._lanes[key] = _Lane(visit)
            return
        if not self._most or (self._rejects and not visit.waits):
            raise _busy("this session has a run under way")
        if len(lane.waiting) >= self._most:
            raise _busy("too many requests wait for this session")
        if self._interrupts and not visit.waits:
            lane.inside.interrupt()
        loop = get_running_loop()
        turn: Future[None] = loop.create_future()
        lane.waiting[turn] = visit
        if self._limits is None:  # not before somebody waits: most sessions never need a timer
            self._limits = Deadlines(loop, self._wait, partial(self._expire, self._wait))
        limits = self._limits
        limits.set((key, turn))
        self._queued += 1
        try:
            await turn
        except CancelledError:
            if not turn.cancelled() and turn.exception() is None:  # it was this run's turn already
                self.release(visit)
            raise
        finally:
            lane.waiting.pop(turn, None)
            self._queued -= 1
            limits.clear((key, turn))
            if not self._queued:
                limits.close()

    def release(self, visit: Visit) -> None:
        """See `Keeper.release`.  The lane belongs to the next at once: nobody who comes now gets between."""
        key = visit.key
        lane = self._lanes[key]
        for turn, following in lane.waiting.items():
            if not turn.done():  # else it has left, and only does not know yet
                del lane.waiting[turn]
                lane.inside = following
                turn.set_result(None)
                return
        del self._lanes[key]

    def _expire(self, wait: float, waiting: tuple[str, Future[None]]) -> None:
        key, turn = waiting
        if not turn.done():
            del self._lanes[key].waiting[turn]
            turn.set_exception(_busy(f"this session was busy for {wait:g} seconds"))


class Visit:
    """`ports.LaneVisit`: one run's stay in its lane."""

    __slots__ = ("_keeper", "end", "interrupted", "key", "waits")

    def __init__(self, keeper: Keeper, key: str, *, waits: bool) -> None:
        self._keeper = keeper
        self.key = key
        self.waits = waits
        self.interrupted = False
        """The run was to end before it had begun."""
        self.end: Callable[[], bool] | None = None
        """Ends the run, once it has begun; false where it is over already."""

    async def __aenter__(self) -> Self:
        await self._keeper.admit(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._keeper.release(self)

    def interrupt(self) -> bool:
        """End this run; false where it is over already."""
        if self.end is not None:
            return self.end()
        told, self.interrupted = self.interrupted, True
        return not told


def _busy(message: str) -> AgentError:
    return AgentError(message, code="session_busy", status=409, retry_after=RETRY_AFTER)
