"""A TLS connection whose requests another process answers.

What is decrypted here cannot go on there, since a descriptor takes no keys along: so the other process is given one end
of a socket pair, and here bytes go to and fro.  Neither side is read faster than the other takes it.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import cast

from ..errors import PeerGone
from ..server.services import LinkCarrier

__all__ = ["Pump"]


class Pump:
    """`server.services.Tenant` of the connection; `open` before it moves in."""

    def __init__(self, host: LinkCarrier) -> None:
        self._host = host
        self._far: _Far | None = None
        self._drainer: asyncio.Task[None] | None = None
        self._over = asyncio.get_running_loop().create_future()

    async def open(self, sock: socket.socket) -> None:
        """Begin, with our end of the pair."""
        far = _Far(self)
        await asyncio.get_running_loop().create_unix_connection(lambda: far, sock=sock)
        self._far = far

    async def run(self) -> None:
        """Return when it is over."""
        await asyncio.shield(self._over)

    def abandon(self) -> None:
        """It has not begun, and it will not."""
        if self._far is not None:
            self._far.abort()

    # -- what the connection says

    def data_received(self, data: bytes) -> None:
        """See `Tenant`."""
        if self._far is not None:
            self._far.write(data)

    def eof_received(self) -> None:
        """See `Tenant`."""
        if self._far is not None:
            self._far.write_eof()

    def connection_lost(self, _exc: Exception | None) -> None:
        """See `Tenant`."""
        if self._far is not None:
            self._far.close()
        if self._drainer is not None:
            self._drainer.cancel()
        self._finish()

    async def close(self, code: int = 1000, reason: str = "") -> None:  # noqa: ARG002 - those of a WebSocket
        """See `Tenant`: there is nobody here who could say why."""
        self._host.close()

    # -- what the other process says

    def came(self, data: bytes) -> None:
        """Bytes for the peer."""
        host = self._host
        host.write(data)
        if host.full and self._far is not None and self._drainer is None:
            self._far.pause_reading()
            self._drainer = asyncio.get_running_loop().create_task(self._drain(self._far), name="pump")

    def room(self, *, there_is: bool) -> None:
        """Whether the other process takes more."""
        if not self._over.done():
            self._host.set_reading(there_is)

    def lost(self) -> None:
        """The other process has closed it, or is gone."""
        self._far = None
        if not self._over.done():
            self._host.close()
            self._finish()

    async def _drain(self, far: _Far) -> None:
        try:
            with suppress(PeerGone):  # `connection_lost` comes then
                await self._host.drain()
                far.resume_reading()
        finally:
            self._drainer = None

    def _finish(self) -> None:
        if not self._over.done():
            self._over.set_result(None)


class _Far(asyncio.Protocol):
    """Our end of the socket pair."""

    def __init__(self, pump: Pump) -> None:
        self._pump = pump
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # those of other loops are not derived from it

    def data_received(self, data: bytes) -> None:
        self._pump.came(data)

    def pause_writing(self) -> None:
        self._pump.room(there_is=False)

    def resume_writing(self) -> None:
        self._pump.room(there_is=True)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        self._pump.lost()

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def write_eof(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def pause_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
