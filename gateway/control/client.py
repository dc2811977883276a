"""A client that was let in: what it may see, and what is on its way to it.

What is sent goes straight to the connection while that takes it.  What a slow reader cannot take waits here, up to a
limit, and of events only those that must not be lost.
"""

from __future__ import annotations

from asyncio import Task, get_running_loop, sleep
from collections import deque
from functools import lru_cache
from logging import getLogger

from ..errors import PeerGone
from ..ports import Link
from ..records import NamedTuple, Protocol
from .connect import Welcome
from .frames import framed

__all__ = ["MAX_BUFFERED_BYTES", "Audience", "Client", "Depot"]

_logger = getLogger(__name__)

MAX_BUFFERED_BYTES = 50 * 1024 * 1024
"""What may wait for one client before it is told to go (1008): `policy.maxBufferedBytes` of the product."""


class Depot(Protocol):
    """What all clients of a gateway share: how much waits for them."""

    def account(self, client: Client, size: int) -> bool:
        """So many bytes more wait for a client, or fewer; false where that is too much."""

    def catch_up(self, client: Client) -> None:
        """Give a client the events that it has not got yet."""

    def moved(self, client: Client, before: frozenset[str] | None) -> None:
        """A client follows other sessions than these, which it followed before."""


class Audience(NamedTuple):
    """Clients of whom each sees what the others see.  `topics` are the sessions that they follow; None: all."""

    caller: str
    scopes: frozenset[str]
    caps: frozenset[str]
    topics: frozenset[str] | None


class Client:
    """One client.  `at` is how far it has come in the depot's log, `seq` the number of its last event."""

    __slots__ = (
        "_backlog", "_close", "_depot", "_drainer", "_link", "at", "audience", "buffered", "conn_id", "gone", "seq",
        "since", "welcome",
    )  # fmt: skip

    def __init__(self, link: Link, welcome: Welcome, conn_id: str, depot: Depot, *, since: float) -> None:
        self.welcome = welcome
        self.conn_id = conn_id
        self.since = since
        """When it was let in, in seconds since the epoch."""
        self.at = 0
        self.seq = 0
        self.buffered = 0
        self.gone = False
        self.audience = Audience(welcome.caller.id, _names(welcome.scopes), _names(welcome.caps), _names(()))
        self._link = link
        self._depot = depot
        self._backlog: deque[bytes] | None = None  # an empty one would take 760 bytes
        self._drainer: Task[None] | None = None
        self._close: Task[None] | None = None

    @property
    def slow(self) -> bool:
        """Whether it does not keep up; then what can be left out is."""
        return bool(self._backlog) or self._link.full

    def follow(self, *topics: str) -> None:
        """See the messages of these sessions; of all, where none is named."""
        before = self.audience.topics
        after = None if not topics or before is None else before.union(topics)
        self._move(after)

    def unfollow(self, *topics: str) -> None:
        """See the messages of these sessions no more; of none, where none is named."""
        before = self.audience.topics
        self._move(frozenset() if not topics else None if before is None else before.difference(topics))

    def _move(self, topics: frozenset[str] | None) -> None:
        self._depot.catch_up(self)  # what came before is seen as it was to be then
        before = self.audience.topics
        self.audience = self.audience._replace(topics=topics)
        self._depot.moved(self, before)

    def send(self, payload: bytes) -> None:
        """Send one message, after the events that came before it.  Never waits."""
        self._depot.catch_up(self)
        self.put(framed(payload))

    def put(self, frames: bytes) -> None:
        """Send frames.  Never waits; who does not take them is told to go in the end."""
        if self.gone:
            return
        if not self._backlog and not self._link.full:
            try:
                self._link.write(frames)
            except PeerGone:
                self.gone = True
            return
        if self._backlog is None:
            self._backlog = deque()
        self._backlog.append(frames)
        self.buffered += len(frames)
        if not self._depot.account(self, len(frames)):
            self.close(1008, "slow consumer")
        elif self._drainer is None:
            self._drainer = get_running_loop().create_task(self._drain(), name="backlog")

    async def drained(self) -> None:
        """Wait until nothing waits for it any more."""
        if self._drainer is not None:
            await self._drainer

    async def _drain(self) -> None:
        try:
            while self._backlog and not self.gone:
                await self._link.drain()
                if not self._link.full and self._backlog:
                    frames = self._backlog.popleft()
                    self._took(len(frames))
                    self._link.write(frames)
                    await sleep(0)
        except PeerGone:
            self.gone = True
        finally:
            self._drainer = None
            if not self._backlog:
                self._backlog = None

    def _took(self, size: int) -> None:
        self.buffered -= size
        self._depot.account(self, -size)

    def close(self, code: int, reason: str) -> None:
        """End the connection, without waiting for it."""
        if self._close is None:
            self.drop()
            self._close = get_running_loop().create_task(self._link.close(code, reason), name="close")
            self._close.add_done_callback(_look)

    def drop(self) -> None:
        """Nothing more is sent."""
        self.gone = True
        self._backlog = None
        if self.buffered:
            self._took(self.buffered)


@lru_cache(16)
def _names(given: tuple[str, ...]) -> frozenset[str]:
    """One set for all clients who name the same."""
    return frozenset(given)


def _look(task: Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, PeerGone):
        _logger.error("a connection could not be closed", exc_info=error)
