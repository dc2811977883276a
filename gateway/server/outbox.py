"""What all connections send within one turn of the loop, handed to the kernel together at its end.

Two reasons.  What a connection sends in pieces leaves in one packet.  And the kernel's network code and the
interpreter push each other out of the caches: with 64 busy connections, sending each answer as soon as it is
made costs a third more time in all than sending 64 answers in a row.

Where there is mostly one thing to send in a turn, neither holds, and the end of the turn costs a turn more: then it is
sent at once.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, WriteTransport

__all__ = ["Outbox"]

# Turns in a row with one thing to send, after which things are sent at once ...
LONELY_TURNS = 8
# ... and how many of them, until one is collected again, to see whether it still is the only one of its turn.
SENT_AT_ONCE = 32


class Outbox:
    """One per server.  Bytes of one transport keep their order; a transport that closes drops them."""

    __slots__ = ("_at_once", "_crowded", "_lonely", "_loop", "_pending")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._pending: dict[WriteTransport, bytes] = {}
        self._crowded = False
        self._lonely = 0
        self._at_once = 0

    def put(self, transport: WriteTransport, data: bytes) -> None:
        """Send `data`, at the end of this turn at the latest."""
        pending = self._pending
        if pending:
            self._crowded = True
            earlier = pending.get(transport)
            pending[transport] = data if earlier is None else earlier + data
        elif self._lonely < LONELY_TURNS:
            self._loop.call_soon(self.flush)
            pending[transport] = data
        elif self._at_once < SENT_AT_ONCE:
            self._at_once += 1
            transport.write(data)
        else:
            self._at_once = 0
            self._loop.call_soon(self.flush)
            pending[transport] = data

    def flush(self) -> None:
        """Send everything now."""
        if self._pending:
            pending, self._pending = self._pending, {}
            self._lonely = 0 if self._crowded else self._lonely + 1
            self._crowded = False
            for transport, data in pending.items():
                transport.write(data)
