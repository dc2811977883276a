"""What all connections of a server share: limits, timers, the handler, the common header lines."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Task
from collections.abc import Awaitable, Callable
from time import gmtime
from typing import Protocol, TypeAlias

from ..deadlines import Deadlines
from ..errors import AgentError, RequestError
from ..model.caller import Caller
from ..model.http import NO_ANSWER, Malformed, Peer, RequestHead
from ..ports import Exchange, Handler, Ids, Link, Refusal
from ..records import NamedTuple
from ..wire.response import ResponseWriter
from .cuts import Cuts
from .handlers import Handlers, Served
from .limits import Admission, Limits, within_files
from .outbox import Outbox
from .pulse import Pulse
from .stream import LOOKS, StreamBody
from .turns import Turns

__all__ = [
    "Answered",
    "HostedLink",
    "LinkCarrier",
    "LinkFactory",
    "LinkOpener",
    "Options",
    "Services",
    "Tenant",
    "Timed",
    "TimedHandshake",
    "Unread",
]


class Timed(Served, Protocol):
    """A connection, as its timers and its server see it."""

    def __hash__(self) -> int: ...
    def head_expired(self) -> None: ...
    def idle_soon(self) -> None: ...
    def idle_expired(self) -> None: ...
    def body_expired(self) -> None: ...
    def linger_expired(self) -> None: ...
    def probe_due(self) -> None: ...
    def retire(self) -> None: ...
    def abort(self) -> None: ...


class TimedHandshake(Protocol):
    """A TLS handshake under way, as its timer and its server see it."""

    def __hash__(self) -> int: ...
    def handshake_expired(self) -> None: ...
    def abort(self) -> None: ...


class Unread(Protocol):
    """A connection whose peer has not read everything."""

    def __hash__(self) -> int: ...
    @property
    def unsent(self) -> int: ...
    def cut_off(self, limit: str, reason: str) -> None: ...


class Tenant(Protocol):
    """What a connection carries in place of requests, as the connection sees it."""

    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    async def close(self, code: int = 1000, reason: str = "") -> None: ...


class HostedLink(Link, Tenant, Protocol):
    """A link, as the connection that carries it sees it."""


class LinkCarrier(Protocol):
    """What a link needs of the connection that owns the transport."""

    @property
    def full(self) -> bool:
        """Whether the transport is above high water; a connection that stays so for too long is aborted."""

    def write(self, data: bytes) -> None:
        """Send; does nothing when the peer is gone."""

    async def drain(self) -> None:
        """Wait until the transport is no longer above high water; several tasks may wait at once.

        Raises PeerGone when the peer left or did not read in time.
        """

    def set_reading(self, wanted: bool) -> None:
        """Whether `data_received` may be called."""

    def close(self) -> None:
        """Flush and close, in limited time; what the peer still sends is discarded."""

    def abort(self) -> None:
        """Close at once."""


class Answered(Protocol):
    """A request that is over.  `writer` tells of its answer: status 0 where none was begun, DONE where it is whole."""

    head: RequestHead
    peer: Peer
    request_id: str
    caller: Caller
    writer: ResponseWriter


LinkOpener: TypeAlias = Callable[[LinkCarrier, RequestHead, Peer], tuple[bytes, HostedLink]]
"""The handshake's answer and the link.  Raises RequestError where the handshake is not a good one."""
LinkFactory: TypeAlias = Callable[[AbstractEventLoop], LinkOpener]
"""Called once, with the first handshake, for all links of a server."""


class Options(NamedTuple):
    """What a server is made of.

    `failed`, where there is one, answers requests whose handler has raised what it is called with.
    `clock` gives seconds since the epoch, for the Date header.  `answered`, where there is one, is told of each request
    that is over, with the seconds that it took; it may not raise.  `is_proxy` tells the peers that speak for others.
    """

    handler: Handler
    refusal: Refusal
    link_factory: LinkFactory
    ids: Ids
    clock: Callable[[], float]
    limits: Limits
    failed: Callable[[Exchange, RequestError | AgentError], Awaitable[None]] | None = None
    answered: Callable[[Answered, float], None] | None = None
    is_proxy: Callable[[Peer], bool] | None = None


# Every answer carries these, as the product's do: a browser that is made to load one must not guess what it is, nor
# tell others where it was, nor lend its camera.
_SECURITY = (
    b"x-content-type-options: nosniff\r\nreferrer-policy: no-referrer\r\n"
    b"permissions-policy: camera=(), microphone=(self), geolocation=()\r\n"
)
# Of the turns of bodies that are much work to read, in seconds, and the part of the time for all of them.
WORK_TIME = 0.001
WORK_SHARE = 0.25
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _imf_fixdate(seconds: float) -> str:
    """RFC 9110, 5.6.7.  By hand: `email.utils` would cost a tenth of the whole start."""
    year, month, day, hour, minute, second, weekday, _, _ = gmtime(seconds)
    date = f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04}"
    return f"{date} {hour:02}:{minute:02}:{second:02} GMT"


class Services:
    """One per server."""

    def __init__(self, loop: AbstractEventLoop, options: Options) -> None:
        limits = within_files(options.limits)
        self.loop = loop
        self.options = options
        self.limits = limits
        self.admission = Admission(limits, options.is_proxy)
        self.cuts = Cuts(loop)
        self.turns = Turns(loop, WORK_TIME, WORK_SHARE)
        self.outbox = Outbox(loop)
        self.pulse = Pulse(loop, limits.coalesce)
        self.handlers = Handlers(loop)
        self.connections: set[Timed] = set()
        self.handshakes: set[TimedHandshake] = set()
        self.refused: set[Timed] = set()
        self.orphans: set[Task[None]] = set()
        self.draining = False  # each answer is the last one of its connection
        self.shut = False  # those without a request are closed, and new ones refused
        # A connection idle for `remember` forgets its last head; it is closed after the rest of its time.
        soon = min(limits.remember, limits.keep_alive_idle / 2) or max(limits.remember, limits.keep_alive_idle / 2)
        self.handshake = Deadlines[TimedHandshake](
            loop, limits.tls_handshake, lambda handshake: handshake.handshake_expired()
        )
        self.head = Deadlines[Timed](loop, limits.head_time, lambda connection: connection.head_expired())
        self.soon = Deadlines[Timed](loop, soon, lambda connection: connection.idle_soon())
        self.idle = Deadlines[Timed](
            loop, limits.keep_alive_idle and limits.keep_alive_idle - soon, lambda connection: connection.idle_expired()
        )
        self.body = Deadlines[Timed](loop, limits.body_idle, lambda connection: connection.body_expired())
        self.stall = Deadlines[Unread](loop, limits.write_stall, self._stalled)
        self.linger = Deadlines[Timed](loop, limits.linger, lambda connection: connection.linger_expired())
        self.probe = Deadlines[Timed](loop, limits.hang_up_probe, lambda connection: connection.probe_due())
        self.silence = Deadlines[StreamBody](loop, limits.silence / LOOKS, lambda stream: stream.expired())
        self._unsent: dict[Unread, int] = {}
        self._unsent_total = 0
        self._opener: LinkOpener | None = None
        self._second = -1
        self._common = b""

    def await_reader(self, connection: Unread) -> None:
        """What the connection has sent waits for the peer to read it."""
        self.read(connection)
        self._unsent[connection] = connection.unsent
        self._unsent_total += connection.unsent
        self.stall.set(connection)
        while self._unsent_total > self.limits.unsent_bytes:
            longest = next(iter(self._unsent))
            self.read(longest)
            longest.cut_off("unsent_bytes", "too much waits for peers that do not read")

    def _stalled(self, connection: Unread) -> None:
        if self._unsent.get(connection, 0) - connection.unsent >= self.limits.pace:
            self.await_reader(connection)
        else:
            connection.cut_off("write_stall", "the peer does not read")

    def open_link(self, carrier: LinkCarrier, head: RequestHead, peer: Peer) -> tuple[bytes, HostedLink]:
        """See `LinkOpener`."""
        if self._opener is None:
            self._opener = self.options.link_factory(self.loop)
        return self._opener(carrier, head, peer)

    def bereave(self, task: Task[None] | None) -> None:
        """The connection of this task is over, and the task cleans up; who waits for all tasks waits for it too."""
        if task is not None:
            self.orphans.add(task)
            task.add_done_callback(self.orphans.discard)

    def turn_away(self, connection: Timed) -> bool:
        """The connection was not admitted.  Says whether it may linger until its peer has read why."""
        if len(self.refused) >= self.limits.refused:
            return False
        self.refused.add(connection)
        return True

    def read(self, connection: Unread) -> None:
        """The peer has read it."""
        self._unsent_total -= self._unsent.pop(connection, 0)
        self.stall.clear(connection)

    def forget(self, connection: Timed) -> None:
        """The connection is over: none of its timers may fire."""
        for limit in (self.head, self.soon, self.idle, self.body, self.linger, self.probe):
            limit.clear(connection)
        self.connections.discard(connection)
        self.refused.discard(connection)

    def close(self) -> None:
        """Stop all timers."""
        for limit in (self.head, self.soon, self.idle, self.body, self.stall, self.linger, self.probe, self.silence):
            limit.close()
        self.handshake.close()
        self.pulse.close()
        self.cuts.close()

    def refusal(self, malformed: Malformed, peer: Peer, limit: str) -> bytes:
        """The answer to what never became a request; it is counted, and logged, under the name of a limit.

        Empty for a peer that speaks another protocol.
        """
        if malformed.status == NO_ANSWER:
            self.cuts.count("refused without an answer", peer, malformed.reason)
            return b""
        self.cuts.count(limit, peer, malformed.reason)
        headers, body = self.options.refusal(malformed.status, malformed.reason)
        writer = ResponseWriter("GET", "1.1", keep_alive=False)
        return writer.whole(malformed.status, self.common_headers(self.options.ids(32)), headers, body)

    def common_headers(self, request_id: str) -> bytes:
        """The encoded header lines of every answer."""
        now = self.options.clock()
        if not self._second <= now < self._second + 1:
            self._second = int(now)
            self._common = b"date: " + _imf_fixdate(now).encode() + b"\r\n" + _SECURITY + b"x-request-id: "
        return self._common + request_id.encode() + b"\r\n"
