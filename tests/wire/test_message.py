"""UTF-8 in messages that come in pieces: wrong at the first byte after which nothing could make it right."""

from __future__ import annotations

import re
from itertools import product

import pytest

from gateway.wire.message import Assembly, Fault

# RFC 3629, section 4: UTF8-octets, as far as they go.
TAIL = rb"[\x80-\xbf]"
CHARACTER = (
    rb"[\x00-\x7f]|[\xc2-\xdf]T|\xe0[\xa0-\xbf]T|[\xe1-\xec]TT|\xed[\x80-\x9f]T|[\xee-\xef]TT"
    rb"|\xf0[\x90-\xbf]TT|[\xf1-\xf3]TTT|\xf4[\x80-\x8f]TT"
).replace(b"T", TAIL)
BEGINNING = (
    rb"[\xc2-\xf4]|\xe0[\xa0-\xbf]|[\xe1-\xec]T|\xed[\x80-\x9f]|[\xee-\xef]T"
    rb"|\xf0[\x90-\xbf]T?|[\xf1-\xf3]TT?|\xf4[\x80-\x8f]T?"
).replace(b"T", TAIL)
VALID = re.compile(rb"(?:" + CHARACTER + rb")*")
HOPEFUL = re.compile(rb"(?:" + CHARACTER + rb")*(?:" + BEGINNING + rb")?")


def fails_at(data: bytes) -> int | None:
    """After how many bytes of an unfinished text the reader gives up; it gets them one by one."""
    text = Assembly(True, 1000, None)
    text.frame(1000)
    for place in range(len(data)):
        try:
            text.add(data[place : place + 1], frame_over=False)
        except Fault:
            return place + 1
    return None


def ought_to_fail_at(data: bytes) -> int | None:
    return next((end for end in range(1, len(data) + 1) if not HOPEFUL.fullmatch(data[:end])), None)


def test_all_of_two_bytes() -> None:
    for pair in product(range(256), repeat=2):
        assert fails_at(bytes(pair)) == ought_to_fail_at(bytes(pair)), bytes(pair).hex()


# The bytes at which the table of RFC 3629 changes its mind, and their neighbours.
EDGES = [0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF,
         0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF7, 0xF8, 0xFC, 0xFE, 0xFF]  # fmt: skip


def test_the_edges_of_three_and_four_bytes() -> None:
    for first in EDGES[10:]:
        for rest in product(EDGES[:12], repeat=3):
            data = bytes((first, *rest))
            assert fails_at(data) == ought_to_fail_at(data), data.hex()


@pytest.mark.parametrize("complete", [True, False])
def test_a_text_is_whole_or_it_is_none(complete: bool) -> None:
    for data in [bytes(pair) for pair in product(EDGES, repeat=2)] + [
        bytes(three) for three in product(EDGES, repeat=3)
    ]:
        text = Assembly(True, 1000, None)
        text.frame(len(data))
        try:
            if not complete:
                text.add(data[:1], frame_over=False)
            got = text.finish(data if complete else data[1:])
        except Fault:
            assert not VALID.fullmatch(data), data.hex()
        else:
            assert VALID.fullmatch(data), data.hex()
            assert isinstance(got, str)
            assert got.encode() == data
