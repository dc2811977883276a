"""A model behind an OpenAI-compatible server: what it is asked, what is made of its answers, and of its refusals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from email.utils import formatdate
from typing import Any, cast

import pytest
from scripted_provider import DONE, GOOD, KEY, NOW, answer, asked, chunk, failed, recorder, refusal, stream, trial

from gateway.errors import AgentError
from gateway.model.chat import Image, Message, Tool, ToolCall, ToolChoice
from gateway.model.run import ReasoningDelta, RunDone, Usage
from gateway.providers.attempts import BACKOFF, RETRY_AFTER_CAP
from gateway.providers.dialect import Piece
from gateway.providers.errors import MESSAGE_CHARACTERS
from gateway.providers.model import Model
from gateway.providers.openai import Completions
from gateway.providers.openai_stream import CompletionReader
from gateway.providers.settings import ModelSettings, Provider
from gateway.providers.upstream import Upstream, UpstreamError

# -- what is asked


def test_the_request() -> None:
    run = asked(
        Message("developer", "Be brief.", name="ops"),
        Message("user", "What is it?"),
        Message("tool", "42", tool_call_id="t1"),
        history=(Message("user", "before"), Message("assistant", "yes")),
        temperature=0.5,
        stream=False,
        model="sneaky",
    )
    seen = trial(GOOD, run=run, system="You are a gateway.", headers={"X-Title": "gw", "User-Agent": "mine"})
    assert seen.bodies == [{
        "temperature": 0.5,
        "stream": True,
        "stream_options": {"include_usage": True},
        "model": "m-1",
        "messages": [
            {"role": "system", "content": "You are a gateway."},
            {"role": "system", "content": "Be brief.", "name": "ops"},
            {"role": "user", "content": "before"},
            {"role": "assistant", "content": "yes"},
            {"role": "user", "content": "What is it?"},
            {"role": "tool", "content": "42", "tool_call_id": "t1"},
        ],
    }]  # fmt: skip
    head = seen.heads[0]
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    for line in (f"authorization: Bearer {KEY}", "content-type: application/json", "x-title: gw", "user-agent: mine"):
        assert f"\r\n{line}\r\n".encode() in head


WEATHER = Tool("weather", "Of a city.", {"type": "object", "properties": {"city": {"type": "string"}}}, strict=True)
CALLED = Message("assistant", "", tool_calls=(ToolCall("c1", "weather", '{"city":"Rome"}'),))


def test_tools_and_their_results() -> None:
    run = asked(
        Message("user", "Weather?"),
        CALLED,
        Message("tool", "sunny", tool_call_id="c1"),
        tools=(WEATHER, Tool("now")),
        choice=ToolChoice("required"),
        parallel_tool_calls=False,
    )
    body = trial(GOOD, run=run).bodies[0]
    assert body["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "Of a city.",
                "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
                "strict": True,
            },
        },
        {"type": "function", "function": {"name": "now"}},
    ]
    assert (body["tool_choice"], body["parallel_tool_calls"]) == ("required", False)
    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}
            ],
        },
        {"role": "tool", "content": "sunny", "tool_call_id": "c1"},
    ]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (ToolChoice(), None),
        (ToolChoice("none"), "none"),
        (ToolChoice("function", "now"), {"type": "function", "function": {"name": "now"}}),
    ],
)
def test_the_choice_of_a_tool(choice: ToolChoice, sent: object) -> None:
    assert trial(GOOD, run=asked(tools=(Tool("now"),), choice=choice)).bodies[0].get("tool_choice") == sent


def test_without_tools_nothing_is_said_of_them() -> None:
    body = trial(GOOD, run=asked(choice=ToolChoice("none"), parallel_tool_calls=True)).bodies[0]
    assert body.keys().isdisjoint({"tools", "tool_choice", "parallel_tool_calls"})


def test_images_go_as_data_urls() -> None:
    run = asked(
        Message("user", "See:", parts=("See:", Image("image/png", b"\x89PNG\xff\xfe", "low"), Image("image/gif", b"G")))
    )
    assert trial(GOOD, run=run).bodies[0]["messages"][0]["content"] == [
        {"type": "text", "text": "See:"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBOR//+", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "data:image/gif;base64,Rw=="}},
    ]


def test_a_model_without_eyes_is_not_shown_images() -> None:
    run = asked(Message("user", "", parts=(Image("image/png", b"x"),)))
    seen = trial(GOOD, run=run, settings=ModelSettings("m-1", images=False))
    assert seen.error is not None
    assert (seen.error.code, seen.error.status, seen.bodies) == ("images_not_supported", 400, [])


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({}, ("max_tokens", 99)),
        ({"max_tokens": 5}, ("max_tokens", 5)),
        ({"max_completion_tokens": 5}, ("max_completion_tokens", 5)),
    ],
)
def test_the_models_limit_is_for_requests_without_one(given: dict[str, Any], sent: tuple[str, int]) -> None:
    body = trial(GOOD, run=asked(**given), settings=ModelSettings("m-1", max_tokens=99)).bodies[0]
    assert [(name, body[name]) for name in ("max_tokens", "max_completion_tokens") if name in body] == [sent]


def test_openai_itself_wants_the_new_names() -> None:
    provider = Provider("openai", "https://api.openai.com/v1")
    run = asked(Message("developer", "Be brief."), Message("user", "hi"))
    body = json.loads(Completions().body(run, provider, ModelSettings("m-1", max_tokens=99), None))
    assert body["max_completion_tokens"] == 99
    assert "max_tokens" not in body
    assert body["messages"][0] == {"role": "developer", "content": "Be brief."}


def test_a_lone_surrogate_of_the_request_reaches_the_provider() -> None:
    seen = trial(GOOD, run=asked(Message("user", "grüße \ud83d")))
    assert seen.bodies[0]["messages"][0]["content"] == "grüße \ud83d"


# -- answers


def test_each_token_stays_an_event() -> None:
    seen = trial(GOOD)
    assert seen.events == ["Hel", "lo", RunDone("stop")]
    assert all(type(event) is str for event in seen.events[:-1])


def test_usage_is_reported_once_and_the_finish_reason_kept() -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    early = {"prompt_tokens": 7, "completion_tokens": 1}
    tail = b'data: {"object": "chat.completion.chunk", "choices": [], "usage": %b}\n\n' % json.dumps(usage).encode()
    seen = trial(stream(chunk("a", usage=early), chunk("b", usage=None), chunk(finish="length"), tail, DONE))
    assert seen.events == ["a", "b", Usage(7, 2), RunDone("length")]


@pytest.mark.parametrize(
    ("told", "meant"), [("tool_calls", "stop"), ("content_filter", "content_filter"), ("eos", "stop")]
)
def test_finish_reasons(told: str, meant: str) -> None:
    assert trial(stream(chunk("a", told), DONE)).events == ["a", RunDone(meant)]


@pytest.mark.parametrize("events", [(chunk("a"), chunk(finish="stop")), (chunk("a"), DONE)])
def test_one_sign_of_the_end_is_enough(events: tuple[bytes, ...]) -> None:
    assert trial(stream(*events)).events == ["a", RunDone("stop")]


USAGE = b'data: {"object": "chat.completion.chunk", "choices": [], "usage": {"prompt_tokens": 7}}\n\n'


@pytest.mark.parametrize(
    ("later", "wanted"),
    [
        ([], ["a", RunDone("stop")]),
        ([USAGE], ["a", Usage(7, 0), RunDone("stop")]),
        ([USAGE, DONE], ["a", Usage(7, 0), RunDone("stop")]),
        ([b": still here\n\n"] * 1000, ["a", RunDone("stop")]),
        ([chunk("b"), USAGE, DONE], ["a", "b", Usage(7, 0), RunDone("stop")]),
    ],
    ids=["nothing", "the usage", "the usage and the end", "comments for ever", "text that was forgotten"],
)
def test_a_server_that_stays_silent_after_its_answer(later: list[bytes], wanted: list[object]) -> None:
    """It sent the finish_reason, and leaves the stream open: neither [DONE] nor the end of the body will come."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + chunk("a") + chunk(finish="stop")
            )
            for piece in later:
                await writer.drain()
                await asyncio.sleep(0.02)
                if writer.is_closing():  # lost meanwhile: uvloop raises where asyncio drops what is written then
                    break
                writer.write(piece)
            await reader.read()  # until the other side closes
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        closed.set()

    closed = asyncio.Event()

    async def main() -> list[object]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        provider = Provider("acme", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", KEY, {})
        upstream = Upstream(provider.timeouts)
        events: list[object] = [
            event async for event in Model(Completions(), provider, "m-1", upstream, grace=0.4)(asked())
        ]
        await upstream.aclose()
        await closed.wait()
        server.close()
        return events

    assert asyncio.run(asyncio.wait_for(main(), 10)) == wanted


def test_an_answer_in_one_piece() -> None:
    body = {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    }
    assert trial(answer(json.dumps(body).encode())).events == ["Hello", Usage(1, 2), RunDone("length")]


def test_parts_refusals_and_what_is_no_text() -> None:
    parts = b'data: {"choices": [{"delta": {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}}]}\n\n'
    refused = b'data: {"choices": [{"delta": {"content": null, "refusal": "I cannot"}}]}\n\n'
    others = b'data: {"choices": [{"delta": {"reasoning_content": "hm", "content": 5}}]}\n\n: ping\n\n'
    assert trial(stream(parts, others, refused, DONE)).events == [
        "ab",
        ReasoningDelta("hm"),
        "I cannot",
        RunDone("stop"),
    ]


# -- the reader


TEXTS = [
    "Hello",
    " world",
    'a "quote"',
    "\n\n",
    "\\",
    "grüße",
    "🦀",
    "}]}",
    '"}}]}\n\ndata: {',
    "plain",
    "x" * 3000,
    "end",
]


def read(*pieces: bytes) -> tuple[list[Piece], CompletionReader]:
    reader = CompletionReader(Provider("acme", "http://x"), "m")
    texts = [text for piece in pieces for text in reader.receive(piece)]
    reader.eof()
    return texts, reader


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_the_reader_gives_the_same_wherever_the_stream_is_cut(ending: bytes, ascii_only: bool) -> None:
    def event(text: str) -> bytes:
        document = {"id": "c", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
        return b"data: " + json.dumps(document, ensure_ascii=ascii_only).encode() + b"\n\n"

    odd = [b": keep-alive\n\n", chunk("odd", created=1), chunk(""), event("")]
    events = [event(text) for text in TEXTS]
    raw = b"".join([chunk(""), *events[:3], *odd, *events[3:], chunk(finish="stop"), DONE, chunk("never")])
    raw = raw.replace(b"\n", ending)
    expected = [*TEXTS[:3], "odd", *TEXTS[3:]]
    assert read(raw)[0] == expected
    for cut in [*range(1500), *range(1500, len(raw), 7)]:
        texts, reader = read(raw[:cut], raw[cut:])
        assert texts == expected, cut
        assert reader.failure is None
    for step in (1, 2, 3, 64, 255):
        assert read(*(raw[i : i + step] for i in range(0, len(raw), step)))[0] == expected, step


def test_what_only_looks_like_the_event_before_is_read_anew() -> None:
    first = b'data: {"choices": [{"delta": {"content": "a"}, "finish_reason": null}]}\n\n'
    longer = first.replace(b'"a"', b'"b", "content": "c"')  # the same bytes before and after, but two strings between
    ended = first.replace(b'"a"', b'"d"}, "finish_reason": "length"}, {"delta": {"content": "e"')
    broken = first.replace(b'"a"', b'"\x01"')
    texts, reader = read(first, first + longer + first, ended + first)
    assert texts == ["a", "a", "c", "a", "d", "a"]
    assert reader.finish_reason == "length"
    texts, reader = read(first, first + broken + first)
    assert texts == ["a", "a"]
    assert reader.failure is not None


def test_only_the_text_is_taken_for_the_text() -> None:
    for shape in (
        b'data: {"content": "%d", "choices": [{"delta": {"content": "same"}}]}\n\n',
        b'data: {"choices": [{"delta": {"content": "same"}, "content": "%d"}]}\n\n',
        b'data: {"choices": [{"delta": {"content": "%d", "content": "same"}}]}\n\n',
    ):
        assert read(b"".join(shape % n for n in range(20)))[0] == ["same"] * 20
    shape = b'data: {"x": {"content": "1"}, "choices": [{"delta": {"content": "%d"}}]}\n\n'
    assert read(b"".join(shape % n for n in range(20)))[0] == [str(n) for n in range(20)]


def test_nothing_is_taken_for_a_text_in_the_middle_of_an_event() -> None:
    texts, reader = read(chunk("a"), b"data: [\n", chunk("b"))
    assert texts == ["a"]
    assert reader.failure is not None


def test_lines_that_only_join_to_the_event_before_are_not_like_it() -> None:
    texts, reader = read(
        b'data: {"choices": [\ndata: {"delta": {"content": "a"}}]}\n\n',
        b'data: {"choices": [\n{"delta": {"content": "b"}}]}\n\n',
    )
    assert texts == ["a"]
    assert reader.failure is not None


def test_empty_texts_are_left_out() -> None:
    assert read(chunk("a"), chunk("b") + chunk("") + chunk("c"))[0] == ["a", "b", "c"]


def test_something_random_in_each_event_changes_nothing() -> None:
    events = [chunk(f"t{n}", obfuscation="x" * (n % 7)) for n in range(50)]
    assert read(b"".join(events))[0] == [f"t{n}" for n in range(50)]
    assert read(*events)[0] == [f"t{n}" for n in range(50)]


def test_halves_of_a_character_become_something_that_can_be_sent() -> None:
    texts, _ = read(
        chunk("a") * 2
        + b"".join(
            b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n' % half for half in (rb"x\ud83d", rb"\ud83e\udd80")
        )
    )
    assert texts == ["a", "a", "x�", "🦀"]
    "".join(map(str, texts)).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"data: nonsense\n\n",
        b"data: []\n\n",
        b'data: {"detail": "x"}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
        b'data: {"choices": [5]}\n\n',
        b'data: {"choices": [{"delta": {}, "finish_reason": "error"}]}\n\n',
        b"data: " + b"x" * 1_100_000,
        b"data: " + b"9" * 5000 + b"\n\n",
        b"",
        b'{"choices": []}',
    ],
)
def test_the_reader_never_raises(raw: bytes) -> None:
    texts, reader = read(chunk("a"), raw)
    assert texts == ["a"]
    assert isinstance(reader.failure, UpstreamError)
    assert (reader.failure.code, reader.failure.status) == ("upstream_protocol_error", 502)


# -- failures


def test_an_error_within_the_stream() -> None:
    seen = trial(stream(chunk("a"), b'data: {"error": {"message": "overloaded", "code": 503}}\n\n', DONE))
    assert seen.events == ["a"]
    assert seen.error is not None
    assert (seen.error.code, seen.error.status) == ("upstream_error", 502)
    assert "overloaded" in seen.error.message


def test_a_stream_cut_after_its_first_token_is_a_failure() -> None:
    cut = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    for end in (b"", b"data: {"):
        seen = trial(cut + chunk("a") + end)
        assert (seen.events, len(seen.bodies), seen.pauses) == (["a"], 1, [])
        assert seen.error is not None
        assert (seen.error.code, seen.error.status) == ("upstream_protocol_error", 502)


def test_a_stream_cut_before_its_first_token_is_tried_again() -> None:
    cut = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    seen = trial(cut, cut + b"%x\r\n%b\r\n" % (len(chunk("")), chunk("")), GOOD)
    assert seen.events == ["Hel", "lo", RunDone("stop")]
    assert len(seen.bodies) == 3


@pytest.mark.parametrize(
    ("said", "code", "status"),
    [
        (refusal(400, "too long", code="context_length_exceeded"), "context_length_exceeded", 400),
        (refusal(400, "too long"), "upstream_rejected", 400),
        (refusal(413), "upstream_rejected", 400),
        (refusal(422, code="Not A Word"), "upstream_rejected", 400),
        (refusal(401), "upstream_auth", 502),
        (refusal(403), "upstream_auth", 502),
        (refusal(402), "upstream_quota", 502),
        (refusal(429, code="insufficient_quota"), "upstream_quota", 502),
        (refusal(404), "upstream_not_found", 502),
        (refusal(429), "upstream_rate_limited", 429),
        (refusal(408), "upstream_timeout", 504),
        (refusal(504), "upstream_timeout", 504),
        (refusal(418), "upstream_error", 502),
        (refusal(500), "upstream_error", 502),
        (refusal(503), "upstream_error", 502),
        (answer(b"", status="308 Moved", extra="Location: https://elsewhere/\r\n"), "upstream_error", 502),
        (answer(b"<html>", "text/html"), "upstream_protocol_error", 502),
        (answer(b"{}"), "upstream_protocol_error", 502),
        (answer(b"not json"), "upstream_protocol_error", 502),
        (answer(b"xx", extra="Content-Encoding: gzip\r\n"), "upstream_protocol_error", 502),
        (b"garbage\r\n\r\n", "upstream_protocol_error", 502),
    ],
)
def test_what_refusals_become(said: bytes, code: str, status: int) -> None:
    error = failed(said)
    assert (error.code, error.status) == (code, status)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": {"message": "context is too long"}}', "context is too long"),
        (b'{"error": "model is loading"}', "model is loading"),
        (b'{"object": "error", "message": "wrong"}', "wrong"),
        (b'{"detail": "no such field"}', "no such field"),
        (b"<html>", "acme refused the request with status 400"),
        (b"[1]", "acme refused the request with status 400"),
        (b'{"error": {"message": "two\\nlines\\u0000"}}', "two lines"),
    ],
)
def test_the_words_of_the_provider_are_passed_on(body: bytes, words: str) -> None:
    assert failed(answer(body, status="400 Bad")).message == words


def test_long_words_are_cut() -> None:
    assert len(failed(refusal(400, "x" * 5000)).message) == MESSAGE_CHARACTERS


def test_secrets_are_never_shown() -> None:
    seen = trial(refusal(500, f"{KEY} and topsecret1"), headers={"x-key": "topsecret1"}, retries=0)
    assert seen.error is not None
    assert seen.error.message == "acme failed (500): *** and ***"
    error = failed(refusal(401, "Incorrect API key provided: sk-a-ve***-key"))
    assert "sk-a" not in error.message
    assert "models.providers.acme.apiKey" in error.message
    provider = Provider("acme", "http://x", KEY, {"x-key": "topsecret1"})
    assert KEY not in repr(provider)
    assert "topsecret1" not in repr(provider)


# -- trying again


def test_failures_are_tried_again_with_growing_pauses() -> None:
    seen = trial(refusal(500), refusal(503), refusal(408), GOOD, retries=3)
    assert seen.events == ["Hel", "lo", RunDone("stop")]
    assert seen.pauses == [BACKOFF, 2 * BACKOFF, 4 * BACKOFF]


def test_not_for_ever() -> None:
    seen = trial(refusal(500), retries=2)
    assert (len(seen.bodies), len(seen.pauses)) == (3, 2)
    assert seen.error is not None
    assert seen.error.status == 502


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422])
def test_what_cannot_help_is_not_tried_again(status: int) -> None:
    seen = trial(refusal(status), GOOD)
    assert (len(seen.bodies), seen.pauses) == (1, [])


@pytest.mark.parametrize(
    ("header", "pause"),
    [
        ("Retry-After: 3", 3.0),
        ("Retry-After: 0", 0.0),
        ("Retry-After: 1.5", 1.5),
        (f"Retry-After: {formatdate(NOW + 7, usegmt=True)}", 7.0),
        (f"Retry-After: {formatdate(NOW - 7, usegmt=True)}", 0.0),
        ("retry-after-ms: 250\r\nRetry-After: 9", 0.25),
        ("Retry-After: soon", BACKOFF),
        ("Retry-After: inf", BACKOFF),
        ("Retry-After: -5", BACKOFF),
        (f"Retry-After: {RETRY_AFTER_CAP:g}", RETRY_AFTER_CAP),
    ],
)
def test_retry_after_is_honoured(header: str, pause: float) -> None:
    seen = trial(refusal(429, extra=f"{header}\r\n"), GOOD)
    assert seen.pauses == [pause]
    assert seen.text == "Hello"


def test_a_long_retry_after_is_the_callers_affair() -> None:
    seen = trial(refusal(429, extra="Retry-After: 3600\r\n"), GOOD)
    assert (seen.pauses, len(seen.bodies)) == ([], 1)
    assert seen.error is not None
    assert (seen.error.status, seen.error.code, seen.error.retry_after) == (429, "upstream_rate_limited", 3600.0)


def test_a_provider_that_is_not_there() -> None:
    async def main() -> None:
        server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        pauses: list[float] = []

        async def sleep(seconds: float) -> None:
            pauses.append(seconds)

        upstream = Upstream()
        model = Model(Completions(), Provider("acme", f"http://127.0.0.1:{port}/v1"), "m", upstream, sleep=sleep)
        with pytest.raises(AgentError) as caught:
            async for _ in model(asked()):
                pass
        await upstream.aclose()
        assert (caught.value.code, caught.value.status, len(pauses)) == ("upstream_unreachable", 502, 2)

    asyncio.run(main())


# -- leaving


def leaving(leave: Callable[[Model, asyncio.Event], Awaitable[None]]) -> None:
    """A stream that goes on for ever: `leave` has to be seen by the provider."""

    async def main() -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX: \r\nContent-Length: 999999\r\n\r\n"
        async with recorder(head + chunk("a")) as server:
            upstream = Upstream()
            await leave(Model(Completions(), Provider("acme", server.url), "m", upstream), server.left)
            await asyncio.wait_for(server.left.wait(), 1)
            await upstream.aclose()

    asyncio.run(main())


def test_a_cancelled_run_is_seen_by_the_provider() -> None:
    async def leave(model: Model, left: asyncio.Event) -> None:
        begun = asyncio.Event()

        async def consume() -> None:
            async for _ in model(asked()):
                begun.set()

        task = asyncio.create_task(consume())
        await begun.wait()
        assert not left.is_set()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    leaving(leave)


def test_a_closed_generator_is_seen_by_the_provider() -> None:
    async def leave(model: Model, left: asyncio.Event) -> None:
        async with aclosing(cast("Any", model(asked()))) as events:
            async for _ in events:
                break

    leaving(leave)


def test_one_connection_serves_one_run_after_another() -> None:
    async def main() -> None:
        async with recorder(GOOD) as server:
            upstream = Upstream()
            model = Model(Completions(), Provider("acme", server.url), "m", upstream)
            for _ in range(3):
                assert [event async for event in model(asked())] == [["Hel", "lo"], RunDone("stop")]
            assert (server.connections, len(server.bodies)) == (1, 3)
            await upstream.aclose()

    asyncio.run(main())
