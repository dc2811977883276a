"""Where a server listens, and what stands in its way."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.errors import ConfigError
from gateway.server.hangup import hung_up, peer_of
from gateway.server.listeners import Listener, TcpAddress, UnixAddress, open_listener, parse_address, require_listening
from gateway.testing import MemoryTransport


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(main(), 20))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", TcpAddress("127.0.0.1", 80)),
        ("127.0.0.1", TcpAddress("127.0.0.1", 18789)),
        ("localhost:0", TcpAddress("localhost", 0)),
        ("example.com:65535", TcpAddress("example.com", 65535)),
        (":8080", TcpAddress("127.0.0.1", 8080)),
        ("[::1]:8080", TcpAddress("::1", 8080)),
        ("[::1]", TcpAddress("::1", 18789)),
        ("::1", TcpAddress("::1", 18789)),
        ("fe80::1", TcpAddress("fe80::1", 18789)),
        ("0.0.0.0:1", TcpAddress("0.0.0.0", 1)),
        ("unix:/run/gateway.sock", UnixAddress("/run/gateway.sock")),
        ("unix:relative:1", UnixAddress("relative:1")),
    ],
)
def test_address(text: str, address: TcpAddress | UnixAddress) -> None:
    assert parse_address(text, 18789) == address


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("unix:", "has no path"),
        ("h:", "port between"),
        ("h:x", "port between"),
        ("h:-1", "port between"),
        ("h:65536", "port between"),
        ("h:\u0663", "port between"),
        ("h:\u00b2", "port between"),
        ("h:" + "9" * 5000, "port between"),
        ("[::1]:", "port between"),
        ("[::1:80", "bracket"),
        ("h]:80", "bracket"),
        ("h:80]", "bracket"),
    ],
)
def test_what_is_no_address(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        parse_address(text, 18789)


class Greeter(asyncio.Protocol):
    """Says hello and leaves."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)
        transport.write(b"hello")
        transport.close()


async def greeted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    assert await reader.read() == b"hello"
    writer.close()
    await writer.wait_closed()


async def listen(address: TcpAddress | socket.socket, **more: Any) -> Listener:
    return await open_listener(asyncio.get_running_loop(), Greeter, address, **more)


def test_port_zero_tells_which_one_it_took() -> None:
    async def main() -> None:
        listener = await listen(TcpAddress("127.0.0.1", 0))
        scheme, _, port = listener.url.rpartition(":")
        assert scheme == "http://127.0.0.1"
        await greeted(*await asyncio.open_connection("127.0.0.1", int(port)))
        await listener.close()

    run(main)


def test_tls_shows_in_the_url() -> None:
    async def main() -> None:
        listener = await listen(TcpAddress("127.0.0.1", 0), scheme="https")
        assert listener.url.startswith("https://127.0.0.1:")
        await listener.close()

    run(main)


def test_a_port_in_use() -> None:
    async def main() -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as other:
            port = other.getsockname()[1]
            with pytest.raises(ConfigError, match=f"127.0.0.1:{port}: .*in use.* Is a gateway running already"):
                await listen(TcpAddress("127.0.0.1", port))

    run(main)


def test_an_address_of_somebody_else() -> None:
    async def main() -> None:
        with pytest.raises(ConfigError, match=r"cannot listen at 192\.0\.2\.1:0: ") as raised:
            await listen(TcpAddress("192.0.2.1", 0))
        assert "already" not in str(raised.value)

    run(main)


def test_a_socket_that_somebody_else_opened(tmp_path: Path) -> None:
    async def main() -> None:
        tcp = socket.create_server(("127.0.0.1", 0))
        port = tcp.getsockname()[1]
        listener = await listen(tcp)
        assert listener.url == f"http://127.0.0.1:{port}"
        await greeted(*await asyncio.open_connection("127.0.0.1", port))
        await listener.close()
        path = str(tmp_path / "s")
        with socket.socket(socket.AF_UNIX) as theirs:
            theirs.bind(path)
            theirs.listen()
            listener = await listen(theirs.dup())
            assert listener.url == f"unix:{path}"
            await greeted(*await asyncio.open_unix_connection(path))
            await listener.close()
            assert Path(path).is_socket(), "it is theirs, and they still listen"
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)

    run(main)


def test_what_cannot_be_listened_at() -> None:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as sock:
            sock.bind(("127.0.0.1", 0))
            with pytest.raises(ConfigError, match=r"is not one of TCP or unix streams that listens.*Accept=no"):
                require_listening(sock)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        assert require_listening(sock) is sock


@pytest.mark.parametrize(
    ("name", "host", "local"),
    [
        (("127.0.0.1", 5), "127.0.0.1", True),
        (("127.1.2.3", 5), "127.1.2.3", True),
        (("::1", 5, 0, 0), "::1", True),
        (("::ffff:127.0.0.1", 5, 0, 0), "127.0.0.1", True),
        (("::ffff:192.0.2.1", 5, 0, 0), "192.0.2.1", False),
        (("192.0.2.1", 5), "192.0.2.1", False),
        (("2001:db8::1", 5, 0, 0), "2001:db8::1", False),
        (("fe80::1%eth0", 5, 0, 2), "fe80::1", False),
        (("not an address", 5), "not an address", False),
    ],
)
def test_who_the_peer_is(name: tuple[Any, ...], host: str, local: bool) -> None:
    transport = MemoryTransport(asyncio.Protocol())
    transport._extra["peername"] = name  # type: ignore[attr-defined]  # what asyncio's transports fill
    peer = peer_of(transport)
    assert (peer.host, peer.port, peer.local, peer.tls) == (host, 5, local, False)


@pytest.mark.parametrize("name", [None, "", "/path", b"\0abstract"])
def test_a_peer_without_an_address_is_of_this_machine(name: object) -> None:
    transport = MemoryTransport(asyncio.Protocol())
    transport._extra["peername"] = name  # type: ignore[attr-defined]  # what asyncio's transports fill
    peer = peer_of(transport)
    assert (peer.host, peer.port, peer.local) == ("", 0, True)


def test_hung_up() -> None:
    def over(sock: socket.socket) -> bool:
        transport = MemoryTransport(asyncio.Protocol())
        transport._extra["socket"] = sock  # type: ignore[attr-defined]  # what asyncio's transports fill
        return hung_up(transport)

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        client = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
        with ours:
            assert not over(ours)
            client.shutdown(socket.SHUT_WR)
            assert ours.recv(1) == b""
            assert not over(ours)  # half closed: it still reads
            client.close()
            ours.sendall(b"are you there?")
            for _ in range(1000):
                if over(ours):
                    break
            else:
                pytest.fail("the reset was not noticed")
    assert hung_up(MemoryTransport(asyncio.Protocol()))  # without a socket there is nobody
