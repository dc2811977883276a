"""The sending half of a connection: transport, gate, and what exchanges, streams and links write through."""

from __future__ import annotations

from asyncio import AbstractEventLoop, BaseTransport, Future, Protocol, Transport
from typing import cast

from ..errors import PeerGone
from ..model.http import Peer
from .hangup import limit_delivery, peer_of, reset
from .services import Services

__all__ = ["Gate", "Sender"]

_NOBODY = Peer("", 0, local=False)


class Gate:
    """Backpressure: shut by the transport above high water, opened below low water or when the connection is lost."""

    __slots__ = ("_waiters", "shut")

    def __init__(self) -> None:
        self.shut = False
        self._waiters: list[Future[None]] | None = None

    def open(self) -> None:
        """Let everybody through who waits."""
        self.shut = False
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, loop: AbstractEventLoop) -> None:
        """Wait until the gate is open; several tasks may."""
        while self.shut:
            waiter = loop.create_future()
            if self._waiters is None:
                self._waiters = []
            self._waiters.append(waiter)
            await waiter


class Sender(Protocol):
    """Owns the transport.  What reads is `Connection`."""

    __slots__ = ("_gate", "_transport", "loop", "peer", "services")

    def __init__(self, services: Services) -> None:
        self.services = services
        self.loop = services.loop
        self.peer = _NOBODY
        self._transport: Transport | None = None
        self._gate = Gate()

    def _take(self, transport: BaseTransport) -> Transport:
        # Not by isinstance: the transports of other loops, and of TLS, are not derived from Transport.
        self._transport = taken = cast("Transport", transport)
        # What the kernel does not take at once waits here, and nothing more is made until it is gone: room for more
        # would be memory for each peer that does not read.  (1 and not 0: for asyncio's TLS, nothing is not below 0.)
        taken.set_write_buffer_limits(high=1, low=0)
        self.peer = peer_of(taken)
        limit_delivery(taken, 2 * self.services.limits.write_stall)  # ours comes first, and tells the peer
        return taken

    def pause_writing(self) -> None:
        self._gate.shut = True
        self.services.await_reader(self)

    def resume_writing(self) -> None:
        self.services.read(self)
        self._gate.open()

    def send(self, data: bytes) -> bool:
        transport = self._transport
        if transport is None or transport.is_closing():
            raise PeerGone("the connection is closed")
        self.services.outbox.put(transport, data)
        return self._gate.shut

    def send_now(self) -> None:
        """Do not wait for the end of this turn of the loop."""
        self.services.outbox.flush()

    def write(self, data: bytes) -> None:
        """The same, but a peer that is gone gets nothing."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            self.services.outbox.put(transport, data)

    @property
    def descriptor(self) -> int | None:
        """That of the socket, where what handlers see is what stands on it; None for TLS, and when it is gone."""
        sock = None if self._transport is None else self._transport.get_extra_info("socket")
        return None if sock is None or self.peer.tls else int(sock.fileno())

    async def cleared(self) -> None:
        """Wait until the kernel has all that was sent.  Raises PeerGone."""
        self.services.outbox.flush()
        await self.drain()

    @property
    def full(self) -> bool:
        return self._gate.shut

    @property
    def unsent(self) -> int:
        """Bytes that wait for the peer to read."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    async def drain(self) -> None:
        await self._gate.wait(self.loop)
        if self._transport is None:
            raise PeerGone("the connection is closed")

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def cut_off(self, limit: str, reason: str) -> None:
        """A limit has struck a peer that does not read."""
        self.services.cuts.count(limit, self.peer, reason)
        if self._transport is not None:
            reset(self._transport)
