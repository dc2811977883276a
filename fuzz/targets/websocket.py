"""Frames of a WebSocket, as a server and as a client reads them, beside wsproto and websockets."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from websockets.frames import Close, Opcode

from fuzz.frames import (
    LIMIT,
    Reader,
    Reading,
    as_websockets,
    as_wsproto,
    compare,
    frames_of,
    hopeless,
    one_by_one,
    split,
)
from fuzz.invariants import every_cutting_gives
from gateway.wire.websocket import Binary, Closed, Event, Ping, State, Text

__all__ = ["closing", "limited", "one_input", "owed", "read", "round_trip", "short"]

SMALL = 40
# Pings that wait for their pong; of more, the oldest go unanswered.
PONGS = 64
# What is kept besides a message: a frame's header, or a control frame.
BESIDES = 14 + 125
# And of a compressed one, a block that is not inflated yet.
BLOCK = 4096


def one_input(data: bytes) -> None:
    for reader in (Reader(server=True), Reader(server=False)):
        ours = every_cutting_gives(data, partial(read, LIMIT, reader))
        compare(partial(_whole, reader), as_websockets(data, reader), data, reader)
        compare(partial(_whole, reader), as_wsproto(data, reader), data, reader)
        assert ours.code is not None or not hopeless(data, reader), "a text that cannot become UTF-8 is read on"
        limited(ours, every_cutting_gives(data, partial(read, SMALL, reader)))
        for limit in (LIMIT, SMALL):
            assert read(limit, reader, one_by_one(data, reader)) == read(limit, reader, [data])
        short(data, reader)
        owed(ours, data, reader)
        closing(ours, data, reader)
        round_trip(ours.events, reader)


def read(limit: int, reader: Reader, pieces: Iterable[bytes]) -> Reading:
    ws = reader.ours(limit)
    events: list[Event] = []
    for piece in pieces:
        closed = ws.state not in {State.OPEN, State.CLOSING}
        found = ws.receive(piece)
        assert not (closed and found), "events after Closed"
        events += found
        kept = 0 if ws._decoder is None else len(ws._decoder.buffer)
        if ws._message is not None and ws._message._data is not None:
            kept += len(ws._message._data)
        if ws._inflater is not None:
            kept += len(ws._inflater._block) - BLOCK
        assert kept <= limit + BESIDES, f"{kept} bytes are kept of messages of at most {limit}"
    assert all(not isinstance(event, Closed) for event in events[:-1]), "an event after Closed"
    assert (ws.state is not State.OPEN) == (bool(events) and isinstance(events[-1], Closed))
    return Reading.of(events)


def short(data: bytes, reader: Reader) -> None:
    """The short way for whole messages takes what it can take, and finds in it what wsproto finds."""
    if not reader.server:
        assert reader.ours().whole(data) is None, "a client, whose frames come without masks"
        return
    for frame, piece in zip(one_by_one(data, reader), split(data, reader), strict=False):
        found = reader.ours().whole(frame)
        theirs = as_wsproto(frame, reader)
        if found is None:
            usual = piece.fin and not piece.reserved and piece.opcode in {1, 2} and len(frame) < LIMIT
            assert not (usual and piece.whole and len(theirs.events) == 1), f"{theirs} goes the long way"
        else:
            event = Text(found) if isinstance(found, str) else Binary(found)
            assert theirs == Reading([event], None), f"{event}\n{theirs}"


def _whole(reader: Reader, data: bytes) -> Reading:
    return Reading.of(reader.ours().receive(data))


def _size(event: Event) -> int:
    match event:
        case Text(text):
            return len(text.encode())
        case Binary(data):
            return len(data)
        case _:
            return 0


def limited(ours: Reading, limited: Reading) -> None:
    """A lower limit changes nothing but where it ends: before the first message that is longer."""
    assert limited.events == ours.events[: len(limited.events)]
    assert all(_size(event) <= SMALL for event in limited.events)
    if limited.code != 1009:
        assert limited == ours
        assert all(_size(event) <= SMALL for event in ours.events)


def owed(ours: Reading, data: bytes, reader: Reader) -> None:
    """What is written back: a pong for each of the last pings, then the close frame that answers."""
    ws = reader.ours()
    ws.receive(data)
    written = ws.outgoing()
    assert ws.outgoing() == b""
    assert (ws.state is State.CLOSED) == (ours.code is not None)
    frames, protocol = frames_of(written, reader.other)
    assert protocol.parser_exc is None, protocol.parser_exc
    pings = [event.data for event in ours.events if isinstance(event, Ping)]
    pongs = [bytes(frame.data) for frame in frames if frame.opcode is Opcode.PONG]
    assert pongs == pings[-PONGS:]
    closes = [Close.parse(bytes(frame.data)) for frame in frames if frame.opcode is Opcode.CLOSE]
    assert len(frames) == len(pongs) + len(closes)
    assert [close.code for close in closes] == ([] if ours.code is None else [ours.code])
    if closes:
        assert frames[-1].opcode is Opcode.CLOSE, "something follows the close frame"


def closing(ours: Reading, data: bytes, reader: Reader) -> None:
    """Once we have closed, messages are thrown away, and nothing is written any more."""
    ws = reader.ours()
    ws.close(1000)
    events = ws.receive(data)
    assert ws.outgoing() == b""
    assert all(not isinstance(event, Text | Binary) for event in events)
    found = Reading.of(events)
    if ours.code is None or "close frame" in ours.reason:
        return
    if found.code is None:  # what was wrong with a message that nobody reads any more does not matter
        assert ours.code in {1002, 1007, 1009}


def round_trip(events: list[Event], reader: Reader) -> None:
    """What we write of these messages, everybody reads as these messages; `reader` reads it."""
    ours = reader.other.ours()
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
        read(LIMIT, reader, [stream]),
        read(LIMIT, reader, [*written, stream[sum(map(len, written)) :]]),
        as_websockets(stream, reader),
        as_wsproto(stream, reader),
    ):
        assert found == wanted, f"{found}\n{wanted}"
