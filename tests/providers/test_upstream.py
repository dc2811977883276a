"""The client pool against a real server over real sockets that does what it should not."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.providers import connection
from gateway.providers import upstream as pool
from gateway.providers.connection import HIGH_WATER
from gateway.providers.origin import Origin
from gateway.providers.settings import Timeouts
from gateway.providers.upstream import Response, Upstream, UpstreamError

CERTIFICATE = Path(__file__).parents[1] / "data" / "tls" / "localhost.pem"
"""Self-signed for localhost and 127.0.0.1, with its key; valid for a hundred years, used by nothing but tests."""

QUICK = Timeouts(connect=5.0, first_byte=0.15, idle=0.15)

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass
class Connected:
    """One connection, as the server sees it."""

    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def request(self) -> bytes:
        """Head and body of the next request; empty when the client left instead."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
        return head + await self.reader.readexactly(int(length or 0))

    async def say(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0.005)


@dataclass
class Server:
    url: str
    connections: list[Connected] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a client left while its connection's script waited for that."""

    async def answer(self, connected: Connected, *pieces: bytes) -> bool:
        """Read a request and answer it; false when there was none."""
        request = await connected.request()
        if not request:
            return False
        self.requests.append(request)
        await connected.say(*pieces)
        return True

    async def until_left(self, connected: Connected) -> None:
        try:
            while await connected.reader.read(65_536):
                pass
        except ConnectionError:
            pass
        self.left.set()


@asynccontextmanager
async def serving(
    script: Callable[[Server, Connected], Awaitable[None]], context: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """A server each of whose connections follows `script`, then is closed."""
    tasks: set[asyncio.Task[None]] = set()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        connected = Connected(len(server.connections), reader, writer)
        server.connections.append(connected)
        try:
            await script(server, connected)
        except ConnectionError:
            pass
        finally:
            writer.close()
            tasks.discard(task)

    listener = await asyncio.start_server(connection, "127.0.0.1", 0, ssl=context)
    port = listener.sockets[0].getsockname()[1]
    server = Server(f"{'https' if context else 'http'}://127.0.0.1:{port}")
    try:
        yield server
    finally:
        listener.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)


async def whole(response: Response) -> bytes:
    pieces = []
    while data := await response.read():
        pieces.append(data)
    return b"".join(pieces)


async def fetch(upstream: Upstream, url: str) -> bytes:
    with await upstream.request("POST", url, (), b"body") as response:
        return await whole(response)


def run(
    script: Callable[[Server, Connected], Awaitable[None]],
    client: Callable[[Upstream, Server], Awaitable[None]],
    timeouts: Timeouts | None = None,
    context: ssl.SSLContext | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> None:
    async def main() -> None:
        async with serving(script, context) as server:
            upstream = Upstream(timeouts, ssl_context=ssl_context)
            try:
                await client(upstream, server)
            finally:
                await upstream.aclose()

    asyncio.run(asyncio.wait_for(main(), 20))


def failure(script: Callable[[Server, Connected], Awaitable[None]], timeouts: Timeouts | None = None) -> UpstreamError:
    """The error of one request."""
    errors: list[UpstreamError] = []

    async def client(upstream: Upstream, server: Server) -> None:
        with pytest.raises(UpstreamError) as caught:
            await fetch(upstream, server.url)
        errors.append(caught.value)

    run(script, client, timeouts)
    return errors[0]


async def hello_for_ever(server: Server, connected: Connected) -> None:
    while await server.answer(connected, HELLO):
        pass


# -- answers


@pytest.mark.parametrize(
    ("pieces", "body"),
    [
        ([HELLO], b"hello"),
        ([HELLO[:10], HELLO[10:40], HELLO[40:]], b"hello"),
        ([CHUNKED, b"5\r\nhe", b"llo\r\n", b"1\r\n!\r\n0\r\n\r\n"], b"hello!"),
        ([b"HTTP/1.1 200 OK\r\n\r\n", b"until ", b"the end"], b"until the end"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", HELLO], b"hello"),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], b""),
    ],
)
def test_reads_every_kind_of_body(pieces: list[bytes], body: bytes) -> None:
    async def script(server: Server, connected: Connected) -> None:
        await server.answer(connected, *pieces)

    async def client(upstream: Upstream, server: Server) -> None:
        assert await fetch(upstream, f"{server.url}/v1/x?y=z") == body
        request = server.requests[0]
        assert request.startswith(b"POST /v1/x?y=z HTTP/1.1\r\nhost: 127.0.0.1:")
        assert request.endswith(b"content-length: 4\r\n\r\nbody")

    run(script, client)


def test_one_read_gives_all_that_has_come() -> None:
    async def script(server: Server, connected: Connected) -> None:
        await server.answer(connected, CHUNKED, b"".join(b"2\r\n%02d\r\n" % n for n in range(50)), b"0\r\n\r\n")

    async def client(upstream: Upstream, server: Server) -> None:
        with await upstream.request("POST", server.url) as response:
            assert response.head.status == 200
            assert await response.read() == b"".join(b"%02d" % n for n in range(50))
            assert await response.read() == b""
            assert await response.read() == b""

    run(script, client)


# -- the pool


def test_a_connection_is_used_again() -> None:
    async def client(upstream: Upstream, server: Server) -> None:
        for _ in range(3):
            assert await fetch(upstream, server.url) == b"hello"
        assert len(server.connections) == 1
        assert len(server.requests) == 3

    run(hello_for_ever, client)


def test_a_connection_whose_answer_says_close_is_not() -> None:
    async def script(server: Server, connected: Connected) -> None:
        await server.answer(connected, HELLO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await server.until_left(connected)

    async def client(upstream: Upstream, server: Server) -> None:
        for _ in range(2):
            assert await fetch(upstream, server.url) == b"hello"
        assert len(server.connections) == 2

    run(script, client)


def test_at_most_so_many_connections_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "IDLE_PER_HOST", 2)

    async def client(upstream: Upstream, server: Server) -> None:
        await asyncio.gather(*(fetch(upstream, server.url) for _ in range(5)))
        assert len(server.connections) == 5
        await asyncio.gather(*(fetch(upstream, server.url) for _ in range(5)))
        assert len(server.connections) == 8

    run(hello_for_ever, client)


def test_a_connection_is_not_kept_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "IDLE_LIFETIME", 0.05)

    async def script(server: Server, connected: Connected) -> None:
        await server.answer(connected, HELLO)
        await server.until_left(connected)

    async def client(upstream: Upstream, server: Server) -> None:
        await fetch(upstream, server.url)
        await server.left.wait()

    run(script, client)


def test_a_long_exchange_on_a_kept_connection_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "IDLE_LIFETIME", 0.05)

    async def script(server: Server, connected: Connected) -> None:
        await server.answer(connected, HELLO)
        await server.answer(connected, HELLO[:-1])
        await asyncio.sleep(0.15)
        await connected.say(HELLO[-1:])

    async def client(upstream: Upstream, server: Server) -> None:
        for _ in range(2):
            assert await fetch(upstream, server.url) == b"hello"
        assert len(server.connections) == 1

    run(script, client)


def test_a_kept_connection_that_the_server_closed_is_replaced_once() -> None:
    async def script(server: Server, connected: Connected) -> None:
        await server.answer(connected, HELLO)
        if connected.number == 0:  # closes as soon as the next request has come: too late for the client to know
            await connected.request()
        else:
            await hello_for_ever(server, connected)

    async def client(upstream: Upstream, server: Server) -> None:
        assert await fetch(upstream, server.url) == b"hello"
        assert await fetch(upstream, server.url) == b"hello"
        assert len(server.connections) == 2

    run(script, client)


def test_a_fresh_connection_that_the_server_closed_is_not_replaced() -> None:
    async def script(server: Server, connected: Connected) -> None:
        server.requests.append(await connected.request())

    async def client(upstream: Upstream, server: Server) -> None:
        with pytest.raises(UpstreamError) as caught:
            await fetch(upstream, server.url)
        assert (caught.value.code, caught.value.retryable) == ("upstream_protocol_error", True)
        assert len(server.requests) == 1

    run(script, client)


def test_a_kept_connection_that_fails_in_its_answer_is_not_replaced() -> None:
    async def script(server: Server, connected: Connected) -> None:
        await server.answer(connected, HELLO)
        await server.answer(connected, HELLO[:20])

    async def client(upstream: Upstream, server: Server) -> None:
        assert await fetch(upstream, server.url) == b"hello"
        with pytest.raises(UpstreamError):
            await fetch(upstream, server.url)
        assert len(server.connections) == 1

    run(script, client)


def test_a_body_whose_end_is_late_keeps_its_connection() -> None:
    async def script(server: Server, connected: Connected) -> None:
        while await server.answer(connected, CHUNKED, b"4\r\nDONE\r\n"):
            await asyncio.sleep(0.03)
            await connected.say(b"0\r\n\r\n")

    async def client(upstream: Upstream, server: Server) -> None:
        for _ in range(2):
            with await upstream.request("POST", server.url) as response:
                assert await response.read() == b"DONE"
            await asyncio.sleep(0.1)
        assert len(server.connections) == 1

    run(script, client)


def test_a_body_that_does_not_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LINGER", 0.05)

    async def script(server: Server, connected: Connected) -> None:
        await server.answer(connected, CHUNKED, b"4\r\nDONE\r\n")
        await server.until_left(connected)

    async def client(upstream: Upstream, server: Server) -> None:
        with await upstream.request("POST", server.url) as response:
            assert await response.read() == b"DONE"
        assert not server.left.is_set()
        await server.left.wait()

    run(script, client)


# -- leaving


def test_a_cancelled_wait_for_the_head_is_seen_by_the_server() -> None:
    async def script(server: Server, connected: Connected) -> None:
        server.requests.append(await connected.request())
        await server.until_left(connected)

    async def client(upstream: Upstream, server: Server) -> None:
        task = asyncio.create_task(fetch(upstream, server.url))
        while not server.requests:
            await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.wait_for(server.left.wait(), 1)
        with pytest.raises(asyncio.CancelledError):
            await task

    run(script, client)


def test_a_cancelled_read_is_seen_by_the_server() -> None:
    async def script(server: Server, connected: Connected) -> None:
        await server.answer(connected, CHUNKED, b"5\r\nfirst\r\n")
        await server.until_left(connected)

    async def client(upstream: Upstream, server: Server) -> None:
        begun = asyncio.Event()

        async def reading() -> None:
            with await upstream.request("POST", server.url) as response:
                while await response.read():
                    begun.set()

        task = asyncio.create_task(reading())
        await begun.wait()
        task.cancel()
        await asyncio.wait_for(server.left.wait(), 1)
        with pytest.raises(asyncio.CancelledError):
            await task

    run(script, client)


def test_aclose_ends_exchanges_and_refuses_others() -> None:
    async def script(server: Server, connected: Connected) -> None:
        server.requests.append(await connected.request())
        await server.until_left(connected)

    async def client(upstream: Upstream, server: Server) -> None:
        task = asyncio.create_task(fetch(upstream, server.url))
        while not server.requests:
            await asyncio.sleep(0.005)
        await upstream.aclose()
        with pytest.raises(UpstreamError, match="closed"):
            await task
        with pytest.raises(UpstreamError, match="closed"):
            await fetch(upstream, server.url)
        await server.left.wait()

    run(script, client)


# -- backpressure


def test_a_reader_that_does_not_read_stops_the_server() -> None:
    async def script(server: Server, connected: Connected) -> None:
        await server.answer(connected, b"HTTP/1.1 200 OK\r\n\r\n")
        sent = 0
        while not server.left.is_set():
            connected.writer.write(b"x" * 65_536)
            sent += 65_536
            server.requests.append(b"%d" % sent)
            try:
                await connected.writer.drain()
            except ConnectionError:
                server.left.set()

    async def client(upstream: Upstream, server: Server) -> None:
        with await upstream.request("GET", server.url) as response:
            await asyncio.sleep(0.3)
            stuck = int(server.requests[-1])
            await asyncio.sleep(0.1)
            assert int(server.requests[-1]) == stuck
            assert len(await response.read()) <= HIGH_WATER + 262_144
            read = 0
            while read < stuck + 1_000_000:  # it goes on
                read += len(await response.read())
        await server.left.wait()

    run(script, client)


# -- failures


def test_timeouts_say_which() -> None:
    async def no_head(server: Server, connected: Connected) -> None:
        await connected.request()
        await server.until_left(connected)

    async def no_body(server: Server, connected: Connected) -> None:
        await server.answer(connected, CHUNKED)
        await server.until_left(connected)

    async def stops(server: Server, connected: Connected) -> None:
        await server.answer(connected, CHUNKED, b"1\r\nx\r\n")
        await server.until_left(connected)

    async def stops_before_it_closes(server: Server, connected: Connected) -> None:
        await server.answer(connected, b"HTTP/1.1 200 OK\r\n\r\nx")
        await server.until_left(connected)

    for script, code in (
        (no_head, "upstream_first_byte_timeout"),
        (no_body, "upstream_first_byte_timeout"),
        (stops, "upstream_idle_timeout"),
        (stops_before_it_closes, "upstream_idle_timeout"),
    ):
        error = failure(script, QUICK)
        assert (error.code, error.status, error.retryable) == (code, 504, False)


def test_a_slow_but_steady_answer_is_no_timeout() -> None:
    async def script(server: Server, connected: Connected) -> None:
        await server.answer(connected, CHUNKED)
        for _ in range(8):
            await asyncio.sleep(0.05)
            await connected.say(b"1\r\nx\r\n")
        await connected.say(b"0\r\n\r\n")

    async def client(upstream: Upstream, server: Server) -> None:
        assert await fetch(upstream, server.url) == b"x" * 8

    run(script, client, QUICK)


def test_a_host_that_does_not_take_connections_in_time() -> None:
    async def main() -> None:
        # The queue of a listener that accepts nobody fills up; later connections are neither taken nor refused.
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            fillers = []
            for _ in range(8):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
                fillers.append(filler)
            upstream = Upstream(Timeouts(connect=0.2))
            with pytest.raises(UpstreamError) as caught:
                await fetch(upstream, f"http://127.0.0.1:{listener.getsockname()[1]}")
            for filler in fillers:
                filler.close()
            await upstream.aclose()
            assert (caught.value.code, caught.value.status) == ("upstream_connect_timeout", 504)

    asyncio.run(main())


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "nowhere.invalid", "a..b", "x" * 70 + ".invalid"])
def test_a_host_that_cannot_be_reached(host: str) -> None:
    async def main() -> None:
        with socket.socket() as taken:  # bound but not listening: nobody else gets the port meanwhile
            taken.bind(("127.0.0.1", 0))
            upstream = Upstream()
            with pytest.raises(UpstreamError) as caught:
                await fetch(upstream, f"http://{host}:{taken.getsockname()[1]}")
            await upstream.aclose()
        assert (caught.value.code, caught.value.status, caught.value.retryable) == ("upstream_unreachable", 502, True)
        assert host in caught.value.message

    asyncio.run(main())


@pytest.mark.parametrize(
    ("said", "retryable"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", False),
        (b"\x15\x03\x01\x00\x02\x02\x46\n\n", False),
        (HELLO[:-2], True),
        (HELLO[:20], True),
        (CHUNKED + b"5\r\nhello\r\n", True),
        (CHUNKED + b"nonsense\r\n", False),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, False),
    ],
)
def test_broken_and_cut_answers(said: bytes, retryable: bool) -> None:
    async def script(server: Server, connected: Connected) -> None:
        await server.answer(connected, said)

    error = failure(script)
    assert (error.code, error.status, error.retryable) == ("upstream_protocol_error", 502, retryable)


def test_what_came_before_a_fault_is_read_first() -> None:
    async def script(server: Server, connected: Connected) -> None:
        await server.answer(connected, CHUNKED + b"5\r\nhello\r\nnonsense\r\n")

    async def client(upstream: Upstream, server: Server) -> None:
        with await upstream.request("POST", server.url) as response:
            assert await response.read() == b"hello"
            with pytest.raises(UpstreamError):
                await response.read()

    run(script, client)


@pytest.mark.parametrize("url", ["ftp://x/", "http:///x", "/x", "http://user:secret@host/", "http://host:99999/"])
def test_a_url_that_is_none(url: str) -> None:
    async def main() -> None:
        upstream = Upstream()
        with pytest.raises(ValueError):
            await upstream.request("GET", url)
        await upstream.aclose()

    asyncio.run(main())


def test_a_request_that_cannot_be_sent_leaves_no_connection() -> None:
    async def script(server: Server, connected: Connected) -> None:
        await server.until_left(connected)

    async def client(upstream: Upstream, server: Server) -> None:
        with pytest.raises(ValueError):
            await upstream.request("GET", server.url, ((b"x", b"a\r\nb: c"),))
        await server.left.wait()

    run(script, client)


# -- TLS


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def test_tls_with_a_trusted_certificate() -> None:
    async def client(upstream: Upstream, server: Server) -> None:
        for _ in range(2):
            assert await fetch(upstream, server.url) == b"hello"
        assert len(server.connections) == 1

    trusting = ssl.create_default_context(cafile=CERTIFICATE)
    run(hello_for_ever, client, context=server_context(), ssl_context=trusting)


def test_an_address_given_by_the_caller() -> None:
    """The connection goes there; the certificate and Host are those of the URL's name."""
    asked = []

    async def resolve(origin: Origin) -> str:
        asked.append(origin.host)
        if origin.host == "private.test":
            raise UpstreamError("no", code="address_not_public")
        return "127.0.0.1"

    async def client(_: Upstream, server: Server) -> None:
        upstream = Upstream(ssl_context=ssl.create_default_context(cafile=CERTIFICATE), resolve=resolve)
        port = server.url.rpartition(":")[2].partition("/")[0]
        try:
            assert await fetch(upstream, f"https://localhost:{port}/") == b"hello"
            assert f"host: localhost:{port}".encode() in server.requests[0].lower()
            with pytest.raises(UpstreamError) as caught:
                await fetch(upstream, f"https://other.test:{port}/")
            assert caught.value.code == "upstream_tls"
            with pytest.raises(UpstreamError) as caught:
                await fetch(upstream, f"https://private.test:{port}/")
            assert caught.value.code == "address_not_public"
        finally:
            await upstream.aclose()

    run(hello_for_ever, client, context=server_context())
    assert asked == ["localhost", "other.test", "private.test"]


def test_tls_verifies_by_default() -> None:
    async def client(upstream: Upstream, server: Server) -> None:
        with pytest.raises(UpstreamError) as caught:
            await fetch(upstream, server.url)
        assert (caught.value.code, caught.value.status) == ("upstream_tls", 502)
        assert "certificate" in caught.value.message
        assert not server.requests

    run(hello_for_ever, client, context=server_context())


def test_tls_to_a_server_that_speaks_none() -> None:
    async def script(server: Server, connected: Connected) -> None:
        await connected.reader.read(10)
        await connected.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def client(upstream: Upstream, server: Server) -> None:
        with pytest.raises(UpstreamError) as caught:
            await fetch(upstream, server.url.replace("http:", "https:"))
        assert (caught.value.code, caught.value.status) == ("upstream_tls", 502)

    run(script, client)


def test_tls_cancelled_read_is_seen_by_the_server() -> None:
    async def script(server: Server, connected: Connected) -> None:
        await server.answer(connected, CHUNKED)
        await server.until_left(connected)

    async def client(upstream: Upstream, server: Server) -> None:
        task = asyncio.create_task(fetch(upstream, server.url))
        while not server.requests:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait_for(server.left.wait(), 1)

    trusting = ssl.create_default_context(cafile=CERTIFICATE)
    run(script, client, context=server_context(), ssl_context=trusting)
