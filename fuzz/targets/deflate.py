"""Compressed messages: frames after permessage-deflate was agreed upon, beside zlib alone, websockets and wsproto."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from fuzz.frames import LIMIT, Reader, Reading, as_websockets, as_wsproto, one_by_one, split
from fuzz.invariants import every_cutting_gives
from fuzz.targets.websocket import closing, limited, owed, read, round_trip
from gateway.wire.extensions import Agreement, Compression
from gateway.wire.websocket import Binary, Event, Text

__all__ = ["one_input"]

SMALL = 40
# What a sender cuts off a message, and what ends a stream that was broken off nowhere.
TAIL, END = b"\0\0\xff\xff", b"\x03\0"
# No message is too short to be compressed.
ALL = Compression(window_bits=12, memory_level=5, level=1, threshold=0, takeover=False)
AGREEMENTS = (
    Agreement(ALL, server_takeover=True, client_takeover=True, server_bits=12, client_bits=12, answer=b""),
    Agreement(ALL, server_takeover=False, client_takeover=False, server_bits=15, client_bits=9, answer=b""),
)


def one_input(data: bytes) -> None:
    for agreement in AGREEMENTS:
        for reader in (Reader(True, agreement), Reader(False, agreement)):
            ours = every_cutting_gives(data, partial(read, LIMIT, reader))
            plain = _inflated(data, reader)
            _compare_plain(ours, plain)
            if not plain.odd:
                _compare(ours, as_websockets(data, reader))
                _compare(ours, as_wsproto(data, reader))
            assert read(LIMIT, reader, one_by_one(data, reader)) == ours
            limited(ours, every_cutting_gives(data, partial(read, SMALL, reader)))
            owed(ours, data, reader)
            closing(ours, data, reader)
            round_trip(ours.events, reader)


class _Plain(NamedTuple):
    """What zlib makes of the messages: up to the first one that is not good, or not complete, or too long."""

    messages: list[Event]
    fault: bool
    """The next one can be neither read on nor accepted."""
    odd: bool
    """Something that other readers do in other ways: a final block, a message that is broken off in a block, and one
    without any payload, after which their streams are out of step."""


def _inflated(data: bytes, reader: Reader) -> _Plain:
    agreement = reader.agreement
    assert agreement is not None
    bits = agreement.client_bits if reader.server else agreement.server_bits
    takeover = agreement.client_takeover if reader.server else agreement.server_takeover
    messages: list[Event] = []
    stream = zlib.decompressobj(-bits)
    odd = False
    for is_text, compressed, payload, complete in _messages(data, reader):
        if not compressed:
            content = payload
        elif not complete:
            return _Plain(messages, fault=False, odd=True)
        else:
            try:
                content, stream, final, fresh = _inflate(payload, stream, bits)
            except zlib.error:
                return _Plain(messages, fault=True, odd=odd)
            odd = odd or final or not payload
            if payload and not fresh and not _at_the_end(stream):
                return _Plain(messages, fault=True, odd=True)
            if not takeover:
                stream = zlib.decompressobj(-bits)
        if not complete:
            break
        if len(content) > LIMIT or len(payload) > LIMIT:
            return _Plain(messages, fault=True, odd=odd)
        try:
            messages.append(Text(content.decode()) if is_text else Binary(content))
        except UnicodeDecodeError:
            return _Plain(messages, fault=True, odd=odd)
    return _Plain(messages, fault=False, odd=odd)


def _inflate(payload: bytes, stream: zlib._Decompress, bits: int) -> tuple[bytes, zlib._Decompress, bool, bool]:
    """The content of a message; the stream for the next one; whether there was a final block, and nothing behind it."""
    content, final, fresh = b"", False, False
    rest = payload + TAIL if payload else b""
    while rest:
        content += stream.decompress(rest)
        rest = stream.unused_data
        fresh = stream.eof
        if stream.eof:
            final = True
            stream = zlib.decompressobj(-bits)
            if rest == TAIL:
                break
    return content, stream, final, fresh


def _at_the_end(stream: zlib._Decompress) -> bool:
    """Whether no block is open, so that an empty last one can follow."""
    probe = stream.copy()
    try:
        return probe.decompress(END) == b"" and probe.eof and not probe.unused_data
    except zlib.error:
        return False


def _messages(data: bytes, reader: Reader) -> Iterator[tuple[bool, bool, bytes, bool]]:
    """(is text, is compressed, payload, is complete) of each, as far as the frames are in order."""
    is_text, compressed, parts, is_open = False, False, b"", False
    for frame in split(data, reader):
        if frame.opcode == 8:
            return
        if frame.opcode > 2:
            continue
        if is_open is (frame.opcode > 0):
            yield is_text, compressed, parts, False
            return
        is_open = not frame.fin
        if frame.opcode:
            is_text, compressed, parts = frame.opcode == 1, bool(frame.reserved & 4), b""
        parts += frame.payload
        if frame.fin or not frame.whole:
            yield is_text, compressed, parts, frame.whole and frame.fin


def _compare_plain(ours: Reading, plain: _Plain) -> None:
    found = [event for event in ours.events if isinstance(event, Text | Binary)]
    if ours.code is None:
        assert not plain.fault, f"{ours} reads on after {plain}"
        assert found == plain.messages, f"{ours}\n{plain}"
    else:
        assert found == plain.messages[: len(found)], f"{ours}\n{plain}"
    if ours.code == 1007 and len(found) < len(plain.messages):
        raise AssertionError(f"{ours} refuses what is good: {plain}")


def _compare(ours: Reading, theirs: Reading) -> None:
    """The same messages; what the others say about bad ones differs by a lot, and `websocket` compares it."""
    both = min(len(ours.events), len(theirs.events))
    assert ours.events[:both] == theirs.events[:both], f"ours {ours}\ntheirs {theirs}"
    if ours.code is None and theirs.code is None:
        assert ours.events == theirs.events, f"ours {ours}\ntheirs {theirs}"
