"""One WebSocket after its handshake: bytes to events and back, without I/O (RFC 6455).

The only file that imports wsproto.  Of wsproto it takes the frame decoder, which holds section 5.2 (reserved bits and
opcodes, masking, shortest lengths, control frames); messages are put together here, because wsproto's own assembly
decodes text before anybody could count it, defers some invalid UTF-8 to the next frame and refuses close code 1014.

    state     what happened                            next
    OPEN      close(): our close frame is written      CLOSING
    OPEN      the peer's close frame                   CLOSED (the answer is in `outgoing`)
    OPEN      a violation                              FAILING (nothing more is read; we may still send)
    FAILING   `outgoing` takes our close frame out     CLOSED
    CLOSING   the peer's close frame, or a violation   CLOSED
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct, pack
from typing import TypeAlias

from wsproto.extensions import Extension
from wsproto.frame_protocol import (
    CloseReason,
    FrameDecoder,
    FrameProtocol,
    Opcode,
    ParseFailed,
    RsvBits,
)

from ..errors import MisuseError
from ..records import Enum
from .deflate import Deflater, Inflater
from .extensions import Agreement
from .masking import mask
from .message import Assembly, Fault

__all__ = ["Binary", "Closed", "Event", "Ping", "Pong", "State", "Text", "WebSocket", "text_head"]

# Pings that may wait for their pong; of more, the oldest go unanswered, which section 5.5.3 allows.  8 KiB at most.
_MAX_PONGS = 64

_MAX_CONTROL = 125  # section 5.5
_MAX_REASON = _MAX_CONTROL - 2

# A masked frame up to its payload: both bytes, and the key; or, after these bytes, a length of 16 bits, and the key.
_short_header = Struct("!BBI").unpack_from
_longer_header = Struct("!HI").unpack_from
_TEXT, _BINARY = 0x80 | Opcode.TEXT, 0x80 | Opcode.BINARY  # first bytes of whole messages
# Made once, which is five times as quick.
_TEXT_HEADS = tuple(bytes((_TEXT, length)) for length in range(126))


class State(Enum):
    OPEN = "open"
    FAILING = "failing"
    CLOSING = "closing"
    CLOSED = "closed"


_OPEN, _FAILING, _CLOSING, _CLOSED = State


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
    `agreement` tells what was agreed upon about compression.
    """

    __slots__ = (
        "_decoder", "_deflater", "_fresh", "_inflater", "_mask", "_max_message", "_message", "_pongs", "_reply",
        "_rsv1", "state",
    )  # fmt: skip

    def __init__(
        self, max_message: int, mask: Callable[[], bytes] | None = None, agreement: Agreement | None = None
    ) -> None:
        self.state = _OPEN
        self._max_message = max_message
        self._mask = mask
        self._rsv1: _Rsv1 | None = None
        self._deflater: Deflater | None = None
        self._inflater: Inflater | None = None
        if agreement is not None:
            self._rsv1 = _Rsv1()
            server = (agreement.server_bits, agreement.server_takeover)
            client = (agreement.client_bits, agreement.client_takeover)
            ours, theirs = (server, client) if mask is None else (client, server)
            self._deflater = Deflater(*ours, agreement.compression)
            self._inflater = Inflater(*theirs)
        # Only while a frame or a message is under way: most never are, since a read is mostly one whole message.
        self._decoder: FrameDecoder | None = None
        self._fresh = True  # whether the next thing the decoder finds is the beginning of a frame
        self._message: Assembly | None = None  # the one that is not complete
        self._pongs: deque[bytes] | None = None
        self._reply = b""

    def limit(self, max_message: int) -> None:
        """The size that messages may have from now on, in bytes."""
        self._max_message = max_message

    def receive(self, data: bytes) -> list[Event]:
        """The events in `data`.  A message that was good before a bad frame comes before the Closed of that frame."""
        message = self.whole(data)
        if message is not None:
            return [Text(message) if isinstance(message, str) else Binary(message)]
        if not data or not (self.state is _OPEN or self.state is _CLOSING):
            return []
        events: list[Event] = []
        decoder = self._decoder
        if decoder is None:
            decoder = self._decoder = FrameDecoder(self._mask is not None, None if self._rsv1 is None else [self._rsv1])
        decoder.receive_bytes(data)
        try:
            while self.state is _OPEN or self.state is _CLOSING:
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
                event = self._event(frame.opcode, frame.payload, frame.frame_finished, frame.message_finished)
                if event is not None:
                    events.append(event)
        except (ParseFailed, Fault) as violation:
            events.append(self._fail(violation.code, str(violation)))
        if self._fresh and self._message is None and not decoder.buffer:
            self._decoder = None
        return events

    def whole(self, data: bytes) -> str | bytes | None:
        """The message in `data`, where that is one whole masked frame with a whole message, as most reads are.

        None for all else, and all that is wrong, which is left to `receive`: there a small message costs six times as
        much.
        """
        size = len(data)
        if size < 6 or self._decoder is not None or self.state is not _OPEN or self._mask is not None:
            return None
        first, second, key = _short_header(data)
        is_text = first == _TEXT
        if not is_text and first != _BINARY:
            return None
        start = 6
        if second < 0xFE:
            if second != size + (0x80 - 6):
                return None
        elif second == 0xFE and size >= 134:  # with fewer bytes the length would not be the shortest
            length, key = _longer_header(data, 2)
            start = 8
            if length != size - 8:
                return None
        else:
            return None
        if size - start > self._max_message:
            return None
        payload = mask(key, data, start)
        try:
            return payload.decode() if is_text else bytes(payload)
        except UnicodeDecodeError:
            return None

    def span(self, data: bytes, start: int = 0) -> int:
        """How many bytes, from `start` of `data` on, belong to the frame that is under way there.

        Handling those costs little; 0 where nothing of the kind can be said.
        """
        decoder = self._decoder
        if self._rsv1 is not None:  # inflating costs what it likes
            return 0
        if decoder is not None:
            if decoder.header is not None:
                return decoder.header.payload_len - decoder.payload_consumed - len(decoder.buffer)
            if decoder.buffer:
                return 0
        if len(data) - start < 2:
            return 0
        length = data[start + 1] & 0x7F
        if length < 126:
            return 6 + length
        if length == 126:
            return 8 + int.from_bytes(data[start + 2 : start + 4])
        return 14 + int.from_bytes(data[start + 2 : start + 10])

    def outgoing(self) -> bytes:
        """What has to be written back by now, pongs and the answering close frame; empty if nothing.  Takes it out.

        After a violation, what answers the messages before it can still be sent: until this is called.
        """
        if not self._pongs:
            data = b""
        else:
            data = b"".join([self._frame(0x80 | Opcode.PONG, payload) for payload in self._pongs])
            self._pongs = None
        data += self._reply
        self._reply = b""
        if self.state is _FAILING:
            self.state = _CLOSED
        return data

    def send_text(self, text: str) -> bytes:
        """A text message.  Raises MisuseError for text that UTF-8 cannot carry (half a surrogate pair)."""
        if self.state is not _OPEN:
            self._require_open()
        try:
            payload = text.encode()
        except UnicodeEncodeError as error:
            raise MisuseError(
                f"half a surrogate pair at {error.start} of a text message: send whole characters"
            ) from error
        if self._deflater is None and self._mask is None:
            length = len(payload)
            return (_TEXT_HEADS[length] if length < 126 else _head(_TEXT, 0, length)) + payload
        return self._data(Opcode.TEXT, payload)

    def send_binary(self, data: bytes) -> bytes:
        self._require_open()
        return self._data(Opcode.BINARY, data)

    def ping(self, payload: bytes = b"") -> bytes:
        """A ping; `payload`, up to 125 bytes, comes back in the Pong."""
        self._require_open()
        if len(payload) > _MAX_CONTROL:
            raise MisuseError(f"a ping takes {_MAX_CONTROL} bytes at most")
        return self._frame(0x80 | Opcode.PING, payload)

    def close(self, code: int, reason: str = "") -> bytes:
        """Our close frame, after the pongs that are still owed.  What the peer sends until its own is discarded.

        After a violation the frame tells of that, whatever is given here.  A `reason` over 123 bytes is cut at a
        character.  MisuseError for a code that must not be sent (section 7.4).
        """
        self._require_open()
        if not _may_be_sent(code):
            raise MisuseError(f"{code} is not a close code that may be sent: take 1000, 1001, 1011 or 4000 to 4999")
        if self.state is _FAILING:
            return self.outgoing()
        data = self.outgoing() + self._close_frame(code, reason)
        self.state = _CLOSING
        self._message = None
        return data

    def _begin(self, opcode: Opcode, length: int) -> None:
        """Check a frame by its header, before any of its payload is kept: then the verdict cannot depend on cuts."""
        if opcode.iscontrol() or self.state is _CLOSING:
            return
        if opcode is Opcode.CONTINUATION:
            if self._message is None:
                raise ParseFailed("a continuation frame without a message to continue")
        elif self._message is not None:
            raise ParseFailed("a new message inside an unfinished one")
        else:
            compressed = self._rsv1 is not None and self._rsv1.seen
            inflater = self._inflater if compressed else None
            self._message = Assembly(opcode is Opcode.TEXT, self._max_message, inflater)
        self._message.frame(length)

    def _event(self, opcode: Opcode, payload: bytes, frame_over: bool, final: bool) -> Event | None:
        """`payload` is a piece of a data frame, or a whole control frame; the message is over with a `final` one."""
        if opcode is Opcode.PING:
            # Nothing follows our close frame; the peer answers that one, not a pong behind it.
            if self.state is _OPEN:
                if self._pongs is None:
                    self._pongs = deque(maxlen=_MAX_PONGS)
                self._pongs.append(payload)
            return Ping(payload)
        if opcode is Opcode.PONG:
            return Pong(payload)
        if opcode is Opcode.CLOSE:
            return self._peer_closes(payload)
        message = self._message
        if message is None:  # we are closing: nobody reads messages any more
            return None
        if not (frame_over and final):
            message.add(payload, frame_over)
            return None
        self._message = None
        data = message.finish(payload)
        return Text(data) if isinstance(data, str) else Binary(data)

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
        if self.state is _OPEN:
            self._reply = self._frame(0x80 | Opcode.CLOSE, payload[:2])
        return self._end(code, reason)

    def _fail(self, code: int, reason: str) -> Closed:
        """Section 7.1.7: fail the connection."""
        if self.state is _CLOSING:
            return self._end(int(code), reason)
        self._reply = self._close_frame(code, reason)
        return self._end(int(code), reason, _FAILING)

    def _end(self, code: int, reason: str, state: State = _CLOSED) -> Closed:
        self.state = state
        # Lets go of what had come.
        self._message = self._inflater = self._decoder = None
        return Closed(code, reason)

    def _require_open(self) -> None:
        if self.state is not _OPEN and self.state is not _FAILING:
            raise MisuseError(f"nothing can be sent in state {self.state.name}")

    def _data(self, opcode: int, payload: bytes) -> bytes:
        if self._deflater is not None:
            deflated = self._deflater.message(payload)
            if deflated is not None:
                return self._frame(0xC0 | opcode, deflated)
        return self._frame(0x80 | opcode, payload)

    def _close_frame(self, code: int, reason: str) -> bytes:
        text = reason.encode("utf-8", "replace")[:_MAX_REASON].decode("utf-8", "ignore").encode()
        return self._frame(0x80 | Opcode.CLOSE, pack("!H", code) + text)

    def _frame(self, first: int, payload: bytes) -> bytes:
        """Section 5.2.  Our own: wsproto copies a payload five times where once is enough."""
        if self._mask is None:
            return _head(first, 0, len(payload)) + payload
        key = self._mask()
        return b"".join((_head(first, 0x80, len(payload)), key, mask(int.from_bytes(key), payload)))


def text_head(length: int) -> bytes:
    """What goes before `length` bytes of UTF-8 to make them a text message of a server, for `Link.write`."""
    return _TEXT_HEADS[length] if length < 126 else _head(_TEXT, 0, length)


def _head(first: int, masked: int, length: int) -> bytes:
    if length < 126:
        return bytes((first, masked | length))
    if length < 65_536:
        return pack("!BBH", first, masked | 126, length)
    return pack("!BBQ", first, masked | 127, length)


class _Rsv1(Extension):
    """Lets wsproto's decoder take the bit of a compressed message, on its first frame only (RFC 7692, section 6)."""

    seen = False
    """On the frame that was begun last."""

    def offer(self) -> bool:
        return False  # the handshake is not wsproto's

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> RsvBits:
        del proto, payload_length
        self.seen = rsv.rsv1
        return RsvBits(opcode is Opcode.TEXT or opcode is Opcode.BINARY, rsv2=False, rsv3=False)


def _may_be_sent(code: int) -> bool:
    """Section 7.4 and https://www.iana.org/assignments/websocket: the codes that a close frame may carry."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999
