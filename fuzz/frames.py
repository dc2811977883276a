"""WebSocket frames as websockets and wsproto read them, and the reasoned list of where they may differ from us."""

from __future__ import annotations

from codecs import IncrementalDecoder, getincrementaldecoder
from collections.abc import Callable, Iterator
from itertools import pairwise, product
from typing import NamedTuple

from websockets.extensions.permessage_deflate import PerMessageDeflate as TheirDeflate
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import Protocol, Side
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage
from wsproto.events import Ping as TheirPing
from wsproto.events import Pong as TheirPong
from wsproto.extensions import Extension, PerMessageDeflate

from gateway.wire.extensions import Agreement
from gateway.wire.websocket import Binary, Closed, Event, Ping, Pong, Text, WebSocket

__all__ = [
    "LIMIT",
    "Piece",
    "Reader",
    "Reading",
    "as_websockets",
    "as_wsproto",
    "compare",
    "frames_of",
    "hopeless",
    "one_by_one",
    "split",
]

LIMIT = 65_536
"""Of a message, in bytes, for all readers."""


HEADER = b"\0" * 14
"""As much as the rest of a header can have."""


class Reading(NamedTuple):
    """What a reader made of an input: messages and control frames, and the close code, None while it is open."""

    events: list[Event]
    code: int | None
    reason: str = ""

    @classmethod
    def of(cls, events: list[Event]) -> Reading:
        if events and isinstance(closed := events[-1], Closed):
            return cls(events[:-1], closed.code, closed.reason)
        return cls(events, None)


class Reader(NamedTuple):
    """Who reads: a server or a client, after what was agreed upon about compression."""

    server: bool
    agreement: Agreement | None = None

    @property
    def other(self) -> Reader:
        return self._replace(server=not self.server)

    def ours(self, limit: int = LIMIT) -> WebSocket:
        return WebSocket(limit, None if self.server else _mask, self.agreement)

    def websockets(self) -> Protocol:
        protocol = Protocol(Side.SERVER if self.server else Side.CLIENT, max_size=LIMIT)
        if (agreed := self.agreement) is not None:
            client, server = (not agreed.client_takeover, not agreed.server_takeover)
            bits = (agreed.client_bits, agreed.server_bits)
            remote, local = ((client, server), bits) if self.server else ((server, client), bits[::-1])
            protocol.extensions = [TheirDeflate(*remote, *local)]
        return protocol

    def wsproto(self) -> Connection:
        extensions: list[Extension] = []
        if (agreed := self.agreement) is not None:
            extension = PerMessageDeflate(
                not agreed.client_takeover, agreed.client_bits, not agreed.server_takeover, agreed.server_bits
            )
            extension._enabled = True
            extensions.append(extension)
        return Connection(ConnectionType.SERVER if self.server else ConnectionType.CLIENT, extensions)


def _mask() -> bytes:
    return b"\x01\x80\xff\x7f"


def frames_of(data: bytes, reader: Reader) -> tuple[list[Frame], Protocol]:
    """The frames that websockets finds."""
    protocol = reader.websockets()
    protocol.receive_data(data)
    return [event for event in protocol.events_received() if isinstance(event, Frame)], protocol


def as_websockets(data: bytes, reader: Reader) -> Reading:
    """Putting messages together, and decoding them, websockets leaves to its callers: that is done here."""
    frames, protocol = frames_of(data, reader)
    events: list[Event] = []
    parts = b""
    is_text = False
    for frame in frames:
        payload = bytes(frame.data)
        match frame.opcode:
            case Opcode.PING:
                events.append(Ping(payload))
            case Opcode.PONG:
                events.append(Pong(payload))
            case Opcode.CLOSE:
                close = Close.parse(payload)
                return Reading(events, int(close.code), close.reason)
            case opcode:
                if opcode is not Opcode.CONT:
                    parts, is_text = b"", opcode is Opcode.TEXT
                parts += payload
                if not frame.fin:
                    continue
                try:
                    events.append(Text(parts.decode()) if is_text else Binary(parts))
                except UnicodeDecodeError:
                    return Reading(events, 1007, "a text that is not UTF-8")
    if protocol.parser_exc is not None:
        assert protocol.close_sent is not None
        return Reading(events, int(protocol.close_sent.code), str(protocol.parser_exc))
    return Reading(events, None)


def as_wsproto(data: bytes, reader: Reader) -> Reading:
    connection = reader.wsproto()
    connection.receive_data(data)
    events: list[Event] = []
    texts: list[str] = []
    parts: list[bytes] = []
    for event in connection.events():
        match event:
            case TheirPing(payload):
                events.append(Ping(bytes(payload)))
            case TheirPong(payload):
                events.append(Pong(bytes(payload)))
            case CloseConnection(code, reason):
                return Reading(events, int(code), reason or "")
            case TextMessage(text):
                texts.append(text)
                if event.message_finished:
                    events.append(Text("".join(texts)))
                    texts.clear()
            case BytesMessage(piece):
                parts.append(bytes(piece))
                if event.message_finished:
                    events.append(Binary(b"".join(parts)))
                    parts.clear()
            case _:
                raise AssertionError(f"an event of a handshake: {event}")
    return Reading(events, None)


def compare(read: Callable[[bytes], Reading], theirs: Reading, data: bytes, reader: Reader) -> None:
    """The same messages in the same order; where one of us stops, so does the other, or `_why` says why not."""
    ours = read(data)
    if ours.code is None and theirs.code in {1002, 1009} and read(data + HEADER).code in {1002, 1009}:
        return  # we judge a header when it is complete, the others each part of it
    both = min(len(ours.events), len(theirs.events))
    assert ours.events[:both] == theirs.events[:both], f"ours {ours}\ntheirs {theirs}"
    if ours.code != theirs.code or len(ours.events) != len(theirs.events):
        assert _why(ours, theirs, data, reader), f"ours {ours}\ntheirs {theirs}\n{data!r}"


def _why(ours: Reading, theirs: Reading, data: bytes, reader: Reader) -> str:
    stops_first = len(ours.events) <= len(theirs.events)
    if "incomplete fragmented message" in theirs.reason:
        return "websockets refuses a close frame within a message, where RFC 6455, 5.4 lets control frames stand"
    if theirs.code == 1002 and ours.code in {1007, 1014} and _closes_with(1014, data, reader):
        return "IANA has registered 1014, and wsproto does not know it"
    if not stops_first or ours.code is None:
        return ""
    if ours.code == 1007 and hopeless(data, reader):
        return "a text fails in the frame that breaks it, which the others notice at its end, or at the next frame"
    if ours.code == 1009:
        return "a message is too long as soon as a header says so; wsproto has no limit"
    if any(words in ours.reason for words in ("would have sufficed", "MSB", "payload len > 125")):
        return "websockets takes lengths that are not the shortest, which RFC 6455, 5.2 forbids"
    if len(ours.events) == len(theirs.events) and ours.code == 1002:
        if theirs.code is None:
            return "a frame is judged by its header, which websockets does when it has its payload"
        if theirs.code == 1009:
            return "a frame that is too long and wrong besides"
        if "a close frame with the code" in ours.reason and theirs.code == 1007:
            return "a close frame whose code and whose reason are wrong"
    return ""


def _closes_with(code: int, data: bytes, reader: Reader) -> bool:
    first = next((piece for piece in split(data, reader) if piece.opcode == 8), None)
    return first is not None and first.payload[:2] == code.to_bytes(2)


class Piece(NamedTuple):
    """A frame as far as it has come, unmasked; `reserved` are its bits RSV1 to RSV3, `end` where it ends."""

    fin: bool
    reserved: int
    opcode: int
    payload: bytes
    whole: bool
    end: int


def split(data: bytes, reader: Reader) -> Iterator[Piece]:
    """The frames in `data`, the last one too if its header has come.  Nothing is judged: that has been done."""
    pos = 0
    while pos + 2 <= len(data):
        first, length = data[pos], data[pos + 1] & 127
        pos += 2
        if length > 125:
            extended = 2 if length == 126 else 8
            if pos + extended > len(data):
                return
            length = int.from_bytes(data[pos : pos + extended])
            pos += extended
        key = data[pos : pos + 4] if reader.server else b"\0"
        if reader.server:
            pos += 4
        if pos > len(data):
            return
        payload = bytes(byte ^ key[at % len(key)] for at, byte in enumerate(data[pos : pos + length]))
        pos += length
        yield Piece(first >= 0x80, first >> 4 & 7, first & 15, payload, pos <= len(data), pos)


def one_by_one(data: bytes, reader: Reader) -> list[bytes]:
    """The input, cut where its frames end: as most reads are."""
    ends = [0, *(piece.end for piece in split(data, reader) if piece.whole), len(data)]
    return [data[start:end] for start, end in pairwise(ends)]


def hopeless(data: bytes, reader: Reader) -> bool:
    """Whether a text message in `data`, as far as it has come, can no longer become valid UTF-8."""
    is_text, text = False, b""
    for piece in split(data, reader):
        if piece.opcode > 2:
            continue
        if piece.opcode:
            is_text, text = piece.opcode == 1, b""
        text += piece.payload
        if is_text and (not _decodes(text) if piece.fin and piece.whole else not _continues(text)):
            return True
    return False


def _continues(text: bytes) -> bool:
    """Whether some bytes behind `text` make it UTF-8: all of them are tried, by their classes (RFC 3629, section 4)."""
    decoder: IncrementalDecoder = getincrementaldecoder("utf-8")()
    try:
        decoder.decode(text)
    except UnicodeDecodeError:
        return False
    rest: bytes = decoder.getstate()[0]
    classes = (0x80, 0x90, 0xA0)
    return any(_decodes(rest + bytes(more)) for count in range(4) for more in product(classes, repeat=count))


def _decodes(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
