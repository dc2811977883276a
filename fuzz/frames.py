"""WebSocket frames as websockets and wsproto read them, and the reasoned list of where they may differ from us."""

from __future__ import annotations

from codecs import IncrementalDecoder, getincrementaldecoder
from collections.abc import Callable
from itertools import product
from typing import NamedTuple

from websockets.frames import Close, Frame, Opcode
from websockets.protocol import Protocol, Side
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage
from wsproto.events import Ping as TheirPing
from wsproto.events import Pong as TheirPong

from gateway.wire.websocket import Binary, Closed, Event, Ping, Pong, Text

__all__ = ["LIMIT", "Reading", "as_websockets", "as_wsproto", "compare", "frames_of", "hopeless"]

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


def frames_of(data: bytes, *, server: bool) -> tuple[list[Frame], Protocol]:
    """The frames that websockets finds, reading as a server or as a client."""
    protocol = Protocol(Side.SERVER if server else Side.CLIENT, max_size=LIMIT)
    protocol.receive_data(data)
    return [event for event in protocol.events_received() if isinstance(event, Frame)], protocol


def as_websockets(data: bytes, *, server: bool) -> Reading:
    """Putting messages together, and decoding them, websockets leaves to its callers: that is done here."""
    frames, protocol = frames_of(data, server=server)
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


def as_wsproto(data: bytes, *, server: bool) -> Reading:
    connection = Connection(ConnectionType.SERVER if server else ConnectionType.CLIENT)
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


def compare(read: Callable[[bytes], Reading], theirs: Reading, data: bytes, *, server: bool) -> None:
    """The same messages in the same order; where one of us stops, so does the other, or `_why` says why not."""
    ours = read(data)
    if ours.code is None and theirs.code in {1002, 1009} and read(data + HEADER).code in {1002, 1009}:
        return  # we judge a header when it is complete, the others each part of it
    both = min(len(ours.events), len(theirs.events))
    assert ours.events[:both] == theirs.events[:both], f"ours {ours}\ntheirs {theirs}"
    if ours.code != theirs.code or len(ours.events) != len(theirs.events):
        assert _why(ours, theirs, data, server=server), f"ours {ours}\ntheirs {theirs}\n{data!r}"


def _why(ours: Reading, theirs: Reading, data: bytes, *, server: bool) -> str:
    stops_first = len(ours.events) <= len(theirs.events)
    if "incomplete fragmented message" in theirs.reason:
        return "websockets refuses a close frame within a message, where RFC 6455, 5.4 lets control frames stand"
    if ours.code == 1014 and theirs.code == 1002:
        return "IANA has registered 1014, and wsproto does not know it"
    if not stops_first or ours.code is None:
        return ""
    if ours.code == 1007 and hopeless(data, server=server):
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


def hopeless(data: bytes, *, server: bool) -> bool:
    """Whether a text message in `data`, as far as it has come, can no longer become valid UTF-8.

    Reads frames without judging them, so it takes only what has been judged.
    """
    pos, text = 0, b""
    is_text = False
    while pos + 2 <= len(data):
        opcode, fin, length = data[pos] & 15, data[pos] >= 0x80, data[pos + 1] & 127
        pos += 2
        if length > 125:
            extended = 2 if length == 126 else 8
            length = int.from_bytes(data[pos : pos + extended])
            pos += extended
        key = data[pos : pos + 4] if server else b""
        pos += len(key)
        payload = data[pos : pos + length]
        if key:
            payload = bytes(byte ^ key[at % len(key)] for at, byte in enumerate(payload))
        pos += length
        if opcode > 2:
            continue
        if opcode:
            is_text, text = opcode == 1, b""
        text += payload
        whole = fin and pos <= len(data)
        if is_text and (not _decodes(text) if whole else not _continues(text)):
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
