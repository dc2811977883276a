"""The chunked coding by itself; its grammar and its limits stand as cases in data/http1 and in test_http1."""

from __future__ import annotations

import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.model.http import BodyChunk, BodyEnd, Malformed
from gateway.wire.chunked import EXTENSION_BYTES, BulkChunked, Chunked


def body(events: list[BodyChunk | BodyEnd | Malformed]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, BodyChunk))


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.binary(max_size=20), st.lists(st.integers(0, 400)))
def test_what_was_encoded_is_read(pieces: list[bytes], after: bytes, cuts: list[int]) -> None:
    data = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nA: b\r\n\r\n"
    chunked = Chunked()
    whole = data + after
    cuts = sorted(cut for cut in cuts if cut <= len(data))  # what comes behind the end in another piece is not its own
    events: list[BodyChunk | BodyEnd | Malformed] = []
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        events += chunked.receive(whole[start:end])
    assert body(events) == b"".join(pieces)
    assert events[-1] == BodyEnd(((b"a", b"b"),))
    if not cuts or cuts[-1] < len(data):
        assert chunked.rest == after
    assert chunked.receive(b"0\r\n\r\n") == []


PIECES = [
    b"1\r\nx\r\n",
    b"2\r\n\r\n\r\n",
    b"a\r\n0123456789\r\n",
    b"01\r\nx\r\n",
    b"3;a=b\r\nabc\r\n",
    b"fff\r\n" + b"y" * 4095 + b"\r\n",
]
PIECES += [
    b"0\r\n\r\n",
    b"0\r\nA: b\r\n\r\n",
    b"\r\n",
    b"\r",
    b"\n",
    b"1",
    b"0",
    b"x",
    b"-1\r\n",
    b"1\r\nxy\r\n",
    b"10000\r\n",
]


@settings(max_examples=400)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join), st.lists(st.integers(0, 200)))
def test_in_bulk_it_is_the_same(data: bytes, cuts: list[int]) -> None:
    data += TAIL
    same_in_bulk([data[start:end] for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(data)], strict=True)])


@settings(max_examples=400)
@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_chunk_by_chunk_it_is_the_same(pieces: list[bytes]) -> None:
    same_in_bulk([*pieces, TAIL])


TAIL = b"z" * 5000
"""What leaves neither reader waiting: it ends every chunk of the pieces, and is no chunk line."""


def same_in_bulk(pieces: list[bytes]) -> None:
    strict = Chunked()
    bulk = BulkChunked()
    one: list[BodyChunk | BodyEnd | Malformed] = []
    other: list[BodyChunk | BodyEnd | Malformed] = []
    for piece in pieces:
        one += strict.receive(piece)
        other += bulk.receive(piece)
    assert body(other) == body(one)
    assert [event for event in other if not isinstance(event, BodyChunk)] == [
        event for event in one if not isinstance(event, BodyChunk)
    ]
    assert bulk.rest == strict.rest


def test_nothing_after_a_fault() -> None:
    chunked = Chunked()
    first, second = chunked.receive(b"1\r\nx\r\nz\r\n")
    assert first == BodyChunk(b"x")
    assert isinstance(second, Malformed)
    assert chunked.receive(b"1\r\nx\r\n0\r\n\r\n") == []
    assert chunked.rest == b""


def test_a_huge_chunk_is_handed_on_as_it_comes() -> None:
    chunked = Chunked()
    chunked.receive(b"fffffffffffffff\r\n")
    piece = b"x" * 65_536
    tracemalloc.start()
    for _ in range(200):
        assert chunked.receive(piece) == [BodyChunk(piece)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * len(piece)


def test_extensions_are_counted_over_the_whole_body() -> None:
    chunked = Chunked()
    taken = 0
    while True:
        events = chunked.receive(b"1;" + b"e" * 99 + b"\r\nx\r\n")
        if isinstance(events[-1], Malformed):
            break
        taken += 100
        assert taken <= EXTENSION_BYTES
    assert taken > EXTENSION_BYTES - 100
