"""A connection that is over is freed at once: what waits for the collector of cycles, an attacker could pile up."""

from __future__ import annotations

import asyncio
import gc

import pytest
from attackers import UPGRADE, frame, reset
from attackers import connect as connect_to

from gateway.server.connection import Connection
from gateway.server.exchange import HttpExchange
from gateway.server.link import WebSocketLink
from gateway.server.server import Server
from gateway.testing import echo_options

pytestmark = pytest.mark.alone

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
KINDS = {
    "silent": b"",
    "half a head": GET[:-2],
    "answered": GET,
    "half a body": POST,
    "refused": b"nonsense\r\n\r\n",
    "a WebSocket": UPGRADE("/"),
    "messages": UPGRADE("/") + frame(0x81, b"abc") * 50,
    "half a frame": UPGRADE("/") + frame(0x81, b"abc")[:-1],
    "a broken frame": UPGRADE("/") + b"\xff\xff",
}


@pytest.mark.parametrize("way", ["close", "reset"])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left(kind: str, way: str) -> None:
    async def main() -> None:
        server = Server(asyncio.get_running_loop(), echo_options())
        listener = await asyncio.get_running_loop().create_server(server.protocol, "127.0.0.1", 0)
        for _ in range(5):
            peer = await connect_to(listener.sockets[0].getsockname()[1])
            await peer.send(KINDS[kind])
            await asyncio.sleep(0.02)
            peer.close() if way == "close" else reset(peer)
        while server.connections:
            await asyncio.sleep(0.01)
        await server.close()
        listener.close()
        await listener.wait_closed()

    gc.collect()
    gc.disable()
    try:
        asyncio.run(main())
        left = [one for one in gc.get_objects() if isinstance(one, Connection | HttpExchange | WebSocketLink)]
        assert not left
    finally:
        gc.enable()
