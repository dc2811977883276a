"""Where a server listens: TCP addresses and unix sockets."""

# ruff: noqa: PTH101, PTH108, PTH116 - pathlib would cost the start of the program 3 ms
from __future__ import annotations

import os
import socket
import stat
from asyncio import AbstractEventLoop, AbstractServer, BaseProtocol, Server, get_running_loop, sleep
from collections.abc import Callable
from contextlib import suppress
from ssl import SSLContext
from typing import NamedTuple

from ..errors import ConfigError

__all__ = ["Listener", "TcpAddress", "UnixAddress", "open_listener", "parse_address"]

# Connections that the kernel has accepted and we have not: more than a burst of clients that all start at once.
BACKLOG = 4096
# Of these, taken in one turn of the loop: others are to be served as well.  asyncio 3.11 also tries, and complains, as
# often as this when no file descriptor is left.
ACCEPTS = 32
# From the connect to the end of the TLS handshake.
TLS_HANDSHAKE_TIME = 10.0
# Only the user who runs the gateway; whoever wants more changes the folder or the file.
SOCKET_MODE = 0o600


class TcpAddress(NamedTuple):
    """`host` is an IP address or a name, without brackets; port 0 takes a free one."""

    host: str
    port: int


class UnixAddress(NamedTuple):
    path: str


class Listener:
    """An open listener; `url` is where clients find it."""

    def __init__(self, server: AbstractServer, url: str, path: str | None = None) -> None:
        self.server = server
        self.url = url
        self.path = path

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
        if self.path is not None:
            with suppress(OSError):
                os.unlink(self.path)


def parse_address(text: str, default_port: int) -> TcpAddress | UnixAddress:
    """`host`, `host:port`, `[::1]:port`, `:port` or `unix:/path`.  Raises ConfigError."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path:
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


async def open_listener(
    loop: AbstractEventLoop,
    protocol: Callable[[], BaseProtocol],
    address: TcpAddress | UnixAddress,
    tls: SSLContext | None = None,
) -> Listener:
    """Listen at `address`.  Raises ConfigError where that is not possible, with the reason."""
    handshake = None if tls is None else TLS_HANDSHAKE_TIME
    if isinstance(address, UnixAddress):
        _remove_stale(address.path)
        if not hasattr(loop, "create_unix_server"):
            raise ConfigError(f"cannot listen at unix:{address.path}: this system has no unix sockets")
        try:
            server = await loop.create_unix_server(
                protocol, address.path, backlog=ACCEPTS, ssl=tls, ssl_handshake_timeout=handshake
            )
        except OSError as error:
            raise ConfigError(f"cannot listen at unix:{address.path}: {error.strerror or error}") from error
        _restrict(address.path)
        _lengthen_queue(server)
        return Listener(server, f"unix:{address.path}", address.path)
    try:
        server = await loop.create_server(
            protocol, address.host, address.port, backlog=ACCEPTS, ssl=tls, ssl_handshake_timeout=handshake
        )
    except OSError as error:
        hint = " Is a gateway running already? Choose another port." if "in use" in str(error) else ""
        where = f"{address.host}:{address.port}"
        raise ConfigError(f"cannot listen at {where}: {error.strerror or error}.{hint}") from error
    _lengthen_queue(server)
    bound = server.sockets[0].getsockname()
    host = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
    return Listener(server, f"{'http' if tls is None else 'https'}://{host}:{bound[1]}")


def _lengthen_queue(server: AbstractServer) -> None:
    """Let more connections wait than are taken at once: for asyncio, `backlog` means both."""
    for sock in getattr(server, "sockets", ()):
        with sock.dup() as same:
            same.listen(BACKLOG)


def _restrict(path: str) -> None:
    os.chmod(path, SOCKET_MODE)


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens at any more: asyncio would remove a living one just the same."""
    try:
        mode = os.stat(path).st_mode
    except OSError:  # there is nothing, or else binding will tell
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"cannot listen at unix:{path}: there is a file that is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)  # a living one whose queue is full would keep us waiting
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            with suppress(FileNotFoundError):
                os.unlink(path)
            return
        except BlockingIOError:
            pass
        except OSError as error:  # somebody else's, which cannot be told to be dead
            raise ConfigError(f"cannot listen at unix:{path}: {error.strerror}") from error
    raise ConfigError(f"cannot listen at unix:{path}: somebody listens there already")
