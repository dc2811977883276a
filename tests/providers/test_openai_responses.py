"""OpenAI's Responses API as a provider: what is asked.  What is made of the answers: test_streams.py."""

from __future__ import annotations

import json
from typing import Any

import pytest
from scripted_provider import KEY, asked, stream, trial

from gateway.errors import AgentError
from gateway.model.chat import Image, Message, Tool, ToolCall, ToolChoice
from gateway.model.run import RunDone, RunInput
from gateway.providers.responses import LEAST_TOKENS, Responses
from gateway.providers.settings import ModelSettings, Provider

ACME = Provider("acme", "http://x")


def events(*documents: dict[str, Any]) -> bytes:
    return stream(*(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in documents))


def completed(*output: dict[str, Any]) -> dict[str, Any]:
    return {"type": "response.completed", "response": {"status": "completed", "output": [*output]}}


GOOD = events({"type": "response.output_text.delta", "output_index": 0, "delta": "Hi"}, completed())


def body(run: RunInput, model: ModelSettings | None = None, dialect: Responses | None = None) -> dict[str, Any]:
    made: dict[str, Any] = json.loads((dialect or Responses()).body(run, ACME, model or ModelSettings("m"), None))
    return made


def test_the_request() -> None:
    run = asked(
        Message("developer", "Be brief."),
        Message("user", "What is it?"),
        history=(Message("user", "before"), Message("assistant", "yes")),
        temperature=0.5,
        top_p=0.9,
        seed=7,
        presence_penalty=1,
        max_tokens=5,
        parallel_tool_calls=True,
    )
    seen = trial(GOOD, run=run, system="You are a gateway.", dialect=Responses())
    assert seen.events == ["Hi", RunDone("stop")]
    assert seen.bodies == [{
        "model": "m-1",
        "input": [
            {"role": "user", "content": "before"},
            {"role": "assistant", "content": "yes"},
            {"role": "user", "content": "What is it?"},
        ],
        "stream": True,
        "store": False,
        "temperature": 0.5,
        "top_p": 0.9,
        "instructions": "You are a gateway.\n\nBe brief.",
        "max_output_tokens": LEAST_TOKENS,
    }]  # fmt: skip
    assert seen.heads[0].startswith(b"POST /v1/responses HTTP/1.1\r\n")
    assert f"\r\nauthorization: Bearer {KEY}\r\n".encode() in seen.heads[0]


def test_tools_and_their_results() -> None:
    run = asked(
        Message("user", "Weather?"),
        Message(
            "assistant", "Let me see.", tool_calls=(ToolCall("c1", "weather", '{"x":1}'), ToolCall("c2", "now", ""))
        ),
        Message("tool", "sunny", tool_call_id="c1"),
        Message("tool", "", None, "c2", (), (Image("image/gif", b"G"),)),
        tools=(Tool("weather", "Of a city.", {"type": "object"}, strict=True), Tool("now")),
        parallel_tool_calls=False,
    )
    made = body(run)
    assert made["tools"] == [
        {
            "type": "function",
            "name": "weather",
            "description": "Of a city.",
            "parameters": {"type": "object"},
            "strict": True,
        },
        {"type": "function", "name": "now", "parameters": None, "strict": False},
    ]
    assert made["parallel_tool_calls"] is False
    assert made["input"][1:] == [
        {"role": "assistant", "content": "Let me see."},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"x":1}'},
        {"type": "function_call", "call_id": "c2", "name": "now", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
        {
            "type": "function_call_output",
            "call_id": "c2",
            "output": [{"type": "input_image", "image_url": "data:image/gif;base64,Rw==", "detail": "auto"}],
        },
    ]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (ToolChoice(), None),
        (ToolChoice("none"), "none"),
        (ToolChoice("required"), "required"),
        (ToolChoice("function", "now"), {"type": "function", "name": "now"}),
    ],
)
def test_the_choice_of_a_tool(choice: ToolChoice, sent: object) -> None:
    assert body(asked(tools=(Tool("now"),), choice=choice)).get("tool_choice") == sent


def test_images() -> None:
    run = asked(Message("user", "See:", parts=("See:", Image("image/png", b"\x89PNG", "high"))))
    assert body(run)["input"][0]["content"] == [
        {"type": "input_text", "text": "See:"},
        {"type": "input_image", "image_url": "data:image/png;base64,iVBORw==", "detail": "high"},
    ]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"response_format": {"type": "json_object"}}, {"text": {"format": {"type": "json_object"}}}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}, "strict": True}}},
            {"text": {"format": {"type": "json_schema", "name": "x", "schema": {}, "strict": True}}},
        ),
        (
            {"reasoning_effort": "high", "verbosity": "low"},
            {
                "reasoning": {"effort": "high", "summary": "auto"},
                "include": ["reasoning.encrypted_content"],
                "text": {"verbosity": "low"},
            },
        ),
        ({"max_completion_tokens": 100}, {"max_output_tokens": 100}),
    ],
)
def test_parameters(given: dict[str, Any], wanted: dict[str, object]) -> None:
    plain = body(asked())
    assert {name: value for name, value in body(asked(**given)).items() if name not in plain} == wanted


def test_stop_sequences_are_refused() -> None:
    with pytest.raises(AgentError, match="`stop`") as caught:
        body(asked(stop="END"))
    assert (caught.value.status, caught.value.code) == (400, "unsupported_parameter")


def test_thoughts_come_back_with_the_results_of_tools() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA", "status": "completed"}
    call = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "now", "arguments": "{}"}
    dialect = Responses()
    answers = events(
        {"type": "response.output_item.done", "output_index": 0, "item": thought},
        {"type": "response.output_item.done", "output_index": 1, "item": call},
        completed(thought, call),
    )
    seen = trial(
        answers,
        run=asked(Message("user", "When?"), tools=(Tool("now"),)),
        dialect=dialect,
        settings=ModelSettings("m-1", reasoning=True),
    )
    assert seen.bodies[0]["include"] == ["reasoning.encrypted_content"]
    run = asked(
        Message("user", "When?"),
        Message("assistant", "", tool_calls=(ToolCall("c1", "now", "{}"),)),
        Message("tool", "noon", None, "c1"),
    )
    assert body(run, dialect=dialect)["input"][1:] == [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
        {"type": "function_call", "call_id": "c1", "name": "now", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "noon"},
    ]
