"""What all connections send within one turn of the loop, handed to the kernel together at its end.

Two reasons.  What a connection sends in pieces leaves in one packet.  And the kernel's network code and the
interpreter push each other out of the caches: with 64 busy connections, sending each answer as soon as it is
made costs a third more time in all than sending 64 answers in a row.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, WriteTransport

__all__ = ["Outbox"]


class Outbox:
    """One per server.  Bytes of one transport keep their order; what is for a transport that closes is dropped."""

    __slots__ = ("_loop", "_pending")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._pending: dict[WriteTransport, bytes] = {}

    def put(self, transport: WriteTransport, data: bytes) -> None:
        """Send `data` at the end of this turn."""
        pending = self._pending
        if not pending:
            self._loop.call_soon(self.flush)
        earlier = pending.get(transport)
        pending[transport] = data if earlier is None else earlier + data

    def flush(self) -> None:
        """Send everything now."""
        if self._pending:
            pending, self._pending = self._pending, {}
            for transport, data in pending.items():
                transport.write(data)  # one that is gone since then ignores it
