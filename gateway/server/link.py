"""One WebSocket connection: `wire.websocket` on a connection that owns the transport.

The connection hands over what it reads; the link hands complete messages to whoever iterates over it and writes frames
through its host.  Backpressure is one-way each: unread messages pause reading, a full transport delays `send`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from ..errors import MisuseError, PeerGone
from ..model.http import Peer, RequestHead
from ..ports import Timer, TimerHandle
from ..wire.extensions import Agreement, Compression, agree
from ..wire.upgrade import accept
from ..wire.websocket import Binary, Closed, Ping, Pong, State, Text, WebSocket
from .bell import Bell
from .services import LinkCarrier
from .turns import Turns

__all__ = ["LinkLimits", "Links", "WebSocketLink"]

# What is sent in one turn of the loop.  A message counts for more than its frame: a thousand empty ones are work.
TURN_BYTES = 16_384
MESSAGE_COST = 64

_OPEN, _FAILING = State.OPEN, State.FAILING
_ABNORMAL = 1006  # RFC 6455, 7.4.1: the connection ended without a close frame


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """Sizes in bytes, times in seconds; a `ping_interval` of 0 or less sends no pings."""

    max_message: int = 25 * 1024 * 1024
    """What OpenClaw's clients may send: a chat message with its attachments in base64."""
    queue_bytes: int = 1024 * 1024
    """Messages that nobody has read yet, in bytes or characters, before reading pauses; a reader that awaits
    something for a moment must not stop the peer.  Overshoots by one message."""
    queue_messages: int = 256
    """The same, as a number: each message weighs some 100 bytes besides its content."""
    ping_interval: float = 25.0
    """Below the 30 s after which the strictest proxies and address translators in use forget a silent connection."""
    pong_timeout: float = 25.0
    """How long a peer may be silent after a ping: longer than a mobile network needs to hand over."""
    close_timeout: float = 5.0
    """How long the peer has for its close frame: a round trip on a bad mobile network; a drain must not wait longer.
    As long as that, answers to what came before a broken frame can still be sent."""
    slice_bytes: int = 128
    """Handled at once, or else one frame: 21 of the smallest.  A read that holds more frames waits for its turns."""
    turn_time: float = 0.00025
    """Of the turns that all links of a server take, before the others get theirs: as long as a request."""
    turn_share: float = 0.2
    """The part of the time for these turns: 25,000 of the smallest frames in a second, however many links send them."""


class Links:
    """The links of one server."""

    def __init__(self, limits: LinkLimits, timer: Timer, compression: Compression | None = None) -> None:
        self._limits = limits
        self._timer = timer
        self._compression = compression
        self._turns = Turns(timer, limits.turn_time, limits.turn_share)

    def open(self, host: LinkCarrier, head: RequestHead, peer: Peer) -> tuple[bytes, WebSocketLink]:
        """The answer to a handshake, and the link that follows it.  Raises RequestError as `wire.upgrade.accept`."""
        agreement = agree(head, self._compression)
        answer = accept(head, extensions=agreement and agreement.answer)
        link = WebSocketLink(host, head, peer, self._limits, self._timer, agreement=agreement, turns=self._turns)
        return answer, link


class WebSocketLink:
    """A `ports.Link`.  `close_code` is None until the connection is over; 1006 when it ended without a close frame."""

    __slots__ = (
        "_at", "_backlog", "_bell", "_burst", "_flusher", "_full", "_handle", "_heard", "_host", "_limits", "_over",
        "_paused", "_queue", "_queued", "_timer", "_turns", "_verdict", "_waits", "_ws", "close_code", "close_reason",
        "head", "peer",
    )  # fmt: skip

    def __init__(
        self,
        host: LinkCarrier,
        head: RequestHead,
        peer: Peer,
        limits: LinkLimits,
        timer: Timer,
        *,
        agreement: Agreement | None = None,
        turns: Turns | None = None,
    ) -> None:
        self.head = head
        self.peer = peer
        self.close_code: int | None = None
        self.close_reason = ""
        self._host = host
        self._limits = limits
        self._timer = timer
        self._ws = WebSocket(limits.max_message, agreement=agreement)
        self._queue: list[str | bytes] = []  # an empty deque would take 700 bytes more
        self._queued = 0
        self._burst = 0  # what was sent since the loop had its last turn
        self._full = False  # of messages that nobody has read
        self._backlog = b""  # read from the transport, and handled as far as `_at`
        self._at = 0
        self._waits = False  # for its turn
        self._turns = turns or Turns(timer, limits.turn_time, limits.turn_share)
        self._verdict: Closed | None = None  # on a broken frame, until the messages before it are read
        self._paused = False
        self._heard = False  # whether anything has come since the last ping
        self._bell = Bell(asyncio.get_running_loop())
        self._over: asyncio.Future[None] | None = None  # for who waits until it is closed
        self._flusher: asyncio.Task[None] | None = None
        self._handle: TimerHandle | None = None
        if limits.ping_interval > 0:
            self._arm(limits.ping_interval, self._ping)

    # For the handler

    def __aiter__(self) -> AsyncIterator[str | bytes]:
        return self

    async def __anext__(self) -> str | bytes:
        queue = self._queue
        while not queue:
            if self._verdict is not None and self.close_code is None:
                self._closed(self._verdict)
            if self.close_code is not None:
                raise StopAsyncIteration
            if self._bell.awaited:
                raise MisuseError("two tasks iterate over one WebSocket")
            self._burst = 0
            await self._bell
        message = queue.pop(0)
        self._queued -= len(message)
        if self._full:
            # Down to half of it, so that a full queue does not stop and start the transport for each message.
            limits = self._limits
            if 2 * self._queued <= limits.queue_bytes and 2 * len(queue) <= limits.queue_messages:
                self._full = False
                self._go_on()
        return message

    async def send(self, message: str | bytes) -> None:
        """Send one message; waits while the peer reads too slowly.  Raises PeerGone when the connection is over."""
        host, ws = self._host, self._ws
        if self.close_code is not None or ws.state is not _OPEN:
            self._require_open()
        frame = ws.send_text(message) if isinstance(message, str) else ws.send_binary(message)
        host.write(frame)
        self._burst = burst = self._burst + MESSAGE_COST + len(frame)
        if host.full:
            await host.drain()
        elif burst > TURN_BYTES:  # a sender that waits for nothing else: others want to be served
            self._burst = 0
            await asyncio.sleep(0)

    @property
    def full(self) -> bool:
        """See `ports.Link.full`."""
        return self._host.full

    def write(self, frames: bytes) -> None:
        """See `ports.Link.write`."""
        if self.close_code is not None or self._ws.state is not _OPEN:
            self._require_open()
        self._host.write(frames)

    async def drain(self) -> None:
        """See `ports.Link.drain`."""
        await self._host.drain()

    def limit(self, max_message: int) -> None:
        """See `ports.Link.limit`."""
        self._ws.limit(max_message)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame and wait for the peer's, `close_timeout` seconds at most.  Does no more when repeated.

        MisuseError for a `code` that must not be sent; a `reason` over 123 bytes is cut.
        """
        if self.close_code is None:
            if self._ws.state is _OPEN:
                self._host.write(self._ws.close(code, reason))
                self._arm(self._limits.close_timeout, self._give_up)
                self._full = False  # the peer's close frame may stand behind messages
                self._go_on()
            elif self._verdict is not None:
                self._closed(self._verdict)
                return
            if self._over is None:
                self._over = asyncio.get_running_loop().create_future()
            await asyncio.wait((self._over,))

    # For the connection

    def data_received(self, data: bytes) -> None:
        self._heard = True
        if not self._backlog and (message := self._ws.whole(data)) is not None:
            self._put(message)
            self._bell.ring_now()
        elif self._backlog:  # the transport gave more than it was asked for
            self._backlog += data
        elif len(data) <= self._limits.slice_bytes or len(data) <= self._ws.span(data):
            self._receive(data)
        else:
            self._backlog = data
            self._go_on()

    def _receive(self, data: bytes) -> None:
        owed = False
        for event in self._ws.receive(data):
            match event:
                case Text(message) | Binary(message):
                    self._put(message)
                    self._bell.ring()
                case Ping():
                    owed = True
                case Pong():
                    pass
                case Closed():
                    self._judge(event)
                    return
        if owed:
            self._answer()

    def _put(self, message: str | bytes) -> None:
        queue, limits = self._queue, self._limits
        queue.append(message)
        self._queued += len(message)
        if self._queued > limits.queue_bytes or len(queue) > limits.queue_messages:
            self._full = True
            self._read(wanted=False)

    def eof_received(self) -> None:
        """The peer has sent its FIN: without a close frame, nothing of the connection is left (RFC 6455, 7.1.5)."""
        while self._backlog and self.close_code is None:
            self._work()
        if self.close_code is None:
            self._closed(self._verdict or Closed(_ABNORMAL, ""))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._flusher is not None:
            self._flusher.cancel()
        self._finish(_ABNORMAL, "" if exc is None else str(exc))

    # Inside

    def _go_on(self) -> None:
        """Handle what was read before anything more is read."""
        if self._backlog and not self._full and not self._waits:
            self._waits = True
            self._turns.add(self._work)
        self._read(wanted=not self._backlog and not self._full and self._verdict is None)

    def _work(self) -> bool:
        """Handle a slice of the backlog; whether to be called for more."""
        if backlog := self._backlog:  # the connection may be over
            start = self._at
            self._at = end = start + max(self._limits.slice_bytes, self._ws.span(backlog, start))
            if end >= len(backlog):
                self._backlog, self._at = b"", 0
            self._receive(backlog[start:end])
        self._waits = bool(self._backlog) and not self._full
        if not self._waits:
            self._go_on()
        return self._waits

    def _require_open(self) -> None:
        if self.close_code is not None or (self._ws.state is not _OPEN and self._ws.state is not _FAILING):
            raise PeerGone("the WebSocket is closed")

    def _read(self, *, wanted: bool) -> None:
        if self._paused is wanted and self.close_code is None:
            self._paused = not wanted
            self._host.set_reading(wanted)

    def _answer(self) -> None:
        """Write the pongs that are owed; while the peer does not read, they stay where their number is bounded."""
        if not self._host.full:
            self._host.write(self._ws.outgoing())
        elif self._flusher is None:
            self._flusher = asyncio.get_running_loop().create_task(self._answer_later())

    async def _answer_later(self) -> None:
        try:
            await self._host.drain()
            if self._verdict is None:  # else with the close frame
                self._host.write(self._ws.outgoing())
        except PeerGone:
            pass  # `connection_lost` tells everybody
        finally:
            self._flusher = None

    def _judge(self, closed: Closed) -> None:
        """No more frames from the peer.  After a broken one, what answers the messages before it still goes out."""
        self._backlog, self._at = b"", 0
        if self._ws.state is not _FAILING or not self._queue:
            self._closed(closed)
            return
        self._verdict = closed
        self._read(wanted=False)
        self._arm(self._limits.close_timeout, lambda: self._closed(closed))
        self._bell.ring()

    def _closed(self, closed: Closed) -> None:
        self._host.write(self._ws.outgoing())
        self._finish(closed.code, closed.reason)
        self._host.close()

    def _finish(self, code: int, reason: str) -> None:
        self._backlog, self._at = b"", 0
        if self.close_code is None:
            if self._verdict is not None:
                code, reason = self._verdict.code, self._verdict.reason
            self.close_code = code
            self.close_reason = reason
            if self._handle is not None:
                self._handle.cancel()
            self._bell.ring()
            if self._over is not None:
                self._over.set_result(None)

    def _give_up(self) -> None:
        self._finish(_ABNORMAL, "the peer did not answer the close frame in time")
        self._host.abort()

    # The heartbeat: one timer, which waits for the next ping or for a sign of life after it

    def _arm(self, after: float, callback: Callable[[], None]) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._timer.call_at(self._timer.time() + after, callback)

    def _ping(self) -> None:
        limits = self._limits
        if self._host.full:  # the ping would wait behind what the peer has not read; the host sees to such a peer
            self._arm(limits.ping_interval, self._ping)
            return
        self._heard = False
        self._host.write(self._ws.ping())
        self._arm(limits.pong_timeout, self._expect_life)

    def _expect_life(self) -> None:
        """Whatever came since the ping proves that the peer lives, a pong or anything else."""
        limits = self._limits
        if self._heard:
            self._arm(max(0.0, limits.ping_interval - limits.pong_timeout), self._ping)
        elif self._paused or self._host.full:  # it may have answered and we do not read, or not have got the ping
            self._arm(limits.pong_timeout, self._expect_life)
        else:
            self._finish(_ABNORMAL, f"no pong within {limits.pong_timeout:g} s")
            self._host.abort()
