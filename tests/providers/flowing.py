"""A provider without a socket, whose answer is fed as a test wants it; and a body that keeps what is put into it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from scripted_provider import NOW, asked

from gateway.errors import AgentError, PeerGone
from gateway.model.http import Headers
from gateway.ports import Flow, Tap
from gateway.providers.connection import Connection, ConnectionLimits
from gateway.providers.dialect import Dialect
from gateway.providers.model import Model
from gateway.providers.openai import Completions
from gateway.providers.origin import Origin
from gateway.providers.settings import Provider, Timeouts
from gateway.providers.upstream import Response, Upstream
from gateway.testing import MemoryTransport

ORIGIN = Origin(tls=False, host="x", port=80)


class Wire:
    """One connection, and the pool that it belongs to."""

    def __init__(self, timeouts: Timeouts = Timeouts()) -> None:  # noqa: B008 - it is never changed
        loop = asyncio.get_running_loop()
        self.limits = ConnectionLimits(loop, timeouts)
        self.connection = Connection(self, ORIGIN, loop, self.limits)
        self.transport = MemoryTransport(self.connection)
        self.transport.connect()
        self.parked = False

    async def request(self, method: str, url: str, headers: Headers, body: bytes) -> Response:
        """As `Upstream.request`."""
        del url
        self.connection.send(method, "/", (*headers, (b"host", b"x")), body)
        return Response(await self.connection.wait_head(), self.connection)

    def attach(self, connection: Connection) -> None:
        """See `Pool.attach`."""

    def park(self, connection: Connection) -> bool:
        """See `Pool.park`."""
        del connection
        self.parked = True
        return True

    def detach(self, connection: Connection) -> None:
        """See `Pool.detach`."""


class Body:
    """Keeps what is put into it, among all that was seen.  `room`: how many pieces fit before it has to be drained."""

    def __init__(self, room: int = 1 << 30, *, leaves_after: int = 1 << 30) -> None:
        self.seen: list[Any] = []
        self.drained = 0
        self.flows = 0
        self.flowed = 0
        self._room = self._left = room
        self._leaves_after = leaves_after
        self.flowing = False

    @property
    def full(self) -> bool:
        return self._left <= 0

    def put(self, piece: str) -> bool:
        return self.put_all([piece])

    def put_all(self, pieces: list[str]) -> bool:
        if len(self.seen) + len(pieces) > self._leaves_after:
            raise PeerGone("it left")
        self.seen += pieces
        self._left -= len(pieces)
        if self.flowing:
            self.flowed += len(pieces)
        return self.full

    async def drain(self) -> None:
        await asyncio.sleep(0)
        self.drained += 1
        self._left = self._room

    async def take(self, events: Any, *taps: Tap) -> None:
        """What `Runs.pull` does with the events of an agent; an error is the last thing seen."""
        try:
            async for event in events:
                if isinstance(event, Flow):
                    event.taps += taps
                    self.flows += 1
                    self.flowing = True
                    assert await event.into(self) == self.full
                    self.flowing = False
                elif isinstance(event, list):
                    self.put_all(event)
                elif isinstance(event, str):
                    self.put(event)
                else:
                    self.seen.append(event)
                if self.full:
                    await self.drain()
        except AgentError as error:
            self.seen.append((error.code, error.message))
        finally:
            await events.aclose()


def model_of(wire: Wire, dialect: Dialect | None = None, base_url: str = "http://x") -> Model:
    provider = Provider("acme", base_url, max_retries=0)
    return Model(dialect or Completions(), provider, "m-1", cast("Upstream", wire), clock=lambda: NOW, grace=10)


async def feed(wire: Wire, pieces: Sequence[bytes], *, close: bool = True, turns: int | None = None) -> None:
    """Say this, with so many turns of the loop behind each piece; by default the reader is ready for some of them."""
    while not wire.transport.written:
        await asyncio.sleep(0)
    for number, piece in enumerate(pieces):
        if wire.transport.is_closing():
            return
        if piece:
            wire.transport.feed(piece)
        for _ in range(number % 3 * 2 if turns is None else turns):
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    if close and not wire.transport.is_closing():
        wire.connection.eof_received()


async def relayed(
    pieces: Sequence[bytes], body: Body, *taps: Tap, dialect: Dialect | None = None, turns: int | None = None
) -> Body:
    """The answer, by way of flows."""
    wire = Wire()
    events = model_of(wire, dialect).with_flow(asked())
    await asyncio.gather(feed(wire, pieces, turns=turns), body.take(events, *taps))
    wire.limits.close()
    return body


async def pulled(pieces: Sequence[bytes], dialect: Dialect | None = None) -> list[Any]:
    """The same, event by event."""
    body = Body()
    wire = Wire()
    await asyncio.gather(feed(wire, pieces), body.take(model_of(wire, dialect)(asked())))
    wire.limits.close()
    return body.seen
