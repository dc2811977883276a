"""What the socket knows about the peer."""

from __future__ import annotations

import select
import socket
import sys
from asyncio import AbstractEventLoop, BaseTransport, Transport
from collections.abc import Mapping
from contextlib import suppress
from struct import pack
from typing import Any

from ..addresses import is_loopback
from ..model.http import Peer

__all__ = ["hold_little", "hung_up", "limit_delivery", "look_for_reset", "peer_of", "reset"]

# A reset takes a round trip; on a loaded machine it is looked for again.
_LOOKS = (0.05, 0.25, 1.0)
UNSENT_BYTES = 131_072
"""Of a WebSocket, in the kernel: twice what a transport holds, so that a fast reader never waits."""
# RFC 4514, sections 2.4 and 3.
_ESCAPED = {ord(mark): f"\\{mark}" for mark in '\\,+"<>;='}
_SHORT = {"commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU", "countryName": "C"}


def peer_of(transport: BaseTransport) -> Peer:
    """Who is at the other end of `transport`."""
    name = transport.get_extra_info("peername")
    tls = transport.get_extra_info("ssl_object") is not None
    certificate = _subject(transport.get_extra_info("peercert")) if tls else ""
    if not isinstance(name, tuple) or len(name) < 2:
        return Peer("", 0, local=True, tls=tls, certificate=certificate)
    # An IPv4 peer of a socket that listens on IPv6 too; and without the zone of a link-local address (RFC 4007).
    host = str(name[0]).removeprefix("::ffff:").partition("%")[0]
    return Peer(host, name[1], local=is_loopback(host), tls=tls, certificate=certificate)


def _subject(certificate: Mapping[str, Any] | None) -> str:
    """The subject of what `ssl` tells of a certificate, in the order it is written there."""
    names = (pair for group in (certificate or {}).get("subject", ()) for pair in group)
    return ",".join(f"{_SHORT.get(key, key)}={value.translate(_ESCAPED)}" for key, value in names)


def look_for_reset(loop: AbstractEventLoop, transport: Transport) -> None:
    """Abort the connection if the peer answers what was just sent with a reset."""
    for pause in _LOOKS:
        loop.call_later(pause, _look, transport)


def _look(transport: Transport) -> None:
    if hung_up(transport):
        transport.abort()


def hung_up(transport: BaseTransport) -> bool:
    """Whether the peer has closed its receiving side too.

    After an EOF asyncio no longer watches the socket for reading, so that a reset goes unnoticed until something is
    written; here the socket is asked.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or transport.is_closing():
        return True
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        return True
    if not hasattr(select, "poll"):  # Windows: an error is all that can be asked for
        return False
    poll = select.poll()
    poll.register(sock.fileno(), 0)
    return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))


def limit_delivery(transport: BaseTransport, seconds: float) -> None:
    """Let the kernel give up on a peer that has taken nothing of what was sent to it for so long.

    By itself it would go on for a quarter of an hour with a peer that has vanished, and for minutes, after our close,
    with one that does not read.
    """
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in {socket.AF_INET, socket.AF_INET6} and hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * seconds))


def hold_little(transport: BaseTransport) -> None:
    """Have the kernel hold little that was not sent yet: what a slow reader gets is then of now, not of a minute ago.

    Where the system knows no such limit, it holds what it holds.
    """
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in {socket.AF_INET, socket.AF_INET6} and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


def reset(transport: Transport) -> None:
    """Close at once, with a RST.

    After a plain close the kernel keeps what it has not delivered yet, and the connection with it, for some minutes: up
    to megabytes for each peer that does not read.
    """
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("HH" if sys.platform == "win32" else "ii", 1, 0))
    transport.abort()
