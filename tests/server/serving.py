"""A server of the echo handler on a real listener, plain or TLS, for the tests of this folder."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from gateway.ports import Handler
from gateway.server.limits import Limits
from gateway.server.listeners import TcpAddress, UnixAddress, open_listener
from gateway.server.secure import SecureTransport
from gateway.server.server import Server
from gateway.server.unix import bind_unix
from gateway.testing import echo_options

__all__ = ["CERTIFICATE", "GET", "Authority", "Running", "needs_openssl", "run", "serving", "trusting"]

CERTIFICATE = str(Path(__file__).parents[1] / "data" / "tls" / "localhost.pem")
"""With its key; for localhost and 127.0.0.1."""

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
Client: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="makes certificates with the command openssl"
)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(main(), 30))


class Running:
    """A server that listens."""

    def __init__(self, server: Server, url: str) -> None:
        self.server = server
        self.url = url
        self.port = int(url.rpartition(":")[2]) if url.startswith("http") else 0
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def counted(self) -> int:
        """Connections that admission knows of, handshakes included."""
        return self.server.services.admission.total

    async def connect(self, **more: Any) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, **more)
        self._writers.append(writer)
        return reader, writer

    async def exchange(self, data: bytes, **more: Any) -> bytes:
        """All that comes until the server closes."""
        reader, writer = await self.connect(**more)
        writer.write(data)
        return await reader.read()

    async def until(self, condition: Callable[[], object], what: str = "it") -> None:
        for _ in range(2000):
            if condition():
                return
            await asyncio.sleep(0.005)
        pytest.fail(f"waited in vain for {what}")

    async def leave(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()


@asynccontextmanager
async def serving(
    handler: Handler | None = None,
    limits: Limits | None = None,
    tls: Callable[[], ssl.SSLContext] | None = None,
    at: UnixAddress | None = None,
) -> AsyncIterator[Running]:
    """A server on a free port of 127.0.0.1, or `at` another place; it must be empty at its end."""
    loop = asyncio.get_running_loop()
    options = echo_options(limits)
    server = Server(loop, options if handler is None else options._replace(handler=handler))
    protocol: Callable[[], asyncio.BaseProtocol] = server.protocol
    if tls is not None:
        protocol = partial(SecureTransport, server.services, tls, server.protocol)
    place, file = bind_unix(at) if isinstance(at, UnixAddress) else (TcpAddress("127.0.0.1", 0), None)
    listener = await open_listener(loop, protocol, place, "https" if tls else "http", file)
    running = Running(server, listener.url)
    try:
        yield running
    finally:
        await listener.close()
        await running.leave()
        await server.close()
        await running.until(lambda: not running.counted, "all connections to be forgotten")


def trusting(certificate: str | Path = CERTIFICATE) -> ssl.SSLContext:
    """A client's context that trusts the issuer of `certificate`."""
    return ssl.create_default_context(cafile=str(certificate))


class Authority:
    """Makes certificates in a folder, with the command openssl."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self.folder = folder
        self.name = name
        self.path = folder / f"{name}.pem"
        self._openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )  # fmt: skip

    def issue(self, name: str, subject: str, days: int = 2) -> tuple[Path, Path]:
        """The files of a certificate for localhost, and of its key."""
        extensions = self.folder / f"{name}.ext"
        extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n", encoding="ascii")
        self._openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-utf8",
            "-subj", subject, "-keyout", f"{name}.key", "-out", f"{name}.csr",
        )  # fmt: skip
        self._openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", f"{self.name}.pem", "-CAkey", f"{self.name}.key",
            "-CAcreateserial", "-days", str(days), "-extfile", extensions.name, "-out", f"{name}.pem",
        )  # fmt: skip
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def _openssl(self, *arguments: str) -> None:
        done = subprocess.run(
            ["openssl", *arguments], cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
