"""The requests of a connection, as a server reads them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from fuzz.invariants import HttpEvent, check_messages, every_cutting_gives, merged, random_of
from fuzz.llhttp import compare_requests
from gateway.model.http import BodyChunk, BodyEnd, Malformed, RequestHead
from gateway.wire.heads import read_request_head
from gateway.wire.http1 import Http1, Http1Limits

__all__ = ["one_input"]

USUAL = Http1Limits()
SMALL = Http1Limits(head_bytes=160, line_bytes=60, header_count=6)
# The shortest request: `A / HTTP/1.0` and two line ends.
SHORTEST = 16


def one_input(data: bytes) -> None:
    for limits in (SMALL, USUAL):
        events = every_cutting_gives(data, partial(_read, limits))
        check_messages(events)
        for event in events:
            if isinstance(event, RequestHead):
                _within(event, limits)
    http = Http1(USUAL)
    events = _feed(http, data)
    compare_requests(data, events, over=http.over)
    for event in events:
        if isinstance(event, RequestHead):
            _round_trip(event)
    _next_request(data)
    _remembered(data)
    _varied(data)


def _feed(http: Http1, data: bytes) -> list[HttpEvent]:
    """What comes of `data`, going on with each next request."""
    whole = http.whole(data)  # as the connection does
    events: list[HttpEvent] = []
    if whole is None:
        events += http.receive(data)
    else:
        events += (whole[0], BodyChunk(whole[1]), BodyEnd()) if whole[1] else (whole[0], BodyEnd())
    assert http.buffered <= len(data) + USUAL.head_bytes
    return events + _go_on(http)


def _go_on(http: Http1) -> list[HttpEvent]:
    events: list[HttpEvent] = []
    held = http.buffered
    while http.complete:
        events += http.restart()
        if http.complete:
            assert http.buffered <= held - SHORTEST, "a request that takes less than the shortest"
            held = http.buffered
    return events


def _read(limits: Http1Limits, pieces: Iterable[bytes]) -> list[HttpEvent]:
    http = Http1(limits)
    events: list[HttpEvent] = []
    for piece in pieces:
        over = http.over
        found = _feed(http, piece)
        assert not (over and found), "events after the end"
        events += found
        assert http.buffered <= limits.head_bytes, "more is buffered than a head may have"
    if events and isinstance(events[-1], Malformed):
        assert http.over
        assert http.buffered == 0
        assert http.receive(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n") == []
    return merged(events)


def _within(head: RequestHead, limits: Http1Limits) -> None:
    """Written as shortly as it can be, the head is not over the limits."""
    line = len(f"{head.method} {head.target} HTTP/{head.version}\r\n")
    assert line <= limits.line_bytes
    assert len(head.headers) <= limits.header_count
    assert line + sum(len(name) + len(value) + 3 for name, value in head.headers) + 2 <= limits.head_bytes


def _round_trip(head: RequestHead) -> None:
    """The head that was read, written plainly, is the same head."""
    lines = [f"{head.method} {head.target} HTTP/{head.version}\r\n".encode()]
    lines += [b"%b: %b\r\n" % field for field in head.headers]
    raw = b"".join((*lines, b"\r\n"))
    # Without limits: a `:` without a blank behind it may have made the head fit.
    again = read_request_head(raw, head_bytes=2**20, line_bytes=2**20, header_count=10_000)
    assert again == head, f"{again!r}\n{head!r}"
    assert head.fields.keys() == {name for name, _ in head.headers}
    assert head.content_length is None or not head.chunked


def _next_request(data: bytes) -> None:
    """What follows a request is read as if it were the first on its connection."""
    http = Http1(USUAL)
    http.receive(data)
    if http.complete:
        rest = data[len(data) - http.buffered :]
        found = merged(_go_on(http))
        if not http.over or found:
            assert found == merged(_feed(Http1(USUAL), rest)), f"another connection reads {rest!r} differently"


def _remembered(data: bytes) -> None:
    """A reader that remembers earlier heads answers as one that has never seen any."""
    http = Http1(USUAL)
    events = http.receive(data)
    if not http.complete or not isinstance(events[-1], BodyEnd):
        return
    end = len(data) - http.buffered
    request, rest = data[:end], data[end:]
    http.restart()
    if http.over:
        return
    head = request[: request.find(b"\r\n\r\n", 4) + 4]
    body = request[len(head) :]
    random = random_of(data)
    seconds = [request, request + rest, rest, head, request + request]
    for _ in range(4):
        changed = bytearray(head)
        at = random.randrange(len(changed) + 1)
        changed[at : at + random.randrange(3)] = random.choice(
            (b"", b"0", b"1", b"9", b"\r\n", b" ", b",", b":", random.randbytes(1))
        )
        seconds.append(bytes(changed) + body)
    for second in seconds:
        warm = Http1(USUAL)
        for _ in range(2):
            assert merged(_feed(warm, request)) == merged(_feed(Http1(USUAL), request))
        fresh = Http1(USUAL)
        found, wanted = merged(_feed(warm, second)), merged(_feed(fresh, second))
        assert found == wanted, f"after {request!r} twice, {second!r} gives\n{found!r}\ninstead of\n{wanted!r}"
        assert (warm.over, warm.buffered, warm.remaining) == (fresh.over, fresh.buffered, fresh.remaining)
        found, wanted = merged(_feed(warm, request)), merged(_feed(fresh, request))
        assert found == wanted, f"after {request!r} and {second!r}, the first again gives {found!r}"


# What is read anew each time it changes, and so would keep the others from being learnt.
_NEVER_FREE = {b"host", b"connection", b"transfer-encoding", b"expect", b"upgrade", b"content-length"}
# What a value may be changed into: what is always good, what is good in some places, and what never is.
_VALUES = (
    b"1",
    b" 12",
    b"00000000 ",
    b"",
    b"abc-DEF",
    b"close",
    b"chunked",
    b"100-continue",
    b"a, b",
    b"\t",
    b"\xe9",
    b"\0",
    b"a\r",
)


def _varied(data: bytes) -> None:
    """A reader that has learnt which values change answers as one that has never seen any of them."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return
    lines, body = data[:end].split(b"\r\n"), data[end + 4 :]
    random = random_of(data)
    places = [n for n, line in enumerate(lines) if n and b":" in line]
    if not places:
        return
    free = [n for n in places if lines[n].partition(b":")[0].lower() not in _NEVER_FREE] or places
    learnt = random.sample(free, min(len(free), 2))
    warm = Http1(USUAL)
    for turn in range(8):
        changed = [*lines]
        for number in learnt if turn < 6 else (*learnt, random.choice(places)):
            value = b"%d" % random.randrange(100) if turn < 4 else random.choice(_VALUES)
            changed[number] = lines[number][: lines[number].find(b":") + 1] + value
        request = b"\r\n".join(changed) + b"\r\n\r\n" + body
        fresh = Http1(USUAL)
        found, wanted = merged(_feed(warm, request)), merged(_feed(fresh, request))
        assert found == wanted, f"turn {turn} of {data!r}: {request!r} gives\n{found!r}\ninstead of\n{wanted!r}"
        assert (warm.over, warm.buffered, warm.remaining) == (fresh.over, fresh.buffered, fresh.remaining)
        if warm.over or warm.buffered or warm.remaining != 0:  # it waits for more of this one
            return
