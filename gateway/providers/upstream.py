"""An HTTP/1.1 client for agents: pooled connections, TLS, a limit on every wait, backpressure.

    with await upstream.request("POST", url, headers, body) as response:
        while data := await response.read():
            ...

One `read` is one await and gives all that has come.  Leaving the block before the end of the body closes the
connection, so that a cancelled run is seen by the server at once.
"""

from __future__ import annotations

import ssl
from asyncio import AbstractEventLoop, Future, Protocol, Transport, get_running_loop, timeout
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import Self, cast

from ..deadlines import Deadlines
from ..errors import AgentError
from ..model.http import BodyChunk, BodyEnd, Headers, Malformed, ResponseHead
from ..wire.http1_client import Http1Client
from .origin import Origin, parse_url
from .settings import Timeouts

__all__ = ["Response", "Upstream", "UpstreamError"]

HIGH_WATER = 65_536
"""Bytes that may wait to be read before the socket is no longer read; one more read (256 KiB) may go over it."""

IDLE_PER_HOST = 64
"""Connections kept open for later, for each server; as many runs may be under way as like."""

READ_BYTES = 65_536
"""One read of the transport: hundreds of tokens."""

IDLE_LIFETIME = 30.0
"""Seconds a connection is kept without use: below what proxies allow, 60 and more, so that they seldom close first."""

LINGER = 1.0
"""Seconds within which the rest of a body has to come, after its reader is done, for the connection to be kept."""


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


class _Limits:
    """The deadlines of all connections of one loop."""

    def __init__(self, loop: AbstractEventLoop, timeouts: Timeouts) -> None:
        def slow(code: str, what: str, after: float) -> Callable[[_Connection], None]:
            def expire(connection: _Connection) -> None:
                if not connection.waiting:  # what it waits for came in this very turn of the loop
                    return
                text = f"{connection.origin} sent nothing for {after:g} s {what}"
                connection.fail(UpstreamError(text, code=code, status=504))

            return expire

        first = slow("upstream_first_byte_timeout", "after the request", timeouts.first_byte)
        idle = slow("upstream_idle_timeout", "in the middle of its answer", timeouts.idle)
        self.first_byte = Deadlines(loop, timeouts.first_byte, first)
        self.idle = Deadlines(loop, timeouts.idle, idle)
        self.parked = Deadlines(loop, IDLE_LIFETIME, _Connection.abort)
        self.linger = Deadlines(loop, LINGER, _Connection.abort)

    def clear(self, connection: _Connection) -> None:
        for deadlines in (self.first_byte, self.idle, self.parked, self.linger):
            deadlines.clear(connection)

    def close(self) -> None:
        for deadlines in (self.first_byte, self.idle, self.parked, self.linger):
            deadlines.close()


class _Connection(Protocol):
    """One connection: in the pool, or lent to one Response."""

    def __init__(self, upstream: Upstream, origin: Origin, loop: AbstractEventLoop, limits: _Limits) -> None:
        self.origin = origin
        self.used = False  # it has carried a request before this one
        self.touched = False  # something came since the request was sent
        self.head: ResponseHead | None = None
        self.ended = False  # the body is complete
        self._upstream = upstream
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

    # -- what the event loop calls

    def connection_made(self, transport: object) -> None:
        # Not Transport by class: the TLS transport of asyncio and those of other loops are not derived from it.
        self._transport = cast("Transport", transport)
        if hasattr(transport, "max_size"):  # asyncio's 256 KiB for each read are mapped anew each time, page by page
            transport.max_size = READ_BYTES
        self._upstream.attach(self)

    def data_received(self, data: bytes) -> None:
        self.touched = True
        for event in self._client.receive(data):
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
        self._upstream.detach(self)

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
        if self._client.reusable and self.open and self._upstream.park(self):
            self.used = True
            self._limits.parked.set(self)
        else:
            self.abort()

    async def _wait(self, limit: Deadlines[_Connection]) -> None:
        limit.set(self)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
            limit.clear(self)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _broken(self, reason: str, *, retryable: bool = True) -> UpstreamError:
        return UpstreamError(f"{self.origin}: {reason}", code="upstream_protocol_error", retryable=retryable)


class Response:
    """An answer whose body has yet to be read.  A context manager: leaving it gives the connection back, or ends it."""

    __slots__ = ("_connection", "head")

    def __init__(self, head: ResponseHead, connection: _Connection) -> None:
        self.head = head
        self._connection = connection

    async def read(self) -> bytes:
        """All of the body that has come since the last call, waiting for some; empty at its end.

        Raises UpstreamError, once what came before the fault has been read.
        """
        return await self._connection.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.release(linger=kind is None)


class Upstream:
    """A pool of connections, for one event loop.

    How many exchanges run at once is not limited here: each belongs to a run, and those are limited where they start.
    `ssl_context` replaces the default one, which verifies certificates against the system's authorities.  With
    `unix_path` all connections go to that unix socket, whatever host the URLs name.  `resolve` gives the address to
    connect to, for each connection, in place of the system's resolver; it may raise UpstreamError.
    """

    def __init__(
        self,
        timeouts: Timeouts | None = None,
        *,
        ssl_context: ssl.SSLContext | None = None,
        unix_path: str | None = None,
        resolve: Callable[[Origin], Awaitable[str]] | None = None,
    ) -> None:
        self.closed = False
        self._timeouts = timeouts or Timeouts()
        self._ssl_context = ssl_context
        self._unix_path = unix_path
        self._resolve = resolve
        self._limits: _Limits | None = None
        self._live: set[_Connection] = set()
        self._parked: dict[Origin, dict[_Connection, None]] = {}
        self._emptied: Future[None] | None = None

    async def request(self, method: str, url: str, headers: Headers = (), body: bytes = b"") -> Response:
        """Send a request and wait for the head of its answer.

        `headers` are sent besides Host and Content-Length.  A kept connection that turns out to be closed is replaced
        by a fresh one, once.  Raises UpstreamError, and ValueError for what cannot be sent.
        """
        origin, host, target = parse_url(url)
        headers = ((b"host", host), *headers)
        connection = self._take(origin)
        if connection is not None:
            try:
                return await _exchange(connection, method, target, headers, body)
            except UpstreamError:
                if not connection.stale:
                    raise
        connection = await self._connect(origin)
        return await _exchange(connection, method, target, headers, body)

    async def aclose(self) -> None:
        """Close all connections and wait until they are gone; exchanges under way fail."""
        self.closed = True
        for connection in tuple(self._live):
            connection.fail(UpstreamError("the client is being closed", code="upstream_closed"))
        while self._live:
            self._emptied = get_running_loop().create_future()
            await self._emptied
        if self._limits is not None:
            self._limits.close()

    def attach(self, connection: _Connection) -> None:
        self._live.add(connection)

    def park(self, connection: _Connection) -> bool:
        """Keep a connection for later; false where there are enough."""
        parked = self._parked.setdefault(connection.origin, {})
        if self.closed or len(parked) >= IDLE_PER_HOST:
            return False
        parked[connection] = None
        return True

    def detach(self, connection: _Connection) -> None:
        self._live.discard(connection)
        parked = self._parked.get(connection.origin)
        if parked is not None:
            parked.pop(connection, None)
            if not parked:
                del self._parked[connection.origin]
        if self._emptied is not None and not self._live and not self._emptied.done():
            self._emptied.set_result(None)

    def _take(self, origin: Origin) -> _Connection | None:
        parked = self._parked.get(origin)
        while parked:
            connection, _ = parked.popitem()  # the one used last: it is the least likely to have been closed
            if connection.open:
                return connection
        return None

    async def _connect(self, origin: Origin) -> _Connection:
        if self.closed:
            raise UpstreamError("the client is closed", code="upstream_closed")
        loop = get_running_loop()
        limits = self._limits = self._limits or _Limits(loop, self._timeouts)
        after = self._timeouts.connect
        make = partial(_Connection, self, origin, loop, limits)
        try:
            async with timeout(after if after > 0 else None):
                context = self._context() if origin.tls else None
                name = None if context is None else origin.host
                if self._unix_path is not None:
                    _, connection = await loop.create_unix_connection(
                        make, self._unix_path, ssl=context, server_hostname=name
                    )
                else:
                    host = origin.host if self._resolve is None else await self._resolve(origin)
                    _, connection = await loop.create_connection(
                        make, host, origin.port, ssl=context, server_hostname=name
                    )
        except TimeoutError as error:
            text = f"{origin} could not be reached within {after:g} s"
            raise UpstreamError(text, code="upstream_connect_timeout", status=504, retryable=True) from error
        except ssl.SSLError as error:
            text = f"{origin}: no TLS connection: {getattr(error, 'verify_message', '') or error.reason or error}"
            raise UpstreamError(text, code="upstream_tls") from error
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that cannot be one, from its IDNA encoding
            text = f"{origin} cannot be reached: {error}"
            raise UpstreamError(text, code="upstream_unreachable", retryable=True) from error
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            self._ssl_context = ssl.create_default_context()
            self._ssl_context.set_alpn_protocols(["http/1.1"])
        return self._ssl_context


async def _exchange(connection: _Connection, method: str, target: str, headers: Headers, body: bytes) -> Response:
    try:
        connection.send(method, target, headers, body)
        return Response(await connection.wait_head(), connection)
    except BaseException:  # also a cancellation: the server must see it
        connection.abort()
        raise
