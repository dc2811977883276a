"""An HTTP/1.1 client for agents: pooled connections, TLS, a limit on every wait, backpressure.

    with await upstream.request("POST", url, headers, body) as response:
        while data := await response.read():
            ...

One `read` is one await and gives all that has come.  Leaving the block before the end of the body closes the
connection, so that a cancelled run is seen by the server at once.
"""

from __future__ import annotations

import ssl
from asyncio import Future, get_running_loop, timeout
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import Self

from ..model.http import Headers, ResponseHead
from .connection import Connection, ConnectionLimits, Glance, Taker, UpstreamError
from .origin import Origin, parse_url
from .settings import Timeouts

__all__ = ["Response", "Upstream", "UpstreamError"]

IDLE_PER_HOST = 64
"""Connections kept open for later, for each server; as many runs may be under way as like."""


class Response:
    """An answer whose body has yet to be read.  A context manager: leaving it gives the connection back, or ends it."""

    __slots__ = ("_connection", "head")

    def __init__(self, head: ResponseHead, connection: Connection) -> None:
        self.head = head
        self._connection = connection

    async def read(self) -> bytes:
        """All of the body that has come since the last call, waiting for some; empty at its end.

        Raises UpstreamError, once what came before the fault has been read.
        """
        return await self._connection.read()

    async def flow(self, taker: Taker, glance: Glance) -> None:
        """Give `taker` what comes of the body, with nothing between, as long as it wants more.

        For who has read all that there was.  Returns when it wants no more, when `stop` is called, and when something
        has come that `read` has to tell: an end, a fault.  Raises what `taker` raises.  `glance` may take
        for `taker` what it knows: see `connection.Glance`.
        """
        await self._connection.flow(taker, glance)

    def stop(self) -> None:
        """Let `flow` return."""
        self._connection.stop()

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
        self._limits: ConnectionLimits | None = None
        self._live: set[Connection] = set()
        self._parked: dict[Origin, dict[Connection, None]] = {}
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

    def attach(self, connection: Connection) -> None:
        self._live.add(connection)

    def park(self, connection: Connection) -> bool:
        """Keep a connection for later; false where there are enough."""
        parked = self._parked.setdefault(connection.origin, {})
        if self.closed or len(parked) >= IDLE_PER_HOST:
            return False
        parked[connection] = None
        return True

    def detach(self, connection: Connection) -> None:
        self._live.discard(connection)
        parked = self._parked.get(connection.origin)
        if parked is not None:
            parked.pop(connection, None)
            if not parked:
                del self._parked[connection.origin]
        if self._emptied is not None and not self._live and not self._emptied.done():
            self._emptied.set_result(None)

    def _take(self, origin: Origin) -> Connection | None:
        parked = self._parked.get(origin)
        while parked:
            connection, _ = parked.popitem()  # the one used last: it is the least likely to have been closed
            if connection.open:
                return connection
        return None

    async def _connect(self, origin: Origin) -> Connection:
        if self.closed:
            raise UpstreamError("the client is closed", code="upstream_closed")
        loop = get_running_loop()
        limits = self._limits = self._limits or ConnectionLimits(loop, self._timeouts)
        after = self._timeouts.connect
        make = partial(Connection, self, origin, loop, limits)
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


async def _exchange(connection: Connection, method: str, target: str, headers: Headers, body: bytes) -> Response:
    try:
        connection.send(method, target, headers, body)
        return Response(await connection.wait_head(), connection)
    except BaseException:  # also a cancellation: the server must see it
        connection.abort()
        raise
