"""Connections over real sockets: one server for each test, with limits short enough to wait for."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import logging
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeAlias, cast

import pytest

from gateway.errors import PeerGone, RequestError
from gateway.model.caller import OPERATOR
from gateway.model.http import NO_ANSWER
from gateway.ports import Exchange, Handler
from gateway.server.limits import Limits
from gateway.server.server import Server
from gateway.server.tls import server_context
from gateway.testing import echo_options
from gateway.wire.http1 import Http1Limits

CERTIFICATE = str(Path(__file__).parent.parent / "data" / "tls" / "localhost.pem")
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
Client: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(main(), 20))


class Running:
    """A server on a free port."""

    def __init__(self, server: Server, port: int) -> None:
        self.server = server
        self.port = port
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self, **more: Any) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, **more)
        self._writers.append(writer)
        return reader, writer

    async def exchange(self, data: bytes, *, eof: bool = False) -> bytes:
        """All that comes until the server closes."""
        reader, writer = await self.connect()
        writer.write(data)
        if eof:
            writer.write_eof()
        return await reader.read()

    async def alone(self) -> None:
        """Wait until no connection is left."""
        while self.server.connections:
            await asyncio.sleep(0.005)

    async def leave(self) -> None:
        for writer in self._writers:
            writer.close()
            with suppress(OSError, ssl.SSLError):
                await writer.wait_closed()


@asynccontextmanager
async def serving(
    handler: Handler | None = None, limits: Limits | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Running]:
    loop = asyncio.get_running_loop()
    options = echo_options(limits=limits)
    server = Server(loop, options if handler is None else options._replace(handler=handler))
    listener = await loop.create_server(server.protocol, "127.0.0.1", 0, ssl=tls)
    running = Running(server, listener.sockets[0].getsockname()[1])
    try:
        yield running
    finally:
        listener.close()
        await running.leave()
        await server.close()
        await running.alone()


async def answer(reader: asyncio.StreamReader, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """The next answer, interim ones included."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:-2])}
    status = int(lines[0].split()[1])
    body = b""
    if method != "HEAD" and status >= 200:
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
        else:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
    return status, headers, body


def post(body: bytes, path: bytes = b"/", *headers: bytes) -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"POST %b HTTP/1.1\r\nHost: h\r\n%bContent-Length: %d\r\n\r\n%b" % (path, lines, len(body), body)


# -- answers


def test_a_request_and_another_one() -> None:
    async def main() -> None:
        async with serving() as running:
            reader, writer = await running.connect()
            for body in (b"one", b"", b"x" * 300_000):
                writer.write(post(body, b"/", b"X-Request-Id: client.1-a_B"))
                status, headers, got = await answer(reader)
                assert (status, got) == (200, body)
                assert headers["x-request-id"] == "client.1-a_B"
                assert abs(parsedate_to_datetime(headers["date"]).timestamp() - time.time()) < 5
                assert "connection" not in headers

    run(main)


@pytest.mark.parametrize(
    "given", [b"", b"X-Request-Id: a b\r\n", b"X-Request-Id: %b\r\n" % (b"a" * 129), b"X-Request-Id: \xff\r\n"]
)
def test_a_request_id_is_made_where_none_can_be_taken_over(given: bytes) -> None:
    async def main() -> None:
        async with serving() as running:
            reader, writer = await running.connect()
            ids = set()
            for _ in range(3):
                writer.write(GET[:-2] + given + b"\r\n")
                _, headers, _ = await answer(reader)
                assert re.fullmatch("[0-9a-f]{32}", headers["x-request-id"])
                ids.add(headers["x-request-id"])
            assert len(ids) == 3

    run(main)


def test_a_clock_that_stands_at_the_epoch() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = Server(loop, echo_options()._replace(clock=lambda: 0.0))
        listener = await loop.create_server(server.protocol, "127.0.0.1", 0)
        running = Running(server, listener.sockets[0].getsockname()[1])
        reader, writer = await running.connect()
        writer.write(GET)
        _, headers, _ = await answer(reader)
        assert headers["date"] == "Thu, 01 Jan 1970 00:00:00 GMT"
        assert headers["x-request-id"]
        listener.close()
        await running.leave()
        await server.close()

    run(main)


def test_head_has_no_body() -> None:
    async def main() -> None:
        async with serving() as running:
            reader, writer = await running.connect()
            writer.write(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n" + GET)
            status, headers, _ = await answer(reader, "HEAD")
            assert (status, headers["content-length"]) == (200, "2")
            assert (await answer(reader))[2] == b"OK"

    run(main)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" + GET,
    ],
)
def test_the_last_answer_says_so_and_the_connection_is_closed(request_bytes: bytes) -> None:
    async def main() -> None:
        async with serving() as running:
            got = await running.exchange(request_bytes)
            assert got.count(b"HTTP/1.1 200 OK\r\n") == 1
            assert b"\r\nconnection: close\r\n" in got
            assert got.endswith(b"\r\n\r\nOK")

    run(main)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"SSH-2.0-x\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /" + b"a" * 20_000, 414),
        (GET[:-2] + b"X: " + b"a" * 40_000, 431),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (post(b"x", b"/", b"Expect: something"), 417),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n", 400),
        (GET + b"nonsense", 400),
    ],
)
def test_what_is_no_request_gets_a_short_answer_and_the_end(data: bytes, status: int) -> None:
    async def main() -> None:
        async with serving() as running:
            got = await running.exchange(data + b"x" * 100_000)
            last = got[got.rindex(b"HTTP/1.1 %d " % status) :]
            assert int(last.split()[1]) == status
            assert b"\r\nconnection: close\r\n" in last
            assert b"\r\nx-request-id: " in last
            assert len(last) < 600

    run(main)


BAD = sorted((Path(__file__).parent.parent / "data" / "http1" / "bad").glob("*.jsonl"))


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_whatever_is_refused_is_answered_so_and_closed(path: Path) -> None:
    """The cases of the reader, over a socket: the status each deserves comes last, and then the end."""

    async def main() -> None:
        for case in map(json.loads, path.read_text("ascii").splitlines()):
            parts = case["in"] if isinstance(case["in"], list) else [case["in"]]
            text = "".join(part if isinstance(part, str) else part[0] * part[1] for part in parts)
            limits = Limits(http1=Http1Limits(**case.get("limits", {})))
            async with serving(limits=limits) as running:
                said = await asyncio.wait_for(running.exchange(text.encode("latin-1")), 5)
            if case["events"][-1][1] == NO_ANSWER:
                assert said == b"", case["name"]
                continue
            *_, last = re.finditer(rb"HTTP/1\.1 ([0-9]{3}) [A-Z].*?\r\n\r\n", said, re.DOTALL)
            assert int(last[1]) == case["events"][-1][1], case["name"]
            assert b"\r\nconnection: close\r\n" in last[0], case["name"]

    run(main)


def test_a_thousand_requests_at_once_are_answered_in_order() -> None:
    async def handler(exchange: Exchange) -> None:
        number = int(exchange.head.query)
        if number % 7 == 0:
            await asyncio.sleep(0)
        exchange.respond(200, (), b"%d" % number)

    async def main() -> None:
        async with serving(handler) as running:
            reader, writer = await running.connect()
            writer.write(b"".join(b"GET /?%d HTTP/1.1\r\nHost: h\r\n\r\n" % number for number in range(1000)))
            for number in range(1000):
                assert (await answer(reader))[2] == b"%d" % number

    run(main)


def test_a_handler_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(exchange: Exchange) -> None:
        match exchange.head.path:
            case "/raise":
                raise ValueError("a secret of the handler")
            case "/refuse":
                raise RequestError(404, "no such thing", headers=((b"x-why", b"because"),))
            case "/bad-header":
                exchange.respond(200, ((b"a", b"b\r\nc: d"),))
            case "/half":
                exchange.stream(200, ()).write(b"half")
                await asyncio.sleep(0)
                raise ValueError("in the middle")
            case _:
                pass  # and gives no answer at all

    async def main() -> None:
        async with serving(handler) as running:
            for path, status in ((b"/raise", 500), (b"/nothing", 500), (b"/refuse", 404), (b"/bad-header", 500)):
                got = await running.exchange(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path)
                assert got.startswith(b"HTTP/1.1 %d " % status), path
                assert b"secret" not in got
                assert (b"x-why: because" in got) is (status == 404)
            got = await running.exchange(b"GET /half HTTP/1.1\r\nHost: h\r\n\r\n")
            assert got.startswith(b"HTTP/1.1 200 ")
            assert not got.endswith(b"0\r\n\r\n")  # what was begun is not ended as if it were whole

    with caplog.at_level(logging.ERROR):
        run(main)
    assert [record.exc_info is not None for record in caplog.records] == [True] * 4


# -- request bodies


async def ignore_body(exchange: Exchange) -> None:
    exchange.respond(200, (), b"did not look")


@pytest.mark.parametrize("at_once", [True, False])
def test_a_small_body_that_nobody_reads_keeps_the_connection(at_once: bool) -> None:
    async def main() -> None:
        async with serving(ignore_body) as running:
            reader, writer = await running.connect()
            for _ in range(3):
                request = post(b"GET /?smuggled HTTP/1.1\r\nHost: h\r\n\r\n" * 100)
                writer.write(request if at_once else request[:200])
                status, headers, body = await answer(reader)
                assert (status, body) == (200, b"did not look")
                assert "connection" not in headers
                if not at_once:
                    writer.write(request[200:])

    run(main)


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 65546\r\n\r\n123456789",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    ],
)
def test_a_body_that_nobody_reads_and_that_may_be_large_ends_the_connection(head: bytes) -> None:
    async def main() -> None:
        async with serving(ignore_body) as running:
            got = await running.exchange(head)
            assert got.startswith(b"HTTP/1.1 200 ")
            assert b"\r\nconnection: close\r\n" in got
            assert b"100 Continue" not in got

    run(main)


def test_a_body_that_is_broken_after_the_answer_ends_the_connection() -> None:
    async def main() -> None:
        async with serving(ignore_body, Limits(linger=0.05)) as running:
            got = await running.exchange(
                b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n" + GET
            )
            assert got.count(b"HTTP/1.1 ") == 1

    run(main)


@pytest.mark.parametrize("chunked", [True, False])
def test_a_client_that_sends_everything_first_gets_its_413(chunked: bool) -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.respond(200, (), await exchange.body(1000))

    size = 8_000_000

    def client(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
            framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
            sock.sendall(b"POST / HTTP/1.1\r\nHost: h\r\n" + framing + b"\r\n\r\n")
            if chunked:
                sock.sendall(b"%x\r\n" % size)
            sock.sendall(b"x" * size)
            got = b""
            while piece := sock.recv(65536):
                got += piece
            return got

    async def main() -> None:
        async with serving(handler) as running:
            got = await asyncio.to_thread(client, running.port)
            assert got.startswith(b"HTTP/1.1 413 ")
            assert b"\r\nconnection: close\r\n" in got
            await running.alone()

    run(main)


def test_a_slow_upload_that_is_refused_has_the_time_it_takes() -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.respond(200, (), await exchange.body(1000))

    async def main() -> None:
        async with serving(handler, Limits(linger=0.2)) as running:
            reader, writer = await running.connect()
            writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 800000\r\n\r\n")
            assert (await answer(reader))[0] == 413
            for _ in range(8):  # 0.8 s in all, four times what lingering takes without progress
                writer.write(b"x" * 100_000)
                await writer.drain()
                await asyncio.sleep(0.1)
            assert running.server.connections == 1, "still reading"
            began = time.monotonic()
            await running.alone()
            assert time.monotonic() - began < 2, "but not without progress"

    run(main)


def test_a_refused_upload_without_end_is_cut_off() -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.respond(200, (), await exchange.body(1000))

    async def main() -> None:
        async with serving(handler, Limits(linger=5, linger_bytes=300_000)) as running:
            reader, writer = await running.connect()
            writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 80000000\r\n\r\n")
            assert (await answer(reader))[0] == 413
            with suppress(OSError):
                for _ in range(100):
                    writer.write(b"x" * 100_000)
                    await writer.drain()
            await asyncio.wait_for(running.alone(), 2)

    run(main)


def test_continue_is_sent_when_the_body_is_wanted() -> None:
    async def main() -> None:
        async with serving() as running:
            reader, writer = await running.connect()
            for body in (b"first", b"second"):
                writer.write(post(b"", b"/", b"Expect: 100-continue").replace(b": 0", b": %d" % len(body)))
                assert (await answer(reader))[0] == 100
                writer.write(body)
                assert (await answer(reader))[::2] == (200, body)
            writer.write(post(b"at once", b"/", b"Expect: 100-continue"))
            assert (await answer(reader))[::2] == (200, b"at once")

    run(main)


def test_continue_is_not_sent_for_what_is_too_large() -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.body(10)

    async def main() -> None:
        async with serving(handler) as running:
            got = await running.exchange(
                b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n"
            )
            assert got.startswith(b"HTTP/1.1 413 ")

    run(main)


def test_a_body_nobody_asked_for_yet_is_not_read_without_end() -> None:
    seen: list[int] = []
    asked = asyncio.Event

    async def main() -> None:
        go = asked()

        async def handler(exchange: Exchange) -> None:
            await go.wait()
            seen.append(len(await exchange.body(20_000_000)))
            exchange.respond(200, ())

        async with serving(handler) as running:
            reader, writer = await running.connect()
            body = b"x" * 20_000_000
            writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            before = -1
            while before != (left := cast("asyncio.Transport", writer.transport).get_write_buffer_size()):
                before = left
                await asyncio.sleep(0.1)
            assert left > 5_000_000  # the rest fits into the buffers of two sockets and little more
            go.set()
            assert (await answer(reader))[0] == 200
        assert seen == [20_000_000]

    run(main)


# -- time limits

SHORT = Limits(head_time=0.15, body_idle=0.15, keep_alive_idle=0.2, linger=0.1, write_stall=0.2)


@pytest.mark.parametrize("begun", [b"G", b"GET / HTTP/1.1\r\nHost: h\r\n", GET + b"GET / HT"])
def test_a_head_that_does_not_end(begun: bytes) -> None:
    async def main() -> None:
        async with serving(limits=SHORT) as running:
            got = await running.exchange(begun)
            assert got[got.rindex(b"HTTP/1.1 ") :].startswith(b"HTTP/1.1 408 ")
            await running.alone()

    run(main)


@pytest.mark.parametrize("begun", [b"", b"\r\n"])
def test_a_silent_peer_is_closed_without_a_word(begun: bytes) -> None:
    async def main() -> None:
        async with serving(limits=SHORT) as running:
            assert await running.exchange(begun) == b""

    run(main)


def test_a_head_may_not_trickle() -> None:
    async def main() -> None:
        async with serving(limits=SHORT) as running:
            reader, writer = await running.connect()
            began = asyncio.get_running_loop().time()

            async def trickle() -> None:
                with suppress(ConnectionError):
                    for byte in GET[:-2] + b"X: " + b"a" * 1000:
                        writer.write(bytes([byte]))
                        await asyncio.sleep(0.02)

            task = asyncio.ensure_future(trickle())
            assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
            assert asyncio.get_running_loop().time() - began < 1
            task.cancel()

    run(main)


def test_a_body_that_stops_coming() -> None:
    async def main() -> None:
        async with serving(limits=SHORT) as running:
            assert (await running.exchange(post(b"abc")[:-1])).startswith(b"HTTP/1.1 408 ")

    run(main)


def test_a_body_may_take_its_time() -> None:
    async def main() -> None:
        async with serving(limits=SHORT) as running:
            reader, writer = await running.connect()
            body = b"x" * 5 * SHORT.pace
            writer.write(post(body)[: -len(body)])
            for _ in range(5):  # each in time, all together far beyond it
                await asyncio.sleep(0.08)
                writer.write(body[: SHORT.pace])
            assert (await answer(reader))[::2] == (200, body)

    run(main)


def test_a_body_in_drops_is_a_body_that_stops_coming() -> None:
    async def main() -> None:
        async with serving(limits=SHORT) as running:
            reader, writer = await running.connect()
            body = b"x" * 100
            writer.write(post(body)[: -len(body)])
            began = asyncio.get_running_loop().time()

            async def drip() -> None:
                for _ in body:
                    writer.write(b"x")
                    await asyncio.sleep(0.05)

            task = asyncio.ensure_future(drip())
            assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
            assert asyncio.get_running_loop().time() - began < 1
            task.cancel()

    run(main)


def test_an_unread_body_in_drops_ends_the_connection() -> None:
    async def main() -> None:
        async with serving(ignore_body, SHORT) as running:
            reader, writer = await running.connect()
            body = b"x" * 100
            writer.write(post(body)[: -len(body)])

            async def drip() -> None:
                for _ in body:
                    writer.write(b"x")
                    await asyncio.sleep(0.05)

            task = asyncio.ensure_future(drip())
            assert (await asyncio.wait_for(reader.read(), 1)).startswith(b"HTTP/1.1 200 ")
            task.cancel()

    run(main)


def test_an_unread_body_that_stops_coming_ends_the_connection() -> None:
    async def main() -> None:
        async with serving(ignore_body, SHORT) as running:
            assert (await running.exchange(post(b"abc")[:-1])).startswith(b"HTTP/1.1 200 ")

    run(main)


def test_an_idle_connection_is_closed() -> None:
    async def main() -> None:
        async with serving(limits=Limits(keep_alive_idle=0.2)) as running:
            began = asyncio.get_running_loop().time()
            got = await running.exchange(GET)
            assert got.count(b"HTTP/1.1 ") == 1
            assert asyncio.get_running_loop().time() - began > 0.19

    run(main)


def test_each_request_gives_a_connection_its_whole_idle_time_again() -> None:
    async def main() -> None:
        async with serving(limits=Limits(keep_alive_idle=0.4, remember=0.2)) as running:
            reader, writer = await running.connect()
            for _ in range(4):
                writer.write(GET)
                assert (await answer(reader))[0] == 200
                await asyncio.sleep(0.3)

    run(main)


def test_the_limit_of_one_body_is_not_that_of_the_next() -> None:
    async def handler(exchange: Exchange) -> None:
        if exchange.head.path == "/late":
            await asyncio.sleep(0.2)
            exchange.respond(200, (), await exchange.body(100))
        else:
            exchange.respond(200, ())

    async def main() -> None:
        async with serving(handler, SHORT) as running:
            reader, writer = await running.connect()
            first, second = post(b"unread"), post(b"wanted", b"/late")
            writer.write(first[:-1])
            assert (await answer(reader))[0] == 200
            writer.write(first[-1:] + second[:-1])
            await asyncio.sleep(0.25)
            writer.write(second[-1:])
            assert (await answer(reader))[::2] == (200, b"wanted")

    run(main)


def endless(noted: list[str]) -> Handler:
    async def handler(exchange: Exchange) -> None:
        written = 0
        try:
            body = exchange.stream(200, ())
            while True:
                body.write(b"x" * 10_000)
                written += 10_000
                if body.full:
                    await body.drain()
        except (asyncio.CancelledError, PeerGone) as reason:
            noted.append(type(reason).__name__)
            # What the buffers of two sockets take, and a turn's worth more: without the gate it would be gigabytes.
            if written > 20_000_000:
                noted.append(f"{written} bytes in the air")
            raise

    return handler


def test_a_peer_that_does_not_read_is_cut_off() -> None:
    noted: list[str] = []

    async def main() -> None:
        async with serving(endless(noted), SHORT) as running:
            _, writer = await running.connect(limit=1000)
            cast("asyncio.ReadTransport", writer.transport).pause_reading()
            writer.write(GET)
            while not running.server.connections:
                await asyncio.sleep(0.005)
            began = asyncio.get_running_loop().time()
            await running.alone()
            assert 0.15 < asyncio.get_running_loop().time() - began < 3
        assert noted in (["CancelledError"], ["PeerGone"])

    run(main)


def test_a_large_answer_to_a_peer_that_does_not_read() -> None:
    calls: list[str] = []

    async def handler(exchange: Exchange) -> None:
        calls.append(exchange.head.path)
        exchange.respond(200, (), b"x" * 50_000_000)

    async def main() -> None:
        async with serving(handler, SHORT) as running:
            _, writer = await running.connect(limit=1000)
            cast("asyncio.ReadTransport", writer.transport).pause_reading()
            writer.write(GET * 10)
            while not running.server.connections:
                await asyncio.sleep(0.005)
            await running.alone()
        # The next request waits until this answer has left; one more, since the gate shuts only at the end of a turn.
        assert len(calls) <= 2

    run(main)


def test_a_lingering_connection_does_not_stay() -> None:
    async def main() -> None:
        async with serving(limits=SHORT) as running:
            reader, writer = await running.connect()
            writer.write(b"nonsense\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
            assert running.server.connections == 1  # it waits for our end, a while
            await running.alone()

    run(main)


# -- clients that leave, or half leave


def test_half_closed_clients_get_all_their_answers() -> None:
    async def main() -> None:
        async with serving() as running:
            got = await running.exchange(post(b"one") + post(b"two") + post(b"three"), eof=True)
            assert re.findall(rb"\r\n\r\n(one|two|three)", got) == [b"one", b"two", b"three"]
            got = await running.exchange(post(b"one") + b"GET / HT", eof=True)
            assert got.count(b"HTTP/1.1 200 ") == 1
            await running.alone()

    run(main)


def test_a_client_that_half_closes_while_its_answer_is_made() -> None:
    async def slow(exchange: Exchange) -> None:
        await asyncio.sleep(0.3)
        exchange.respond(200, (), b"there you are")

    async def main() -> None:
        async with serving(slow) as running:
            got = await running.exchange(GET, eof=True)
            assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")
            assert got.endswith(b"\r\n\r\nthere you are")
            client = http.client.HTTPResponse(cast("socket.socket", _Received(got)))  # another's client skips it
            client.begin()
            assert (client.status, client.read()) == (200, b"there you are")
            old = await running.exchange(b"GET / HTTP/1.0\r\n\r\n", eof=True)
            assert old.startswith(b"HTTP/1.1 200 ")

    run(main)


class _Received(io.BytesIO):
    def makefile(self, *args: object, **kwargs: object) -> io.BytesIO:
        return self


def test_a_body_that_is_cut_off() -> None:
    async def main() -> None:
        async with serving() as running:
            got = await running.exchange(post(b"abc")[:-1], eof=True)
            assert got.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").startswith(b"HTTP/1.1 400 ")

    run(main)


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("streaming", [True, False])
def test_the_handler_of_a_vanished_client_is_cancelled(streaming: bool, reset: bool) -> None:
    noted: list[str] = []

    async def main() -> None:
        began, ended = asyncio.Event(), asyncio.Event()

        async def handler(exchange: Exchange) -> None:
            try:
                if streaming:
                    body = exchange.stream(200, ())
                    body.fill_silence(b": hum\n")
                    body.write(b"first")
                began.set()
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                noted.append("cancelled")
                raise
            finally:
                ended.set()

        async with serving(handler, Limits(hang_up_probe=0.3)) as running:
            sock = socket.create_connection(("127.0.0.1", running.port))
            sock.sendall(GET)
            await began.wait()
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
            await asyncio.wait_for(ended.wait(), 3)
            await running.alone()
        assert noted == ["cancelled"]

    run(main)


def test_a_handler_that_waits_for_a_body_learns_that_the_client_left() -> None:
    noted: list[str] = []

    async def main() -> None:
        async def handler(exchange: Exchange) -> None:
            try:
                await exchange.body(100)
            except BaseException as reason:
                noted.append(type(reason).__name__)
                raise

        async with serving(handler) as running:
            sock = socket.create_connection(("127.0.0.1", running.port))
            sock.sendall(post(b"abc")[:-1])
            while not running.server.connections:
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.02)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
            await running.alone()
            await asyncio.sleep(0.01)
        assert noted in (["CancelledError"], ["PeerGone"])

    run(main)


# -- WebSockets on the same connection


def frame(text: bytes, first: int = 0x81) -> bytes:
    return bytes((first, 0x80 | len(text))) + bytes(4) + text


def test_an_upgrade_on_the_second_request_with_frames_at_once() -> None:
    async def main() -> None:
        async with serving() as running:
            reader, writer = await running.connect()
            writer.write(GET + UPGRADE + frame(b"one") + frame(b"two"))
            assert (await answer(reader))[0] == 200
            status, headers, _ = await answer(reader)
            assert (status, headers["sec-websocket-accept"]) == (101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            assert await reader.readexactly(10) == b"\x81\x03one\x81\x03two"
            writer.write(frame(b"\x03\xe8", 0x88))
            assert await reader.read() == b"\x88\x02\x03\xe8"

    run(main)


def test_a_close_frame_is_not_reset_away() -> None:
    def client(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
            sock.sendall(UPGRADE)
            got = b""
            while b"\r\n\r\n" not in got:
                got += sock.recv(65536)
            got = b""
            sock.sendall(b"\xff\xff" + b"x" * 100)  # not a frame, and more after it was refused
            for _ in range(20):
                time.sleep(0.005)
                sock.sendall(b"x" * 100_000)
            while piece := sock.recv(65536):
                got += piece
            return got

    async def main() -> None:
        async with serving() as running:
            got = await asyncio.to_thread(client, running.port)
            assert got[:1] == b"\x88"
            assert got[2:4] == (1002).to_bytes(2, "big")

    run(main)


def test_what_a_handler_does_after_its_link_is_not_cancelled() -> None:
    noted: list[str] = []

    async def main() -> None:
        done = asyncio.Event()

        async def handler(exchange: Exchange) -> None:
            link = await exchange.accept_websocket()
            try:
                noted.extend([str(message) async for message in link])
                await asyncio.sleep(0.1)
                noted.append("cleaned up")
            finally:
                done.set()

        async with serving(handler) as running:
            _, writer = await running.connect()
            writer.write(UPGRADE + frame(b"hi") + frame(b"\x03\xe8", 0x88))
            await asyncio.sleep(0.03)
            writer.close()
            await done.wait()
        assert noted == ["hi", "cleaned up"]

    run(main)


# -- how many, and the end


def test_too_many_connections_get_a_503() -> None:
    async def main() -> None:
        async with serving(limits=Limits(connections=2)) as running:
            first, writer = await running.connect()
            second, other = await running.connect()
            writer.write(GET)
            other.write(GET)
            assert [(await answer(reader))[0] for reader in (first, second)] == [200, 200]
            reader, _ = await running.connect()
            assert (await answer(reader))[0] == 503
            assert await reader.read() == b""
            assert running.server.connections == 2
            writer.close()
            while running.server.connections == 2:
                await asyncio.sleep(0.005)
            reader, writer = await running.connect()
            writer.write(GET)
            assert (await answer(reader))[0] == 200

    run(main)


def test_strangers_are_counted_until_they_are_admitted() -> None:
    async def handler(exchange: Exchange) -> None:
        if exchange.head.path == "/admit":
            exchange.admit(OPERATOR)
            exchange.admit(OPERATOR)
        exchange.respond(200, ())

    async def main() -> None:
        async with serving(handler, Limits(unauthenticated_per_peer=1, exempt_local=False)) as running:
            first, writer = await running.connect()
            writer.write(GET)
            await answer(first)
            reader, _ = await running.connect()
            assert (await answer(reader))[0] == 503
            writer.write(GET.replace(b"/ ", b"/admit ", 1))
            await answer(first)
            reader, writer = await running.connect()
            writer.write(GET)
            assert (await answer(reader))[0] == 200

    run(main)


def test_drain_lets_what_is_under_way_end() -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def handler(exchange: Exchange) -> None:
            if exchange.head.path == "/stream":
                body = exchange.stream(200, ())
                await go.wait()
                await body.end()
            else:
                if exchange.head.path == "/slow":
                    await go.wait()
                exchange.respond(200, (), b"done")

        async with serving(handler) as running:
            idle, writer = await running.connect()
            writer.write(GET)
            await answer(idle)
            slow, writer = await running.connect()
            writer.write(GET.replace(b"/ ", b"/slow ", 1))
            stream, writer = await running.connect()
            writer.write(GET.replace(b"/ ", b"/stream ", 1))
            while running.server.connections < 3:
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.02)
            draining = asyncio.ensure_future(running.server.drain())
            assert await idle.read() == b""
            late, _ = await running.connect()
            assert (await answer(late))[0] == 503
            assert not draining.done()
            go.set()
            status, headers, body = await answer(slow)
            assert (status, headers["connection"], body) == (200, "close", b"done")
            assert (await answer(stream))[0] == 200
            assert await stream.read() == b""  # its head had promised more
            await draining
            await running.server.drain()

    run(main)


def test_close_cancels_what_is_under_way() -> None:
    noted: list[str] = []

    async def main() -> None:
        async with serving(endless(noted)) as running:
            reader, writer = await running.connect(limit=2**20)
            writer.write(GET)
            await reader.readuntil(b"\r\n\r\n")
            await running.server.close()
            await running.server.close()
            await running.alone()
        assert len(noted) == 1

    run(main)


# -- other transports


def test_a_unix_socket(tmp_path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = Server(loop, echo_options(limits=Limits(connections_per_peer=1, unauthenticated_per_peer=1)))
        path = str(tmp_path / "gw.sock")
        listener = await loop.create_unix_server(server.protocol, path)
        clients = [await asyncio.open_unix_connection(path) for _ in range(3)]
        try:
            for reader, writer in clients:
                writer.write(GET)
                assert (await answer(reader))[0] == 200
            for reader, writer in clients:
                writer.write(GET)
                writer.write_eof()
                assert b"HTTP/1.1 200 " in await reader.read()
        finally:
            for _, writer in clients:
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()
            listener.close()
            await server.close()

    run(main)


def test_tls() -> None:
    async def main() -> None:
        async with serving(tls=server_context(CERTIFICATE, None)) as running:
            context = ssl.create_default_context(cafile=CERTIFICATE)
            reader, writer = await running.connect(ssl=context, server_hostname="localhost")
            for body in (b"one", b"x" * 300_000):
                writer.write(post(body))
                assert (await answer(reader))[::2] == (200, body)
            writer.write(UPGRADE + frame(b"hi"))
            assert (await answer(reader))[0] == 101
            assert await reader.readexactly(4) == b"\x81\x02hi"

    run(main)


def test_the_handler_of_a_client_that_left_over_tls_is_cancelled() -> None:
    async def main() -> None:
        began, ended = asyncio.Event(), asyncio.Event()

        async def handler(exchange: Exchange) -> None:
            began.set()
            try:
                await asyncio.sleep(60)
            finally:
                ended.set()

        async with serving(handler, tls=server_context(CERTIFICATE, None)) as running:
            context = ssl.create_default_context(cafile=CERTIFICATE)
            _, writer = await running.connect(ssl=context, server_hostname="localhost")
            writer.write(GET)
            await began.wait()
            writer.close()
            await asyncio.wait_for(ended.wait(), 3)

    run(main)


def test_small_limits_of_heads_reach_the_reader() -> None:
    async def main() -> None:
        async with serving(limits=Limits(http1=Http1Limits(head_bytes=100, line_bytes=50, header_count=3))) as running:
            assert (await running.exchange(b"GET /" + b"a" * 50)).startswith(b"HTTP/1.1 414 ")
            assert (await running.exchange(GET[:-2] + b"A: 1\r\n" * 3 + b"\r\n")).startswith(b"HTTP/1.1 431 ")

    run(main)


def test_a_connection_from_another_thread_s_client() -> None:
    """Sixteen clients of the standard library at once, each with its own connection."""
    failures: list[BaseException] = []

    def client(port: int, number: int) -> None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            for turn in range(20):
                body = f"{number}.{turn}".encode() * 100
                connection.request("POST", "/", body)
                assert connection.getresponse().read() == body
            connection.close()
        except BaseException as error:
            failures.append(error)

    async def main() -> None:
        async with serving() as running:
            threads = [threading.Thread(target=client, args=(running.port, number)) for number in range(16)]
            for thread in threads:
                thread.start()
            for thread in threads:
                await asyncio.to_thread(thread.join)
            assert not failures
            await running.alone()

    run(main)


def test_drain_waits_for_what_the_handler_of_a_lost_link_still_does() -> None:
    cleaned = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        link = await exchange.accept_websocket()
        async for _ in link:
            pass
        await asyncio.sleep(0.2)
        cleaned.set()

    async def main() -> None:
        async with serving(handler) as running:
            reader, writer = await running.connect()
            writer.write(UPGRADE)
            assert (await answer(reader))[0] == 101
            writer.transport.abort()
            await running.alone()
            await running.server.drain()
            assert cleaned.is_set()

    run(main)
