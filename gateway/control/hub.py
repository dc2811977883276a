"""What all clients are told.

An event is encoded once and put into a log; each client is given what it has not got yet, with numbers of its own, in
one write.  That is done in slices, so that a thousand clients hold up nobody, and no client is waited for: of what can
be left out (deltas, presence) a slow one gets nothing, and it sees that by a gap in the numbers.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator, Mapping
from logging import getLogger
from time import perf_counter
from typing import Any, TypeAlias

from ..sessions.keys import bare, owns
from .client import MAX_BUFFERED_BYTES, Audience, Client
from .frames import Body
from .method import satisfied

__all__ = ["Hub", "Payload"]

Payload: TypeAlias = Mapping[str, Any] | Callable[[str], Mapping[str, Any]]
"""Of an event: the same for all, or what makes it from the id of a caller (`model.caller`)."""

_logger = getLogger(__name__)

SLICE_SECONDS = 0.002
"""Work on deliveries in one turn of the loop: about ten requests of others wait as long."""
TOTAL_BUFFERED_BYTES = 256 * 1024 * 1024
"""What may wait for all clients together; beyond it, one that more than `FAIR_BYTES` wait for has to go."""
FAIR_BYTES = 1024 * 1024


class _Entry:
    """An event in the log."""

    __slots__ = ("_bodies", "_name", "_payload", "_version", "about", "cap", "droppable", "only", "scope", "topic")

    def __init__(
        self,
        name: str,
        payload: Payload,
        scope: str | None,
        about: str | None,
        *,
        topic: bool,
        droppable: bool,
        cap: str | None,
        only: Client | None,
        version: Mapping[str, int] | None,
    ) -> None:
        self.scope = scope
        self.about = about
        self.topic = topic
        self.droppable = droppable
        self.cap = cap
        self.only = only
        self._name = name
        self._payload = payload
        self._version = version
        self._bodies: dict[str, Body | None] = {}

    def visible(self, audience: Audience) -> bool:
        """Whether it is for them."""
        if self.scope is not None and not satisfied(self.scope, audience.scopes):
            return False
        if self.cap is not None and self.cap not in audience.caps:
            return False
        if self.about is None:
            return True
        if audience.caller and not owns(audience.caller, self.about):
            return False
        return not self.topic or audience.topics is None or self.about in audience.topics

    def body(self, audience: Audience) -> Body | None:
        """As they see it; None for what they do not see, and for what cannot be told, which is logged."""
        if not self.visible(audience):
            return None
        caller = audience.caller if self.about is not None or callable(self._payload) else ""
        if caller not in self._bodies:
            try:
                self._bodies[caller] = self._made(caller)
            except Exception:  # one event that is no good must not keep the others from being told
                _logger.exception("the event %s cannot be told", self._name)
                self._bodies[caller] = None
        return self._bodies[caller]

    def _made(self, caller: str) -> Body:
        """A caller with a key of its own knows its sessions without it."""
        payload: Any = self._payload(caller) if callable(self._payload) else self._payload
        if caller and self.about is not None:
            payload = _renamed(payload, self.about, bare(caller, self.about))
        return Body(self._name, payload, self._version)


class Hub:
    """The clients of a gateway, and the events on their way to them."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.clients: dict[Client, None] = {}  # in the order in which they came
        self.peopled: Callable[[bool], None] | None = None
        """Called when the first client has come, and when the last has left."""
        self.pass_seconds = 0.0
        """How long giving the last events to all clients took."""
        self.slow_share = 0.0
        """The part of the clients who could not take all of them."""
        self._loop = loop
        self._followers: dict[str | None, int] = {}  # of each session; of all, under None
        self._log: list[_Entry] = []
        self._base = 0  # number of the first entry of the log
        self._rest: Iterator[Client] | None = None  # of the pass under way, who has not got its events
        self._mark = 0
        self._spent = 0.0
        self._slow = 0
        self._scheduled = False
        self._seen: dict[tuple[Audience, int], list[tuple[Body, bool]]] = {}
        self._seen_end = 0
        self._buffered = 0

    @property
    def end(self) -> int:
        """The number that the next event gets in the log: where a new client begins."""
        return self._base + len(self._log)

    @property
    def busy(self) -> bool:
        """Whether events are on their way; who has more that can wait should."""
        return self._scheduled

    def add(self, client: Client) -> None:
        """From now on it is told."""
        client.at = self.end
        self.clients[client] = None
        self._count(client.audience.topics, 1)
        if self.peopled is not None and len(self.clients) == 1:
            self.peopled(True)

    def remove(self, client: Client) -> None:
        """Tell it no more."""
        known = self.clients.pop(client, client) is None
        if known:
            self._count(client.audience.topics, -1)
        client.drop()
        if self.peopled is not None and known and not self.clients:
            self.peopled(False)

    def moved(self, client: Client, before: frozenset[str] | None) -> None:
        """See `Depot.moved`."""
        if client in self.clients:
            self._count(before, -1)
            self._count(client.audience.topics, 1)

    def _count(self, topics: frozenset[str] | None, number: int) -> None:
        """So many more clients follow these sessions, or fewer."""
        for topic in (None,) if topics is None else topics:
            left = self._followers.get(topic, 0) + number
            if left:
                self._followers[topic] = left
            else:
                del self._followers[topic]

    def followed(self, topic: str) -> bool:
        """Whether anybody follows a session: else nobody need find out what could be told of it."""
        return None in self._followers or topic in self._followers

    def broadcast(
        self,
        name: str,
        payload: Payload,
        *,
        scope: str | None = None,
        about: str | None = None,
        topic: bool = False,
        droppable: bool = False,
        cap: str | None = None,
        only: Client | None = None,
        state_version: Mapping[str, int] | None = None,
    ) -> None:
        """Tell an event to those with `scope`.  `payload` must not be changed afterwards.  Never waits.

        Where callers see different things, `payload` is called with the id of each.

        `about` is the key of the session that it is about, which callers with a key of their own see only of theirs;
        with `topic` only those see it who follow that session.  `droppable`: slow clients do without.  `cap` is what a
        client has to understand, `only` the one that it is for.
        """
        if not self.clients:
            return
        entry = _Entry(
            name,
            payload,
            scope,
            about,
            topic=topic,
            droppable=droppable,
            cap=cap,
            only=only,
            version=state_version,
        )
        self._log.append(entry)
        self._schedule()

    def account(self, client: Client, size: int) -> bool:
        """See `Depot.account`."""
        self._buffered += size
        too_much = self._buffered > TOTAL_BUFFERED_BYTES and client.buffered > FAIR_BYTES
        return client.buffered <= MAX_BUFFERED_BYTES and not too_much

    def catch_up(self, client: Client) -> None:
        """See `Depot.catch_up`."""
        end = self.end
        if client.at == end:
            return
        found = self._for(client.audience, client.at, end)
        entries = self._log[client.at - self._base :] if found is None else ()
        client.at = end
        if client.gone:
            return
        shown = found or [
            (body, entry.droppable)
            for entry in entries
            if (entry.only is None or entry.only is client) and (body := entry.body(client.audience)) is not None
        ]
        if not shown:
            return
        seq, slow = client.seq, client.slow
        client.seq = seq + len(shown)
        parts: list[bytes] = []
        for body, droppable in shown:
            seq += 1
            if not (slow and droppable):
                digits = b"%d}" % seq
                parts.append(body.before(len(digits) - 1))
                parts.append(digits)
        if parts:
            client.put(b"".join(parts))

    def _for(self, audience: Audience, start: int, end: int) -> list[tuple[Body, bool]] | None:
        """The events from `start` on that all of an audience see; None where single clients are told."""
        if end != self._seen_end:
            self._seen.clear()
            self._seen_end = end
        found = self._seen.get((audience, start))
        if found is None:
            entries = self._log[start - self._base :]
            if any(entry.only is not None for entry in entries):
                return None
            shown = ((entry.body(audience), entry.droppable) for entry in entries)
            found = [(body, droppable) for body, droppable in shown if body is not None]
            self._seen[audience, start] = found
        return found

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        began = perf_counter()
        if self._rest is None:
            self._rest = iter(list(self.clients))
            self._mark = self.end
            self._spent = 0.0
            self._slow = 0
        for number, client in enumerate(self._rest, 1):
            self.catch_up(client)
            self._slow += client.slow
            if number % 8 == 0 and perf_counter() - began > SLICE_SECONDS:
                self._spent += perf_counter() - began
                self._loop.call_soon(self._deliver)
                return
        self._rest = None
        self._scheduled = False
        self.slow_share = self._slow / max(1, len(self.clients))
        self.pass_seconds = self._spent + perf_counter() - began
        del self._log[: self._mark - self._base]
        self._base = self._mark
        self._seen.clear()
        if self._log:
            self._schedule()


def _renamed(value: Any, before: str, after: str) -> Any:
    """A copy in which each string that is `before` is `after`."""
    if isinstance(value, dict):
        return {name: _renamed(member, before, after) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_renamed(member, before, after) for member in value]
    return after if value == before else value
