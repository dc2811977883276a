"""The answers of POST /v1/responses: every object and every event is one of the official SDK's types."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from gateway.api.responses_bytes import ResponseEncoder, response
from gateway.api.responses_parse import responses_request
from gateway.model.chat import ToolCall
from gateway.model.run import Answer, RunDone, RunFailed, ToolCallDelta, Usage
from gateway.wire.sse import SseDecoder, SseEvent

RUN = "0123456789abcdef0123456789abcdef"
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
ECHO = responses_request(b'{"input": "hi"}').echo
ASKED = {
    "input": "hi",
    "instructions": "Be brief.",
    "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}],
    "tool_choice": {"type": "function", "name": "f"},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}, "verbosity": "low"},
    "reasoning": {"effort": "low", "summary": "auto"},
    "metadata": {"a": "b"},
    "temperature": 0.5,
    "top_p": 1,
    "max_output_tokens": 7,
    "previous_response_id": f"resp_{RUN}",
    "truncation": "auto",
    "user": "me",
    "safety_identifier": "it",
    "prompt_cache_key": "key",
    "parallel_tool_calls": False,
}
FULL = responses_request(json.dumps(ASKED).encode()).echo
REQUIRED = {
    "id", "object", "created_at", "status", "error", "incomplete_details", "instructions", "max_output_tokens", "model",
    "output", "parallel_tool_calls", "previous_response_id", "reasoning", "store", "temperature", "text", "tool_choice",
    "tools", "top_p", "truncation", "usage", "user", "metadata",
}  # fmt: skip


def whole(answer: Answer, echo: Any = ECHO) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(response(RUN, 1_700_000_000, "openclaw", echo, answer))
    Response.model_validate(value, strict=True)
    assert value.keys() >= REQUIRED
    return value


def read(stream: bytes) -> list[dict[str, Any]]:
    """The events, each held against the SDK's type, and all of them against what the reference says of the order."""
    decoded = SseDecoder().receive(stream)
    events = [event for event in decoded if isinstance(event, SseEvent)]
    assert len(events) == len(decoded)
    assert events[-1].data == "[DONE]"
    found = []
    for number, event in enumerate(events[:-1]):
        value = json.loads(event.data)
        assert value["type"] == event.type
        assert value["sequence_number"] == number
        EVENT.validate_python(value, strict=True)
        found.append(value)
    return found


def names(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def encoder(echo: Any = ECHO) -> ResponseEncoder:
    return ResponseEncoder(RUN, 1_700_000_000, "openclaw", echo)


def test_a_text() -> None:
    value = whole(Answer("Hello", Usage(3, 2, 1, 1), RunDone()), FULL)
    assert value == {
        "id": f"resp_{RUN}",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "output": [
            {
                "id": f"msg_{RUN}00",
                "type": "message",
                "status": "completed",
                "role": "assistant",
                "content": [{"type": "output_text", "annotations": [], "logprobs": [], "text": "Hello"}],
            }
        ],
        "usage": {
            "input_tokens": 3,
            "input_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 0},
            "output_tokens": 2,
            "output_tokens_details": {"reasoning_tokens": 1},
            "total_tokens": 5,
        },
        "model": "openclaw",
        "background": False,
        "instructions": "Be brief.",
        "max_output_tokens": 7,
        "parallel_tool_calls": False,
        "previous_response_id": f"resp_{RUN}",
        "prompt_cache_key": "key",
        "reasoning": {"effort": "low", "summary": "auto"},
        "safety_identifier": "it",
        "store": True,
        "temperature": 0.5,
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}, "verbosity": "low"},
        "tool_choice": {"type": "function", "name": "f"},
        "tools": [
            {"type": "function", "name": "f", "description": None, "parameters": {"type": "object"}, "strict": True}
        ],
        "top_p": 1,
        "truncation": "auto",
        "user": "me",
        "metadata": {"a": "b"},
    }


@pytest.mark.parametrize(
    ("reason", "status", "details"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter"}),
    ],
)
def test_how_a_run_ends(reason: str, status: str, details: object) -> None:
    value = whole(Answer("some", Usage(1, 1), RunDone(reason)))
    assert (value["status"], value["incomplete_details"]) == (status, details)
    assert value["output"][0]["status"] == status
    made = encoder()
    stream = made.begin() + made.begin_message() + made.texts(["some"]) + made.done(RunDone(reason), Usage(1, 1))
    assert read(stream)[-1]["response"] == value


def test_calls_and_thoughts() -> None:
    calls = (ToolCall("c1", "f", '{"a":1}'), ToolCall("c2", "g", ""))
    value = whole(Answer("", Usage(0, 0), RunDone("tool_calls"), calls, "hm"))
    assert [item["type"] for item in value["output"]] == ["reasoning", "function_call", "function_call"]
    assert value["output"][0]["summary"] == [{"type": "summary_text", "text": "hm"}]
    assert [(item["call_id"], item["name"], item["arguments"]) for item in value["output"][1:]] == list(calls)
    assert len({item["id"] for item in value["output"]}) == 3


def test_an_empty_answer_is_an_empty_message() -> None:
    value = whole(Answer("", Usage(0, 0), RunDone()))
    assert value["output"][0]["content"][0]["text"] == ""
    made = encoder()
    assert read(made.begin() + made.done(RunDone(), Usage(0, 0)))[-1]["response"] == value
    cut = whole(Answer("", Usage(0, 9), RunDone("length"), (), "long thoughts"))
    assert [item["type"] for item in cut["output"]] == ["reasoning"]


def test_a_stream_of_text() -> None:
    made = encoder(FULL)
    stream = made.begin() + made.begin_message()
    assert made.in_message
    stream += made.texts(["Hel", "lo"]) + made.texts(["\u2028\n"]) + made.done(RunDone(), Usage(3, 2))
    events = read(stream)
    assert names(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["delta"] for event in events[4:7]] == ["Hel", "lo", "\u2028\n"]
    assert events[0]["response"]["status"] == "in_progress"
    assert events[0]["response"]["output"] == []
    assert events[0]["response"]["usage"] is None
    assert events[-1]["response"] == whole(Answer("Hello\u2028\n", Usage(3, 2), RunDone()), FULL)
    assert {event["item_id"] for event in events if "item_id" in event} == {f"msg_{RUN}00"}


def test_a_stream_of_everything() -> None:
    made = encoder()
    stream = made.begin() + made.reasoning("h") + made.reasoning("m") + made.begin_message() + made.texts(["a"])
    for delta in (
        ToolCallDelta(0, "c1", "f", '{"x"'),
        ToolCallDelta(1, "c2", "g"),
        ToolCallDelta(0, arguments=":1}"),
        ToolCallDelta(1, arguments="{}"),
    ):
        stream += made.call(delta)
    assert not made.in_message
    stream += made.begin_message() + made.texts(["b"]) + made.done(RunDone("tool_calls"), Usage(1, 2))
    events = read(stream)
    last = events[-1]["response"]
    assert [item["type"] for item in last["output"]] == [
        "reasoning",
        "message",
        "function_call",
        "function_call",
        "message",
    ]
    assert {item["status"] for item in last["output"][1:]} == {"completed"}
    assert [item["arguments"] for item in last["output"][2:4]] == ['{"x":1}', "{}"]
    for index, item in enumerate(last["output"]):
        about = [event for event in events if event.get("output_index") == index]
        assert about[0]["type"] == "response.output_item.added"
        assert about[-1]["type"] == "response.output_item.done"
        assert about[-1]["item"] == item
        assert {event["item_id"] for event in about[1:-1]} == {item["id"]}
        deltas = "".join(event["delta"] for event in about if event["type"].endswith(".delta"))
        wanted = item.get("arguments") or (item.get("content") or item["summary"])[0]["text"]
        assert deltas == wanted


def test_a_failure_in_a_stream() -> None:
    made = encoder()
    stream = made.begin() + made.begin_message() + made.texts(["so far"])
    stream += made.call(ToolCallDelta(0, "c", "f", "{")) + made.failed(RunFailed("too fast", "slow", 429), Usage(1, 1))
    events = read(stream)
    assert names(events)[-1] == "failed"
    last = events[-1]["response"]
    assert last["status"] == "failed"
    assert last["error"] == {"code": "rate_limit_exceeded", "message": "too fast", "type": "slow"}
    assert [item["status"] for item in last["output"]] == ["completed", "incomplete"]
    done = [event for event in events if event["type"] == "response.output_item.done"]
    assert [event["item"]["type"] for event in done] == ["message"], "a call that broke off looks complete"


@pytest.mark.parametrize(
    ("status", "code"), [(400, "invalid_prompt"), (429, "rate_limit_exceeded"), (504, "server_error")]
)
def test_codes_of_failures(status: int, code: str) -> None:
    made = encoder()
    last = read(made.begin() + made.failed(RunFailed("x", "own_code", status), Usage(0, 0)))[-1]["response"]
    assert (last["error"]["code"], last["error"]["type"]) == (code, "own_code")


def test_what_is_held_is_counted() -> None:
    made = encoder()
    made.begin_message()
    made.texts(["abc", "d"])
    assert made.size == 4
    made.reasoning("xy")
    made.call(ToolCallDelta(0, "id", "name", "{}"))
    assert made.size > 14


PIECE = st.one_of(
    st.text(min_size=1, max_size=5),
    st.builds(ToolCallDelta, st.integers(0, 2), st.text(max_size=2), st.text(max_size=2), st.text(max_size=3)),
)


@given(st.lists(PIECE, max_size=12))
def test_any_order_of_pieces(pieces: list[str | ToolCallDelta]) -> None:
    made = encoder()
    stream = made.begin()
    for piece in pieces:
        if isinstance(piece, str):
            if not made.in_message:
                stream += made.begin_message()
            stream += made.texts([piece])
        else:
            stream += made.call(piece)
    events = read(stream + made.done(RunDone(), Usage(0, 0)))
    output = events[-1]["response"]["output"]
    texts = "".join(item["content"][0]["text"] for item in output if item["type"] == "message")
    assert texts == "".join(piece for piece in pieces if isinstance(piece, str)).encode("utf-8", "replace").decode()
    added = [event["output_index"] for event in events if event["type"] == "response.output_item.added"]
    done = [event["output_index"] for event in events if event["type"] == "response.output_item.done"]
    assert added == list(range(len(output)))
    assert sorted(done) == added
