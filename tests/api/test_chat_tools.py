"""Tools of the caller, reasoning, usage and fallbacks, through a gateway on a real socket."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from asking import Answer, ask, chat, serving
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway import AgentError, Gateway, RunDone, RunInput, Usage
from gateway.agents.function import echo
from gateway.config import load
from gateway.model.chat import Message, ToolCall
from gateway.model.run import ModelChange, ReasoningDelta, RunEvent, ToolCallDelta, ToolUse
from gateway.testing import ScriptedAgent

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
TIME = {"type": "function", "function": {"name": "get_time"}}
TOOLS = [WEATHER, TIME]
NAMED = {"type": "function", "function": {"name": "get_weather"}}

ONE = (
    ToolCallDelta(0, "call_a", "get_weather"),
    ToolCallDelta(0, arguments='{"city":'),
    ToolCallDelta(0, arguments='"Paris"}'),
)
BOTH = (
    "Let me see.",
    ToolCallDelta(0, "call_a", "get_weather", '{"city":"Paris"}'),
    ToolCallDelta(1, "call_b", "get_time"),
    ToolCallDelta(1, arguments="{}"),
)


def call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def choice(answer: Answer) -> Any:
    assert answer.status == 200, answer.body
    ChatCompletion.model_validate(answer.json, strict=True)
    return answer.json["choices"][0]


def deltas(answer: Answer) -> list[Any]:
    """The deltas of a stream between its role chunk and its one finish reason, which is the last of them."""
    assert answer.status == 200, answer.body
    assert answer.events[-1] == "[DONE]"
    chunks = answer.events[:-1]
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)
    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert [one["finish_reason"] for one in choices[:-1]] == [None] * (len(choices) - 1)
    assert choices[-1]["delta"] == {}
    return [*(one["delta"] for one in choices[1:-1]), choices[-1]["finish_reason"]]


@pytest.mark.parametrize("ending", [(), (RunDone(),), (RunDone("tool_calls"),)])
def test_one_call(ending: tuple[RunEvent, ...]) -> None:
    agent = ScriptedAgent(*ONE, *ending)

    async def test(gateway: Gateway) -> None:
        found = choice(await chat(gateway, tools=TOOLS))
        assert found["finish_reason"] == "tool_calls"
        wanted = [call("call_a", "get_weather", '{"city":"Paris"}')]
        assert found["message"] == {"role": "assistant", "content": None, "refusal": None, "tool_calls": wanted}
        streamed = deltas(await chat(gateway, tools=TOOLS, stream=True))
        assert streamed == [
            {"tool_calls": [{"index": 0, **call("call_a", "get_weather", "")}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": '{"city":'}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": '"Paris"}'}}]},
            "tool_calls",
        ]

    serving(test, agents={"main": agent})
    assert [tool.name for tool in agent.runs[0].request.tools] == ["get_weather", "get_time"]
    assert agent.runs[0].request.tools[0].parameters == WEATHER["function"]["parameters"]  # type: ignore[index]  # JSON


def test_text_and_calls_in_parallel() -> None:
    async def test(gateway: Gateway) -> None:
        found = choice(await chat(gateway, tools=TOOLS))
        assert found["finish_reason"] == "tool_calls"
        assert found["message"]["content"] == "Let me see."
        assert found["message"]["tool_calls"] == [
            call("call_a", "get_weather", '{"city":"Paris"}'),
            call("call_b", "get_time", "{}"),
        ]
        streamed = deltas(await chat(gateway, tools=TOOLS, stream=True))
        assert streamed == [
            {"content": "Let me see."},
            {"tool_calls": [{"index": 0, **call("call_a", "get_weather", '{"city":"Paris"}')}]},
            {"tool_calls": [{"index": 1, **call("call_b", "get_time", "")}]},
            {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
            "tool_calls",
        ]

    serving(test, agents={"main": ScriptedAgent(*BOTH)})


def test_calls_in_bad_form_are_put_right() -> None:
    """Gaps in the numbers, a missing id, an id and a name in every piece: the SDK would put them together wrongly."""
    script = (
        ToolCallDelta(3, "", "get_weather", "{"),
        ToolCallDelta(7, "call_b", "get_time", ""),
        ToolCallDelta(3, "call_3", "get_weather", "}"),
        ToolCallDelta(7, "call_b", "get_time", "{}"),
    )

    async def test(gateway: Gateway) -> None:
        calls = choice(await chat(gateway, tools=TOOLS))["message"]["tool_calls"]
        made = calls[0]["id"]
        assert made.startswith("call_")
        assert 10 < len(made) <= 40
        assert calls == [call(made, "get_weather", "{}"), call("call_b", "get_time", "{}")]
        *pieces, reason = deltas(await chat(gateway, tools=TOOLS, stream=True))
        assert reason == "tool_calls"
        pieces = [piece["tool_calls"][0] for piece in pieces]
        assert [piece["index"] for piece in pieces] == [0, 1, 0, 1]
        assert ["id" in piece for piece in pieces] == [True, True, False, False]

    serving(test, agents={"main": ScriptedAgent(*script)})


def test_a_call_without_a_name_is_the_agents_fault() -> None:
    async def test(gateway: Gateway) -> None:
        answer = await chat(gateway, tools=TOOLS)
        assert (answer.status, answer.error["code"]) == (500, "agent_error")
        assert "without its name" in answer.error["message"]

    serving(test, agents={"main": ScriptedAgent(ToolCallDelta(0, "a", "", "{}"))})


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_an_answer_that_breaks_off_in_a_call_says_so(reason: str) -> None:
    async def test(gateway: Gateway) -> None:
        assert choice(await chat(gateway, tools=TOOLS, tool_choice="required"))["finish_reason"] == reason
        assert deltas(await chat(gateway, tools=TOOLS, stream=True))[-1] == reason

    serving(test, agents={"main": ScriptedAgent(*ONE[:2], RunDone(reason))})


@pytest.mark.parametrize("reason", ["tool_calls", "stop"])
def test_an_answer_without_calls_stops(reason: str) -> None:
    async def test(gateway: Gateway) -> None:
        assert choice(await chat(gateway, tools=TOOLS))["finish_reason"] == "stop"
        assert deltas(await chat(gateway, tools=TOOLS, stream=True)) == [{"content": "no"}, "stop"]

    serving(test, agents={"main": ScriptedAgent("no", RunDone(reason))})


@pytest.mark.parametrize(
    ("tool_choice", "script", "good"),
    [
        ("required", ONE, True),
        ("required", (ToolUse(ToolCall("1", "search", "{}")), "found it"), True),
        ("required", ("no",), False),
        ("required", (), False),
        (NAMED, ONE, True),
        (NAMED, (ToolCallDelta(0, "a", "get_time", "{}"),), False),
        (NAMED, ("no",), False),
        ("auto", ("no",), True),
        ("none", ("no",), True),
    ],
)
def test_a_demanded_call(tool_choice: Any, script: tuple[Any, ...], good: bool) -> None:
    async def test(gateway: Gateway) -> None:
        answer = await chat(gateway, tools=TOOLS, tool_choice=tool_choice, user="u")
        streamed = await chat(gateway, tools=TOOLS, tool_choice=tool_choice, stream=True)
        if good:
            choice(answer)
            deltas(streamed)
            return
        assert (answer.status, answer.error["type"]) == (502, "api_error")
        assert answer.error["code"] == "tool_choice_unsatisfied"
        said = "required" if tool_choice == "required" else "'get_weather'"
        assert answer.error["message"] == f"tool_choice={said} was not satisfied by the agent's answer"
        assert streamed.events[-2] == {"error": answer.error}
        assert all(chunk["choices"][0]["finish_reason"] is None for chunk in streamed.events[:-2])

    serving(test, agents={"main": ScriptedAgent(*script)})


def test_an_agent_of_one_piece_with_tools() -> None:
    async def same(run: RunInput) -> str:
        return run.request.messages[-1].text

    async def test(gateway: Gateway) -> None:
        assert choice(await chat(gateway, "hello", tools=TOOLS))["message"]["content"] == "hello"
        assert deltas(await chat(gateway, "hello", tools=TOOLS, stream=True)) == [{"content": "hello"}, "stop"]
        assert (await chat(gateway, tools=TOOLS, tool_choice="required")).status == 502

    serving(test, agents={"main": same})


def test_an_agent_is_closed_when_its_run_ends_with_a_call() -> None:
    closed = []

    async def agent(_: RunInput) -> AsyncIterator[RunEvent]:
        try:
            for event in ONE:
                yield event
            yield RunDone()
            yield "never said"
        finally:
            closed.append(True)

    async def test(gateway: Gateway) -> None:
        for stream in (False, True):
            assert (await chat(gateway, tools=TOOLS, stream=stream)).status == 200

    serving(test, agents={"main": agent})
    assert closed == [True, True]


def test_the_results_come_back() -> None:
    """A round trip, stateless: the calls and their results reach the agent as they were."""
    agent = ScriptedAgent("20 degrees")
    messages = [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call("call_a", "get_weather", '{"city":"Paris"}')]},
        {"role": "tool", "tool_call_id": "call_a", "content": "20"},
    ]

    async def test(gateway: Gateway) -> None:
        found = choice(await ask(gateway, body={"messages": messages, "tools": TOOLS}))
        assert (found["message"]["content"], found["finish_reason"]) == ("20 degrees", "stop")

    serving(test, agents={"main": agent})
    assert agent.runs[0].request.messages == (
        Message("user", "weather?"),
        Message("assistant", "", tool_calls=(ToolCall("call_a", "get_weather", '{"city":"Paris"}'),)),
        Message("tool", "20", tool_call_id="call_a"),
    )


def test_a_session_keeps_the_calls_and_takes_their_results_alone() -> None:
    agent = ScriptedAgent(*ONE)

    async def test(gateway: Gateway) -> None:
        assert choice(await chat(gateway, "weather?", tools=TOOLS, user="ann"))["finish_reason"] == "tool_calls"
        results = [{"role": "tool", "tool_call_id": "call_a", "content": "20"}]
        choice(await ask(gateway, body={"messages": results, "tools": TOOLS, "user": "ann"}))

    serving(test, agents={"main": agent})
    assert agent.runs[1].conversation == (
        Message("user", "weather?"),
        Message("assistant", "", tool_calls=(ToolCall("call_a", "get_weather", '{"city":"Paris"}'),)),
        Message("tool", "20", tool_call_id="call_a"),
    )


# What an agent takes.


def plain(run: RunInput) -> AsyncIterator[RunEvent]:
    return echo(run)


plain.__dict__["takes"] = {"images"}
HARMLESS: list[dict[str, Any]] = [{"tools": []}, {"tools": TOOLS, "tool_choice": "none"}, {"tool_choice": "auto"}]
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


def test_an_agent_that_takes_no_tools_says_so() -> None:
    async def test(gateway: Gateway) -> None:
        for agent in ("echo", "plain"):
            answer = await chat(gateway, model=f"openclaw/{agent}", tools=TOOLS)
            assert (answer.status, answer.error["param"]) == (400, "tools")
            assert answer.error["message"] == f"The agent `{agent}` takes no tools: send none, or `tool_choice` 'none'."
            for harmless in HARMLESS:
                said = choice(await chat(gateway, model=f"openclaw/{agent}", **harmless))
                assert said["message"]["content"] == "Echo: hi"

    serving(test, agents={"echo": echo, "plain": plain})


def test_a_command_takes_text_only(tmp_path: Path) -> None:
    path = tmp_path / "gateway.json5"
    runtime = {"type": "command", "argv": ["cat"]}
    endpoints = {"http": {"endpoints": {"chatCompletions": {"enabled": True}}}}
    path.write_text(json.dumps({"agents": {"list": [{"id": "main", "runtime": runtime}]}, "gateway": endpoints}))

    async def test(gateway: Gateway) -> None:
        assert (await chat(gateway, tools=TOOLS)).error["param"] == "tools"
        for stream in (False, True):
            body = {"messages": [{"role": "user", "content": [IMAGE]}], "stream": stream}
            assert (await ask(gateway, body=body)).error["param"] == "messages[0].content[0]"
        assert choice(await chat(gateway, "hello"))["message"]["content"] == "hello"

    serving(test, config=load(str(path), environ={}).config, environ={"PATH": os.environ["PATH"]})


def test_an_agent_that_takes_no_images_says_so() -> None:
    parts = [{"type": "text", "text": "see"}, IMAGE]
    messages = [{"role": "user", "content": "hi"}, {"role": "user", "content": parts}]

    async def test(gateway: Gateway) -> None:
        answer = await ask(gateway, body={"model": "openclaw/echo", "messages": messages})
        assert (answer.status, answer.error["param"]) == (400, "messages[1].content[1]")
        assert answer.error["message"] == "`messages[1].content[1]` is an image, and the agent `echo` takes none."
        assert (await ask(gateway, body={"model": "openclaw/plain", "messages": messages})).status == 200
        assert (await ask(gateway, body={"model": "openclaw/all", "messages": messages})).status == 200

    every = ScriptedAgent("nice")
    serving(test, agents={"echo": echo, "plain": plain, "all": every})
    (message,) = every.runs[0].request.messages[1:]
    assert message.text == "see"
    assert [part if isinstance(part, str) else tuple(part[:2]) for part in message.parts] == [
        "see",
        ("image/png", b"\x89PNG\r\n\x1a\n"),
    ]


# Reasoning, usage, fallbacks.

THINKING = (ReasoningDelta("hm"), ReasoningDelta(" \n…"), "yes", Usage(5, 7, 3, 4), Usage(1, 1))


@pytest.mark.parametrize("shown", [False, True])
def test_reasoning_is_shown_where_the_configuration_says_so(shown: bool, tmp_path: Path) -> None:
    path = tmp_path / "gateway.json5"
    entry = {"id": "main", "runtime": {"type": "python", "target": "e2e_agents:thinker"}, "showReasoning": shown}
    endpoints = {"http": {"endpoints": {"chatCompletions": {"enabled": True}}}}
    path.write_text(json.dumps({"agents": {"list": [entry]}, "gateway": endpoints}))

    async def test(gateway: Gateway) -> None:
        message = choice(await chat(gateway))["message"]
        assert message["content"] == "yes"
        assert message.get("reasoning_content") == ("hm \n…" if shown else None)
        assert ("reasoning_content" in message) is shown
        *pieces, reason = deltas(await chat(gateway, stream=True))
        thought = [{"reasoning_content": "hm"}, {"reasoning_content": " \n…"}] if shown else []
        assert (pieces, reason) == ([*thought, {"content": "yes"}], "stop")

    serving(test, config=load(str(path), environ={}).config)


def test_usage_with_its_details() -> None:
    async def test(gateway: Gateway) -> None:
        wanted = {
            "prompt_tokens": 6,
            "completion_tokens": 8,
            "total_tokens": 14,
            "prompt_tokens_details": {"cached_tokens": 3},
            "completion_tokens_details": {"reasoning_tokens": 4},
        }
        answer = await chat(gateway)
        assert answer.json["usage"] == wanted
        ChatCompletion.model_validate(answer.json, strict=True)
        streamed = await chat(gateway, stream=True, stream_options={"include_usage": True})
        assert streamed.events[-2]["usage"] == wanted
        assert streamed.events[-2]["choices"] == []
        ChatCompletionChunk.model_validate(streamed.events[-2], strict=True)

    serving(test, agents={"main": ScriptedAgent(*THINKING)})


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (ModelChange("local/small", "openai: 503"), "local/small; openai: 503"),
        (ModelChange("local/small", "a\r\nset-cookie: x=1\x00 é"), "local/small; a??set-cookie: x=1? ?"),
        (ModelChange("local/small", "x" * 500), "local/small; " + "x" * 187),
    ],
)
def test_a_fallback_is_told(change: ModelChange, shown: str) -> None:
    async def test(gateway: Gateway) -> None:
        answer = await chat(gateway)
        assert answer.headers["x-openclaw-fallback"] == shown
        assert "set-cookie" not in answer.headers
        streamed = await chat(gateway, stream=True)
        assert "x-openclaw-fallback" not in streamed.headers
        assert f"\n\n: fallback {shown}\n\n".encode() in streamed.body
        assert deltas(streamed) == [{"content": "hi"}, "stop"]

    serving(test, agents={"main": ScriptedAgent(change, "hi")})


def test_without_a_fallback_nothing_is_told() -> None:
    async def test(gateway: Gateway) -> None:
        assert "x-openclaw-fallback" not in (await chat(gateway)).headers

    serving(test, agents={"main": ScriptedAgent("hi")})


def test_a_failure_after_a_call() -> None:
    async def test(gateway: Gateway) -> None:
        streamed = await chat(gateway, tools=TOOLS, stream=True)
        assert streamed.events[-2]["error"]["code"] == "broken"
        assert all(chunk["choices"][0]["finish_reason"] is None for chunk in streamed.events[:-2])
        assert (await chat(gateway, tools=TOOLS)).status == 502

    serving(test, agents={"main": ScriptedAgent(*ONE, AgentError("no", code="broken", status=502))})
