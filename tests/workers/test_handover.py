"""Connections that go on in another process, over real sockets; here both ends are servers of one process."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from channels import true_soon
from serving import CERTIFICATE, Running, run, serving, trusting
from websockets.asyncio.client import connect

from gateway.errors import PeerGone, RequestError
from gateway.model.http import BodyChunk, Peer, RequestHead
from gateway.ports import Exchange
from gateway.server.limits import Limits
from gateway.testing import ECHO_BODY_BYTES, echo
from gateway.wire.http1 import Http1, Http1Limits
from gateway.workers import handover as module
from gateway.workers.handover import Handover
from gateway.workers.parcel import INLINE_BYTES, ParcelError, receive, request_bytes, send

if not hasattr(socket, "AF_UNIX"):
    pytest.skip("several processes need unix sockets", allow_module_level=True)

ROOT = Path(__file__).parents[2]


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


class Pair:
    """Two servers.  The first hands all on paths that begin with `/there`, and all WebSockets, to the second."""

    def __init__(self, here: Running, there: Running, handover: Handover, seen: list[Exchange]) -> None:
        self.here = here
        self.there = there
        self.handover = handover
        self.seen = seen
        """What the second one was asked."""


@asynccontextmanager
async def pair(
    tls: Callable[[], ssl.SSLContext] | None = None, limits: Limits | None = None, *, arrives: bool = True
) -> AsyncIterator[Pair]:
    inward, outward = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    here, there = Handover(outward, {2: outward}), Handover(inward, {})
    seen: list[Exchange] = []

    async def leave(exchange: Exchange) -> None:
        head = exchange.head
        if head.path.startswith("/there") or b"upgrade" in head.fields:
            body = await exchange.body(ECHO_BODY_BYTES)
            await here.pass_on(exchange, 2, body)
        else:
            await echo(exchange)

    async def arrive(exchange: Exchange) -> None:
        seen.append(exchange)
        await echo(exchange)

    try:
        async with serving(leave, limits, tls) as first, serving(arrive, limits) as second:
            if arrives:
                there.open(second.server.services)
            try:
                yield Pair(first, second, there, seen)
            finally:
                there.close()
    finally:
        inward.close()
        outward.close()


BOTH = pytest.mark.parametrize("tls", [None, server_context], ids=["plain", "tls"])
Tls = Callable[[], ssl.SSLContext] | None


def options(tls: Tls) -> dict[str, Any]:
    return {"ssl": trusting(), "server_hostname": "localhost"} if tls else {}


async def answer(reader: asyncio.StreamReader) -> bytes:
    """The body of one answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return await reader.readexactly(length)


def post(path: str, body: bytes) -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (path.encode(), len(body), body)


@BOTH
@pytest.mark.parametrize("size", [0, 1, INLINE_BYTES, 5_000_000])
def test_a_request_is_answered_by_the_other(tls: Tls, size: int) -> None:
    async def main() -> None:
        async with pair(tls) as both:
            reader, writer = await both.here.connect(**options(tls))
            body = os.urandom(size)
            writer.write(post("/there", body))
            assert await answer(reader) == body
            assert len(both.seen) == 1
            writer.write(post("/there/again", b"next"))
            assert await answer(reader) == b"next", "and so are those that follow, without being handed over"
            assert [exchange.head.path for exchange in both.seen] == ["/there", "/there/again"]
            peer = both.seen[0].peer
            assert peer == Peer("127.0.0.1", writer.get_extra_info("sockname")[1], local=True, tls=tls is not None)
            assert len(both.here.server.services.connections) == (0 if tls is None else 1)
            assert len(both.there.server.services.connections) == 1

    run(main)


@BOTH
def test_pipelined_requests_keep_their_order(tls: Tls) -> None:
    async def main() -> None:
        async with pair(tls) as both:
            reader, writer = await both.here.connect(**options(tls))
            sent = [post("/here" if number < 3 else "/there", b"%d" % number) for number in range(9)]
            writer.write(b"".join(sent))
            assert [await answer(reader) for _ in sent] == [b"%d" % number for number in range(9)]
            assert len(both.seen) == 6

    run(main)


@BOTH
def test_a_chunked_body(tls: Tls) -> None:
    async def main() -> None:
        async with pair(tls) as both:
            reader, writer = await both.here.connect(**options(tls))
            writer.write(
                b"POST /there HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3\r\nabc\r\n"
            )
            await writer.drain()
            await asyncio.sleep(0.02)
            writer.write(b"2\r\nde\r\n0\r\nX: y\r\n\r\n" + post("/there", b"next"))
            assert await answer(reader) == b"abcde"
            assert await answer(reader) == b"next"

    run(main)


@BOTH
def test_a_client_that_waits_for_100(tls: Tls) -> None:
    async def main() -> None:
        async with pair(tls) as both:
            reader, writer = await both.here.connect(**options(tls))
            writer.write(b"POST /there HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
            writer.write(b"body")
            assert await answer(reader) == b"body", "once is enough"

    run(main)


@BOTH
def test_a_websocket(tls: Tls) -> None:
    async def main() -> None:
        async with pair(tls) as both:
            scheme = "wss" if tls else "ws"
            address = f"{scheme}://127.0.0.1:{both.here.port}/any"
            async with connect(
                address, ssl=trusting() if tls else None, server_hostname="localhost" if tls else None
            ) as link:
                for size in (1, 100, 70_000, 900_000):
                    await link.send("x" * size)
                    assert await link.recv() == "x" * size
                (exchange,) = both.seen
                assert exchange.peer.tls is (tls is not None)
                assert exchange.peer.host == "127.0.0.1"
            await both.here.until(lambda: not both.here.counted and not both.there.counted, "both to forget it")

    run(main)


@BOTH
def test_frames_that_come_with_the_handshake(tls: Tls) -> None:
    async def main() -> None:
        async with pair(tls) as both:
            reader, writer = await both.here.connect(**options(tls))
            frame = b"\x81\x85\x00\x00\x00\x00hello"
            writer.write(
                b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" + frame * 3
            )
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            assert await reader.readexactly(21) == b"\x81\x05hello" * 3

    run(main)


@BOTH
@pytest.mark.parametrize("side", ["client", "server"])
def test_the_end_is_the_end_for_all(tls: Tls, side: str) -> None:
    async def main() -> None:
        async with pair(tls) as both:
            reader, writer = await both.here.connect(**options(tls))
            writer.write(post("/there", b"x"))
            assert await answer(reader) == b"x"
            if side == "client":
                writer.transport.abort()
            else:
                for connection in list(both.there.server.services.connections):
                    connection.retire()
                assert await reader.read() == b""
            await both.here.until(lambda: not both.here.counted and not both.there.counted, "both to forget it")

    run(main)


def test_a_reader_that_does_not_read_stops_both() -> None:
    """Through TLS: what the other process sends waits there, and neither holds it in memory without end."""

    async def main() -> None:
        async with pair(server_context) as both:
            reader, writer = await both.here.connect(limit=1024, **options(server_context))
            body = os.urandom(20_000_000)
            writer.write(post("/there", body))
            services = both.here.server.services
            await both.here.until(lambda: any(both.there.server.services._unsent.values()), "it to wait there")
            assert sum(connection.unsent for connection in services._unsent) < 1_000_000
            assert await answer(reader) == body

    run(main)


def test_a_peer_behind_tls_can_be_handed_on() -> None:
    """From the process that it was handed to: its descriptor moves then, and the peer stays the same."""

    async def main() -> None:
        inward, outward = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        third = Handover(inward, {})
        hands = Handover(outward, {3: outward})
        async with pair(server_context) as both, serving() as last:
            third.open(last.server.services)
            peers: list[Peer] = []

            async def on(exchange: Exchange) -> None:
                peers.append(exchange.peer)
                await hands.pass_on(exchange, 3, await exchange.body(100))

            async def note(exchange: Exchange) -> None:
                peers.append(exchange.peer)
                await echo(exchange)

            services = both.there.server.services
            services.options = services.options._replace(handler=on)
            last.server.services.options = last.server.services.options._replace(handler=note)
            reader, writer = await both.here.connect(**options(server_context))
            writer.write(post("/there", b"far"))
            assert await answer(reader) == b"far"
            assert peers[0] == peers[1]
            assert peers[0].tls
            third.close()
            writer.transport.abort()
        inward.close()
        outward.close()

    run(main)


def test_a_way_that_is_full_is_waited_for_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with pair(arrives=False) as both:
            clients = []
            for number in range(400):  # more than any system lets wait
                reader, writer = await both.here.connect()
                writer.write(post("/there", b"%d" % number))
                clients.append(reader)
            await asyncio.sleep(0.1)
            both.handover.open(both.there.server.services)
            async with asyncio.timeout(20):
                assert [await answer(reader) for reader in clients] == [b"%d" % number for number in range(400)]
            both.handover.close()
            monkeypatch.setattr(module, "WAY_SECONDS", 0.05)
            waiting = []
            for _ in range(400):
                reader, writer = await both.here.connect()
                writer.write(post("/there", b"x"))
                waiting.append(asyncio.ensure_future(reader.read(12)))
            done, _ = await asyncio.wait(waiting, timeout=10, return_when=asyncio.FIRST_COMPLETED)
            assert done.pop().result() == b"HTTP/1.1 503", "who found no room is told to try again"
            for task in waiting:
                task.cancel()

    run(main)


def test_a_server_that_takes_no_more_says_so() -> None:
    async def main() -> None:
        async with pair(limits=Limits(connections=1)) as both:
            first, writer = await both.here.connect()
            writer.write(post("/there", b"x"))
            assert await answer(first) == b"x"
            second, writer = await both.here.connect()
            writer.write(post("/there", b"x"))
            assert (await second.read()).startswith(b"HTTP/1.1 503 ")

    run(main)


def test_a_client_that_is_gone_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with pair(arrives=False) as both:
            _, writer = await both.here.connect()
            writer.write(post("/there", b"x"))
            await true_soon(lambda: not both.here.counted)
            writer.transport.abort()
            both.handover.open(both.there.server.services)
            await asyncio.sleep(0.05)
            await true_soon(lambda: not both.there.counted)

    run(main)
    assert not caplog.records


# What is sent.


def read(data: bytes) -> tuple[RequestHead, bytes] | None:
    """The request that `data` is; None where it is none, or not all of one."""
    reader = Http1(Http1Limits())
    events = reader.receive(data)
    if not reader.complete or not events or not isinstance(events[0], RequestHead):
        return None
    return events[0], b"".join(event.data for event in events if isinstance(event, BodyChunk))


FRAMING = {b"content-length", b"transfer-encoding", b"expect", b"trailer"}


def corpus() -> Iterator[bytes]:
    """Requests of all kinds."""
    for path in sorted((ROOT / "tests" / "data" / "http1" / "good").glob("*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            parts = json.loads(line)["in"]
            if isinstance(parts, str) or all(isinstance(part, str) for part in parts):
                yield "".join(parts).encode("latin-1")
    for folder in ("http1", "connection", "upgrade"):
        yield from (path.read_bytes() for path in sorted((ROOT / "fuzz" / "corpus" / folder).iterdir()))


def test_a_request_read_anew_is_the_same() -> None:
    seen = 0
    for data in corpus():
        if (first := read(data)) is None:
            continue
        seen += 1
        head, body = first
        written = request_bytes(head, body)
        again = read(written)
        assert again is not None, data
        assert again[1] == body
        for name in RequestHead.__slots__:
            if name in {"known", "headers", "fields", "chunked", "content_length", "expects_continue"}:
                continue
            assert getattr(again[0], name) == getattr(head, name), (data, name)
        assert [one for one in again[0].headers if one[0] not in FRAMING] == [
            one for one in head.headers if one[0] not in FRAMING
        ]
        if not head.chunked and not body:
            assert len(written) <= len(data), "it passes the limits that it has passed before"
    assert seen > 20


def test_what_is_no_parcel_is_refused() -> None:
    inward, outward = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    inward.setblocking(False)
    with inward, outward, Path(os.devnull).open("rb") as file:
        before = len([*Path("/dev/fd").iterdir()])
        with pytest.raises(BlockingIOError):
            receive(inward)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            send(outward, theirs.fileno(), b"x", None)
            connection, first, peer = receive(inward)
            with connection:
                assert (first, peer) == (b"x", None)
                assert not connection.get_inheritable()
                connection.sendall(b"y") if connection.getblocking() else connection.send(b"y")
                assert ours.recv(1) == b"y"
            socket.send_fds(outward, [b"no pickle"], [file.fileno()])
            with pytest.raises(ParcelError):
                receive(inward)
        outward.send(b"\x80\x04N.")
        with pytest.raises(ParcelError):
            receive(inward)
        assert len([*Path("/dev/fd").iterdir()]) == before, "no descriptor stays open"


def test_who_has_given_away_a_connection_hears_that_it_is_gone() -> None:
    async def main() -> None:
        raised: list[BaseException] = []
        inward, outward = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        hands = Handover(outward, {2: outward})

        async def leave(exchange: Exchange) -> None:
            try:
                await hands.pass_on(exchange, 2)
            except BaseException as error:
                raised.append(error)
                raise

        async with serving(leave) as here:
            reader, writer = await here.connect()
            writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await true_soon(lambda: raised)
            assert isinstance(raised[0], PeerGone)
            inward.close()
            reader, writer = await here.connect()
            writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await true_soon(lambda: len(raised) == 2)
            assert isinstance(raised[1], RequestError)
            assert (await reader.readline()).startswith(b"HTTP/1.1 503 ")
        outward.close()

    run(main)
