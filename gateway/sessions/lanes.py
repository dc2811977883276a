"""One run at a time in each session, first come, first served."""

from __future__ import annotations

from asyncio import CancelledError, Future, get_running_loop
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ..deadlines import Deadlines
from ..errors import AgentError

__all__ = ["Lanes", "Visit"]

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


class Lanes:
    """A FIFO of runs for each session key.  Sessions without a run cost nothing.

    `waiting` run at most wait for one session, each for `wait` seconds; 0 is no limit.  `mode` tells what becomes of
    one that finds its session busy: `queue`, it waits; `reject`, it is refused; `interrupt`, it waits for the end of
    the run under way, which is ended for it.  Those who waited before it go before it all the same.
    """

    def __init__(self, waiting: int = WAITING, wait: float = WAIT, mode: str = "queue") -> None:
        self._most = waiting
        self._rejects = mode == "reject"
        self._wait = wait
        self._interrupts = mode == "interrupt"
        self._lanes: dict[str, _Lane] = {}
        self._limits: Deadlines[tuple[str, Future[None]]] | None = None
        self._queued = 0

    def __len__(self) -> int:
        """How many sessions have a run."""
        return len(self._lanes)

    @property
    def waiting(self) -> int:
        """How many wait for their turn, in all sessions."""
        return self._queued

    def enter(self, key: str, *, waits: bool = False) -> Visit:
        """`async with`: wait for the turn of this run.  `waits`: in every mode, and it ends none.

        Raises AgentError (409, `session_busy`) where too many wait already, or after the longest wait.
        """
        return Visit(self, key, waits=waits)

    def interrupt(self, key: str) -> bool:
        """End the run under way in a session; false where there is none."""
        lane = self._lanes.get(key)
        return lane is not None and lane.inside.interrupt()

    async def _enter(self, visit: Visit) -> None:
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
            self._limits = Deadlines(loop, self._wait, self._expire)
        self._limits.set((key, turn))
        self._queued += 1
        try:
            await turn
        except CancelledError:
            if not turn.cancelled() and turn.exception() is None:  # it was this run's turn already
                self._leave(key)
            raise
        finally:
            lane.waiting.pop(turn, None)
            self._queued -= 1
            self._limits.clear((key, turn))
            if not self._queued:
                self._limits.close()

    def _leave(self, key: str) -> None:
        """The lane belongs to the next at once, so that nobody who comes now gets between."""
        lane = self._lanes[key]
        for turn, visit in lane.waiting.items():
            if not turn.done():  # else it has left, and only does not know yet
                del lane.waiting[turn]
                lane.inside = visit
                turn.set_result(None)
                return
        del self._lanes[key]

    def _expire(self, waiting: tuple[str, Future[None]]) -> None:
        key, turn = waiting
        if not turn.done():
            del self._lanes[key].waiting[turn]
            turn.set_exception(_busy(f"this session was busy for {self._wait:g} seconds"))


class Visit:
    """One run's stay in its lane."""

    __slots__ = ("_lanes", "end", "interrupted", "key", "waits")

    def __init__(self, lanes: Lanes, key: str, *, waits: bool) -> None:
        self._lanes = lanes
        self.key = key
        self.waits = waits
        self.interrupted = False
        """The run was to end before it had begun."""
        self.end: Callable[[], bool] | None = None
        """Ends the run, once it has begun; false where it is over already."""

    async def __aenter__(self) -> Self:
        await self._lanes._enter(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lanes._leave(self.key)

    def interrupt(self) -> bool:
        """End this run; false where it is over already."""
        if self.end is not None:
            return self.end()
        told, self.interrupted = self.interrupted, True
        return not told


def _busy(message: str) -> AgentError:
    return AgentError(message, code="session_busy", status=409, retry_after=RETRY_AFTER)
