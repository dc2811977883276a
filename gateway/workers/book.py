"""The lanes of all workers: who is at work in a session, in whichever process, and who waits for it.

They stand in the supervisor, which every worker asks.  It is told when a process is gone, and then frees the lanes that
this held.
"""

from __future__ import annotations

from functools import partial

from ..sessions.lanes import Lanes, Visit
from .channel import Channel

__all__ = ["END", "ENTER", "INTERRUPT", "LEAVE", "LaneBook"]

ENTER, LEAVE, INTERRUPT = "lane: enter", "lane: leave", "lane: interrupt"
"""What workers ask: (ticket, key, waits), answered when it is its turn; (ticket); (key)."""
END = "lane: end"
"""What a worker is told: (ticket), whose run is to end."""


class LaneBook:
    """Lets the visits of all workers into `lanes`.  A worker gives each of its visits a number, the ticket."""

    def __init__(self, channel: Channel, lanes: Lanes) -> None:
        self.lanes = lanes
        self._channel = channel
        self._visits: dict[int, dict[int, Visit]] = {}  # those inside, by the process and its ticket
        channel.handle(ENTER, self._enter)
        channel.handle(LEAVE, self._leave)
        channel.handle(INTERRUPT, self._interrupt)
        channel.on_lost(self._lost)

    async def _enter(self, process: int, ticket: int, key: str, waits: bool) -> None:
        visit = self.lanes.enter(key, waits=waits)
        visit.end = partial(self._end, process, ticket)
        await self.lanes.admit(visit)  # cancelled where whoever asked has left, or is gone
        self._visits.setdefault(process, {})[ticket] = visit

    def _leave(self, process: int, ticket: int) -> None:
        visits = self._visits.get(process, {})
        visit = visits.pop(ticket, None)
        if visit is None:  # it never got in
            return
        if not visits:
            del self._visits[process]
        self.lanes.release(visit)

    async def _interrupt(self, _process: int, key: str) -> bool:
        return await self.lanes.interrupt(key)

    def _end(self, process: int, ticket: int) -> bool:
        self._channel.tell(process, END, ticket)
        return True

    def _lost(self, process: int) -> None:
        for visit in self._visits.pop(process, {}).values():
            self.lanes.release(visit)
