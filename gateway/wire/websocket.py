"""One WebSocket after its handshake: bytes to events and back, without I/O (RFC 6455).

The only file that imports wsproto.  Of wsproto it takes the frame decoder, which holds section 5.2 (reserved bits and
opcodes, masking, shortest lengths, control frames); messages are put together here, because wsproto's own assembly
decodes text before anybody could count it, defers some invalid UTF-8 to the next frame and refuses close code 1014.

    state     what happened                            next
    OPEN      close(): our close frame is written      CLOSING
    OPEN      the peer's close frame, or a violation   CLOSED (the answer is in `outgoing`)
    CLOSING   the peer's close frame, or a violation   CLOSED
"""

from __future__ import annotations

from codecs import IncrementalDecoder, getincrementaldecoder
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from struct import pack
from typing import TypeAlias

from wsproto.frame_protocol import CloseReason, FrameDecoder, Opcode, ParseFailed, XorMaskerSimple

from ..errors import MisuseError

__all__ = ["Binary", "Closed", "Event", "Ping", "Pong", "State", "Text", "WebSocket"]

# Frames in one message.  The fragments themselves are free of overhead here, but each costs time, an empty one too.
# Twice what the Autobahn test suite sends (4 MiB in fragments of 64 bytes).
_MAX_FRAMES = 131_072

# Pings that may wait for their pong; of more, the oldest go unanswered, which section 5.5.3 allows.  8 KiB at most.
_MAX_PONGS = 64

_MAX_CONTROL = 125  # section 5.5
_MAX_REASON = _MAX_CONTROL - 2


class State(Enum):
    OPEN = auto()
    CLOSING = auto()
    CLOSED = auto()


@dataclass(frozen=True, slots=True)
class Text:
    """A complete text message."""

    data: str


@dataclass(frozen=True, slots=True)
class Binary:
    """A complete binary message."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Ping:
    """A ping; its pong is in `outgoing`."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    data: bytes


@dataclass(frozen=True, slots=True)
class Closed:
    """Always the last event.  The peer's close code, 1005 where it gave none; for a violation, the code we answer."""

    code: int
    reason: str


Event: TypeAlias = Text | Binary | Ping | Pong | Closed


class WebSocket:
    """Reads what the peer sends, writes what we send.

    `receive` never raises on what a peer sends, and how the bytes are cut never changes the events.  After it,
    `outgoing()` holds what the protocol demands to be written back.  A message over `max_message` bytes closes with
    1009.  A client passes as `mask` where its masking keys come from: 4 bytes that nobody can predict (section 5.3).
    """

    __slots__ = (
        "_decoder",
        "_frames",
        "_fresh",
        "_mask",
        "_max_message",
        "_parts",
        "_pongs",
        "_reply",
        "_size",
        "state",
    )

    def __init__(self, max_message: int, mask: Callable[[], bytes] | None = None) -> None:
        self.state = State.OPEN
        self._max_message = max_message
        self._mask = mask
        self._decoder = FrameDecoder(client=mask is not None)
        self._fresh = True  # whether the next thing the decoder finds is the beginning of a frame
        self._parts: _Parts | None = None  # of the message that is not complete
        self._size = 0  # of that message, with all of the frame that is under way
        self._frames = 0
        self._pongs: deque[bytes] | None = None
        self._reply = b""

    def receive(self, data: bytes) -> list[Event]:
        """The events in `data`.  A message that was good before a bad frame comes before the Closed of that frame."""
        events: list[Event] = []
        decoder = self._decoder
        if (
            self._mask is None
            and self._fresh
            and self._parts is None
            and self.state is State.OPEN
            and not decoder.buffer
        ):
            text = _whole_text(data)
            if text is not None and len(data) - 6 <= self._max_message:
                return [Text(text)]
        if self.state is not State.CLOSED:
            decoder.receive_bytes(data)
        try:
            while self.state is not State.CLOSED:
                frame = decoder.process_buffer()
                if self._fresh:
                    header = decoder.header  # None again once the frame is complete
                    if header is not None:
                        self._begin(header.opcode, header.payload_len)
                    elif frame is not None:
                        self._begin(frame.opcode, decoder.payload_consumed)
                    else:
                        break
                    self._fresh = False
                if frame is None:
                    break
                self._fresh = frame.frame_finished
                assert isinstance(frame.payload, bytes)
                event = self._event(frame.opcode, frame.payload, frame.frame_finished and frame.message_finished)
                if event is not None:
                    events.append(event)
        except ParseFailed as violation:
            events.append(self._fail(violation.code, str(violation)))
        return events

    def outgoing(self) -> bytes:
        """What has to be written back by now, pongs and the answering close frame; empty if nothing.  Takes it out."""
        if not self._pongs:
            data = b""
        else:
            data = b"".join([self._frame(0x80 | Opcode.PONG, payload) for payload in self._pongs])
            self._pongs = None
        data += self._reply
        self._reply = b""
        return data

    def send_text(self, text: str) -> bytes:
        """A text message.  Raises MisuseError for text that UTF-8 cannot carry (half a surrogate pair)."""
        self._require_open()
        try:
            return self._frame(0x80 | Opcode.TEXT, text.encode())
        except UnicodeEncodeError as error:
            raise MisuseError(
                f"half a surrogate pair at {error.start} of a text message: send whole characters"
            ) from error

    def send_binary(self, data: bytes) -> bytes:
        self._require_open()
        return self._frame(0x80 | Opcode.BINARY, data)

    def ping(self, payload: bytes = b"") -> bytes:
        """A ping; `payload`, up to 125 bytes, comes back in the Pong."""
        self._require_open()
        if len(payload) > _MAX_CONTROL:
            raise MisuseError(f"a ping takes {_MAX_CONTROL} bytes at most")
        return self._frame(0x80 | Opcode.PING, payload)

    def close(self, code: int, reason: str = "") -> bytes:
        """Our close frame, after the pongs that are still owed.  What the peer sends until its own is discarded.

        A `reason` over 123 bytes is cut at a character.  MisuseError for a code that must not be sent (section 7.4).
        """
        self._require_open()
        if not _may_be_sent(code):
            raise MisuseError(f"{code} is not a close code that may be sent: take 1000, 1001, 1011 or 4000 to 4999")
        data = self.outgoing() + self._close_frame(code, reason)
        self.state = State.CLOSING
        self._parts = None
        return data

    def _begin(self, opcode: Opcode, length: int) -> None:
        """Check a frame by its header, before any of its payload is kept: then the verdict cannot depend on cuts."""
        if opcode.iscontrol() or self.state is State.CLOSING:
            return
        if opcode is Opcode.CONTINUATION:
            if self._parts is None:
                raise ParseFailed("a continuation frame without a message to continue")
        elif self._parts is not None:
            raise ParseFailed("a new message inside an unfinished one")
        else:
            self._parts = _Parts(opcode is Opcode.TEXT)
            self._size = self._frames = 0
        self._size += length
        self._frames += 1
        if self._size > self._max_message:
            raise ParseFailed(f"a message is longer than {self._max_message} bytes", CloseReason.MESSAGE_TOO_BIG)
        if self._frames > _MAX_FRAMES:
            raise ParseFailed(f"a message has more than {_MAX_FRAMES} frames", CloseReason.MESSAGE_TOO_BIG)

    def _event(self, opcode: Opcode, payload: bytes, complete: bool) -> Event | None:
        """`payload` is a piece of a data frame, or a whole control frame."""
        if opcode is Opcode.PING:
            # Nothing follows our close frame; the peer answers that one, not a pong behind it.
            if self.state is State.OPEN:
                if self._pongs is None:
                    self._pongs = deque(maxlen=_MAX_PONGS)
                self._pongs.append(payload)
            return Ping(payload)
        if opcode is Opcode.PONG:
            return Pong(payload)
        if opcode is Opcode.CLOSE:
            return self._peer_closes(payload)
        parts = self._parts
        if parts is None:  # we are closing: nobody reads messages any more
            return None
        if not complete:
            parts.add(payload)
            return None
        self._parts = None
        return parts.finish(payload)

    def _peer_closes(self, payload: bytes) -> Closed:
        code, reason = CloseReason.NO_STATUS_RCVD.value, ""
        if payload:
            code = int.from_bytes(payload[:2], "big")
            if not _may_be_sent(code):  # a payload of one byte, which is half a code, among them
                raise ParseFailed(f"a close frame with the code {code}")
            try:
                reason = payload[2:].decode()
            except UnicodeDecodeError:
                raise ParseFailed(
                    "invalid UTF-8 in the reason of a close frame", CloseReason.INVALID_FRAME_PAYLOAD_DATA
                ) from None
        if self.state is State.OPEN:
            self._reply = self._frame(0x80 | Opcode.CLOSE, payload[:2])
        return self._end(code, reason)

    def _fail(self, code: int, reason: str) -> Closed:
        """Section 7.1.7: fail the connection."""
        if self.state is State.OPEN:
            self._reply = self._close_frame(code, reason)
        return self._end(int(code), reason)

    def _end(self, code: int, reason: str) -> Closed:
        self.state = State.CLOSED
        self._parts = None
        self._decoder = FrameDecoder(client=self._mask is not None)  # lets go of what it had buffered
        return Closed(code, reason)

    def _require_open(self) -> None:
        if self.state is not State.OPEN:
            raise MisuseError(f"nothing can be sent in state {self.state.name}")

    def _close_frame(self, code: int, reason: str) -> bytes:
        text = reason.encode("utf-8", "replace")[:_MAX_REASON].decode("utf-8", "ignore").encode()
        return self._frame(0x80 | Opcode.CLOSE, pack("!H", code) + text)

    def _frame(self, first: int, payload: bytes) -> bytes:
        """Section 5.2.  Our own: wsproto copies a payload five times where once is enough."""
        length = len(payload)
        masked = 0 if self._mask is None else 0x80
        if length < 126:
            header = bytes((first, masked | length))
        elif length < 65_536:
            header = pack("!BBH", first, masked | 126, length)
        else:
            header = pack("!BBQ", first, masked | 127, length)
        if self._mask is None:
            return header + payload
        key = self._mask()
        return b"".join((header, key, XorMaskerSimple(key).process(bytearray(payload))))


class _Parts:
    """A message while it arrives: one buffer, so that a million fragments weigh what their bytes weigh.

    Raises ParseFailed as soon as no continuation could make a text valid.
    """

    __slots__ = ("_data", "_is_text", "_utf8")

    def __init__(self, is_text: bool) -> None:
        self._is_text = is_text
        self._data: bytearray | None = None
        self._utf8: IncrementalDecoder  # as `_data`, made only for a message that comes in pieces

    def add(self, payload: bytes, complete: bool = False) -> None:
        if self._data is None:
            self._data = bytearray()
            self._utf8 = getincrementaldecoder("utf-8")()
        self._data += payload
        if not self._is_text:
            return
        try:
            self._utf8.decode(payload, complete)
        except UnicodeDecodeError:
            raise _not_utf8() from None
        pending = self._utf8.getstate()[0]
        if pending[:1] == b"\xed" and pending[1:2] > b"\x9f":  # half a surrogate pair, which Python decides on later
            raise _not_utf8()

    def finish(self, payload: bytes) -> Text | Binary:
        if self._data is not None:
            self.add(payload, complete=True)
            return Text(self._data.decode()) if self._is_text else Binary(bytes(self._data))
        if not self._is_text:
            return Binary(payload)
        try:
            return Text(payload.decode())
        except UnicodeDecodeError:
            raise _not_utf8() from None


def _whole_text(data: bytes) -> str | None:
    """The text in `data`, if that is one whole masked text frame of at most 65,535 bytes, which most reads are.

    Everything else, all that is wrong included, is left to the long way, which costs a small message six times as much.
    """
    payload: bytes | bytearray
    size = len(data)
    if size < 6 or data[0] != 0x81:
        return None
    if size < 132:
        length = size - 6
        if data[1] != 0x80 | length:
            return None
        # Quicker than wsproto's masker up to 1 KiB.
        key = (data[2:6] * (length // 4 + 1))[:length]
        payload = (int.from_bytes(data[6:]) ^ int.from_bytes(key)).to_bytes(length)
    elif size >= 134 and data[1] == 0xFE and int.from_bytes(data[2:4]) == size - 8:
        payload = XorMaskerSimple(data[4:8]).process(bytearray(data[8:]))
    else:
        return None
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return None


def _may_be_sent(code: int) -> bool:
    """Section 7.4 and https://www.iana.org/assignments/websocket: the codes that a close frame may carry."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


def _not_utf8() -> ParseFailed:
    return ParseFailed("invalid UTF-8 in a text message", CloseReason.INVALID_FRAME_PAYLOAD_DATA)
