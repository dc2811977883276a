"""Answers of all APIs, as servers send them: the cases of tests/data/providers, by the reader and over a socket."""

from __future__ import annotations

import asyncio
import itertools
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from scripted_provider import answer, asked, stream, trial

from gateway.errors import AgentError
from gateway.model.run import ReasoningDelta, RunDone, ToolCallDelta, Usage
from gateway.providers.anthropic import Messages
from gateway.providers.calls import CALLS
from gateway.providers.dialect import Dialect, Reader
from gateway.providers.model import Model
from gateway.providers.openai import Completions
from gateway.providers.openai_stream import CompletionReader
from gateway.providers.responses import Responses
from gateway.providers.settings import Provider, Timeouts
from gateway.providers.upstream import Upstream

DATA = Path(__file__).resolve().parents[1] / "data" / "providers"
DIALECTS: dict[str, type[Dialect]] = {"openai": Completions, "anthropic": Messages, "responses": Responses}
CASES = [
    pytest.param(api, case, id=f"{api}: {case['name']}")
    for api in DIALECTS
    for case in json.loads((DATA / f"{api}.json").read_text("utf-8"))
]
ACME = Provider("acme", "http://x")


def sse(api: str, events: list[Any]) -> bytes:
    lines = []
    for event in events:
        if isinstance(event, dict) and api != "openai" and "type" in event:
            lines.append(f"event: {event['type']}\n")
        lines.append(f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n")
    return "".join(lines).encode()


def plain(pieces: list[Any]) -> list[list[object]]:
    """In the form of the cases."""
    shown: list[list[object]] = []
    for piece in pieces:
        match piece:
            case str():
                shown.append(["text", piece])
            case ReasoningDelta():
                shown.append(["reasoning", piece.text])
            case ToolCallDelta():
                shown.append(["call", *piece])
            case _:
                raise AssertionError(piece)
    return shown


def reader_of(api: str) -> Reader:
    numbers = itertools.count(1)
    if api == "openai":
        return CompletionReader(ACME, "m-1", lambda: f"made-{next(numbers)}")
    return DIALECTS[api]().reader(ACME, "m-1", asked())


def judge(case: dict[str, Any], pieces: list[Any], reader: Reader) -> None:
    assert plain(pieces) == case["gives"]
    assert reader.ended
    if "error" in case:
        assert reader.failure is not None
        assert getattr(reader.failure, "code", None) == case["error"]
        assert case.get("words", "") in reader.failure.message
        return
    assert reader.failure is None
    assert reader.finish_reason == case["finish"]
    assert (None if reader.usage is None else [*reader.usage]) == case.get("usage")


@pytest.mark.parametrize(("api", "case"), CASES)
def test_read(api: str, case: dict[str, Any]) -> None:
    reader = reader_of(api)
    if "whole" in case:
        judge(case, reader.receive_whole(json.dumps(case["whole"]).encode()), reader)
        return
    raw = sse(api, case["stream"])
    for step in (len(raw), 1, 7, 100):
        reader = reader_of(api)
        pieces = [piece for at in range(0, len(raw), step) for piece in reader.receive(raw[at : at + step])]
        if reader.ended:
            assert not reader.receive(raw)
        reader.eof()
        judge(case, pieces, reader)


@pytest.mark.parametrize(("api", "case"), CASES)
def test_over_a_socket(api: str, case: dict[str, Any]) -> None:
    said = answer(json.dumps(case["whole"]).encode()) if "whole" in case else stream(sse(api, case["stream"]))
    seen = trial(said, dialect=DIALECTS[api](), retries=0)
    told = [event for event in seen.events if not isinstance(event, RunDone | Usage)]
    wanted = [
        piece if piece[0] != "call" or not str(piece[2]).startswith("made-") else [*piece[:2], None, *piece[3:]]
        for piece in case["gives"]
    ]
    shown = plain(told)
    for piece, want in zip(shown, wanted, strict=True):
        if want[0] == "call" and want[2] is None:
            assert str(piece[2]).startswith("call_")
            piece[2] = None
    assert shown == wanted
    if "error" in case:
        assert seen.error is not None
        assert seen.error.code == case["error"]
    else:
        assert seen.error is None
        usage = [Usage(*case["usage"])] if "usage" in case else []
        assert seen.events[len(told) :] == [*usage, RunDone(case["finish"])]


# -- faults, whatever the API


FIRST: dict[str, list[Any]] = {
    "openai": [{"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}]}],
    "anthropic": [{"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}}],
    "responses": [{"type": "response.output_text.delta", "output_index": 0, "delta": "a"}],
}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


def good(api: str) -> bytes:
    return stream(sse(api, json.loads((DATA / f"{api}.json").read_text("utf-8"))[0]["stream"]))


@pytest.mark.parametrize("api", DIALECTS)
def test_a_stream_that_is_cut(api: str) -> None:
    first = sse(api, FIRST[api])
    for cut in (b"\r\n" + first, b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(first), first)):
        seen = trial(HEAD + cut, dialect=DIALECTS[api]())
        assert (seen.events, len(seen.bodies)) == (["a"], 1)
        assert seen.error is not None
        assert (seen.error.code, seen.error.status) == ("upstream_protocol_error", 502)


@pytest.mark.parametrize("api", DIALECTS)
@pytest.mark.parametrize(
    ("said", "retried"),
    [
        (HEAD + b"Content-Length: 0\r\n\r\n", True),
        (HEAD + b"\r\n", True),
        (HEAD + b"Content-Length: 8\r\n\r\nnonsense", True),
        (answer(b"<html>", "text/html"), False),
        (answer(b"[]"), False),
        (answer(b"{" * 2000), False),
        (b"SMTP ready\r\n\r\n", False),
        (stream(b"data: " + b"x" * 1_100_000), False),
        (answer(b"x", "text/event-stream", extra="Content-Encoding: br\r\n"), False),
    ],
    ids=[
        "empty",
        "closed",
        "no event",
        "a page",
        "an array",
        "too deep",
        "not HTTP",
        "too long an event",
        "compressed",
    ],
)
def test_what_is_no_answer(api: str, said: bytes, retried: bool) -> None:
    seen = trial(said, good(api), dialect=DIALECTS[api](), retries=1)
    if retried:
        assert (seen.error, len(seen.bodies)) == (None, 2)
        assert seen.events
    else:
        assert (seen.events, len(seen.bodies)) == ([], 1)
        assert seen.error is not None
        assert (seen.error.code, seen.error.status) == ("upstream_protocol_error", 502)


@pytest.mark.parametrize("api", DIALECTS)
def test_a_server_that_falls_silent(api: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(HEAD + b"\r\n" + sse(api, FIRST[api]))
            await reader.read()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        upstream = Upstream(Timeouts(5, 5, 0.2))
        events: list[object] = []
        try:
            async for event in Model(DIALECTS[api](), Provider("acme", url), "m-1", upstream)(asked()):
                events.append(event)  # noqa: PERF401 - what came before the failure counts
        except AgentError as error:
            events += [error.code, error.status]
        await upstream.aclose()
        server.close()
        assert events == ["a", "upstream_idle_timeout", 504]

    asyncio.run(asyncio.wait_for(main(), 20))


@pytest.mark.parametrize("api", DIALECTS)
def test_too_many_calls(api: str) -> None:
    openai = [
        {"choices": [{"delta": {"tool_calls": [{"index": n, "id": f"c{n}", "function": {"name": "f"}}]}}]}
        for n in range(200)
    ]
    anthropic = [
        {"type": "content_block_start", "content_block": {"type": "tool_use", "id": f"c{n}", "name": "f"}}
        for n in range(200)
    ]
    responses = [
        {
            "type": "response.output_item.added",
            "output_index": n,
            "item": {"type": "function_call", "call_id": f"c{n}", "name": "f"},
        }
        for n in range(200)
    ]
    reader = reader_of(api)
    events: Any = {"openai": openai, "anthropic": anthropic, "responses": responses}[api]
    pieces = reader.receive(sse(api, events))
    assert len({piece.number for piece in pieces if isinstance(piece, ToolCallDelta)}) == CALLS
    assert reader.failure is not None
    assert "128 calls" in reader.failure.message
