"""Clients that mean harm, as coroutines.  What they return is told at each."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

from attacked import TOKEN

__all__ = [
    "AUTH",
    "CHUNKED",
    "CROWD",
    "UPGRADE",
    "Attack",
    "End",
    "Peer",
    "chat",
    "connect",
    "crowd",
    "drip",
    "frame",
    "reset",
    "shut",
    "stay",
    "volley",
]

CROWD = 300
AUTH = b"Host: x\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n"
CHUNKED = b"POST /v1/chat/completions HTTP/1.1\r\n" + AUTH + b"Transfer-Encoding: chunked\r\n\r\n"


def UPGRADE(path: str) -> bytes:
    return (
        b"GET %b HTTP/1.1\r\n" % path.encode() + AUTH + b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )


def chat(agent: str, text: str = "hi", *, stream: bool = False, more: bytes = b"") -> bytes:
    """A whole request that is as it should be."""
    messages = [{"role": "user", "content": text}]
    body = json.dumps({"model": f"openclaw/{agent}", "stream": stream, "messages": messages}).encode()
    return b"POST /v1/chat/completions HTTP/1.1\r\n%b%bContent-Length: %d\r\n\r\n%b" % (AUTH, more, len(body), body)


def frame(first: int, payload: bytes = b"") -> bytes:
    """A masked WebSocket frame; `first` is its first byte."""
    size = len(payload)
    head = bytes([first, 0x80 | size]) if size < 126 else struct.pack("!BBH", first, 0xFE, size)
    return head + bytes(4) + payload  # masked with zeros


class End(NamedTuple):
    """How a connection ended: the seconds it was open, and what came."""

    seconds: float
    answer: bytes
    how: str = "closed"
    """`closed`, `reset`, or `open`: still open when the attacker gave up."""


class Peer:
    """One raw connection."""

    def __init__(self, sock: socket.socket, began: float) -> None:
        self.sock = sock
        self.loop = asyncio.get_running_loop()
        self.began = began

    async def send(self, data: bytes) -> None:
        await self.loop.sock_sendall(self.sock, data)

    async def receive(self, size: int = 65536) -> bytes:
        return await self.loop.sock_recv(self.sock, size)

    async def end(self, patience: float = 20.0) -> End:
        """Read until the gateway ends the connection."""
        answer = b""
        how = "open"
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                try:
                    while piece := await self.receive():
                        answer += piece[: 4096 - len(answer)]
                    how = "closed"
                except OSError:
                    how = "reset"
        return End(time.monotonic() - self.began, answer, how)

    def close(self) -> None:
        self.sock.close()


Attack: TypeAlias = Callable[[int], Coroutine[Any, Any, list[End]]]


async def connect(port: int, *, buffer: int = 0, segment: int = 0, unsent: int = 0) -> Peer:
    """A connection.  Where given, the sizes of its receive buffer, its largest TCP segment and its send buffer.

    Lets no other task run before it returns, so that of a crowd on a busy machine, too, each can speak as soon as it is
    there: the gateway's limits count from then on.  Over loopback the kernel makes the connection at once.
    """
    began = time.monotonic()
    sock = socket.socket()
    sock.settimeout(20)
    if buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    if unsent:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, unsent)
    if segment:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        sock.connect(("127.0.0.1", port))
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return Peer(sock, began)


def shut(peer: Peer) -> None:
    """Send a FIN, and go on reading."""
    peer.sock.shutdown(socket.SHUT_WR)


def reset(peer: Peer) -> None:
    """End the connection by a RST."""
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


async def crowd(
    port: int, one: Callable[[Peer], Awaitable[End]], count: int = CROWD, *, spread: float = 0.0, **more: int
) -> list[End]:
    """`count` connections that do the same, at the same time or beginning within `spread` seconds."""

    async def alone(number: int) -> End:
        await asyncio.sleep(number * spread / count)
        peer = await connect(port, **more)
        try:
            return await one(peer)
        finally:
            peer.close()

    return await asyncio.gather(*(alone(number) for number in range(count)))


def drip(opening: bytes, drop: bytes, every: float, patience: float = 20.0) -> Callable[[Peer], Awaitable[End]]:
    """Send `opening`, then `drop` every some seconds, until the gateway has enough."""

    async def one(peer: Peer) -> End:
        async def go_on() -> None:
            with suppress(OSError):
                while True:
                    await asyncio.sleep(every)
                    await peer.send(drop)

        with suppress(OSError):
            await peer.send(opening)  # at once, not when the others are connected as well
        sender = asyncio.ensure_future(go_on())
        try:
            return await peer.end(patience)
        finally:
            sender.cancel()
            await asyncio.wait([sender])

    return one


def stay(request: bytes, patience: float = 20.0) -> Callable[[Peer], Awaitable[End]]:
    """Send `request`, and read nothing until the gateway has cut the connection."""

    async def one(peer: Peer) -> End:
        await peer.send(request)
        end = time.monotonic() + patience
        while time.monotonic() < end:
            await asyncio.sleep(0.05)
            # Without reading, a connection that was cut shows as a socket error, or is not known to the kernel any more.
            info = peer.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
            if info[0] != 1:  # TCP_ESTABLISHED
                return End(time.monotonic() - peer.began, b"", "reset")
        return End(time.monotonic() - peer.began, b"", "open")

    return one


async def volley(
    port: int, opening: bytes, more: bytes, *, reading: bool = True, seconds: float = 3.0, **sizes: int
) -> list[End]:
    """Send `opening`, and then `more` again and again as fast as the gateway takes it, for some seconds at most."""

    async def one(peer: Peer) -> End:
        async def sending() -> None:
            with suppress(OSError):
                await peer.send(opening)
                if b"Upgrade" in opening:
                    while b"\r\n\r\n" not in await peer.receive():
                        pass
                    upgraded.set()
                while True:
                    await peer.send(more)

        upgraded = asyncio.Event()
        sender = asyncio.ensure_future(sending())
        try:
            if b"Upgrade" in opening:
                await asyncio.wait_for(upgraded.wait(), 10)
            if not reading:
                done, _ = await asyncio.wait([sender], timeout=seconds)
                return End(time.monotonic() - peer.began, b"", "reset" if done else "open")
            return await peer.end(seconds)
        finally:
            sender.cancel()
            await asyncio.wait([sender])

    # A small send buffer: what stands in it, the gateway has to read after the attack is over.
    return await crowd(port, one, 1, unsent=65_536, **sizes)
