"""Where a server listens: TCP addresses, unix sockets, and sockets that somebody else has opened."""

from __future__ import annotations

import socket
from asyncio import AbstractEventLoop, AbstractServer, BaseEventLoop, BaseProtocol, Server, get_running_loop, sleep
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

from ..errors import ConfigError
from ..records import NamedTuple, Protocol

__all__ = [
    "BACKLOG",
    "SOCKET_MODE",
    "Address",
    "Listener",
    "SocketFile",
    "TcpAddress",
    "UnixAddress",
    "open_listener",
    "parse_address",
    "require_listening",
    "url_of",
]

# Connections that the kernel has accepted and we have not: more than a burst of clients that all start at once.
BACKLOG = 4096
# Of these, taken in one turn of the loop: others are to be served as well.  asyncio 3.11 also tries, and complains, as
# often as this when no file descriptor is left.
ACCEPTS = 32
# Of a unix socket, where nothing else is said: only the user who runs the gateway.
SOCKET_MODE = 0o600


class TcpAddress(NamedTuple):
    """`host` is an IP address or a name, without brackets; port 0 takes a free one."""

    host: str
    port: int


class UnixAddress(NamedTuple):
    """`path` may begin with `@`: a name in Linux's abstract namespace, which has no file, no mode and no owner.

    `owner` and `group` are names or numbers; None for those of the process.
    """

    path: str
    mode: int = SOCKET_MODE
    owner: str | None = None
    group: str | None = None

    @property
    def name(self) -> str:
        """What `bind` and `connect` take."""
        return f"\0{self.path[1:]}" if self.path.startswith("@") else self.path


Address: TypeAlias = TcpAddress | UnixAddress | socket.socket
"""A socket is one that listens already, at TCP or unix; it is closed with the listener, its file is left alone."""


class SocketFile(Protocol):
    """The file of a unix socket; see `unix`, which is loaded where there is one."""

    def remove(self) -> None: ...


class Listener:
    """An open listener; `url` is where clients find it."""

    def __init__(self, server: AbstractServer, url: str, file: SocketFile | None = None) -> None:
        self.server = server
        self.url = url
        self._file = file

    async def close(self) -> None:
        """Accept no more; connections go on."""
        loop = get_running_loop()
        for sock in self.server.sockets if isinstance(self.server, Server) else ():
            with suppress(NotImplementedError):  # Windows
                loop.remove_reader(sock.fileno())
        # Connections accepted in this turn of the loop get their transport in the next one; asyncio, whose servers
        # know nothing of them yet, would lose their sockets if it were closed before that.
        await sleep(0)
        await sleep(0)
        self.server.close()
        if self._file is not None:
            self._file.remove()


def parse_address(text: str, default_port: int) -> TcpAddress | UnixAddress:
    """`host`, `host:port`, `[::1]:port`, `:port`, `unix:/path` or `unix:@name`.  Raises ConfigError."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if path in {"", "@"}:
            raise ConfigError(f"listen: {text!r} has no path; write unix:/run/gateway.sock")
        return UnixAddress(path)
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")) or text.endswith("]"):
        host, port = text, str(default_port)
    if not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > 65535:
        raise ConfigError(f"listen: {text!r} does not end in a port between 0 and 65535")
    if host.startswith("[") is not host.endswith("]"):
        raise ConfigError(f"listen: {text!r} has a bracket without its other half; write [::1]:8080")
    return TcpAddress(host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port))


def require_listening(sock: socket.socket) -> socket.socket:
    """`sock`, if it is one of TCP or unix streams that listens.  Raises ConfigError."""
    if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ConfigError(
            f"the socket {sock.fileno()} that was handed in is not one of TCP or unix streams that listens. "
            "For one of systemd: ListenStream=, and Accept=no"
        )
    return sock


async def open_listener(
    loop: AbstractEventLoop,
    protocol: Callable[[], BaseProtocol],
    address: TcpAddress | socket.socket,
    scheme: str = "http",
    file: SocketFile | None = None,
) -> Listener:
    """Listen at `address`; `file` is removed in the end.  Raises ConfigError where it cannot be, with the reason."""
    if isinstance(address, TcpAddress):
        return await _open_tcp(loop, protocol, address, scheme)
    url = url_of(address, scheme)
    # From Python 3.13 on, `create_unix_server` removes the file of a socket at its end, also of one that is not ours.
    serve = loop.create_server if isinstance(loop, BaseEventLoop) or url[:5] != "unix:" else loop.create_unix_server
    try:
        return _listener(await serve(protocol, sock=address, backlog=ACCEPTS), url, file)
    except BaseException:
        address.close()
        if file is not None:
            file.remove()
        raise


async def _open_tcp(
    loop: AbstractEventLoop, protocol: Callable[[], BaseProtocol], address: TcpAddress, scheme: str
) -> Listener:
    try:
        server = await loop.create_server(protocol, address.host, address.port, backlog=ACCEPTS)
    except OSError as error:
        hint = " Is a gateway running already? Choose another port." if "in use" in str(error) else ""
        where = f"{address.host}:{address.port}"
        raise ConfigError(f"cannot listen at {where}: {error.strerror or error}.{hint}") from error
    return _listener(server, url_of(server.sockets[0], scheme))


def _listener(server: Server, url: str, file: SocketFile | None = None) -> Listener:
    """Let more connections wait than are taken at once: for asyncio, `backlog` means both."""
    for sock in server.sockets:
        with socket.fromfd(sock.fileno(), sock.family, sock.type) as same:
            same.listen(BACKLOG)
    return Listener(server, url, file)


def url_of(sock: socket.socket, scheme: str) -> str:
    """Where clients find this socket."""
    name = sock.getsockname()
    if isinstance(name, tuple):
        host = f"[{name[0]}]" if ":" in name[0] else name[0]
        return f"{scheme}://{host}:{name[1]}"
    return f"unix:@{name[1:].decode(errors='replace')}" if isinstance(name, bytes) else f"unix:{name}"
