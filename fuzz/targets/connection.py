"""A whole connection on the shipped doubles: pipelined requests, their answers, and WebSockets, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from random import Random
from typing import NamedTuple

from websockets.frames import Opcode

from fuzz.driver import Answer, Written, drive, read_answers
from fuzz.frames import Reader, Reading, frames_of
from fuzz.invariants import HttpEvent, cuttings, merged, random_of
from fuzz.loop import run
from gateway.errors import RequestError
from gateway.model.http import NO_ANSWER, BodyChunk, BodyEnd, Malformed, RequestHead
from gateway.ports import Exchange
from gateway.server.limits import Limits
from gateway.server.server import Server
from gateway.testing import ECHO_BODY_BYTES, echo, echo_options
from gateway.wire.extensions import Compression, agree
from gateway.wire.http1 import Http1, Http1Limits
from gateway.wire.upgrade import accept, is_websocket
from gateway.wire.websocket import Binary, Text

__all__ = ["one_input"]

TEXT = ((b"content-type", b"text/plain"),)
LIMIT = 65_536
# So that small inputs make reading pause.
TIGHT = Limits(unread_bytes=100, drain_bytes=50, linger_bytes=500)


COMPRESSION = Compression(threshold=0)
TOO_LARGE = {"/stream": LIMIT}


class Wanted(NamedTuple):
    """What an input should be answered with."""

    methods: list[str]
    answers: list[tuple[int, bytes | None]]
    """Status and body; None for a body that says why a request was refused."""
    frames: bytes | None
    """The bytes behind the handshake of a WebSocket."""
    client: Reader
    """Who reads what is written then."""
    sure: bool
    """Nothing depends on when the bytes come."""
    unfinished: bool


def one_input(data: bytes) -> None:
    wanted = _wanted(data)
    whole = _check(data, wanted, run(_serve([data])))
    for number, pieces in enumerate(cuttings(data)):
        written = run(_serve(pieces, random_of(data) if number == 1 else None))
        found = _check(data, wanted, written)
        if wanted.sure and wanted.frames is None:
            assert found == whole, f"in one piece {whole}\nin {pieces}\n{found}"
    _check(data, wanted, run(_serve([data], eof=True)), eof=True)


async def _handler(exchange: Exchange) -> None:
    """The echo, and what it does not try: a streamed answer, a refusal, an answer before the body has come."""
    match exchange.head.path:
        case "/stream":
            body = await exchange.body(LIMIT)
            writer = exchange.stream(200, TEXT)
            for at in range(0, len(body), 5):
                writer.write(body[at : at + 5])
                if writer.full:
                    await writer.drain()
                await asyncio.sleep(0.001 if at % 2 else 0)
            await writer.end()
        case "/refused":
            raise RequestError(403, "no")
        case "/early":
            exchange.respond(200, TEXT, b"early")
        case _:
            await echo(exchange)


async def _serve(pieces: Iterable[bytes], moods: Random | None = None, *, eof: bool = False) -> Written:
    options = echo_options(TIGHT if moods else None, COMPRESSION)
    server = Server(asyncio.get_running_loop(), options._replace(handler=_handler, clock=lambda: 0.0))
    written = await drive(server.protocol, pieces, moods, eof=eof)
    await server.close()
    return written


def _wanted(data: bytes) -> Wanted:
    http = Http1(Http1Limits())
    events: list[HttpEvent] = [*http.receive(data)]
    wanted = Wanted([], [], None, Reader(server=False), sure=True, unfinished=False)
    while True:
        events = merged(events)
        head = events[0] if events else None
        if isinstance(head, Malformed):
            if head.status != NO_ANSWER:
                wanted.answers.append((head.status, None))
            return wanted
        if not isinstance(head, RequestHead):
            return wanted._replace(unfinished=http.buffered > 0)
        wanted.methods.append(head.method)
        last = events[-1]
        body = b"".join(event.data for event in events if isinstance(event, BodyChunk))
        waits = head.method != "OPTIONS" and head.path not in {"/early", "/refused"}
        if is_websocket(head) and head.path not in {"/early", "/refused", "/stream"}:
            try:
                agreement = agree(head, COMPRESSION)
                accept(head, None, None if agreement is None else agreement.answer)
            except RequestError as error:
                wanted.answers.append((error.status, None))
                return wanted._replace(sure=False)
            return wanted._replace(frames=http.detach(), client=Reader(server=False, agreement=agreement))
        if waits and (head.content_length or 0) > TOO_LARGE.get(head.path, ECHO_BODY_BYTES):
            wanted.answers.append((413, None))
            return wanted
        if not waits and (head.chunked or head.content_length):
            # What becomes of the rest of the body depends on how much of it has come.
            return wanted._replace(sure=False)
        if isinstance(last, Malformed):
            wanted.answers.append((last.status, None))
            return wanted
        if not isinstance(last, BodyEnd):
            return wanted._replace(unfinished=True)
        wanted.answers.append(_answer(head, body))
        if not head.keep_alive or head.path == "/refused":
            return wanted
        events = [*http.restart()]


def _answer(head: RequestHead, body: bytes) -> tuple[int, bytes | None]:
    match head.path, head.method:
        case ("/stream", _):
            status, text = 200, body
        case ("/early", _):
            status, text = 200, b"early"
        case ("/refused", _):
            return 403, None
        case (_, "OPTIONS"):
            status, text = 204, b""
        case (_, method) if method not in {"GET", "HEAD", "POST"}:
            return 405, None
        case ("/echo", _):
            status, text = 200, b"".join(b"%b: %b\n" % header for header in head.headers)
        case ("/cookie", _):
            return 200, None
        case (_, "POST"):
            status, text = 200, body
        case _:
            status, text = 200, b"OK"
    return status, b"" if head.method == "HEAD" else text


def _check(data: bytes, wanted: Wanted, written: Written, *, eof: bool = False) -> list[Answer]:
    """The answers in `written`, after comparing them with those that were wanted."""
    answers, rest = read_answers(written, wanted.methods, sure=wanted.sure)
    expected = wanted.answers
    story = f"{data!r}\nis answered with {answers}\ninstead of {wanted}"
    if wanted.sure:
        assert len(answers) >= len(expected), story
    for answer, (status, body) in zip(answers, expected, strict=False):
        assert answer.status == status, story
        assert body is None or answer.body == body, story
    more = [answer.status for answer in answers[len(expected) :]]
    if wanted.frames is not None:
        assert more == [101], story
        _check_frames(wanted.frames, rest, wanted.client, eof=eof)
    elif wanted.sure or not more or more[-1] != 101:
        assert rest == b"", f"{rest!r} behind the last answer"
        if wanted.unfinished:
            # A head, or a body, that never ends: told when its time is over, or when the connection is.
            assert more in ([408], [400]) or (eof and not more), story
        elif wanted.sure:
            assert not more, story
    return answers


def _check_frames(sent: bytes, written: bytes, client: Reader, *, eof: bool) -> None:
    """Each message comes back, in order, until the peer closes; then one close frame, with nothing behind it."""
    frames, protocol = frames_of(written, client)
    assert protocol.parser_exc is None, protocol.parser_exc
    ours = Reading.of(client.other.ours(25 * 2**20).receive(sent))
    messages = [
        event.data.encode() if isinstance(event, Text) else event.data
        for event in ours.events
        if isinstance(event, Text | Binary)
    ]
    back = [bytes(frame.data) for frame in frames if frame.opcode in {Opcode.TEXT, Opcode.BINARY}]
    assert messages[: len(back)] == back
    if ours.code is None and not eof:
        assert messages == back, "a message did not come back"
    if ours.code is not None:
        assert frames[-1].opcode is Opcode.CLOSE
    closes = [frame for frame in frames if frame.opcode is Opcode.CLOSE]
    assert len(closes) <= 1
    assert not closes or frames[-1] is closes[0]
