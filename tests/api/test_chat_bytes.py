"""The answers of POST /v1/chat/completions, read back by OpenAI's own models and as Server-Sent Events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway.api.chat_bytes import DONE, KEEP_ALIVE, ChunkEncoder, completion, fallback_text
from gateway.model.chat import ToolCall
from gateway.model.run import Answer, ModelChange, RunDone, RunFailed, ToolCallDelta, Usage
from gateway.wire.grammar import FIELD_VALUE

TEXTS = st.text(alphabet=st.characters(exclude_categories=()), max_size=50)
ODD = [
    "",
    " ",
    '"',
    "\\",
    "\n\n",
    "\r",
    "\x00\x1f\x7f",
    "\u2028\u2029\x85",
    "data: [DONE]\n\n",
    "\U0001f980",
    "</script>",
]


def event(data: bytes) -> Any:
    """The JSON of exactly one event, by the rules of the HTML standard (section 9.2.6)."""
    assert data.startswith(b"data: ")
    assert data.endswith(b"\n\n")
    line = data.removesuffix(b"\n\n")
    assert b"\n" not in line
    assert b"\r" not in line
    return json.loads(line.removeprefix(b"data: ").decode("utf-8", "strict"))


def encoder(model: str = "openclaw", *, include_usage: bool = False) -> ChunkEncoder:
    return ChunkEncoder("chatcmpl-0f", 1_700_000_000, model, include_usage=include_usage)


def utf8(text: str) -> str:
    """What is left of a text in UTF-8, which holds no surrogates."""
    return text.encode("utf-8", "replace").decode()


@settings(max_examples=400, deadline=None)
@given(TEXTS, TEXTS.map(utf8), st.booleans())
def test_any_text_is_one_event(text: str, model: str, usage: bool) -> None:
    chunk = event(encoder(model, include_usage=usage).texts([text]))
    assert chunk["choices"][0]["delta"] == {"content": utf8(text)}
    assert chunk["model"] == model


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXTS, min_size=1), st.booleans())
def test_several_texts_are_as_many_events(texts: list[str], usage: bool) -> None:
    one = encoder(include_usage=usage)
    assert one.texts(texts) == b"".join(one.texts([text]) for text in texts)


@settings(max_examples=200, deadline=None)
@given(TEXTS, TEXTS, TEXTS)
def test_any_text_is_one_completion(text: str, model: str, reason: str) -> None:
    answer = json.loads(completion("1", 1, model, Answer(text, Usage(1, 2), RunDone(reason)), reason))
    assert answer["choices"][0]["message"]["content"] == utf8(text)
    assert answer["choices"][0]["finish_reason"] == utf8(reason)
    assert answer["model"] == utf8(model)


@settings(max_examples=200, deadline=None)
@given(TEXTS, TEXTS, TEXTS, TEXTS, st.integers(0, 127))
def test_any_call_is_one_event(call_id: str, name: str, arguments: str, text: str, number: int) -> None:
    first = event(encoder().tool_call(ToolCallDelta(number, call_id or "a", name, arguments)))["choices"][0]["delta"]
    wanted = {"id": utf8(call_id or "a"), "type": "function"}
    function = {"name": utf8(name), "arguments": utf8(arguments)}
    assert first == {"tool_calls": [{"index": number, **wanted, "function": function}]}
    more = event(encoder().tool_call(ToolCallDelta(number, arguments=arguments)))["choices"][0]["delta"]
    assert more == {"tool_calls": [{"index": number, "function": {"arguments": utf8(arguments)}}]}
    answer = Answer(text, Usage(1, 2), RunDone(), (ToolCall(call_id, name, arguments),), text)
    (choice,) = json.loads(completion("1", 1, "m", answer, "stop", reasoning=True))["choices"]
    assert choice["message"]["tool_calls"] == [{"id": utf8(call_id), "type": "function", "function": function}]
    assert choice["message"]["content"] == (utf8(text) or None)
    assert choice["message"].get("reasoning_content", "") == utf8(text)
    assert choice["finish_reason"] == "tool_calls"


@settings(max_examples=200, deadline=None)
@given(TEXTS, TEXTS)
def test_any_fallback_is_one_comment(model: str, reason: str) -> None:
    change = ModelChange(model, reason)
    comment = ChunkEncoder.fallback(change)
    assert comment.startswith(b": fallback ")
    assert comment.endswith(b"\n\n")
    assert comment.count(b"\n") == 2
    assert b"\r" not in comment
    assert FIELD_VALUE.fullmatch(fallback_text(change))


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_any_thought_is_one_event(text: str) -> None:
    assert event(encoder().reasoning(text))["choices"][0]["delta"] == {"reasoning_content": utf8(text)}


@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize("usage", [False, True])
def test_odd_texts(text: str, usage: bool) -> None:
    assert event(encoder(text, include_usage=usage).texts([text]))["choices"][0]["delta"]["content"] == text
    assert event(encoder(text, include_usage=usage).finish(text))["choices"][0]["finish_reason"] == text
    assert event(ChunkEncoder.error(RunFailed(text, text, 500)))["error"]["message"] == text


def test_the_completion_object() -> None:
    data = completion("ab", 1_700_000_000, "openclaw/main", Answer("hi", Usage(3, 4), RunDone("length")), "length")
    assert json.loads(data) == {
        "id": "chatcmpl-ab",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "openclaw/main",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "hi", "refusal": None},
                "logprobs": None,
                "finish_reason": "length",
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    }
    read = ChatCompletion.model_validate(json.loads(data), strict=True)
    assert not read.model_extra
    assert read.usage is not None
    assert read.usage.total_tokens == 7


@pytest.mark.parametrize("usage", [False, True])
def test_the_chunks(usage: bool) -> None:
    made = encoder(include_usage=usage)
    chunks = [event(made.role()), event(made.texts(["hi"])), event(made.finish("stop"))]
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)
        assert (chunk["id"], chunk["object"], chunk["created"]) == (
            "chatcmpl-0f",
            "chat.completion.chunk",
            1_700_000_000,
        )
        assert chunk["model"] == "openclaw"
        assert ("usage" in chunk) is usage
        assert chunk.get("usage") is None
        assert len(chunk["choices"]) == 1
        assert chunk["choices"][0]["index"] == 0
        assert chunk["choices"][0]["logprobs"] is None
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"content": "hi"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, "stop"]


def test_the_usage_chunk() -> None:
    chunk = event(encoder(include_usage=True).usage(Usage(5, 6)))
    assert chunk["choices"] == []
    assert chunk["usage"] == {"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11}
    ChatCompletionChunk.model_validate(chunk, strict=True)


def test_an_error_in_a_stream() -> None:
    document = event(ChunkEncoder.error(RunFailed("it broke", "broken", 429)))
    assert document == {"error": {"message": "it broke", "type": "rate_limit_error", "param": None, "code": "broken"}}


def test_the_constants() -> None:
    assert DONE == b"data: [DONE]\n\n"
    assert KEEP_ALIVE.startswith(b":"), "a comment, which every reader skips"
    assert KEEP_ALIVE.endswith(b"\n\n")
    assert KEEP_ALIVE.count(b"\n") == 2
