"""The WebSocket link: over a host of its own with a clock that stands still, and over sockets with another's client."""

from __future__ import annotations

import asyncio
import gc
import random
import struct
import zlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast

import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect

from gateway.errors import MisuseError, PeerGone
from gateway.model.http import Peer, RequestHead
from gateway.server.link import LinkLimits, Links, WebSocketLink
from gateway.wire.extensions import Compression
from gateway.wire.heads import read_request_head
from gateway.wire.upgrade import accept

PEER = Peer("127.0.0.1", 1234, local=True)
LIMITS = LinkLimits()


def frame(first: int, payload: bytes = b"") -> bytes:
    """A client's frame; the masking key is zero."""
    length = len(payload)
    size = bytes((0x80 | length,)) if length < 126 else struct.pack("!BQ", 0xFF, length)
    if 126 <= length < 65_536:
        size = struct.pack("!BH", 0xFE, length)
    return bytes((first,)) + size + bytes(4) + payload


CLOSE = frame(0x88, b"\x03\xe8")


def a_head(more: bytes = b"") -> RequestHead:
    head = read_request_head(
        b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        + more
        + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert isinstance(head, RequestHead)
    return head


class Clock:
    """A timer whose time passes by `forward` only."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[tuple[float, Callable[..., Any], Handle]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., Any], /, *args: Any) -> Handle:
        handle = Handle()
        self.calls.append((when, lambda: callback(*args), handle))
        return handle

    def forward(self, seconds: float) -> None:
        end = self.now + seconds
        while due := sorted((call for call in self.calls if call[0] <= end), key=lambda call: call[0]):
            self.calls.remove(due[0])
            self.now = due[0][0]
            if not due[0][2].cancelled:
                due[0][1]()
        self.now = end

    def pending(self) -> int:
        return sum(not handle.cancelled for _, _, handle in self.calls)


class Handle:
    cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Host:
    """Stands for the connection: notes what the link does."""

    def __init__(self) -> None:
        self.full = False
        self.written: list[bytes] = []
        self.log: list[str] = []
        self.gone = False
        self._room = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.written.append(data)

    async def drain(self) -> None:
        if self.full:
            self._room.clear()
            await self._room.wait()
        if self.gone:
            raise PeerGone

    def make_room(self, *, gone: bool = False) -> None:
        self.full = False
        self.gone = gone
        self._room.set()

    def set_reading(self, wanted: bool) -> None:
        self.log.append("read" if wanted else "pause")

    def close(self) -> None:
        self.log.append("close")

    def abort(self) -> None:
        self.log.append("abort")

    def sent(self) -> bytes:
        data = b"".join(self.written)
        self.written.clear()
        return data


class Rig:
    def __init__(self, **limits: Any) -> None:
        self.host = Host()
        self.clock = Clock()
        self.link = WebSocketLink(self.host, a_head(), PEER, LinkLimits(**limits), self.clock)


def drive(test: Callable[[Rig], Coroutine[Any, Any, None]], **limits: Any) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        async with asyncio.timeout(10):
            await test(Rig(**limits))

    faults: list[dict[str, Any]] = []
    asyncio.run(main())
    gc.collect()  # a task that nobody waits for tells its exception when it is collected
    assert faults == []


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def read_all(link: WebSocketLink) -> list[str | bytes]:
    return [message async for message in link]


# Messages


def test_messages_then_close() -> None:
    async def test(rig: Rig) -> None:
        assert rig.link.peer is PEER
        assert rig.link.head.method == "GET"
        reader = asyncio.create_task(read_all(rig.link))
        await settle()
        rig.link.data_received(frame(0x81, b"one") + frame(0x82, b"\xff"))
        await settle()
        rig.link.data_received(
            frame(0x01, "zwölf".encode()[:3]) + frame(0x80, "zwölf".encode()[3:]) + frame(0x88, b"\x0f\xa1bye")
        )
        assert await reader == ["one", b"\xff", "zwölf"]
        assert (rig.link.close_code, rig.link.close_reason) == (4001, "bye")
        assert rig.host.sent() == b"\x88\x02\x0f\xa1"
        assert rig.host.log == ["close"]
        with pytest.raises(PeerGone):
            await rig.link.send("late")
        await rig.link.close()  # has nothing left to do
        rig.link.data_received(frame(0x81, b"after"))
        assert await read_all(rig.link) == []
        assert rig.host.sent() == b""

    drive(test)


BROKEN = frame(0x81, b"a") + frame(0x89, b"?") + frame(0x81, b"b") + frame(0x83) + frame(0x81, b"c")


def test_what_came_before_the_end_can_still_be_read() -> None:
    async def test(rig: Rig) -> None:
        rig.link.data_received(BROKEN)
        rig.link.connection_lost(None)
        assert await read_all(rig.link) == ["a", "b"]
        assert rig.link.close_code == 1002
        assert rig.host.sent() == b""
        assert rig.clock.pending() == 0

    drive(test)


def test_answers_to_what_came_before_a_broken_frame_go_out_before_the_close() -> None:
    async def test(rig: Rig) -> None:
        rig.link.data_received(BROKEN)
        assert rig.host.log == ["pause"]
        rig.link.data_received(frame(0x81, b"more"))
        async for message in rig.link:
            await rig.link.send(message)
        sent = rig.host.sent()
        assert sent.startswith(b"\x81\x01a\x81\x01b\x8a\x01?\x88")
        assert sent[11:13] == b"\x03\xea"
        assert rig.host.log == ["pause", "close"]
        assert rig.link.close_code == 1002
        with pytest.raises(PeerGone):
            await rig.link.send("late")

    drive(test)


@pytest.mark.parametrize("way", ["time", "close", "eof"])
def test_a_broken_frame_does_not_wait_long_for_them(way: str) -> None:
    async def test(rig: Rig) -> None:
        rig.link.data_received(BROKEN)
        await rig.link.send("first")
        assert rig.host.sent() == b"\x81\x05first"
        if way == "time":
            rig.clock.forward(LIMITS.close_timeout - 0.1)
            assert rig.host.sent() == b""
            rig.clock.forward(0.1)
        elif way == "close":
            await rig.link.close(4000)
        else:
            rig.link.eof_received()
        sent = rig.host.sent()
        assert (sent[:4], sent[5:7]) == (b"\x8a\x01?\x88", b"\x03\xea")
        assert rig.host.log == ["pause", "close"]
        assert await read_all(rig.link) == ["a", "b"]
        assert rig.link.close_code == 1002
        assert rig.host.sent() == b""
        assert rig.clock.pending() == 0

    drive(test)


@pytest.mark.parametrize(
    "end", [lambda link: link.eof_received(), lambda link: link.connection_lost(ConnectionResetError())]
)
def test_abnormal_ends(end: Callable[[WebSocketLink], None]) -> None:
    async def test(rig: Rig) -> None:
        reader = asyncio.create_task(read_all(rig.link))
        closer = asyncio.create_task(rig.link.close(1001))
        await settle()
        end(rig.link)
        assert await reader == []
        await closer
        assert rig.link.close_code == 1006
        with pytest.raises(PeerGone):
            await rig.link.send(b"late")
        rig.link.connection_lost(None)
        assert rig.clock.pending() == 0

    drive(test)


def test_two_readers_are_a_mistake() -> None:
    async def test(rig: Rig) -> None:
        reader = asyncio.create_task(read_all(rig.link))
        await settle()
        with pytest.raises(MisuseError, match="two tasks"):
            await read_all(rig.link)
        reader.cancel()
        await settle()
        rig.link.data_received(frame(0x81, b"still") + CLOSE)
        assert await read_all(rig.link) == ["still"]  # a cancelled reader leaves everything to the next

    drive(test)


@pytest.mark.parametrize("end", ["peer", "close", "error", "full", "broken"])
@pytest.mark.parametrize("by", ["task", "loop"])
def test_a_reader_may_do_anything_while_its_message_is_handed_over(by: str, end: str) -> None:
    """From the loop, a whole message reaches its reader within `data_received`; else a turn later."""

    async def reader(link: WebSocketLink) -> None:
        async for message in link:
            await link.send(message)
            if message == "end" and end == "close":
                await link.close(4000, "enough")
            elif message == "end" and end == "error":
                raise ValueError

    async def test(rig: Rig) -> None:
        link, host = rig.link, rig.host
        task = asyncio.create_task(reader(link))
        await settle()
        rest = {"peer": CLOSE, "broken": frame(0x83), "close": CLOSE}.get(end, b"")
        for data in (frame(0x81, b"a"), frame(0x81, b"end"), rest):
            host.full = end == "full" and data == rest
            if by == "task":
                link.data_received(data)
            else:
                asyncio.get_running_loop().call_soon(link.data_received, data)
            await settle()
        sent = host.sent()
        assert sent.startswith(b"\x81\x01a\x81\x03end")
        assert sent[8:12] in {
            "peer": {b"\x88\x02\x03\xe8"},
            "close": {b"\x88\x08\x0f\xa0"},
            "broken": {sent[8:10] + b"\x03\xea"},
        }.get(end, {b""})
        assert task.done() is (end != "full")
        assert link.close_code == {"peer": 1000, "close": 1000, "broken": 1002}.get(end)
        if end == "full":
            task.cancel()
        [found] = await asyncio.gather(task, return_exceptions=True)
        assert type(found) is {"error": ValueError, "full": asyncio.CancelledError}.get(end, type(None))
        assert link._queue == []
        assert link._queued == 0

    drive(test)


@pytest.mark.parametrize("by", ["task", "loop"])
def test_who_reads_at_once_what_is_more_than_the_queue_holds(by: str) -> None:
    async def test(rig: Rig) -> None:
        task = asyncio.create_task(read_all(rig.link))
        await settle()
        for _ in range(2):
            if by == "task":
                rig.link.data_received(frame(0x82, b"larger than the queue"))
            else:
                asyncio.get_running_loop().call_soon(rig.link.data_received, frame(0x82, b"larger than the queue"))
            await settle()
        assert rig.host.log == ["pause", "read"] * 2
        rig.link.data_received(CLOSE)
        assert await task == [b"larger than the queue"] * 2

    drive(test, queue_bytes=10)


def test_send_writes_one_frame_and_waits_for_room() -> None:
    async def test(rig: Rig) -> None:
        await rig.link.send("né")
        await rig.link.send(b"\x00" * 300)
        assert rig.host.sent() == b"\x81\x03n\xc3\xa9" + b"\x82\x7e\x01\x2c" + b"\x00" * 300
        rig.host.full = True
        sender = asyncio.create_task(rig.link.send("slow"))
        await settle()
        assert rig.host.sent() == b"\x81\x04slow"
        assert not sender.done()
        rig.host.make_room()
        await sender
        rig.host.full = True
        sender = asyncio.create_task(rig.link.send("slow"))
        await settle()
        rig.host.make_room(gone=True)
        with pytest.raises(PeerGone):
            await sender

    drive(test)


# Reading is paused while nobody reads


def test_unread_messages_pause_reading_by_number() -> None:
    async def test(rig: Rig) -> None:
        for _ in range(4):
            rig.link.data_received(frame(0x81, b""))
        assert rig.host.log == []
        rig.link.data_received(frame(0x81, b""))
        rig.link.data_received(frame(0x81, b""))
        assert rig.host.log == ["pause"]
        messages = aiter(rig.link)
        for _ in range(3):
            await anext(messages)
        assert rig.host.log == ["pause"]
        await anext(messages)
        assert rig.host.log == ["pause", "read"]

    drive(test, queue_messages=4)


def test_what_is_read_after_the_end_does_not_touch_the_connection() -> None:
    async def test(rig: Rig) -> None:
        rig.link.data_received(frame(0x81, b".") * 3)
        rig.link.connection_lost(None)
        assert await read_all(rig.link) == ["."] * 3
        assert rig.host.log == ["pause"]

    drive(test, queue_messages=2)


def test_unread_messages_pause_reading_by_size() -> None:
    async def test(rig: Rig) -> None:
        rig.link.data_received(frame(0x82, b"12345") + frame(0x81, b"12345"))
        assert rig.host.log == []
        rig.link.data_received(frame(0x82, b"1"))
        assert rig.host.log == ["pause"]
        messages = aiter(rig.link)
        await anext(messages)
        assert rig.host.log == ["pause"]
        await anext(messages)
        assert rig.host.log == ["pause", "read"]
        rig.link.data_received(frame(0x82, b"larger than the queue"))
        assert rig.host.log == ["pause", "read", "pause"]
        assert await anext(messages) == b"1"
        assert await anext(messages) == b"larger than the queue"
        assert rig.host.log == ["pause", "read", "pause", "read"]

    drive(test, queue_bytes=10)


@pytest.mark.parametrize("first", [0x81, 0x82])
@pytest.mark.parametrize("seed", range(20))
def test_limits_are_the_same_whether_a_read_is_a_message_or_half_of_one(first: int, seed: int) -> None:
    async def test(rig: Rig) -> None:
        choice = random.Random(seed)
        other = Rig(queue_bytes=300, queue_messages=4)
        readers = [aiter(rig.link), aiter(other.link)]
        for _ in range(60):
            if choice.random() < 0.55 and rig.host.log[-1:] != ["pause"]:
                message = frame(first, b"x" * choice.choice((0, 1, 100, 130, 301)))
                cut = choice.randrange(1, len(message))
                rig.link.data_received(message)
                other.link.data_received(message[:cut])
                other.link.data_received(message[cut:])
            elif rig.link._queue:
                assert await anext(readers[0]) == await anext(readers[1])
            assert rig.host.log == other.host.log
            assert (rig.link._queue, rig.link._queued) == (other.link._queue, other.link._queued)
        assert {"pause", "read"} <= {*rig.host.log}

    drive(test, queue_bytes=300, queue_messages=4)


def test_a_paused_link_reads_again_to_be_closed() -> None:
    async def test(rig: Rig) -> None:
        for _ in range(3):
            rig.link.data_received(frame(0x81, b"."))
        closer = asyncio.create_task(rig.link.close())
        await settle()
        assert rig.host.log == ["pause", "read"]
        for _ in range(9):
            rig.link.data_received(frame(0x81, b"late"))
        rig.link.data_received(CLOSE)
        await closer
        assert rig.host.log == ["pause", "read", "close"]
        assert await read_all(rig.link) == ["."] * 3

    drive(test, queue_messages=2)


# A flood waits for its turns


class SlowClock(Clock):
    """A millisecond passes whenever somebody asks for the time."""

    def time(self) -> float:
        self.now += 0.001
        return self.now


def slow(**limits: Any) -> Rig:
    rig = Rig(**limits)
    rig.clock = SlowClock()
    rig.link = WebSocketLink(rig.host, a_head(), PEER, LinkLimits(ping_interval=0, **limits), rig.clock)
    return rig


FLOOD = [frame(0x89, b"%03d" % number) for number in range(200)]


def test_a_flood_is_handled_bit_by_bit_while_nothing_more_is_read() -> None:
    async def test(_: Rig) -> None:
        rig = slow(slice_bytes=20)
        rig.link.data_received(b"".join(FLOOD))
        assert rig.host.log == ["pause"]
        sent = rig.host.sent()
        assert 0 < len(sent) <= 3 * 5
        rounds = 0
        while rig.host.log == ["pause"]:
            rig.clock.forward(0.01)
            more = rig.host.sent()
            assert len(more) <= 20 * 5
            sent += more
            rounds += 1
        assert rounds >= 10
        assert rig.host.log == ["pause", "read"]
        assert sent == b"".join(b"\x8a\x03%03d" % number for number in range(200))

    drive(test)


def test_what_comes_while_a_flood_waits_keeps_its_place() -> None:
    async def test(_: Rig) -> None:
        rig = slow(slice_bytes=20)
        rig.link.data_received(b"".join(frame(0x81, b"%d" % number) for number in range(50)))
        rig.link.data_received(frame(0x81, b"last") + CLOSE)  # transports may give what they have read already
        reader = asyncio.create_task(read_all(rig.link))
        await settle()
        assert not reader.done()
        rig.clock.forward(10)
        assert await reader == [*(str(number) for number in range(50)), "last"]
        assert rig.link.close_code == 1000
        assert rig.host.log == ["pause", "close"]

    drive(test)


def test_a_long_frame_is_no_flood() -> None:
    async def test(_: Rig) -> None:
        rig = slow()
        sent = frame(0x82, bytes(200_000))
        for start in range(0, len(sent), 65_536):
            rig.link.data_received(sent[start : start + 65_536])
        assert await anext(aiter(rig.link)) == bytes(200_000)
        assert rig.host.log == []

    drive(test)


def test_a_flood_that_fills_the_queue_waits_for_its_reader() -> None:
    async def test(_: Rig) -> None:
        rig = slow(queue_messages=4, slice_bytes=20)
        rig.link.data_received(b"".join(frame(0x81, b"%02d" % number) for number in range(100)))
        rig.clock.forward(10)
        assert rig.host.log == ["pause"]
        messages = aiter(rig.link)
        for number in range(100):
            assert await anext(messages) == f"{number:02}"
            rig.clock.forward(1)
        assert rig.host.log == ["pause", "read"]

    drive(test)


@pytest.mark.parametrize("way", ["close", "eof", "lost"])
def test_the_end_while_a_flood_waits(way: str) -> None:
    async def test(_: Rig) -> None:
        rig = slow(queue_messages=4, slice_bytes=20)
        rig.link.data_received(b"".join(frame(0x81, b"%02d" % number) for number in range(100)) + CLOSE)
        if way == "eof":  # all that came before it is there
            rig.link.eof_received()
            assert len(await read_all(rig.link)) == 100
            assert rig.link.close_code == 1000
        elif way == "lost":
            rig.link.connection_lost(ConnectionResetError())
            rig.clock.forward(10)
            assert len(await read_all(rig.link)) < 10
            assert rig.link.close_code == 1006
        else:
            closer = asyncio.create_task(rig.link.close())
            await settle()
            rig.clock.forward(4)
            await closer
            assert rig.link.close_code == 1000
            assert len(await read_all(rig.link)) < 10
        rig.clock.forward(10)
        assert rig.clock.pending() == 0

    drive(test)


def test_links_of_a_server_share_their_turns() -> None:
    async def test(_: Rig) -> None:
        clock = SlowClock()
        links = Links(LinkLimits(ping_interval=0, slice_bytes=20), clock)
        hosts = [Host() for _ in range(5)]
        for host in hosts:
            answer, link = links.open(host, a_head(), PEER)
            assert answer.startswith(b"HTTP/1.1 101 ")
            link.data_received(b"".join(FLOOD))
        began = clock.now
        clock.forward(0.4)
        handled = sum(len(host.sent()) // 5 for host in hosts)
        assert handled * 9 / 20 * 0.001 < 0.3 * (clock.now - began)  # each slice takes a millisecond
        clock.forward(10)
        assert {len(host.sent()) > 0 for host in hosts} == {True}

    drive(test)


def test_a_message_that_inflates_far_is_read_slice_by_slice() -> None:
    async def test(_: Rig) -> None:
        host, clock = Host(), SlowClock()
        head = a_head(b"Sec-WebSocket-Extensions: permessage-deflate\r\n")
        answer, link = Links(LinkLimits(), clock, Compression()).open(host, head, PEER)
        assert b"\r\nSec-WebSocket-Extensions: permessage-deflate; " in answer
        stream = zlib.compressobj(9, zlib.DEFLATED, -15)
        bomb = (stream.compress(bytes(1_000_000)) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]
        link.data_received(frame(0xC2, bomb) * 60)  # a read of 60 KB that holds 60 MB
        clock.forward(10)
        assert host.log == ["pause"]
        seen = 0
        async for message in link:
            assert message == bytes(1_000_000)
            seen += 1
            assert link._queued <= 2_000_000
            clock.forward(1)
            if seen == 60:
                break
        assert host.log == ["pause", "read"]

    drive(test)


# Closing


def test_close_waits_for_the_answer() -> None:
    async def test(rig: Rig) -> None:
        closers = [asyncio.create_task(rig.link.close(1001, "restart")), asyncio.create_task(rig.link.close())]
        await settle()
        assert rig.host.sent() == b"\x88\x09\x03\xe9restart"
        assert rig.host.log == []
        with pytest.raises(PeerGone):
            await rig.link.send("late")
        closers[1].cancel()  # does not take the close away from the others
        await settle()
        assert not closers[0].done()
        rig.link.data_received(frame(0x88, b"\x03\xe9"))
        await closers[0]
        assert (rig.link.close_code, rig.host.log) == (1001, ["close"])
        assert closers[1].cancelled()
        rig.clock.forward(1000)
        assert rig.host.log == ["close"]
        rig.link.connection_lost(None)
        assert rig.link.close_code == 1001

    drive(test)


def test_close_does_not_wait_for_ever() -> None:
    async def test(rig: Rig) -> None:
        closer = asyncio.create_task(rig.link.close())
        reader = asyncio.create_task(read_all(rig.link))
        await settle()
        rig.clock.forward(LIMITS.close_timeout - 0.1)
        rig.link.data_received(frame(0x89, b"still here") + frame(0x81, b"and talking"))
        await settle()
        assert not closer.done()
        assert not reader.done()
        rig.clock.forward(0.1)
        await closer
        assert await reader == []
        assert (rig.link.close_code, rig.host.log) == (1006, ["abort"])
        assert "in time" in rig.link.close_reason

    drive(test)


def test_close_reason_is_cut_and_a_bad_code_is_a_mistake() -> None:
    async def test(rig: Rig) -> None:
        with pytest.raises(MisuseError, match="1006"):
            await rig.link.close(1006)
        closer = asyncio.create_task(rig.link.close(4000, "x" * 122 + "é"))
        await settle()
        assert rig.host.sent() == b"\x88\x7c\x0f\xa0" + b"x" * 122
        rig.link.data_received(CLOSE)
        await closer

    drive(test)


def test_a_message_too_long_ends_the_link() -> None:
    async def test(rig: Rig) -> None:
        rig.link.data_received(frame(0x82, b"12345678901")[:6])
        assert await read_all(rig.link) == []
        assert rig.link.close_code == 1009
        assert rig.host.sent()[2:4] == b"\x03\xf1"
        assert rig.host.log == ["close"]

    drive(test, max_message=10)


# Pings


def test_pings_are_answered() -> None:
    async def test(rig: Rig) -> None:
        rig.link.data_received(frame(0x89, b"a") + frame(0x89, b"b"))
        assert rig.host.sent() == b"\x8a\x01a\x8a\x01b"

    drive(test)


def test_a_flood_of_pings_does_not_pile_up() -> None:
    async def test(rig: Rig) -> None:
        for _ in range(2):
            rig.host.full = True
            for i in range(1000):
                rig.link.data_received(frame(0x89, b"%04d" % i * 25))
                await asyncio.sleep(0)
            assert rig.host.sent() == b""
            assert len(asyncio.all_tasks()) == 2
            rig.host.make_room()
            await settle()
            sent = rig.host.sent()
            assert len(sent) == 64 * 102
            assert sent.endswith(b"\x8a\x64" + b"0999" * 25)
        rig.link.data_received(frame(0x89, b"z"))
        assert rig.host.sent() == b"\x8a\x01z"

    drive(test)


@pytest.mark.parametrize("gone", [True, False])
def test_the_end_while_pongs_wait(gone: bool) -> None:
    async def test(rig: Rig) -> None:
        rig.host.full = True
        rig.link.data_received(frame(0x89, b"a"))
        await settle()
        if gone:
            rig.host.make_room(gone=True)
            await settle()
            assert rig.host.sent() == b""
        else:
            rig.link.data_received(CLOSE)  # bounded, hence written at once
            assert rig.host.sent() == b"\x8a\x01a\x88\x02\x03\xe8"
        rig.link.connection_lost(None)
        await settle()
        assert len(asyncio.all_tasks()) == 1
        assert rig.host.sent() == b""

    drive(test)


def test_heartbeat() -> None:
    async def test(rig: Rig) -> None:
        clock, host, link = rig.clock, rig.host, rig.link
        clock.forward(24.9)
        assert host.sent() == b""
        for _ in range(4):
            clock.forward(0.1)
            assert host.sent() == b"\x89\x00"
            clock.forward(20)
            link.data_received(frame(0x8A) if _ % 2 else frame(0x81, b"anything proves life"))
            clock.forward(4.9)
            assert host.sent() == b""
        clock.forward(0.1)
        assert host.sent() == b"\x89\x00"
        clock.forward(24.9)
        assert host.log == []
        clock.forward(0.1)
        assert host.log == ["abort"]
        assert len(await read_all(link)) == 2
        assert link.close_code == 1006
        assert "no pong" in link.close_reason
        assert clock.pending() == 0

    drive(test)


def test_heartbeat_with_a_short_timeout_keeps_its_interval() -> None:
    async def test(rig: Rig) -> None:
        rig.clock.forward(10)
        rig.link.data_received(frame(0x8A))
        rig.clock.forward(9)
        assert rig.host.sent() == b"\x89\x00"
        rig.clock.forward(1)
        assert rig.host.sent() == b"\x89\x00"
        rig.clock.forward(3)
        assert rig.host.log == ["abort"]

    drive(test, ping_interval=10, pong_timeout=3)


def test_a_peer_is_not_blamed_for_what_we_do_not_read() -> None:
    async def test(rig: Rig) -> None:
        rig.link.data_received(frame(0x81, b"x") * 2)
        rig.clock.forward(1000)
        assert rig.host.log == ["pause"]
        assert rig.host.sent() == b"\x89\x00"  # one, however long it takes
        assert len([await anext(aiter(rig.link)) for _ in range(2)]) == 2
        rig.clock.forward(50)
        assert rig.host.log == ["pause", "read", "abort"]

    drive(test, queue_messages=1)


def test_no_ping_into_a_full_transport() -> None:
    async def test(rig: Rig) -> None:
        rig.host.full = True
        rig.clock.forward(1000)
        assert rig.host.sent() == b""
        rig.host.full = False
        rig.clock.forward(25)
        assert rig.host.sent() == b"\x89\x00"
        rig.host.full = True
        rig.clock.forward(1000)
        assert rig.host.log == []

    drive(test)


def test_heartbeat_can_be_switched_off() -> None:
    async def test(rig: Rig) -> None:
        rig.clock.forward(1000)
        assert rig.host.sent() == b""

    drive(test, ping_interval=0)


def test_no_ping_while_closing() -> None:
    async def test(rig: Rig) -> None:
        rig.clock.forward(24)
        closer = asyncio.create_task(rig.link.close())
        await settle()
        rig.clock.forward(3)
        assert rig.host.sent() == b"\x88\x02\x03\xe8"
        rig.link.data_received(CLOSE)
        await closer

    drive(test)


# Over sockets


class Server(asyncio.Protocol):
    """The least that a connection has to be for a link: the handshake, the transport, high and low water."""

    def __init__(self, handler: Callable[[WebSocketLink], Awaitable[None]], limits: LinkLimits) -> None:
        self._handler = handler
        self._limits = limits
        self._head = b""
        self._link: WebSocketLink | None = None
        self._room = asyncio.Event()
        self._room.set()
        self.most_buffered = 0
        self.task: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._link is not None:
            self._link.data_received(data)
            return
        self._head += data
        raw, end, rest = self._head.partition(b"\r\n\r\n")
        if end:
            head = read_request_head(raw + end)
            assert isinstance(head, RequestHead)
            self.write(accept(head))
            self._link = WebSocketLink(self, head, PEER, self._limits, asyncio.get_running_loop())
            self.task = asyncio.ensure_future(self._handler(self._link))
            if rest:
                self._link.data_received(rest)

    def eof_received(self) -> bool:
        if self._link is not None:
            self._link.eof_received()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._room.set()
        if self._link is not None:
            self._link.connection_lost(exc)

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    @property
    def full(self) -> bool:
        return not self._room.is_set()

    def write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)
            self.most_buffered = max(self.most_buffered, self.transport.get_write_buffer_size())

    async def drain(self) -> None:
        await self._room.wait()
        if self.transport.is_closing():
            raise PeerGone

    def set_reading(self, wanted: bool) -> None:
        if wanted:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def close(self) -> None:
        self.transport.close()

    def abort(self) -> None:
        self.transport.abort()


def serve(
    handler: Callable[[WebSocketLink], Awaitable[None]],
    client: Callable[[ClientConnection], Awaitable[None]],
    *,
    limits: LinkLimits = LIMITS,
    **options: Any,
) -> list[Server]:
    """One connection of the library `websockets` to `handler`; both have to come to an end."""
    servers: list[Server] = []

    def made() -> Server:
        servers.append(Server(handler, limits))
        return servers[-1]

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(20):
            server = await loop.create_server(made, "127.0.0.1", 0)
            async with server:
                port = server.sockets[0].getsockname()[1]
                async with connect(
                    f"ws://127.0.0.1:{port}/", compression=None, proxy=None, max_size=None, **options
                ) as peer:
                    await client(peer)
                for connection in servers:
                    assert connection.task is not None
                    await connection.task

    asyncio.run(main())
    return servers


async def echo(link: WebSocketLink) -> None:
    async for message in link:
        await link.send(message)


def test_echo_with_a_real_client() -> None:
    async def client(peer: ClientConnection) -> None:
        for message in (
            "",
            "hello",
            "grüße 😀",
            b"",
            b"\x00\xff",
            "x" * 125,
            "x" * 126,
            b"y" * 65_536,
            "z" * 3_000_000,
        ):
            await peer.send(message)
            assert await peer.recv() == message
        await peer.send(["frag", "men", "ts €"])
        assert await peer.recv() == "fragments €"
        await (await peer.ping())
        await peer.close(4002, "done")
        assert peer.close_code == 4002

    codes: list[int | None] = []

    async def handler(link: WebSocketLink) -> None:
        await echo(link)
        codes.append(link.close_code)

    serve(handler, client)
    assert codes == [4002]


def test_close_by_the_server_with_a_real_client() -> None:
    async def handler(link: WebSocketLink) -> None:
        await link.send("first")
        await link.close(1012, "restart")
        assert link.close_code == 1012

    async def client(peer: ClientConnection) -> None:
        assert await peer.recv() == "first"
        with pytest.raises(websockets.ConnectionClosed) as caught:
            await peer.recv()
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1012, "restart")

    serve(handler, client)


def test_message_too_long_with_a_real_client() -> None:
    async def client(peer: ClientConnection) -> None:
        await peer.send(b"x" * 1001)
        await peer.wait_closed()
        assert peer.close_code == 1009

    serve(echo, client, limits=LinkLimits(max_message=1000))


def test_heartbeat_with_a_real_client() -> None:
    async def client(peer: ClientConnection) -> None:
        await asyncio.sleep(0.3)
        await peer.send("alive")
        assert await peer.recv() == "alive"

    serve(echo, client, limits=LinkLimits(ping_interval=0.02, pong_timeout=0.05))


def test_client_that_does_not_read() -> None:
    """What is sent to it stays in front of the high-water mark, and its leaving ends the sender."""
    waiting = asyncio.Event()

    async def handler(link: WebSocketLink) -> None:
        try:
            for _ in range(10_000):
                try:
                    await asyncio.wait_for(link.send("x" * 10_000), 0.2)
                except TimeoutError:
                    waiting.set()
                    await link.send("y")
        except PeerGone:
            return
        raise AssertionError("the peer's leaving went unnoticed")

    async def client(peer: ClientConnection) -> None:
        peer.transport.pause_reading()
        await waiting.wait()
        peer.transport.abort()

    [server] = serve(handler, client)
    assert server.most_buffered < 200_000


def test_handler_that_does_not_read() -> None:
    """The client's own send stands still; once the handler reads, everything arrives in order."""
    total = 20_000
    stalled = asyncio.Event()

    async def handler(link: WebSocketLink) -> None:
        await stalled.wait()
        seen = 0
        async for message in link:
            assert message == f"{seen:08}" * 100
            seen += 1
        assert seen == total

    async def client(peer: ClientConnection) -> None:
        for i in range(total):
            if stalled.is_set():
                await peer.send(f"{i:08}" * 100)
                continue
            sending = asyncio.ensure_future(peer.send(f"{i:08}" * 100))
            await asyncio.wait([sending], timeout=0.3)
            if not sending.done():
                assert i < total - 1
                stalled.set()
            await sending
        assert stalled.is_set()

    serve(handler, client, limits=LinkLimits(queue_bytes=10_000))
