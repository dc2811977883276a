"""The lanes of sessions as a worker sees them: each turn is asked of the supervisor, which has the book of all."""

from __future__ import annotations

from itertools import count

from ..errors import AgentError
from ..ports import Siblings
from ..sessions.lanes import Visit
from .book import END, ENTER, INTERRUPT, LEAVE
from .channel import SUPERVISOR, ChannelError

__all__ = ["SharedLanes"]

ANSWER_SECONDS = 5.0
"""For what the supervisor answers at once: it does nothing that takes long."""


class SharedLanes:
    """`ports.SessionLanes` of all workers together.  It is a `lanes.Keeper`."""

    def __init__(self, siblings: Siblings) -> None:
        self._siblings = siblings
        self._numbers = count(1)
        self._tickets: dict[Visit, int] = {}
        self._visits: dict[int, Visit] = {}
        self._waiting = 0
        siblings.handle(END, self._end)

    def __len__(self) -> int:
        """How many visits of this worker are under way, or wait."""
        return len(self._visits)

    @property
    def waiting(self) -> int:
        """How many visits of this worker wait for their turn."""
        return self._waiting

    def enter(self, key: str, *, waits: bool = False) -> Visit:
        """See `ports.SessionLanes.enter`."""
        return Visit(self, key, waits=waits)

    async def interrupt(self, key: str) -> bool:
        """See `ports.SessionLanes.interrupt`.  Raises AgentError (503) where the supervisor is gone."""
        try:
            return bool(await self._siblings.ask(SUPERVISOR, INTERRUPT, key, timeout=ANSWER_SECONDS))
        except ChannelError as error:
            raise _no_lane(error) from error

    async def admit(self, visit: Visit) -> None:
        """See `lanes.Keeper.admit`."""
        ticket = self._tickets[visit] = next(self._numbers)
        self._visits[ticket] = visit
        self._waiting += 1
        try:
            # As long as it takes: the book knows how long one may wait.
            await self._siblings.ask(SUPERVISOR, ENTER, ticket, visit.key, visit.waits, timeout=None)
        except ChannelError as error:
            self.release(visit)
            raise _no_lane(error) from error
        except BaseException:
            self.release(visit)  # also of one who leaves when its turn is on its way
            raise
        finally:
            self._waiting -= 1

    def release(self, visit: Visit) -> None:
        """See `lanes.Keeper.release`."""
        ticket = self._tickets.pop(visit)
        del self._visits[ticket]
        self._siblings.tell(SUPERVISOR, LEAVE, ticket)

    def _end(self, _sender: int, ticket: int) -> None:
        visit = self._visits.get(ticket)
        if visit is not None:
            visit.interrupt()


def _no_lane(error: ChannelError) -> AgentError:
    return AgentError(f"the session cannot be entered: {error}", code="shutting_down", status=503)
