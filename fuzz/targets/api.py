"""A whole gateway with scripted agents: nobody gets in without the secret, and every answer is one of the API's."""

from __future__ import annotations

import json
from collections.abc import Iterable
from random import Random
from typing import NamedTuple

from fuzz.driver import Answer, drive, read_answers
from fuzz.invariants import HttpEvent, cuttings, random_of
from fuzz.loop import run
from gateway.app import Gateway
from gateway.errors import AgentError
from gateway.model.http import BodyEnd, Malformed, RequestHead
from gateway.model.run import Usage
from gateway.testing import ScriptedAgent, counting_ids
from gateway.wire.http1 import Http1, Http1Limits
from gateway.wire.sse import SseDecoder, SseEvent
from gateway.wire.upgrade import is_websocket
from gateway.wire.websocket import Text, WebSocket

__all__ = ["one_input"]

TOKEN = "s3cret"  # noqa: S105 - of this target alone
ALLOWED = {101, 200, 204, 400, 401, 403, 404, 405, 408, 411, 413, 414, 417, 421, 426, 429, 431, 501, 505}
OPEN = {"/", "/health", "/healthz", "/ready", "/readyz"}
ERROR = {"message", "type", "param", "code"}


class _Asked(NamedTuple):
    """The requests of an input, as far as they are in order."""

    heads: list[RequestHead]
    sure: bool
    """Nothing follows whose answer depends on when the bytes come."""
    data: bytes = b""


class _Served(NamedTuple):
    answers: list[Answer]
    runs: int


def one_input(data: bytes) -> None:
    asked = _asked(data)._replace(data=data)
    whole = _check(asked, run(_serve(asked, [data])))
    for number, pieces in enumerate(cuttings(data)):
        found = _check(asked, run(_serve(asked, pieces, random_of(data) if number == 1 else None)))
        if asked.sure:
            assert found == whole, f"in one piece {whole}\nin {pieces}\n{found}"


async def _serve(asked: _Asked, pieces: Iterable[bytes], moods: Random | None = None) -> _Served:
    good = ScriptedAgent("Hel", 0.05, "lo \u2028\n", Usage(1, 2))
    bad = ScriptedAgent("some", AgentError("it failed", code="bad", status=429, retry_after=1.5))
    late = ScriptedAgent(AgentError("at once", code="bad", status=400))
    async with Gateway(
        agents={"main": good, "bad": bad, "late": late},
        listen=(),
        token=TOKEN,
        ids=counting_ids(),
        clock=lambda: 0.0,
    ) as gateway:
        written = await drive(gateway.protocol, pieces, moods)
    answers, rest = read_answers(written, [head.method for head in asked.heads], sure=asked.sure)
    if answers and answers[-1].status == 101:
        _check_frames(rest, may_enter=TOKEN.encode() in asked.data)
    else:
        assert rest == b"", f"{rest!r} behind the last answer"
    return _Served(answers, len(good.runs) + len(bad.runs) + len(late.runs))


def _asked(data: bytes) -> _Asked:
    http = Http1(Http1Limits())
    heads: list[RequestHead] = []
    events: list[HttpEvent] = [*http.receive(data)]
    while events and isinstance(head := events[0], RequestHead):
        heads.append(head)
        if is_websocket(head):  # what follows is no HTTP, if the handshake is a good one
            return _Asked(heads, sure=False)
        if not isinstance(events[-1], BodyEnd):
            # Refused before its body has come, or not: that depends on the cuts.
            return _Asked(heads, sure=False)
        has_body = head.content_length or head.chunked or head.expects_continue
        is_read = head.method == "POST" and _allowed(head) and head.path == "/v1/chat/completions"
        if has_body and not is_read and (head.expects_continue or head.method != "POST" or not _allowed(head)):
            return _Asked(heads, sure=False)
        if not head.keep_alive or head.method == "CONNECT":
            return _Asked(heads, sure=True)
        events = [*http.restart()]
    return _Asked(heads, sure=not events or isinstance(events[0], Malformed))


def _allowed(head: RequestHead) -> bool:
    """Whether the request shows the secret, said again in the plainest words (RFC 6750, 2.1)."""
    scheme, _, secret = head.fields.get(b"authorization", b"").partition(b" ")
    return scheme.lower() == b"bearer" and secret.strip(b" \t") == TOKEN.encode()


def _check(asked: _Asked, served: _Served) -> list[Answer]:
    answers = served.answers
    if asked.sure:
        assert served.runs <= sum(map(_allowed, asked.heads)), "an agent ran for somebody without the secret"
    for head, answer in zip(asked.heads, answers, strict=False):
        story = f"{head}\nis answered with {answer}"
        assert answer.status in ALLOWED, story
        if answer.status == 200 and head.path not in OPEN and head.target != "*":
            assert _allowed(head), story
        if answer.status == 401:
            assert not _allowed(head), story
            assert answer.header(b"www-authenticate"), story
        if answer.status == 405:
            assert answer.header(b"allow"), story
        if head.method != "HEAD":
            _check_body(answer)
    for answer in answers[len(asked.heads) :]:
        assert answer.status in ALLOWED - {200, 204}
        _check_body(answer)
    return answers


def _check_frames(frames: bytes, *, may_enter: bool) -> None:
    """A WebSocket is challenged first, and nobody is greeted who has not said the secret."""
    events = WebSocket(len(frames) + 1, mask=lambda: b"\0\0\0\0").receive(frames)
    texts = [json.loads(event.data) for event in events if isinstance(event, Text)]
    assert texts[0]["event"] == "connect.challenge", texts
    greeted = any(text.get("ok") for text in texts[1:])
    assert may_enter or not greeted, texts


def _check_body(answer: Answer) -> None:
    kind = answer.header(b"content-type")
    if answer.status >= 400:
        error = json.loads(answer.body)["error"]
        assert error.keys() == ERROR, error
        assert error["message"], error
    elif kind.startswith(b"text/event-stream"):
        events = SseDecoder().receive(answer.body)
        data = [event.data for event in events if isinstance(event, SseEvent)]
        assert len(data) == len(events)
        assert data.count("[DONE]") == 1
        assert data[-1] == "[DONE]"
        chunks = [json.loads(one) for one in data[:-1]]
        reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk.get("choices", ())]
        finished = [reason for reason in reasons if reason is not None]
        failed = [chunk for chunk in chunks if "error" in chunk]
        assert len(finished) + len(failed) == 1, answer.body
    elif kind.startswith(b"application/json"):
        json.loads(answer.body)
    else:
        assert answer.status in {101, 204} or kind.startswith(b"text/"), answer
