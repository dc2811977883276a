"""The sockets that workers listen at.  The supervisor opens them, and holds them as long as it lives.

On Linux each worker has a TCP socket of its own at the same address (SO_REUSEPORT), among which the kernel distributes
the connections: nobody is woken in vain, and none takes more than its share.  A worker's successor gets the same
socket, and with it the connections that wait there.  Elsewhere SO_REUSEPORT does not distribute; there, and for unix
sockets and those that were handed in, all workers accept from one.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable
from errno import EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT
from typing import Any

from ..errors import ConfigError
from ..server.listeners import BACKLOG, Address, SocketFile, TcpAddress, UnixAddress, url_of
from ..server.unix import bind_unix

__all__ = ["SocketSet"]

_BALANCED = sys.platform == "linux"


class SocketSet:
    """Open sockets, for each worker: `of[number - 1]`.

    Raises ConfigError where an address cannot be listened at, with the reason.
    """

    def __init__(self, addresses: Iterable[Address], workers: int) -> None:
        self.of: list[list[socket.socket]] = [[] for _ in range(workers)]
        self._told: list[socket.socket] = []
        self._files: list[SocketFile] = []
        self._open: list[socket.socket] = []
        try:
            for address in addresses:
                self._add(address)
        except BaseException:
            self.close()
            raise

    def urls(self, scheme: str) -> list[str]:
        """Where clients find them; `scheme` is `http` or `https`."""
        return [url_of(one, scheme) for one in self._told]

    def close(self) -> None:
        """Let go of them.  Once the workers have done so too, clients are refused."""
        for one in self._open:
            one.close()
        for file in self._files:
            file.remove()
        self._open.clear()
        self._files.clear()

    def _add(self, address: Address) -> None:
        first = len(self._open)
        if isinstance(address, TcpAddress):
            self._add_tcp(address)
        else:
            shared = address if isinstance(address, socket.socket) else self._unix(address)
            self._open.append(shared)
            self._share(shared)
        self._told.append(self._open[first])

    def _unix(self, address: UnixAddress) -> socket.socket:
        sock, file = bind_unix(address)
        if file is not None:
            self._files.append(file)
        return sock

    def _share(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.listen(BACKLOG)
        for one in self.of:
            one.append(sock)

    def _add_tcp(self, address: TcpAddress) -> None:
        first = len(self._open)
        try:
            for family, name in _places(address):
                try:
                    self._add_place(family, name)
                except OSError as error:  # `localhost` also means ::1, where there may be no IPv6
                    if error.errno not in {EADDRNOTAVAIL, EAFNOSUPPORT}:
                        raise
        except OSError as error:
            hint = " Is a gateway running already? Choose another port." if error.errno == EADDRINUSE else ""
            where = f"{address.host}:{address.port}"
            raise ConfigError(f"cannot listen at {where}: {error.strerror or error}.{hint}") from error
        if len(self._open) == first:
            raise ConfigError(f"cannot listen at {address.host}:{address.port}: this machine has no such address")

    def _add_place(self, family: int, name: Any) -> None:
        if not _BALANCED:
            self._open.append(sock := _bound(family, name))
            self._share(sock)
            return
        # Alone at first: with SO_REUSEPORT two gateways of one user would share a port, and neither be told.
        with _bound(family, name):
            pass
        for one in self.of:
            self._open.append(sock := _bound(family, name, reuse_port=True))
            sock.listen(BACKLOG)
            one.append(sock)
            name = sock.getsockname()  # with the port that the first one was given


def _places(address: TcpAddress) -> list[tuple[int, Any]]:
    """Family and address of what the host stands for, as asyncio does it."""
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, name) for family, _, _, _, name in found))


def _bound(family: int, name: Any, *, reuse_port: bool = False) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(name)
    except BaseException:
        sock.close()
        raise
    return sock
