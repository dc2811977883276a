"""What holds of every reader of a byte stream, whatever it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from random import Random
from typing import TypeVar
from zlib import crc32

from gateway.model.http import NO_ANSWER, BodyChunk, BodyEnd, Malformed, RequestHead, ResponseHead

__all__ = ["HttpEvent", "after_each", "check_messages", "cuttings", "every_cutting_gives", "merged", "random_of"]

HttpEvent = RequestHead | ResponseHead | BodyChunk | BodyEnd | Malformed
T = TypeVar("T")
E = TypeVar("E", bound=HttpEvent)


def random_of(data: bytes) -> Random:
    """Choices that depend on the input and on nothing else, so that a corpus file is nothing but the input."""
    return Random(crc32(data))


def cuttings(data: bytes) -> Iterator[list[bytes]]:
    """Ways of cutting the input: byte by byte, in two, in a few and in many pieces, with empty ones among them."""
    step = 1 + len(data) // 400
    yield [data[at : at + step] for at in range(0, len(data), step)]
    random = random_of(data)
    for count in (1, 3, 12):
        cuts = sorted(random.randrange(len(data) + 1) for _ in range(count))
        yield [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def after_each(data: bytes, end: bytes, every: int = 1) -> list[bytes]:
    """The input cut after every so many of these ends: as a peer sends it that says one thing at a time."""
    lines = data.split(end)
    whole = [end.join((*lines[at : at + every], b"")) for at in range(0, len(lines) - every, every)]
    return [*whole, data[sum(map(len, whole)) :]]


def every_cutting_gives(data: bytes, read: Callable[[Iterable[bytes]], T]) -> T:
    """What `read` makes of the input in one piece, after comparing that with what it makes of it in others."""
    whole = read([data])
    for pieces in cuttings(data):
        found = read(pieces)
        assert found == whole, f"in one piece {whole!r}\nin {pieces!r}\n{found!r}"
    return whole


def merged(events: Iterable[E]) -> list[E | BodyChunk]:
    """Adjacent pieces of a body as one: only there may the cuts show."""
    out: list[E | BodyChunk] = []
    for is_chunk, group in groupby(events, lambda event: isinstance(event, BodyChunk)):
        if is_chunk:
            pieces = [event.data for event in group if isinstance(event, BodyChunk)]
            assert all(pieces), "an empty piece of a body"
            out.append(BodyChunk(b"".join(pieces)))
        else:
            out += group
    return out


def check_messages(events: list[HttpEvent]) -> None:
    """The order of merged events: (head body? end)* (head body?)? malformed?, and lengths as the heads say."""
    head: RequestHead | ResponseHead | None = None
    size = 0
    for number, event in enumerate(events):
        match event:
            case RequestHead() | ResponseHead():
                assert head is None, "a head within a message"
                head, size = event, 0
            case BodyChunk(data):
                assert head is not None, "a body without a head"
                size += len(data)
                assert head.content_length is None or size <= head.content_length, "a body longer than its length"
            case BodyEnd():
                assert head is not None, "an end without a head"
                assert head.content_length is None or size == head.content_length, "a body shorter than its length"
                assert size == 0 or head.chunked or head.content_length is not None or isinstance(head, ResponseHead)
                head = None
            case Malformed():
                assert number == len(events) - 1, "an event after Malformed"
                assert event.status == NO_ANSWER or 400 <= event.status <= 505, event
                assert event.reason, event
