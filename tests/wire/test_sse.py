"""The event stream reader against the WHATWG specification, cut anywhere, and within its limit."""

from __future__ import annotations

import pytest

from gateway.model.http import Malformed
from gateway.wire.sse import SseDecoder, SseEvent


def read(*pieces: bytes, limit: int = 1000) -> list[SseEvent | Malformed]:
    decoder = SseDecoder(limit)
    return [event for piece in pieces for event in decoder.receive(piece)]


def message(data: str, type: str = "message", id: str = "") -> SseEvent:  # noqa: A002 - the names of the specification
    return SseEvent(type, data, id)


CASES: list[tuple[bytes, list[SseEvent]]] = [
    (b"data: a\n\n", [message("a")]),
    (b"data:a\n\n", [message("a")]),
    (b"data:  a \n\n", [message(" a ")]),
    (b"data: a\ndata: b\ndata\n\n", [message("a\nb\n")]),
    # The examples of the specification, section 9.2.6.
    (b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n", [
        message("first event", id="1"), message("second event"), message(" third event"),
    ]),
    (b"data\n\ndata\ndata\n\ndata:", [message(""), message("\n")]),
    (b"data:test\n\ndata: test\n\n", [message("test"), message("test")]),
    (b"event: add\ndata: 1\n\ndata: 2\n\n", [message("1", "add"), message("2")]),
    (b"event: lost\n\ndata: 2\n\n", [message("2")]),
    (b"id: 1\n\ndata: a\n\n", [message("a", id="1")]),
    (b"id: 1\ndata: a\n\nid: \0\ndata: b\n\n", [message("a", id="1"), message("b", id="1")]),
    (b"data: a\r\n\r\ndata: b\r\n\r\n", [message("a"), message("b")]),
    (b"data: a\r\rdata: b\r\r", [message("a"), message("b")]),
    (b"data: a\r\n\ndata: b\n\r\n", [message("a"), message("b")]),
    (b"\xef\xbb\xbfdata: a\n\n", [message("a")]),
    (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [message("a")]),
    (b"\n\n\ndata: a\n\n\n\n", [message("a")]),
    ("data: grüße 🦀\n\n".encode(), [message("grüße 🦀")]),
    (b"data: \xff\xc3\n\ndata: b\n\n", [message("��"), message("b")]),
    (b"Data: a\n\ndata : b\n\nother: c\n\n", []),
    (b"data: never ended\n", []),
]  # fmt: skip


@pytest.mark.parametrize(("stream", "expected"), CASES)
def test_reads_as_specified_wherever_it_is_cut(stream: bytes, expected: list[SseEvent]) -> None:
    assert read(stream) == expected
    assert read(*(bytes([byte]) for byte in stream)) == expected
    for cut in range(len(stream) + 1):
        assert read(stream[:cut], stream[cut:]) == expected, cut


def test_retry_is_taken_only_where_it_is_a_number() -> None:
    decoder = SseDecoder()
    decoder.receive(b"retry: 2500\n")
    assert decoder.retry == 2500
    decoder.receive(b"retry: soon\nretry: 12x\nretry:\nretry: " + b"9" * 5000 + b"\n")
    assert decoder.retry == 2500


OVER = [
    b"data: a\n\ndata: " + b"x" * 60 + b"\n\ndata: never\n\n",
    b"data: a\n\n: " + b"x" * 60 + b"\n\ndata: never\n\n",
    b"data: a\n\n" + b"data: 0123456789\n" * 4 + b"\ndata: never\n\n",
    b"data: a\n\n" + b"data\n" * 20,
]


@pytest.mark.parametrize("stream", OVER)
def test_an_event_over_the_limit_ends_the_stream_wherever_it_is_cut(stream: bytes) -> None:
    for cut in range(len(stream) + 1):
        events = read(stream[:cut], stream[cut:], limit=50)
        assert events[0] == message("a")
        assert len(events) == 2
        assert isinstance(events[1], Malformed)
        assert events[1].status == 502


def test_an_event_within_the_limit_passes_wherever_it_is_cut() -> None:
    stream = b"\xef\xbb\xbfdata: " + b"x" * 43 + b"\n\ndata: 0123456789\ndata: 0123456789\n\n"
    for cut in range(len(stream) + 1):
        assert read(stream[:cut], stream[cut:], limit=50) == [message("x" * 43), message("0123456789\n0123456789")]


def test_a_line_without_end_fails_before_much_of_it_is_kept() -> None:
    decoder = SseDecoder(1000)
    events: list[SseEvent | Malformed] = []
    taken = 0
    while not events:
        events = decoder.receive(b"x" * 100)
        taken += 100
        assert taken <= 1200
    assert isinstance(events[0], Malformed)


def test_idle_only_between_events() -> None:
    decoder = SseDecoder()
    expected = [
        (b"data: a", False),
        (b"\n", False),
        (b"\n", True),
        (b": c\n", False),
        (b"\n", True),
        (b"id: 1\n", False),
    ]
    for piece, idle in [*expected, (b"\r", False), (b"\n", True)]:
        decoder.receive(piece)
        assert decoder.idle is idle, piece
