"""A chunked body: the strict reader, the fast one of the client, llhttp and http.client."""

from __future__ import annotations

import io
from collections.abc import Iterable
from http.client import HTTPException, HTTPResponse
from typing import Any, cast

from fuzz.invariants import HttpEvent, after_each, cuttings, every_cutting_gives, merged
from fuzz.llhttp import Llhttp, compare_requests
from gateway.model.http import BodyChunk, BodyEnd, Malformed
from gateway.wire.chunked import EXTENSION_BYTES, LINE_BYTES, TRAILER_BYTES, TRAILER_COUNT, BulkChunked, Chunked
from gateway.wire.http1 import Http1, Http1Limits

__all__ = ["one_input"]

REQUEST = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def one_input(data: bytes) -> None:
    events, rest = every_cutting_gives(data, _strict)
    last = events[-1] if events else None
    _compare_fast(data, events, rest)
    assert all(isinstance(event, BodyChunk) for event in events[:-1]), "an event after the end"
    body = b"".join(event.data for event in events if isinstance(event, BodyChunk))
    assert len(body) <= len(data)
    if isinstance(last, BodyEnd):
        taken = data.removesuffix(rest)
        assert len(taken) + len(rest) == len(data)
        assert len(last.trailers) <= TRAILER_COUNT
        _same_elsewhere(taken, events, body)
        # Encode and decode: the body in chunks of other sizes is the same body.
        pieces = [body[at : at + 7] for at in range(0, len(body), 7)]
        again = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n"
        again += b"".join(b"%b:%b\r\n" % field for field in last.trailers) + b"\r\n"
        assert _strict([again])[0] == events


def _strict(pieces: Iterable[bytes]) -> tuple[list[HttpEvent], bytes]:
    chunked = Chunked()
    return _run(chunked, pieces, chunked)


def _fast(pieces: Iterable[bytes]) -> tuple[list[HttpEvent], bytes]:
    chunks = BulkChunked()
    return _run(chunks, pieces, None)


def _compare_fast(data: bytes, events: list[HttpEvent], rest: bytes) -> None:
    """The fast reader says the same, though it may wait for the end of a line or of a chunk before it speaks."""
    if events and not isinstance(events[-1], BodyChunk):
        more = b"\n" * 8 if isinstance(events[-1], Malformed) else b""
        assert every_cutting_gives(data + more, _fast) == (events, rest), "the fast reader differs from the strict one"
        assert _fast(after_each(data + more, b"\r\n", 2)) == (events, rest), "chunk by chunk it is another body"
        return
    for pieces in ([data], after_each(data, b"\r\n", 2), *cuttings(data)):
        found, _ = _fast(pieces)
        body = b"".join(event.data for event in events if isinstance(event, BodyChunk))
        fast = b"".join(event.data for event in found if isinstance(event, BodyChunk))
        assert body.startswith(fast), "the fast reader finds another body"
        assert all(isinstance(event, BodyChunk) for event in found), "the fast reader finds an end"


def _run(
    reader: Chunked | BulkChunked, pieces: Iterable[bytes], strict: Chunked | None
) -> tuple[list[HttpEvent], bytes]:
    """The events, and what followed the body, whose bytes are the caller's once the body has ended."""
    events: list[HttpEvent] = []
    after = b""
    over = False
    for piece in pieces:
        if over:
            assert isinstance(reader, BulkChunked) or reader.receive(piece) == [], "events after the end"
            after += piece
            continue
        events += reader.receive(piece)
        over = bool(events) and not isinstance(events[-1], BodyChunk)
        if strict is not None:
            assert len(strict._buffer) <= max(LINE_BYTES, TRAILER_BYTES), "more is buffered than an element may have"
            assert strict._extensions <= EXTENSION_BYTES or over
    if events and isinstance(events[-1], Malformed):
        return merged(events), b""
    return merged(events), (reader.rest + after if over else b"")


def _same_elsewhere(taken: bytes, events: list[HttpEvent], body: bytes) -> None:
    http = Http1(Http1Limits())
    found = merged(http.receive(REQUEST + taken))
    if isinstance(found[-1], Malformed):  # trailers that must not be any
        assert found[1:-1] == events[:-1]
    else:
        assert found[1:] == events
    compare_requests(REQUEST + taken, found, over=http.over)
    theirs = Llhttp(RESPONSE + taken, request=False)
    if not theirs.error:
        assert [message.body for message in theirs.messages] == [body]
    # http.client knows neither quoted strings in extensions nor the difference between white space and none.
    try:
        response = HTTPResponse(cast("Any", _Socket(RESPONSE + taken)))
        response.begin()
        read = response.read()
    except HTTPException as error:
        raise AssertionError(f"http.client says {error!r} about {taken!r}") from error
    assert read == body, "http.client reads another body"


class _Socket:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)
