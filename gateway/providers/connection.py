"""One connection of the HTTP/1.1 client."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future, Protocol, Transport
from collections.abc import Callable
from typing import Protocol as Contract
from typing import TypeAlias, cast

from ..deadlines import Deadlines
from ..errors import AgentError
from ..model.http import BodyChunk, BodyEnd, Headers, Malformed, ResponseHead
from ..wire.http1_client import Http1Client, ResponseEvent
from .origin import Origin
from .settings import Timeouts

__all__ = ["HIGH_WATER", "Connection", "ConnectionLimits", "Glance", "Pool", "Taker", "UpstreamError"]

HIGH_WATER = 65_536
"""Bytes that may wait to be read before the socket is no longer read; one more read (256 KiB) may go over it."""

READ_BYTES = 65_536
"""One read of the transport: hundreds of tokens."""

IDLE_LIFETIME = 30.0
"""Seconds a connection is kept without use: below what proxies allow, 60 and more, so that they seldom close first."""

LINGER = 1.0
"""Seconds within which the rest of a body has to come, after its reader is done, for the connection to be kept."""

LOOKS = 4
"""How often, within the limit of silence, it is looked whether a body that flows is silent.  One that is ends up to a
quarter late; for that a chunk costs no timer."""

Taker: TypeAlias = Callable[[bytes], bool]
"""Is given a part of a body, and tells whether it wants the next."""


Glance: TypeAlias = Callable[[bytes], bool | None]
"""Is given what was read, chunk line and all, where a chunk is due, and tells what a `Taker` would of what is in it.
None where it does not know this for one whole chunk: then it has taken nothing, and a `Taker` is asked."""


class UpstreamError(AgentError):
    """The exchange with the server failed.  `retryable`: trying again soon may help.

    no such name, no route, refused      502 `upstream_unreachable`
    no TLS, or no certificate to trust   502 `upstream_tls`
    not HTTP, or cut off                 502 `upstream_protocol_error`
    the pool was closed                  502 `upstream_closed`
    too slow                             504 `upstream_connect_timeout`, `..._first_byte_...`, `..._idle_...`
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int = 502,
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, code=code, status=status, retry_after=retry_after)
        self.retryable = retryable


class Pool(Contract):
    """What a connection belongs to."""

    def attach(self, connection: Connection, /) -> None:
        """It has been made."""

    def park(self, connection: Connection, /) -> bool:
        """Keep it for later; false where there are enough."""

    def detach(self, connection: Connection, /) -> None:
        """It is lost."""


class ConnectionLimits:
    """The deadlines of all connections of one loop."""

    def __init__(self, loop: AbstractEventLoop, timeouts: Timeouts) -> None:
        def slow(code: str, what: str, after: float) -> Callable[[Connection], None]:
            def expire(connection: Connection) -> None:
                if not connection.waiting:  # what it waits for came in this very turn of the loop
                    return
                text = f"{connection.origin} sent nothing for {after:g} s {what}"
                connection.fail(UpstreamError(text, code=code, status=504))

            return expire

        first = slow("upstream_first_byte_timeout", "after the request", timeouts.first_byte)
        idle = slow("upstream_idle_timeout", "in the middle of its answer", timeouts.idle)

        def look(connection: Connection) -> None:
            connection.silent += 1
            if connection.silent > LOOKS:
                idle(connection)
            else:
                self.flow.set(connection)

        self.first_byte = Deadlines(loop, timeouts.first_byte, first)
        self.idle = Deadlines(loop, timeouts.idle, idle)
        self.flow = Deadlines(loop, timeouts.idle / LOOKS, look)
        self.parked = Deadlines(loop, IDLE_LIFETIME, Connection.abort)
        self.linger = Deadlines(loop, LINGER, Connection.abort)

    def clear(self, connection: Connection) -> None:
        for deadlines in (self.first_byte, self.idle, self.flow, self.parked, self.linger):
            deadlines.clear(connection)

    def close(self) -> None:
        for deadlines in (self.first_byte, self.idle, self.flow, self.parked, self.linger):
            deadlines.close()


class Connection(Protocol):
    """One connection: in the pool, or lent to one Response."""

    def __init__(self, pool: Pool, origin: Origin, loop: AbstractEventLoop, limits: ConnectionLimits) -> None:
        self.origin = origin
        self.used = False  # it has carried a request before this one
        self.touched = False  # something came since the request was sent
        self.head: ResponseHead | None = None
        self.ended = False  # the body is complete
        self.silent = 0  # looks since something came, of a body that flows
        self._pool = pool
        self._loop = loop
        self._limits = limits
        self._client = Http1Client()
        self._transport: Transport | None = None
        self._error: UpstreamError | None = None
        self._lost = False
        self._released = True
        self._pieces: list[bytes] = []
        self._size = 0
        self._body_began = False
        self._paused = False
        self._waiter: Future[None] | None = None
        self._taker: Taker | None = None  # while the body flows
        self._looks: Glance | None = None  # while the body flows
        self._glance: Glance | None = None  # the same, where a chunk is due
        self._chunk: Callable[[bytes], bytes | None] | None = None

    # -- what the event loop calls

    def connection_made(self, transport: object) -> None:
        # Not Transport by class: the TLS transport of asyncio and those of other loops are not derived from it.
        self._transport = cast("Transport", transport)
        if hasattr(transport, "max_size"):  # asyncio's 256 KiB for each read are mapped anew each time, page by page
            transport.max_size = READ_BYTES
        self._pool.attach(self)

    def data_received(self, data: bytes) -> None:
        if (glance := self._glance) is not None:
            try:
                more = glance(data)
            except Exception as error:  # the taker's own: it is for who waits
                self.stop(error)
                return
            if more is not None:
                self.silent = 0
                if not more:
                    self.stop()
                return
        self._read_on(data)

    def _read_on(self, data: bytes) -> None:
        """Take apart what was read."""
        taker = self._taker
        if taker is None:
            self._receive(self._client.receive(data))
            return
        chunk = None if self._chunk is None else self._chunk(data)
        if chunk is None:
            events = self._client.receive(data)
            self._glance = self._looks if self._client.between_chunks else None
            if not events:
                return
            first = events[0]
            if len(events) > 1 or not isinstance(first, BodyChunk):
                self.stop()
                self._receive(events)
                return
            chunk = first.data
        self.silent = 0
        try:
            if not taker(chunk):
                self.stop()
        except Exception as error:  # its own, as above
            self.stop(error)

    def _receive(self, events: list[ResponseEvent]) -> None:
        self.touched = True
        for event in events:
            match event:
                case BodyChunk():
                    if not self._released:
                        self._pieces.append(event.data)
                        self._size += len(event.data)
                case ResponseHead():
                    self.head = event
                case BodyEnd():
                    self.ended = True
                case Malformed():
                    self.fail(self._broken(event.reason, retryable=False))
                    return
        if self._released:
            if self.ended:
                self._park()
            return
        if self._size > HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        for event in self._client.eof():
            if isinstance(event, BodyEnd):
                self.ended = True
                self._wake()
            elif isinstance(event, Malformed):
                self.fail(self._broken(event.reason))

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if exc is None and self._error is None:  # what we cut off has not ended, not even a body that ends so
            self.eof_received()
        if not self.ended:
            self.fail(self._broken(f"the connection was lost: {exc}" if exc else "the connection was closed"))
        self._limits.clear(self)
        self._pool.detach(self)

    # -- what the pool and the response call

    def send(self, method: str, target: str, headers: Headers, body: bytes) -> None:
        """Start an exchange.  ValueError: see `Http1Client.request`."""
        data = self._client.request(method, target, headers, body)
        self.touched = self.ended = self._released = self._body_began = False
        self.head = None
        self._limits.parked.clear(self)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def wait_head(self) -> ResponseHead:
        while self.head is None:
            if self._error is not None:
                raise self._error
            await self._wait(self._limits.first_byte)
        return self.head

    async def read(self) -> bytes:
        """What has come of the body; empty at its end.  Raises UpstreamError, after all that came before it."""
        while not self._pieces:
            if self.ended:
                return b""
            if self._error is not None:
                raise self._error
            await self._wait(self._limits.idle if self._body_began else self._limits.first_byte)
        self._body_began = True
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._pieces = []
        self._size = 0
        if self._paused and self._transport is not None:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
        return data

    async def flow(self, taker: Taker, glance: Glance) -> None:
        """Give `taker` what comes of the body, with nothing between, as long as it wants more.

        Returns when it does not, at once where something can be read; raises what it raises.  What comes after a fault
        or the end of the body is for `read`.  `glance` may take for `taker` what it knows.
        """
        if self._pieces or self.ended or self._error is not None:
            return
        self._taker = taker
        self._looks = glance
        self._chunk = self._client.chunk
        self._glance = glance if self._client.between_chunks else None
        self.silent = 0
        try:
            await self._wait(self._limits.flow)
        finally:
            self._taker = self._looks = self._glance = None

    def stop(self, error: Exception | None = None) -> None:
        """The body flows no more."""
        if self._taker is not None:
            self._taker = self._looks = self._glance = None
            self._wake(error)

    def release(self, linger: bool) -> None:
        """The reader is done.  The connection is kept if the body has ended, or, with `linger`, if it soon ends."""
        if self._released:
            return
        self._released = True
        self._pieces = []
        self._size = 0
        self._limits.first_byte.clear(self)
        self._limits.idle.clear(self)
        if self._paused:
            self.abort()
        elif self.ended:
            self._park()
        elif linger and self._error is None:
            self._limits.linger.set(self)
        else:
            self.abort()

    def fail(self, error: UpstreamError) -> None:
        if self._error is None:
            self._error = error
        self.abort()
        self._wake()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    @property
    def stale(self) -> bool:
        """Whether a failure only means that the server had closed a connection that we still held for open."""
        error = self._error
        return self.used and not self.touched and error is not None and error.retryable

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing() and not self._lost

    @property
    def waiting(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    # -- its own

    def _park(self) -> None:
        self._limits.linger.clear(self)
        if self._client.reusable and self.open and self._pool.park(self):
            self.used = True
            self._limits.parked.set(self)
        else:
            self.abort()

    async def _wait(self, limit: Deadlines[Connection]) -> None:
        limit.set(self)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
            limit.clear(self)

    def _wake(self, error: Exception | None = None) -> None:
        if self._waiter is None or self._waiter.done():
            return
        if error is None:
            self._waiter.set_result(None)
        else:
            self._waiter.set_exception(error)

    def _broken(self, reason: str, *, retryable: bool = True) -> UpstreamError:
        return UpstreamError(f"{self.origin}: {reason}", code="upstream_protocol_error", retryable=retryable)
