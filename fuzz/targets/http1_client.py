"""Responses, as a client reads them, and requests, as a client writes them.

The input is read as a response.  Its lines are also taken as what a caller asks for: method and target, headers, body.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from functools import partial
from http.client import HTTPException, HTTPResponse
from typing import Any, cast

import h11

from fuzz.invariants import HttpEvent, after_each, check_messages, every_cutting_gives, merged
from fuzz.llhttp import Llhttp
from gateway.model.http import BodyChunk, BodyEnd, Headers, Malformed, RequestHead, ResponseHead
from gateway.wire.http1 import Http1, Http1Limits
from gateway.wire.http1_client import Http1Client

__all__ = ["one_input"]

SMALL = 120
USUAL = 4096
# What is kept of a body: less than one chunk that is read in one piece, or a line of the strict reader.
CHUNK_BYTES = 65_536 + 16
HOST: Headers = ((b"host", b"h"),)


def one_input(data: bytes) -> None:
    for method in ("GET", "HEAD"):
        for limit in (SMALL, USUAL):
            events = every_cutting_gives(data, partial(_read, method, limit))
            head, end, body = data.partition(b"\r\n\r\n")
            by_chunk = [head + end, *after_each(body, b"\r\n", 2)]
            assert _read(method, limit, by_chunk) == events, f"chunk by chunk it is not {events!r}"
            check_messages(events)
            _check(method, events)
            if limit == USUAL:
                _same_elsewhere(method, data, events)
    _written(data)


def _read(method: str, limit: int, pieces: Iterable[bytes]) -> list[HttpEvent]:
    """The events of one response, with the end of the connection behind it."""
    client = Http1Client(limit)
    client.request(method, "/", HOST)
    events: list[HttpEvent] = []
    unasked = False
    for piece in pieces:
        over = bool(events) and isinstance(events[-1], Malformed)
        found = client.receive(piece)
        assert not (over and found), "events after the end"
        events += found
        unasked = unasked or client.reusable
        assert len(client._buffer) <= limit, "more is buffered than a head may have"
        assert len(client._chunks._buffer) <= CHUNK_BYTES
    complete = client.reusable
    if complete:  # another request can follow, and is answered as the first
        again = Http1Client(limit)
        client.request(method, "/", HOST)
        again.request(method, "/", HOST)
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
        assert client.receive(answer) == again.receive(answer)
        assert client.eof() == []
    events += client.eof()
    assert client.eof() == []
    assert client.receive(b"HTTP/1.1 200 OK\r\n\r\n") == []
    assert not client.reusable
    told = merged(events)
    if isinstance(told[-1], Malformed) and len(told) > 1 and isinstance(told[-2], BodyChunk):
        del told[-2]  # how much of a chunk that is broken off is told depends on how it was cut
    return told


def _check(method: str, events: list[HttpEvent]) -> None:
    assert events, "a connection that has ended without a word about it"
    for event in events:
        match event:
            case Malformed(status):
                assert status == 502
            case ResponseHead():
                assert 200 <= event.status <= 999
                assert event.fields.keys() == {name for name, _ in event.headers}
                if method == "HEAD" or event.status in {204, 304}:
                    assert event.content_length == 0
                    assert not event.chunked
            case _:
                pass
    assert isinstance(events[-1], Malformed | BodyEnd)


def _same_elsewhere(method: str, data: bytes, events: list[HttpEvent]) -> None:
    """Where llhttp, and http.client, read a whole response too, it is the same one."""
    if isinstance(events[-1], Malformed) or not isinstance(head := events[0], ResponseHead):
        return
    body = b"".join(event.data for event in events if isinstance(event, BodyChunk))
    if method == "GET":
        theirs = Llhttp(data, request=False)
        final = [message for message in theirs.messages if message.start and not message.start[0].startswith(b"1")]
        if not theirs.error and final and final[0].complete:
            assert final[0].start == (b"%d" % head.status,)
            assert final[0].headers == list(head.headers)
            assert final[0].body == body
    response = HTTPResponse(cast("Any", _Socket(data)), method=method)
    try:
        response.begin()
        found = response.read()
    except (HTTPException, ValueError):
        return
    if response.status < 200:  # http.client takes an interim response other than 100 for the final one
        return
    assert response.status == head.status
    assert found == body, f"http.client reads the body {found!r}, not {body!r}"


class _Socket:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def _written(data: bytes) -> None:
    """What we send is what was asked for, as h11 and llhttp read it, and our own server."""
    top, _, body = data.partition(b"\r\n\r\n")
    start, *lines = top.split(b"\r\n")
    method, _, target = start.decode("latin-1").partition(" ")
    given = [(name, value) for name, colon, value in (line.partition(b":") for line in lines) if colon]
    headers: Headers = (*HOST, *((name, value) for name, value in given if name.lower() != b"host"))
    client = Http1Client()
    try:
        sent = client.request(method, target, headers, body)
    except ValueError as error:
        assert client.reusable, "a request that was refused has changed the connection"
        secrets = [value.decode("latin-1") for _, value in given if len(value) > 20 and value not in start]
        assert not any(secret in str(error) for secret in secrets), "an error shows the value of a header"
        return
    wanted = [(name.lower(), value.strip(b" \t")) for name, value in headers]

    server = h11.Connection(h11.SERVER, max_incomplete_event_size=len(sent) + 1)
    server.receive_data(sent)
    request = server.next_event()
    assert isinstance(request, h11.Request), request
    assert (request.method.decode(), request.target.decode()) == (method, target)
    assert [field for field in request.headers if field[0] != b"content-length"] == wanted
    found = b""
    while isinstance(event := server.next_event(), h11.Data):
        found += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert found == body
    assert server.trailing_data[0] == b""

    theirs = Llhttp(sent)
    if "method" not in theirs.error and not theirs.error.startswith("Expected"):
        assert not theirs.error, theirs.error
        assert [message.body for message in theirs.messages] == [body]

    events = merged(Http1(Http1Limits(2**20, 2**20, 10_000)).receive(sent))
    if isinstance(head := events[0], RequestHead):
        assert (head.method, head.target, head.keep_alive) == (method, target, True)
        assert isinstance(events[-1], BodyEnd)
        assert b"".join(event.data for event in events if isinstance(event, BodyChunk)) == body
    else:
        assert len(events) == 1
