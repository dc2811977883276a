"""Connections that another worker goes on with: how they leave here, and how they arrive there."""

from __future__ import annotations

import asyncio
import socket
from asyncio import BaseTransport, Transport
from collections.abc import Mapping
from logging import getLogger

from ..errors import PeerGone, RequestError
from ..model.http import Peer
from ..ports import Exchange
from ..server.connection import Connection
from ..server.exchange import ExchangeHost, HttpExchange
from ..server.services import Services
from .parcel import ParcelError, receive, request_bytes, send
from .pump import Pump

__all__ = ["Arrival", "Handover"]

_logger = getLogger(__name__)

WAY_SECONDS = 10.0
"""For room on the way to a worker: one that died takes as long to come back.  Then the client is to try again."""
ARRIVALS = 64
"""Taken in one turn of the loop: others are to be served as well."""


class Arrival(Connection):
    """A connection that another process has accepted, with what that has read from it.

    `peer` is who is at its other end, where the socket does not tell.
    """

    __slots__ = ("_first", "_given")

    def __init__(self, services: Services, first: bytes, peer: Peer | None) -> None:
        super().__init__(services)
        self._first = first
        self._given = peer

    def connection_made(self, given: BaseTransport) -> None:
        super().connection_made(given)
        first, self._first = self._first, b""
        self.data_received(first)

    def _take(self, transport: BaseTransport) -> Transport:
        taken = super()._take(transport)
        if self._given is not None:
            self.peer = self._given
        return taken

    @property
    def descriptor(self) -> int | None:
        """That of the socket, also where TLS ends in another process."""
        sock = None if self._transport is None else self._transport.get_extra_info("socket")
        return None if sock is None else int(sock.fileno())

    @property
    def hidden(self) -> Peer | None:
        """The peer, where the socket does not tell."""
        return self._given


class Handover:
    """What leaves and what arrives, in one worker: through its inbox, and the inboxes of the others.

    These are unix datagram sockets that outlive workers: what was sent to one that is gone is received by the one that
    takes its place.
    """

    def __init__(self, inbox: socket.socket, outboxes: Mapping[int, socket.socket]) -> None:
        self._inbox = inbox
        self._outboxes = outboxes
        for way in (inbox, *outboxes.values()):
            way.setblocking(False)
        self._services: Services | None = None
        self._welcoming: set[asyncio.Task[None]] = set()

    # -- leaving

    async def pass_on(self, exchange: Exchange, to: int, body: bytes = b"") -> None:
        """Have a worker answer this request, of which `body` was read, and all that follow on its connection.

        Raises PeerGone when it is under way: here nothing is left of it.  RequestError (503) where it cannot be.
        """
        assert isinstance(exchange, HttpExchange), "it is as it came from the server"
        host = exchange.host
        await host.cleared()
        request = request_bytes(exchange.head, body)
        if host.descriptor is None:
            await self._pump(exchange, host, request, to)
            return
        while (descriptor := host.descriptor) is not None:
            peer = host.hidden if isinstance(host, Arrival) else None
            # From here to the end of the connection no turn of the loop: it would read what the other is to read.
            if self._sent(to, descriptor, request + host.following, peer):
                exchange.began = None  # who answers it tells of it in the access log
                raise PeerGone("another worker goes on with the connection")
            await self._room(to)
        raise PeerGone("the connection is closed")

    async def _pump(self, exchange: HttpExchange, host: ExchangeHost, request: bytes, to: int) -> None:
        ours, theirs = socket.socketpair()
        pump = Pump(host)
        try:
            with theirs:
                try:
                    await pump.open(ours)
                except BaseException:
                    ours.close()
                    raise
                while not self._sent(to, theirs.fileno(), request, host.peer):
                    await self._room(to)
        except BaseException:
            pump.abandon()
            raise
        if not host.is_authenticated:  # the other worker judges that, and counts it
            host.authenticated()
        exchange.began = None
        host.become_link(b"", pump)
        await pump.run()

    def _sent(self, to: int, descriptor: int, first: bytes, peer: Peer | None) -> bool:
        """False where there is no room."""
        try:
            send(self._outboxes[to], descriptor, first, peer)
        except BlockingIOError:
            return False
        except OSError as error:
            _logger.warning("a connection cannot be handed to worker %d: %s", to, error)
            raise _unavailable() from None
        return True

    async def _room(self, to: int) -> None:
        """Wait until something can be sent."""
        loop = asyncio.get_running_loop()
        # A copy: several may wait for the same, and a loop takes one of them for each descriptor.
        with self._outboxes[to].dup() as way:
            room = asyncio.Event()
            loop.add_writer(way, room.set)
            try:
                async with asyncio.timeout(WAY_SECONDS):
                    await room.wait()
            except TimeoutError:
                _logger.warning("worker %d takes no connections", to)
                raise _unavailable() from None
            finally:
                loop.remove_writer(way)

    # -- arriving

    def open(self, services: Services) -> None:
        """Serve what arrives, from now on."""
        self._services = services
        asyncio.get_running_loop().add_reader(self._inbox, self._arrived)

    def close(self) -> None:
        """Take nothing more: what arrives now is for who takes our place."""
        if self._services is not None:
            self._services = None
            asyncio.get_running_loop().remove_reader(self._inbox)

    def _arrived(self) -> None:
        services = self._services
        for _ in range(ARRIVALS):
            if services is None:
                return
            try:
                connection, first, peer = receive(self._inbox)
            except BlockingIOError:
                return
            except (ParcelError, OSError) as error:
                _logger.error("a connection of another worker was lost: %s", error)  # noqa: TRY400 - it says all
                return
            arrival = Arrival(services, first, peer)
            task = asyncio.get_running_loop().create_task(self._welcome(connection, arrival))
            self._welcoming.add(task)
            task.add_done_callback(self._welcoming.discard)

    async def _welcome(self, connection: socket.socket, arrival: Arrival) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: arrival, connection)
        except OSError:  # it is gone already
            connection.close()


def _unavailable() -> RequestError:
    message = "The part of the gateway that serves this is not there just now. Try again."
    return RequestError(503, message, type="server_error", code="worker_unavailable", headers=((b"retry-after", b"1"),))
