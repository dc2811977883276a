"""Connection limits of a whole gateway, as the peers that are refused see them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from asking import TOKEN, Answer, parse, serving, until

from gateway import Gateway, Limits
from gateway.agents.function import echo

HERE, THERE = "127.0.0.1", "127.0.0.2"
MODELS = f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Visitor:
    """A client at one of the loopback network's addresses."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def come(cls, gateway: Gateway, host: str = HERE, first: bytes = b"") -> Visitor:
        port = int(gateway.urls[0].rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(host, 0))
        writer.write(first)
        return cls(reader, writer)

    async def status(self) -> int:
        """Of an answer that leaves the connection open."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)
        length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length"))
        await self.reader.readexactly(int(length.partition(b":")[2]))
        return int(head.split()[1])

    async def last(self) -> Answer:
        return parse(await asyncio.wait_for(self.reader.read(), 5))

    async def send_for_ever(self, piece: bytes, pause: float) -> None:
        """Until the peer cuts us off."""
        async with asyncio.timeout(5):
            while True:
                self.writer.write(piece)
                await self.writer.drain()
                await asyncio.sleep(pause)

    async def leave(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


def trial(test: Any, **limits: Any) -> None:
    serving(test, agents={"main": echo}, limits=Limits(**{"exempt_local": False, **limits}))


def refused(answer: Answer, message: str) -> None:
    assert answer.status == 503
    assert answer.error["message"] == message
    assert answer.error["code"] == "unavailable"
    assert answer.headers["retry-after"] == "5"
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-request-id"]


def test_in_all() -> None:
    async def test(gateway: Gateway) -> None:
        inside = [await Visitor.come(gateway, host, MODELS) for host in (HERE, THERE)]
        assert [await one.status() for one in inside] == [200, 200]
        late = await Visitor.come(gateway, "127.0.0.3")  # told at once, before it has asked for anything
        refused(await late.last(), "too many connections")
        assert gateway.connections == 2
        await inside[0].leave()
        await until(lambda: gateway.connections == 1)
        again = await Visitor.come(gateway, "127.0.0.3", HEALTH)
        assert await again.status() == 200
        for one in (*inside, late, again):
            await one.leave()

    trial(test, connections=2)


def test_from_one_address() -> None:
    async def test(gateway: Gateway) -> None:
        inside = [await Visitor.come(gateway, HERE, MODELS) for _ in range(2)]
        assert [await one.status() for one in inside] == [200, 200]
        late = await Visitor.come(gateway, HERE, MODELS)
        refused(await late.last(), "too many connections from this address")
        other = await Visitor.come(gateway, THERE, MODELS)
        assert await other.status() == 200, "another address is not meant"
        for one in (*inside, late, other):
            await one.leave()

    trial(test, connections_per_peer=2)


def test_strangers_from_one_address() -> None:
    async def test(gateway: Gateway) -> None:
        known = []
        for _ in range(3):  # each has shown the secret before the next one comes
            known.append(await Visitor.come(gateway, HERE, MODELS))
            assert await known[-1].status() == 200
        stranger = await Visitor.come(gateway, HERE, HEALTH)
        assert await stranger.status() == 200
        late = await Visitor.come(gateway, HERE, MODELS)
        refused(await late.last(), "too many unauthenticated connections from this address")
        other = await Visitor.come(gateway, THERE, HEALTH)
        assert await other.status() == 200
        stranger.writer.write(MODELS)  # who shows the secret makes room for the next
        assert await stranger.status() == 200
        again = await Visitor.come(gateway, HERE, HEALTH)
        assert await again.status() == 200
        for one in (*known, stranger, late, other, again):
            await one.leave()

    trial(test, unauthenticated_per_peer=1)


def test_a_wrong_secret_makes_nobody_known() -> None:
    async def test(gateway: Gateway) -> None:
        one = await Visitor.come(gateway, HERE, MODELS.replace(TOKEN.encode(), b"wrong"))
        assert await one.status() == 401
        late = await Visitor.come(gateway)
        refused(await late.last(), "too many unauthenticated connections from this address")
        for each in (one, late):
            await each.leave()

    trial(test, unauthenticated_per_peer=1)


def test_peers_of_this_machine_are_exempt_unless_told_otherwise() -> None:
    async def test(gateway: Gateway) -> None:
        inside = [await Visitor.come(gateway, HERE, HEALTH) for _ in range(4)]
        assert [await one.status() for one in inside] == [200] * 4
        for one in inside:
            await one.leave()

    trial(test, unauthenticated_per_peer=1, connections_per_peer=1, exempt_local=True)


def test_who_is_refused_in_the_middle_of_an_upload_can_read_why() -> None:
    """To close at once would reset the answer out of its hands."""

    async def test(gateway: Gateway) -> None:
        first = await Visitor.come(gateway, HERE, HEALTH)
        assert await first.status() == 200
        late = await Visitor.come(gateway)
        for _ in range(20):
            late.writer.write(b"x" * 1000)
            await asyncio.sleep(0.005)
        refused(await late.last(), "too many connections")
        for one in (first, late):
            await one.leave()

    trial(test, connections=1)


@pytest.mark.parametrize("how", ["silence", "flood"])
def test_who_is_refused_does_not_stay(how: str) -> None:
    async def test(gateway: Gateway) -> None:
        first = await Visitor.come(gateway, HERE, HEALTH)
        assert await first.status() == 200
        late = await Visitor.come(gateway)
        await late.reader.read()
        with pytest.raises(ConnectionError):
            await late.send_for_ever(*((b"x" * 65_536, 0.01) if how == "flood" else (b"x", 0.4)))
        for one in (first, late):
            await one.leave()

    trial(test, connections=1, linger=0.3)


def test_only_so_many_refused_ones_may_linger() -> None:
    async def test(gateway: Gateway) -> None:
        first = await Visitor.come(gateway, HERE, HEALTH)
        assert await first.status() == 200
        refused_ones = [await Visitor.come(gateway) for _ in range(4)]
        answers = [await one.last() for one in refused_ones]
        for each in answers:
            refused(each, "too many connections")
        lingering = 0
        for one in refused_ones:
            one.writer.write(b"x")
            await asyncio.sleep(0.05)
            try:
                one.writer.write(b"x")
                await one.writer.drain()
                lingering += 1
            except OSError:
                pass
        assert lingering == 2
        for one in (first, *refused_ones):
            await one.leave()

    trial(test, connections=1, refused=2)
