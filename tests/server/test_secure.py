"""TLS over real sockets: handshakes that come to an end and those that do not, and what a connection needs of it."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
import struct
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import CERTIFICATE, GET, Authority, Running, needs_openssl, run, serving, trusting
from websockets.asyncio.client import connect

from gateway.model.http import Peer
from gateway.ports import Exchange
from gateway.server.connection import Connection
from gateway.server.limits import Limits
from gateway.server.secure import SecureTransport
from gateway.server.server import Server
from gateway.server.tls import server_context
from gateway.testing import MemoryTransport, echo_options

POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
CONTEXT = server_context(CERTIFICATE, CERTIFICATE)
CLIENT = trusting()


def context() -> ssl.SSLContext:
    """The server's."""
    return CONTEXT


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    return int(head.split()[1]), await reader.readexactly(int(length[1]) if length else 0)


def transport_of(running: Running) -> SecureTransport:
    """The server's side of its only connection."""
    (connection,) = running.server.services.connections
    transport = cast("Connection", connection)._transport
    assert isinstance(transport, SecureTransport)
    return transport


def hello() -> bytes:
    """What a client sends first."""
    outgoing = ssl.MemoryBIO()
    client = trusting().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


# Handshakes that come to an end.


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_requests(version: ssl.TLSVersion) -> None:
    async def main() -> None:
        client = trusting()
        client.minimum_version = client.maximum_version = version
        client.set_alpn_protocols(["h2", "http/1.1"])
        async with serving(tls=context) as running:
            assert running.url == f"https://127.0.0.1:{running.port}"
            reader, writer = await running.connect(ssl=client)
            ssl_object = writer.get_extra_info("ssl_object")
            assert ssl_object.version() == version.name.replace("_", ".")
            assert ssl_object.selected_alpn_protocol() == "http/1.1"
            for body in (b"", b"one", b"x" * 3_000_000):
                writer.write(POST % len(body) + body)
                assert await answer(reader) == (200, body)
            assert running.counted == running.server.connections == 1
            writer.write(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            assert await answer(reader) == (200, b"OK")
            assert await reader.read() == b"", "close_notify, not a cut"

    run(main)


def test_an_old_version_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        client = trusting()
        client.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            client.minimum_version = client.maximum_version = ssl.TLSVersion.TLSv1_1
        async with serving(tls=context) as running:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await running.connect(ssl=client)

    with caplog.at_level(logging.INFO):
        run(main)
    assert caplog.messages == ["refused TLS: 127.0.0.1: it speaks no TLS newer than 1.1"]


def test_byte_by_byte() -> None:
    """The handshake and two requests in segments of one byte, answered as in one piece."""

    async def main() -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = trusting().wrap_bio(incoming, outgoing, server_hostname="localhost")
        async with serving(tls=context) as running:
            reader, writer = await running.connect()

            async def trickle() -> None:
                for byte in outgoing.read():
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0)

            while True:
                try:
                    client.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    await trickle()
                    incoming.write(await reader.read(65536))
            client.write(POST % 5 + b"hello" + GET)
            await trickle()
            got = b""
            while not got.endswith(b"OK"):
                try:
                    got += client.read(65536)
                except ssl.SSLWantReadError:
                    incoming.write(await reader.read(65536))
            assert got.count(b"HTTP/1.1 200 OK") == 2
            assert b"hello" in got

    run(main)


def test_a_request_that_comes_with_the_end_of_the_handshake() -> None:
    async def main() -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = trusting().wrap_bio(incoming, outgoing, server_hostname="localhost")
        async with serving(tls=context) as running:
            reader, writer = await running.connect()
            with suppress(ssl.SSLWantReadError):
                client.do_handshake()
            writer.write(outgoing.read())
            while True:
                incoming.write(await reader.read(65536))
                with suppress(ssl.SSLWantReadError):
                    client.do_handshake()
                    break
            client.write(GET)
            writer.write(outgoing.read())  # Finished and the request in one segment
            got = b""
            while not got.endswith(b"OK"):
                incoming.write(await reader.read(65536))
                with suppress(ssl.SSLWantReadError):
                    got += client.read(65536)

    run(main)


def test_a_websocket() -> None:
    async def main() -> None:
        async with (
            serving(tls=context) as running,
            connect(f"wss://localhost:{running.port}/", ssl=trusting(), proxy=None) as link,
        ):
            for message in ("hello", b"\x00" * 200_000):
                await link.send(message)
                assert await link.recv() == message

    run(main)


def test_a_refused_upload_is_told_before_the_end() -> None:
    """The answer must not be reset out of the client's hands, over TLS as little as without."""

    async def main() -> None:
        async with serving(tls=context, limits=Limits(linger=1.0)) as running:
            reader, writer = await running.connect(ssl=trusting())
            writer.write(b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 2_000_000)
            status, _ = await answer(reader)
            assert status == 431
            assert await reader.read() == b""

    run(main)


def test_a_reader_that_stalls_is_cut() -> None:
    async def main() -> None:
        async def flood(exchange: Exchange) -> None:
            body = exchange.stream(200, ())
            while True:
                body.write(b"x" * 10_000)
                await body.drain()

        async with serving(flood, tls=context, limits=Limits(write_stall=0.3)) as running:
            with socket.create_connection(("127.0.0.1", running.port)) as plain:
                plain.setblocking(False)
                reader, writer = await asyncio.open_connection(
                    sock=plain, ssl=trusting(), server_hostname="localhost", limit=1000
                )
                writer.write(GET)
                await running.until(lambda: running.server.connections == 1, "the connection")
                await running.until(lambda: running.server.connections == 0, "its end")
                writer.transport.abort()
                assert reader is not None

    run(main)


def test_a_body_nobody_reads_pauses_the_peer() -> None:
    async def main() -> None:
        go_on = asyncio.Event()
        received = []

        async def handler(exchange: Exchange) -> None:
            await go_on.wait()
            received.append(len(await exchange.body(1 << 30)))
            exchange.respond(200, ())

        async with serving(handler, tls=context) as running:
            reader, writer = await running.connect(ssl=trusting())
            size = 20_000_000
            writer.write(POST % size + bytes(size))
            await running.until(lambda: running.server.connections, "the connection")
            transport = transport_of(running)
            await running.until(lambda: not transport.is_reading(), "the pause")
            await asyncio.sleep(0.1)
            assert not transport.is_reading()
            go_on.set()
            assert (await answer(reader))[0] == 200
            assert received == [size]

    run(main)


def test_the_end_of_the_peer() -> None:
    """With close_notify, without, and by a reset, while a handler is at work: it is cancelled."""

    async def main() -> None:
        for how in ("close", "cut", "reset"):
            begun, cancelled = asyncio.Event(), asyncio.Event()

            async def handler(
                exchange: Exchange, begun: asyncio.Event = begun, cancelled: asyncio.Event = cancelled
            ) -> None:
                begun.set()
                try:
                    await asyncio.sleep(20)
                except asyncio.CancelledError:
                    cancelled.set()
                    raise
                exchange.respond(200, ())

            async with serving(handler, tls=context) as running:
                _, writer = await running.connect(ssl=trusting())
                writer.write(GET)
                await begun.wait()
                if how == "close":
                    writer.close()
                else:
                    if how == "reset":
                        writer.get_extra_info("socket").setsockopt(
                            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                        )
                    writer.transport.abort()
                await asyncio.wait_for(cancelled.wait(), 5)

    run(main)


def test_broken_records_end_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving(tls=context) as running:
            reader, writer = await running.connect()
            await writer.start_tls(trusting(), server_hostname="localhost")
            writer.write(GET)
            assert await answer(reader) == (200, b"OK")
            with socket.socket(fileno=socket.dup(writer.get_extra_info("socket").fileno())) as below:
                below.send(b"\x17\x03\x03\x00\x20" + bytes(32))
            with suppress(ssl.SSLError, ConnectionError):
                assert await reader.read() == b""
            await running.until(lambda: not running.counted, "the end")

    with caplog.at_level(logging.INFO, "gateway"):
        run(main)
    assert [line for line in caplog.messages if "it broke TLS" in line] == caplog.messages


# Handshakes that do not.


def memory() -> int:
    return int(re.findall(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"))[0]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="read from /proc")
@pytest.mark.alone
def test_300_silent_connects_are_counted_and_cut(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with serving(tls=context, limits=Limits(tls_handshake=1.5)) as running:
            reader, writer = await running.connect(ssl=trusting())
            writer.write(GET)
            assert await answer(reader) == (200, b"OK")
            before = memory()
            silent = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(300)]
            started = loop.time()
            await running.until(lambda: running.counted == 301, "all to be counted")
            assert running.server.connections == 1
            assert memory() - before < 4 << 20
            writer.write(GET)
            assert await answer(reader) == (200, b"OK"), "others are served meanwhile"
            await running.until(lambda: running.counted == 1, "the silent ones to be cut")
            assert 1.0 < loop.time() - started < 5
            for one in silent:
                one.settimeout(5)
                with suppress(ConnectionResetError):
                    assert one.recv(1) == b""
                one.close()

    with caplog.at_level(logging.INFO, "gateway"):
        run(main)
    assert caplog.messages == [
        "tls_handshake: 127.0.0.1: the TLS handshake did not come to an end in time",
        "tls_handshake: 299 more within 10 s",
    ]


def test_a_handshake_that_drips_is_cut_as_well() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with serving(tls=context, limits=Limits(tls_handshake=0.5)) as running:
            reader, writer = await running.connect()
            started = loop.time()
            with suppress(ConnectionError):
                for byte in hello():
                    writer.write(bytes([byte]))
                    await asyncio.sleep(0.02)
                    if reader.at_eof():
                        break
            await running.until(lambda: not running.counted, "the cut")
            assert 0.4 < loop.time() - started < 3

    run(main)


def test_handshakes_count_for_each_address() -> None:
    async def main() -> None:
        limits = Limits(unauthenticated_per_peer=3, exempt_local=False)
        async with serving(tls=context, limits=limits) as running:
            silent = [await running.connect() for _ in range(3)]
            await running.until(lambda: running.counted == 3, "three")
            reader, _ = await running.connect()
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
            assert running.counted == 3
            silent[0][1].close()
            await running.until(lambda: running.counted == 2, "room")
            reader, writer = await running.connect(ssl=trusting())
            writer.write(GET)
            assert await answer(reader) == (200, b"OK"), "the place of its handshake is its own"
            assert running.counted == 3

    run(main)


@pytest.mark.parametrize("reset", [True, False])
def test_those_who_leave_in_between_leave_nothing(reset: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        first = hello()
        async with serving(tls=context) as running:
            for cut in range(0, len(first) + 1, 40):
                with socket.create_connection(("127.0.0.1", running.port)) as one:
                    one.sendall(first[:cut])
                    await running.until(lambda: running.counted, "the connection")
                    await asyncio.sleep(0.01)
                    if reset:
                        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                await running.until(lambda: not running.counted, "its end")

    with caplog.at_level(logging.INFO):
        run(main)
    assert caplog.messages == [], "a health check leaves no line"


@pytest.mark.parametrize("sent", [GET, b"G", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", GET + b"x" * 100_000])
def test_plain_http_is_told_in_plain_http(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving(tls=context) as running:
            got = await running.exchange(sent)
            assert got.startswith(b"HTTP/1.1 400 Bad Request\r\n")
            assert b"\r\nconnection: close\r\n" in got
            assert b"this port speaks TLS, and plain HTTP came; use https:// or wss://" in got
            await running.leave()
            await running.until(lambda: not running.counted, "the end")

    with caplog.at_level(logging.INFO):
        run(main)
    assert [record.name for record in caplog.records] == ["gateway.server.cuts"], "asyncio has nothing to say"


@pytest.mark.parametrize(
    "sent", [b"\x00\x01\x02", b"\x80\x2e\x01\x00\x02", b"\x16\x03\x01\x00\x05hello", b"\x16garbage" * 100]
)
def test_what_is_neither_is_cut(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving(tls=context) as running:
            got = await running.exchange(sent)
            assert len(got) <= 7, "an alert at most"
            await running.leave()
            await running.until(lambda: not running.counted, "the end")

    with caplog.at_level(logging.INFO):
        run(main)
    assert [record.name for record in caplog.records] == ["gateway.server.cuts"]


@needs_openssl
def test_a_client_that_does_not_trust_us(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = str(Authority(tmp_path).path)

    async def main() -> None:
        async with serving(tls=context) as running:
            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", running.port), ca_certs=other)
            await running.until(lambda: not running.counted, "the end")

    with caplog.at_level(logging.INFO, "gateway"):
        run(main)
    assert caplog.messages == ["refused TLS: 127.0.0.1: it does not trust our certificate"]


def test_a_drain_does_not_wait_for_handshakes() -> None:
    async def main() -> None:
        async with serving(tls=context) as running:
            reader, _ = await running.connect()
            await running.until(lambda: running.counted, "the handshake")
            await asyncio.wait_for(running.server.drain(), 1)
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
            late, _ = await running.connect()
            with suppress(ConnectionResetError):
                assert await late.read() == b""
            assert running.counted == 0

    run(main)


# Client certificates.


class Asked:
    """A handler that remembers who asked."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []

    async def __call__(self, exchange: Exchange) -> None:
        self.peers.append(exchange.peer)
        exchange.respond(200, (), b"OK")


async def ask(running: Running, client: ssl.SSLContext) -> tuple[int, bytes]:
    reader, writer = await running.connect(ssl=client)
    writer.write(GET)
    return await answer(reader)


@needs_openssl
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_client_certificates(tmp_path: Path, version: ssl.TLSVersion, caplog: pytest.LogCaptureFixture) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    known, forged = authority.issue("known", "/O=Ex, ample/CN=alice"), stranger.issue("forged", "/CN=alice")

    def client(files: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        made = trusting()
        made.maximum_version = version
        if files is not None:
            made.load_cert_chain(files[0], files[1])
        return made

    async def main() -> None:
        asked = Asked()
        required = server_context(CERTIFICATE, None, str(authority.path))
        async with serving(asked, tls=lambda: required) as running:
            assert await ask(running, client(known)) == (200, b"OK")
            for one in (client(), client(forged)):
                with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
                    await ask(running, one)
            await running.until(lambda: running.counted == 1, "the refused to be gone")
        optional = server_context(CERTIFICATE, None, str(authority.path), client_optional=True)
        async with serving(asked, tls=lambda: optional) as running:
            assert await ask(running, client(known)) == (200, b"OK")
            assert await ask(running, client()) == (200, b"OK")
            with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
                await ask(running, client(forged))
        assert [peer.certificate for peer in asked.peers] == ["O=Ex\\, ample,CN=alice"] * 2 + [""]
        assert all(peer.tls for peer in asked.peers)

    with caplog.at_level(logging.INFO, "gateway"):
        run(main)
    told = [line for line in caplog.messages if line.startswith("refused")]
    assert told[0] == "refused TLS: 127.0.0.1: it showed no client certificate"
    assert told[1] == "refused TLS: 1 more within 10 s"
    assert told[2].startswith("refused TLS: 127.0.0.1: its client certificate is not accepted: ")


# What a peer could make us do for it.


def shake_hands(secure: SecureTransport, below: MemoryTransport) -> tuple[ssl.SSLObject, ssl.MemoryBIO]:
    """A client that has done its handshake, and where to find what it sends."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = CLIENT.wrap_bio(incoming, outgoing, server_hostname="localhost")
    done = False
    while not done:
        with suppress(ssl.SSLWantReadError):
            client.do_handshake()
            done = True
        secure.data_received(outgoing.read())
        incoming.write(below.written)
        below.written.clear()
    return client, outgoing


@needs_openssl
def test_renegotiation_is_refused() -> None:
    async def main() -> None:
        async with serving(tls=context) as running:
            process = await asyncio.create_subprocess_exec(
                "openssl", "s_client", "-connect", f"127.0.0.1:{running.port}", "-tls1_2",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            assert process.stdin is not None
            await running.until(lambda: running.server.connections, "the connection")
            await asyncio.sleep(0.2)
            process.stdin.write(b"R\n")
            out, _ = await process.communicate()
            assert b"no renegotiation" in out, out[-1000:]

    run(main)


def test_answers_of_tls_to_who_does_not_read_are_not_piled_up() -> None:
    """A renegotiation is refused by an alert; while the socket takes nothing, no more of what asks for them is read."""

    async def main() -> None:
        server = Server(asyncio.get_running_loop(), echo_options())
        secure = SecureTransport(server.services, context, server.protocol)
        below = MemoryTransport(secure)
        below.connect()
        client, outgoing = shake_hands(secure, below)

        def more(data: bytes) -> None:
            client.write(data)
            secure.data_received(outgoing.read())

        secure.pause_writing()
        more(POST % 100)
        assert below.reading, "the client may send while it reads nothing"
        secure._outgoing.write(b"an alert")  # as OpenSSL does while it reads
        more(b"x")
        assert not below.reading
        secure.resume_writing()
        assert below.reading
        secure._outgoing.write(b"an alert")
        more(b"x")
        assert below.reading, "it reads them"
        await server.close()
        await asyncio.sleep(0)
        assert below.closed == "abort"

    run(main)


@given(st.lists(st.binary(max_size=300), max_size=6), st.booleans())
@settings(max_examples=300)
def test_anything_at_all(pieces: list[bytes], shaken: bool) -> None:
    """Bytes that are no TLS, instead of a handshake or behind one, raise nothing and leave nothing behind."""

    async def main() -> None:
        server = Server(asyncio.get_running_loop(), echo_options())
        secure = SecureTransport(server.services, context, server.protocol)
        below = MemoryTransport(secure)
        below.connect()
        if shaken:
            shake_hands(secure, below)
        elif pieces:
            pieces[0] = b"\x16\x03\x01" + pieces[0]
        for piece in pieces:
            if piece and below.closed is None:
                secure.data_received(piece)
        assert len(below.written) < 1000, "an alert, or the end"
        if below.closed is None:
            secure.eof_received()
            below.abort()
        await server.close()
        await asyncio.sleep(0)
        assert server.services.admission.total == 0

    asyncio.run(main())
