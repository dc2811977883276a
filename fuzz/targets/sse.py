"""Server-sent events: our reader beside the specification, taken word by word over the whole stream."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial

from fuzz.invariants import every_cutting_gives
from gateway.model.http import Malformed
from gateway.wire.sse import EVENT_LIMIT, RETRY_DIGITS, SseDecoder, SseEvent

__all__ = ["one_input"]

SMALL = 48
BOM_BYTES = 3


def one_input(data: bytes) -> None:
    events, retry = every_cutting_gives(data, partial(_read, EVENT_LIMIT))
    assert (events, retry) == _as_specified(data)
    limited, _ = every_cutting_gives(data, partial(_read, SMALL))
    _compare_limited(events, limited)
    _round_trip(events)


def _read(limit: int, pieces: Iterable[bytes]) -> tuple[list[SseEvent | Malformed], int | None]:
    decoder = SseDecoder(limit)
    events: list[SseEvent | Malformed] = []
    for piece in pieces:
        failed = bool(events) and isinstance(events[-1], Malformed)
        found = decoder.receive(piece)
        assert not (failed and found), "events after the end"
        events += found
        assert len(decoder._line) <= limit + BOM_BYTES
        assert sum(map(len, decoder._data)) <= limit
        if decoder.idle:
            assert not decoder._data
    assert not any(isinstance(event, Malformed) for event in events[:-1]), "an event after Malformed"
    return events, None if events and isinstance(events[-1], Malformed) else decoder.retry


def _as_specified(stream: bytes) -> tuple[list[SseEvent | Malformed], int | None]:
    """https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation, without limits."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = re.split("\r\n|\n|\r", text)[:-1]  # what is not ended by a line end is no line
    events: list[SseEvent | Malformed] = []
    data, kind, last_id, retry = "", "", "", None
    next_id = ""
    for line in lines:
        if line == "":
            last_id = next_id
            if data:
                events.append(SseEvent(kind or "message", data.removesuffix("\n"), last_id))
            data, kind = "", ""
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "event":
                kind = value
            case "data":
                data += value + "\n"
            case "id" if "\0" not in value:
                next_id = value
            case "retry" if re.fullmatch("[0-9]+", value) and len(value) <= RETRY_DIGITS:
                retry = int(value)
            case _:
                pass
    return events, retry


def _compare_limited(events: list[SseEvent | Malformed], limited: list[SseEvent | Malformed]) -> None:
    """A lower limit changes nothing but where it ends."""
    if limited and isinstance(limited[-1], Malformed):
        assert limited[-1].status == 502
        limited = limited[:-1]
        assert events[: len(limited)] == limited
    else:
        assert events == limited
    for event in limited:
        # Each byte that is not UTF-8 becomes one character of three bytes.
        assert isinstance(event, SseEvent)
        assert len(event.data) <= SMALL


def _round_trip(events: list[SseEvent | Malformed]) -> None:
    """An event, written plainly, is the same event."""
    lines: list[str] = []
    last_id = ""
    for event in events:
        assert isinstance(event, SseEvent), "a stream within all limits has failed"
        if event.id != last_id:
            lines.append(f"id: {event.id}\n")
            last_id = event.id
        lines.append(f"event: {event.type}\n")
        lines += [f"data: {line}\n" for line in event.data.split("\n")]
        lines.append("\n")
    assert SseDecoder().receive("".join(lines).encode()) == events
