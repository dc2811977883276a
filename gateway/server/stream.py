"""The body of a streaming answer: what is written within one turn of the loop leaves in one piece."""

from __future__ import annotations

from asyncio import AbstractEventLoop, sleep
from math import inf

from ..deadlines import Deadlines
from ..errors import MisuseError, PeerGone
from ..ports import Encode
from ..records import Protocol
from ..wire.response import ResponseWriter
from .pulse import Pulse

__all__ = ["StreamBody", "StreamHost"]

# A producer that never waits is stopped after this much, for one turn of the loop: others want to be served, and
# nothing leaves before.
TURN_BYTES = 49_152
# What a piece counts for besides its characters: as much as an event of a chat completion has around its text.
PIECE_BYTES = 200

LOOKS = 4
"""How often, within the longest silence, it is looked whether something was written: a silence is bridged up to a
quarter early, and for that a write costs no timer."""


class StreamHost(Protocol):
    """What a stream needs of the connection."""

    def send(self, data: bytes) -> bool:
        """Send bytes at the end of this turn of the loop; whether that is `full` now.

        Raises PeerGone where there is nobody any more.
        """

    def send_now(self) -> None:
        """Do not wait for the end of this turn."""

    @property
    def full(self) -> bool:
        """The transport holds more than it should."""

    async def drain(self) -> None:
        """Wait until the transport has room.  Raises PeerGone."""


class StreamBody:
    """`ports.BodyWriter` over a connection.

    `pulse`: what is written less than `pulse.after` seconds after the last piece waits for it; the first write after a
    pause leaves at once, without the turn of the loop that collecting would take.  `silence` expires
    LOOKS times within the longest silence.
    """

    __slots__ = (
        "_after", "_due", "_encode", "_filler", "_host", "_looks", "_loop", "_pending", "_pieces", "_pulse", "_silence",
        "_size", "_waits", "_writer", "full",
    )  # fmt: skip

    def __init__(
        self,
        host: StreamHost,
        writer: ResponseWriter,
        loop: AbstractEventLoop,
        pulse: Pulse,
        silence: Deadlines[StreamBody],
        *,
        encode: Encode | None = None,
    ) -> None:
        self._host = host
        self._writer = writer
        self._loop = loop
        self._pulse = pulse
        self._silence = silence
        self._looks = 0  # since something was sent
        self._filler = b""
        self._encode = encode
        self._pending: list[bytes] = []
        self._pieces: list[str] = []  # behind what is pending
        self._size = 0
        self._waits = False
        self._after = pulse.after or inf  # seconds; without a pulse, nothing leaves before the turn ends
        self._due = 0.0 if pulse.after else inf  # from this time on, what is written leaves at once
        self.full = False

    def write(self, data: bytes) -> None:
        """See `ports.BodyWriter.write`."""
        if self._pieces:
            self._gather()
        self._pending.append(data)
        self._size += len(data)
        if not self._waits or self._size >= TURN_BYTES:
            self._arrange()

    def put(self, piece: str) -> bool:
        """See `ports.BodyWriter.put`."""
        if not self._size:
            now = self._loop.time()
            if now >= self._due and self._encode is not None:  # as nearly all tokens: alone, and at once
                self.full = full = self._host.send(self._writer.data(self._encode([piece])))
                self._due = now + self._after
                self._looks = 0
                return full
        self._pieces.append(piece)
        self._size = size = self._size + len(piece) + PIECE_BYTES
        if not self._waits or size >= TURN_BYTES:
            self._arrange()
        return self.full

    def put_all(self, pieces: list[str]) -> bool:
        """See `ports.BodyWriter.put_all`."""
        self._pieces += pieces
        self._size += sum(map(len, pieces)) + len(pieces) * PIECE_BYTES
        if not self._waits or self._size >= TURN_BYTES:
            self._arrange()
        return self.full

    def _gather(self) -> None:
        if self._encode is None:
            raise MisuseError("pieces were put into a stream that cannot encode them")
        self._pending.append(self._encode(self._pieces))
        self._pieces = []

    def _arrange(self) -> None:
        if self._size >= TURN_BYTES:
            self._send()
            self.full = True
        else:
            self._schedule()

    def _schedule(self) -> None:
        if self._loop.time() >= self._due:
            self._send()
            return
        self._waits = True
        self._pulse.add(self._on_time)

    def _on_time(self) -> None:
        self._waits = False
        try:
            self._send()
        except PeerGone:  # whoever writes next is told
            self._pending.clear()
            self._pieces.clear()

    def flush(self) -> None:
        """See `ports.BodyWriter.flush`."""
        self._send()
        self._host.send_now()
        if self._pulse.after:
            self._due = 0.0  # the first piece of content never waits

    def _send(self) -> None:
        if self._waits:
            self._waits = False
            self._pulse.remove(self._on_time)
        if self._pieces:
            self._gather()
        if not self._pending:
            return
        data = b"".join(self._pending)
        self._pending.clear()
        self._size = 0
        self.full = self._host.send(self._writer.data(data))
        self._due = self._loop.time() + self._after
        self._looks = 0

    async def drain(self) -> None:
        """See `ports.BodyWriter.drain`."""
        self.full = False
        if self._host.full:
            await self._host.drain()
        else:
            await sleep(0)

    def fill_silence(self, data: bytes) -> None:
        """See `ports.BodyWriter.fill_silence`."""
        self._filler = data
        self._silence.set(self)

    def probe(self) -> None:
        """Write what fills silences, now: a peer that is gone will say so."""
        if self._filler:
            if self._pieces:
                self._gather()
            self._pending.append(self._filler)
            self._on_time()

    def expired(self) -> None:
        """It is time to look whether the silence has lasted long enough."""
        self._silence.set(self)
        self._looks += 1
        if self._looks >= LOOKS and not self._host.full:  # else there is no silence, only a peer that does not read
            self.probe()

    async def end(self) -> None:
        """See `ports.BodyWriter.end`."""
        self.close()
        if self._pieces:
            self._gather()
        data = b"".join(self._pending)
        self._pending.clear()
        self._host.send(self._writer.data(data) + self._writer.end())

    def close(self) -> None:
        """Stop all timers.  What is pending is not sent."""
        self._filler = b""
        self._silence.clear(self)
        if self._waits:
            self._waits = False
            self._pulse.remove(self._on_time)
