"""Frames of a WebSocket, as a server and as a client reads them, beside wsproto and websockets."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from websockets.frames import Close, Opcode

from fuzz.frames import LIMIT, Reading, as_websockets, as_wsproto, compare, frames_of, hopeless
from fuzz.invariants import every_cutting_gives
from gateway.wire.websocket import Binary, Closed, Event, Ping, State, Text, WebSocket

__all__ = ["one_input"]

SMALL = 40
# Pings that wait for their pong; of more, the oldest go unanswered.
PONGS = 64
# What is kept besides a message: a frame's header, or a control frame.
BESIDES = 14 + 125
# Nothing more is read; after a violation, until our close frame is taken out, we may still send.
OVER = {State.FAILING, State.CLOSED}


def one_input(data: bytes) -> None:
    for server in (True, False):
        ours = every_cutting_gives(data, partial(_read, LIMIT, server))
        compare(partial(_whole, server), as_websockets(data, server=server), data, server=server)
        compare(partial(_whole, server), as_wsproto(data, server=server), data, server=server)
        assert ours.code is not None or not hopeless(data, server=server), "a text that cannot become UTF-8 is read on"
        _limited(ours, every_cutting_gives(data, partial(_read, SMALL, server)))
        _owed(ours, data, server=server)
        _closing(ours, data, server=server)
        _round_trip(ours.events, server=server)


def _mask() -> bytes:
    return b"\x01\x80\xff\x7f"


def _socket(server: bool, limit: int = LIMIT) -> WebSocket:
    return WebSocket(limit, None if server else _mask)


def _read(limit: int, server: bool, pieces: Iterable[bytes]) -> Reading:
    ws = _socket(server, limit)
    events: list[Event] = []
    for piece in pieces:
        closed = ws.state in OVER
        found = ws.receive(piece)
        assert not (closed and found), "events after Closed"
        events += found
        kept = len(ws._decoder.buffer)
        if ws._message is not None and ws._message._data is not None:
            kept += len(ws._message._data)
        assert kept <= limit + BESIDES, f"{kept} bytes are kept of messages of at most {limit}"
    assert all(not isinstance(event, Closed) for event in events[:-1]), "an event after Closed"
    assert (ws.state in OVER) == (bool(events) and isinstance(events[-1], Closed))
    return Reading.of(events)


def _whole(server: bool, data: bytes) -> Reading:
    return Reading.of(_socket(server).receive(data))


def _size(event: Event) -> int:
    match event:
        case Text(text):
            return len(text.encode())
        case Binary(data):
            return len(data)
        case _:
            return 0


def _limited(ours: Reading, limited: Reading) -> None:
    """A lower limit changes nothing but where it ends: before the first message that is longer."""
    assert limited.events == ours.events[: len(limited.events)]
    assert all(_size(event) <= SMALL for event in limited.events)
    if limited.code != 1009:
        assert limited == ours
        assert all(_size(event) <= SMALL for event in ours.events)


def _owed(ours: Reading, data: bytes, *, server: bool) -> None:
    """What is written back: a pong for each of the last pings, then the close frame that answers."""
    ws = _socket(server)
    ws.receive(data)
    owed = ws.outgoing()
    assert ws.outgoing() == b""
    frames, protocol = frames_of(owed, server=not server)
    assert protocol.parser_exc is None, protocol.parser_exc
    pings = [event.data for event in ours.events if isinstance(event, Ping)]
    pongs = [bytes(frame.data) for frame in frames if frame.opcode is Opcode.PONG]
    assert pongs == pings[-PONGS:]
    closes = [Close.parse(bytes(frame.data)) for frame in frames if frame.opcode is Opcode.CLOSE]
    assert len(frames) == len(pongs) + len(closes)
    assert [close.code for close in closes] == ([] if ours.code is None else [ours.code])
    if closes:
        assert frames[-1].opcode is Opcode.CLOSE, "something follows the close frame"


def _closing(ours: Reading, data: bytes, *, server: bool) -> None:
    """Once we have closed, messages are thrown away, and nothing is written any more."""
    ws = _socket(server)
    ws.close(1000)
    events = ws.receive(data)
    assert ws.outgoing() == b""
    assert all(not isinstance(event, Text | Binary) for event in events)
    found = Reading.of(events)
    if ours.code is None or "close frame" in ours.reason:
        return
    if found.code is None:  # what was wrong with a message that nobody reads any more does not matter
        assert ours.code in {1002, 1007, 1009}


def _round_trip(events: list[Event], *, server: bool) -> None:
    """What we write of these messages, everybody reads as these messages; `server`: the other side."""
    ours = _socket(not server)
    written: list[bytes] = []
    sent: list[Event] = []
    for event in events:
        match event:
            case Text(text):
                written.append(ours.send_text(text))
            case Binary(data):
                written.append(ours.send_binary(data))
            case Ping(data):
                written.append(ours.ping(data))
            case _:
                continue
        sent.append(event)
    stream = b"".join(written)
    wanted = Reading([*sent], 1000, "done")
    stream += ours.close(1000, "done")
    for found in (
        _read(LIMIT, server, [stream]),
        _read(LIMIT, server, [*written, stream[sum(map(len, written)) :]]),
        as_websockets(stream, server=server),
        as_wsproto(stream, server=server),
    ):
        assert found == wanted, f"{found}\n{wanted}"
