"""A server fed from a fuzz input: the pieces go in over the shipped transport, and the answers are read by h11."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from random import Random
from typing import NamedTuple

import h11

from gateway.server.connection import Connection
from gateway.testing import MemoryTransport

__all__ = ["Answer", "Written", "drive", "read_answers"]

# Longer than every limit of a connection together: head, body, idle, ping and pong, close, linger.
FOR_EVER = 400.0
# Longer than a connection lingers after the last answer.
SOON = 6.0
MOMENT = 0.01


class Written(NamedTuple):
    """All that was written, what of it was written soon, and whether the connection was closed by then."""

    all: bytes
    soon: bytes
    closed: bool


class Answer(NamedTuple):
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    """Without Connection, which may depend on how much of the next request has come."""
    body: bytes

    def header(self, name: bytes) -> bytes:
        return dict(self.headers).get(name, b"")


async def drive(
    protocol: Callable[[], Connection], pieces: Iterable[bytes], moods: Random | None = None, *, eof: bool = False
) -> Written:
    """Feed one connection, then be silent for ever; fails if the connection, or a timer of it, outlives that.

    With `moods` the transport is full now and then, and there are pauses; with `eof` the peer closes its side.
    """
    connection = protocol()
    transport = MemoryTransport(connection)
    transport.connect()
    for piece in pieces:
        if not transport.reading:
            connection.resume_writing()
            await asyncio.sleep(MOMENT)
            assert transport.is_reading() or transport.closed, "reading is paused, and nothing is under way"
        if transport.closed:
            break
        if moods and moods.random() < 0.5:
            connection.pause_writing()
        if piece:
            transport.feed(piece)
        if moods and moods.random() < 0.7:
            await asyncio.sleep(moods.choice((0, MOMENT)))
            connection.resume_writing()
    connection.resume_writing()
    if eof and not transport.closed and not connection.eof_received():
        transport.close()
    await asyncio.sleep(SOON)
    said, closed = bytes(transport.written), transport.closed
    await asyncio.sleep(FOR_EVER)
    assert transport.closed, "the connection is still open"
    services = connection.services
    assert not services.connections
    for limit in (services.head, services.soon, services.idle, services.body, services.stall, services.linger):
        assert len(limit) == 0, "a timer of a connection that is over"
    assert len(services.silence) == 0
    return Written(bytes(transport.written), said, bool(closed))


def read_answers(written: Written, methods: list[str], *, sure: bool) -> tuple[list[Answer], bytes]:
    """The answers, as h11 reads them as the client of requests of these methods; and what follows a 101.

    Where it is not `sure` that these are all the requests, answers beyond them are left out: those to HEAD and CONNECT
    are read in another way.
    """
    answers: list[Answer] = []
    rest = written.all
    while rest:
        known = len(answers) < len(methods)
        if not known and not sure:
            return answers, b""
        method = methods[len(answers)] if known else "GET"
        client = h11.Connection(h11.CLIENT)
        headers = [("Host", "h"), ("Upgrade", "websocket"), ("Connection", "Upgrade")]
        client.send(h11.Request(method=method, target="/", headers=headers))
        client.send(h11.EndOfMessage())
        client.receive_data(rest)
        client.receive_data(b"")
        event = client.next_event()
        while isinstance(event, h11.InformationalResponse) and event.status_code == 100:
            event = client.next_event()
        if isinstance(event, h11.InformationalResponse):
            assert event.status_code == 101
            answers.append(Answer(101, (), b""))
            return answers, client.trailing_data[0]
        assert isinstance(event, h11.Response), event
        assert event.reason
        assert {b"date", b"x-request-id", b"x-content-type-options"} <= {name for name, _ in event.headers}
        fields = tuple((name, value) for name, value in event.headers if name != b"connection")
        body = b""
        while isinstance(more := client.next_event(), h11.Data):
            body += more.data
        assert isinstance(more, h11.EndOfMessage), more
        answers.append(Answer(event.status_code, fields, body))
        rest = client.trailing_data[0]
        if b"close" in dict(event.headers).get(b"connection", b""):
            assert not rest, f"{rest!r} behind an answer that closes the connection"
            assert written.closed or written.soon != written.all, "an answer has said that it closes, and it is open"
    return answers, b""
