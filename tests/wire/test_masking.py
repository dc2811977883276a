"""Masking, both ways, beside the definition (RFC 6455, section 5.3) and wsproto's masker."""

from __future__ import annotations

import random

import pytest
from wsproto.frame_protocol import XorMaskerSimple

from gateway.wire.masking import mask

KEYS = [0, 1, 0x12345678, 0x80000000, 0xFF00FF00, 0xFFFFFFFF]


@pytest.mark.parametrize("key", KEYS)
def test_every_length_around_both_ways(key: int) -> None:
    data = random.Random(key).randbytes(1500)
    parts = key.to_bytes(4)
    expected = bytes(byte ^ parts[at % 4] for at, byte in enumerate(data))
    for length in (*range(150), *range(620, 1300), 1500):
        assert mask(key, data[:length]) == expected[:length], length


@pytest.mark.parametrize("start", [0, 1, 6, 8, 14])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 31, 32, 33, 125, 126, 639, 640, 641, 642, 643, 644, 70_000])
def test_what_stands_before_it_is_left_out(start: int, length: int) -> None:
    choice = random.Random(length)
    data, key = choice.randbytes(start + length), choice.randbytes(4)
    masked = mask(int.from_bytes(key), data, start)
    assert masked == XorMaskerSimple(key).process(bytearray(data[start:]))
    assert mask(int.from_bytes(key), bytes(masked)) == data[start:]
