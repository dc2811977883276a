"""Anthropic's Messages API: what is asked.  What is made of the answers: test_streams.py."""

from __future__ import annotations

import json
from typing import Any

import pytest
from scripted_provider import KEY, answer, asked, stream, trial

from gateway.errors import AgentError
from gateway.model.caller import Caller
from gateway.model.chat import Image, Message, Tool, ToolCall, ToolChoice
from gateway.model.run import RunDone, RunInput
from gateway.providers.anthropic import BUDGETS, MAX_TOKENS, Messages
from gateway.providers.settings import ModelSettings, Provider
from gateway.providers.thoughts import ENTRIES, THOUGHT_CHARACTERS, Thoughts

ACME = Provider("acme", "http://x")
WEATHER = Tool("weather", "Of a city.", {"type": "object", "properties": {}}, strict=True)
CALL = ToolCall("t1", "weather", '{"city": "Rome"}')


def events(*documents: dict[str, Any]) -> bytes:
    return stream(*(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in documents))


def ending(reason: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}}, {"type": "message_stop"}


GOOD = events({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hi"}}, *ending("end_turn"))


def body(
    run: RunInput,
    model: ModelSettings | str = "claude-sonnet-4-5",
    dialect: Messages | None = None,
    system: str | None = None,
) -> dict[str, Any]:
    settings = ModelSettings(model) if isinstance(model, str) else model
    made: dict[str, Any] = json.loads((dialect or Messages()).body(run, ACME, settings, system))
    return made


def test_the_request() -> None:
    run = asked(
        Message("system", "Be brief."),
        Message("user", "What is it?"),
        Message("developer", "In German."),
        history=(Message("user", "before"), Message("assistant", "yes")),
        temperature=0.5,
        top_p=0.9,
        seed=7,
        frequency_penalty=1,
        logit_bias={"1": 2},
        stop="END",
    )
    seen = trial(GOOD, run=run, system="You are a gateway.", dialect=Messages(), headers={"anthropic-beta": "x"})
    assert seen.events == ["Hi", RunDone("stop")]
    assert seen.bodies == [{
        "model": "m-1",
        "max_tokens": MAX_TOKENS,
        "stream": True,
        "temperature": 0.5,
        "stop_sequences": ["END"],
        "system": "You are a gateway.\n\nBe brief.\n\nIn German.",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "before"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "yes"}]},
            {"role": "user", "content": [{"type": "text", "text": "What is it?"}]},
        ],
    }]  # fmt: skip
    head = seen.heads[0]
    assert head.startswith(b"POST /v1/messages HTTP/1.1\r\n")
    for line in (f"x-api-key: {KEY}", "anthropic-version: 2023-06-01", "anthropic-beta: x"):
        assert f"\r\n{line}\r\n".encode() in head
    assert b"authorization" not in head.lower()


def test_the_base_url_with_the_version_or_without() -> None:
    assert Messages().url("https://api.anthropic.com") == "https://api.anthropic.com/v1/messages"
    assert Messages().url("https://api.anthropic.com/v1") == "https://api.anthropic.com/v1/messages"
    assert Messages().url("https://api.minimax.io/anthropic") == "https://api.minimax.io/anthropic/v1/messages"


def roles(*messages: Message) -> list[tuple[str, list[str]]]:
    made = body(asked(*messages))["messages"]
    return [(one["role"], [block.get("text") or block["type"] for block in one["content"]]) for one in made]


@pytest.mark.parametrize(
    ("messages", "wanted"),
    [
        ([("user", "a"), ("user", "b")], [("user", ["a", "b"])]),
        ([("assistant", "a"), ("user", "b")], [("user", ["."]), ("assistant", ["a"]), ("user", ["b"])]),
        ([("user", "a"), ("assistant", " \n"), ("user", "")], [("user", ["a"])]),
        ([("user", "a"), ("assistant", "b"), ("assistant", "c \n")], [("user", ["a"]), ("assistant", ["b", "c"])]),
        ([("user", "a"), ("function", "b")], [("user", ["a", "b"])]),
    ],
    ids=["neighbours", "an assistant first", "nothing said", "an answer that is begun", "a function of old"],
)
def test_users_and_assistants_take_turns(messages: list[tuple[str, str]], wanted: object) -> None:
    assert roles(*(Message(*one) for one in messages)) == wanted


def test_tools_and_their_results() -> None:
    called = Message("assistant", "Let me see.", tool_calls=(CALL, ToolCall("functions.now:0", "now", "")))
    run = asked(
        Message("user", "Weather?"),
        called,
        Message("user", "quickly"),
        Message("tool", "sunny", tool_call_id="t1"),
        Message("tool", "", tool_call_id="functions.now:0"),
        tools=(WEATHER, Tool("now")),
    )
    made = body(run)
    assert made["tools"] == [
        {"name": "weather", "input_schema": {"type": "object", "properties": {}}, "description": "Of a city."},
        {"name": "now", "input_schema": {"type": "object"}},
    ]
    assert "tool_choice" not in made
    assert made["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Rome"}},
                {"type": "tool_use", "id": "functions_now_0", "name": "now", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "sunny"}]},
                {"type": "tool_result", "tool_use_id": "functions_now_0", "content": []},
                {"type": "text", "text": "quickly"},
            ],
        },
    ]


def test_calls_of_tools_that_are_no_longer_offered() -> None:
    made = body(asked(*RESULT))
    assert made["tools"] == [{"name": "weather", "input_schema": {"type": "object"}}]
    assert made["tool_choice"] == {"type": "none"}


@pytest.mark.parametrize(
    ("arguments", "sent"), [("[1]", {"arguments": [1]}), ("{oops", {"arguments": "{oops"}), (" ", {})]
)
def test_arguments_that_are_no_object(arguments: str, sent: object) -> None:
    run = asked(Message("user", "a"), Message("assistant", "", tool_calls=(ToolCall("t", "f", arguments),)))
    assert body(run)["messages"][1]["content"][0]["input"] == sent


@pytest.mark.parametrize(
    ("choice", "parallel", "sent"),
    [
        (ToolChoice(), None, None),
        (ToolChoice(), False, {"type": "auto", "disable_parallel_tool_use": True}),
        (ToolChoice("none"), False, {"type": "none"}),
        (ToolChoice("required"), True, {"type": "any"}),
        (
            ToolChoice("function", "weather"),
            False,
            {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
        ),
    ],
)
def test_the_choice_of_a_tool(choice: ToolChoice, parallel: bool | None, sent: object) -> None:
    given: dict[str, Any] = {} if parallel is None else {"parallel_tool_calls": parallel}
    run = asked(tools=(WEATHER,), choice=choice, **given)
    assert body(run).get("tool_choice") == sent


def test_images_are_blocks() -> None:
    picture = Image("image/png", b"\x89PNG", "high")
    run = asked(Message("user", "See:", parts=("See:", picture)), Message("tool", "", None, "t1", (), (picture,)))
    block = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw=="}}
    result, text, seen = body(run)["messages"][0]["content"]
    assert (text, seen) == ({"type": "text", "text": "See:"}, block)
    assert result["content"] == [block]


@pytest.mark.parametrize(
    ("given", "model", "wanted"),
    [
        ({"temperature": 1.7}, "claude-sonnet-4-5", {"temperature": 1}),
        ({"temperature": 0, "top_p": 0.5}, "claude-sonnet-4-5", {"temperature": 0}),
        ({"top_p": 0.5}, "claude-3-5-haiku-20241022", {"top_p": 0.5}),
        ({"temperature": 0.3, "top_p": 0.5}, "claude-opus-4-7", {}),
        ({"temperature": 0.3}, "claude-opus-5-20261001", {}),
        ({"temperature": 0.3}, "anthropic/claude-sonnet-4-20250514", {"temperature": 0.3}),
        ({"temperature": 0.3}, "MiniMax-M2", {"temperature": 0.3}),
        ({"stop": ["a", "\n", "b"]}, "m", {"stop_sequences": ["a", "b"]}),
        ({"stop": "\n"}, "m", {}),
        ({"response_format": {"type": "text"}}, "m", {}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}},
            "m",
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        ),
    ],
)
def test_parameters(given: dict[str, Any], model: str, wanted: dict[str, object]) -> None:
    names = ("temperature", "top_p", "stop_sequences", "output_config")
    assert {name: value for name, value in body(asked(**given), model).items() if name in names} == wanted


@pytest.mark.parametrize(
    "wanted", [{"type": "json_object"}, {"type": "json_schema"}, {"type": "json_schema", "json_schema": {}}]
)
def test_json_without_a_schema_is_refused(wanted: object) -> None:
    with pytest.raises(AgentError, match="response_format") as caught:
        body(asked(response_format=wanted))
    assert (caught.value.status, caught.value.code) == (400, "unsupported_parameter")


@pytest.mark.parametrize(
    ("given", "known", "limit"),
    [
        ({}, None, MAX_TOKENS),
        ({}, 99, 99),
        ({"max_tokens": 5}, 99, 5),
        ({"max_completion_tokens": 6, "max_tokens": 5}, 99, 6),
    ],
)
def test_the_limit_of_an_answer(given: dict[str, Any], known: int | None, limit: int) -> None:
    assert body(asked(**given), ModelSettings("m", max_tokens=known))["max_tokens"] == limit


# -- thinking


@pytest.mark.parametrize(
    ("effort", "given", "thinking", "limit"),
    [
        ("low", {}, {"type": "enabled", "budget_tokens": BUDGETS["low"]}, MAX_TOKENS + BUDGETS["low"]),
        ("high", {"max_tokens": 10_000}, {"type": "enabled", "budget_tokens": 5000}, 10_000),
        ("high", {"max_tokens": 2000}, None, 2000),
        ("none", {}, None, MAX_TOKENS),
        ("whatever", {}, None, MAX_TOKENS),
    ],
)
def test_the_budget_to_think(effort: str, given: dict[str, Any], thinking: object, limit: int) -> None:
    made = body(asked(reasoning_effort=effort, temperature=0.2, **given))
    assert (made.get("thinking"), made["max_tokens"], "temperature" in made) == (thinking, limit, thinking is None)


@pytest.mark.parametrize(("effort", "sent"), [("minimal", "low"), ("xhigh", "xhigh"), ("medium", "medium")])
def test_newer_models_choose_their_budget(effort: str, sent: str) -> None:
    made = body(asked(reasoning_effort=effort, max_tokens=500), "claude-opus-4-6")
    assert (made["thinking"], made["output_config"], made["max_tokens"]) == (
        {"type": "adaptive"},
        {"effort": sent},
        500,
    )


def test_who_must_not_think() -> None:
    forced = asked(reasoning_effort="high", tools=(WEATHER,), choice=ToolChoice("required"))
    assert "thinking" not in body(forced)
    assert "thinking" not in body(asked(reasoning_effort="high"), ModelSettings("m", reasoning=False))


THOUGHT = (
    {"type": "content_block_start", "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "I need"}},
    {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": " the weather"}},
    {"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": "EqQB"}},
    {"type": "content_block_stop"},
    {"type": "content_block_start", "content_block": {"type": "redacted_thinking", "data": "EmwK"}},
    {"type": "content_block_stop"},
    {"type": "content_block_start", "content_block": {"type": "tool_use", "id": "t1", "name": "weather", "input": {}}},
    {"type": "content_block_stop"},
    *ending("tool_use"),
)
RESULT = (
    Message("user", "Weather?"),
    Message("assistant", "", tool_calls=(CALL,)),
    Message("tool", "sunny", None, "t1"),
)


def test_thoughts_come_back_with_the_results_of_tools() -> None:
    dialect = Messages()
    trial(events(*THOUGHT), dialect=dialect, run=asked(*RESULT[:1], tools=(WEATHER,), reasoning_effort="low"))
    made = body(asked(*RESULT, tools=(WEATHER,), reasoning_effort="low"), dialect=dialect)
    assert made["thinking"]["type"] == "enabled"
    assert made["messages"][1]["content"][:2] == [
        {"type": "thinking", "thinking": "I need the weather", "signature": "EqQB"},
        {"type": "redacted_thinking", "data": "EmwK"},
    ]
    # A turn that goes on without thinking: the API refuses thoughts then.
    without = body(asked(*RESULT, tools=(WEATHER,)), dialect=dialect)
    assert "thinking" not in without
    assert without["messages"][1]["content"][0]["type"] == "tool_use"


def test_a_turn_whose_thoughts_are_not_known_ends_without() -> None:
    assert "thinking" not in body(asked(*RESULT, reasoning_effort="low"))
    assert "thinking" in body(
        asked(*RESULT, Message("assistant", "It is."), Message("user", "And?"), reasoning_effort="low")
    )
    assert body(asked(*RESULT, reasoning_effort="low"), "claude-opus-4-7")["thinking"] == {"type": "adaptive"}


def test_thoughts_come_back_to_their_own_turn_only() -> None:
    """Servers that only speak like Anthropic may count the ids of their calls."""
    dialect = Messages()
    mine = asked(*RESULT[:1], reasoning_effort="low")
    trial(events(*THOUGHT), dialect=dialect, run=mine)
    follow_up = asked(*RESULT, reasoning_effort="low")
    assert "thinking" in body(follow_up, dialect=dialect)
    assert "thinking" not in body(follow_up._replace(caller=Caller("bob")), dialect=dialect)
    other = asked(Message("user", "In Oslo?"), *RESULT[1:], reasoning_effort="low")
    assert "thinking" not in body(other, dialect=dialect)


def test_thoughts_are_kept_for_a_while() -> None:
    thoughts = Thoughts()

    def found(call_id: str) -> list[dict[str, Any]]:
        return thoughts.find(1, Message("assistant", "", tool_calls=(ToolCall(call_id, "f", ""),)))

    for number in range(ENTRIES + 1):
        thoughts.keep(1, f"t{number}", [{"type": "thinking", "thinking": "x"}])
    assert found("t0") == []
    assert found(f"t{ENTRIES}") == [{"type": "thinking", "thinking": "x"}]
    thoughts.keep(1, "long", [{"thinking": "x" * (THOUGHT_CHARACTERS - 5)}])
    assert (found(f"t{ENTRIES}"), len(found("long"))) == ([], 1)
    thoughts.keep(1, "longer", [{"thinking": "x" * (THOUGHT_CHARACTERS + 1)}])
    assert (found("long"), found("longer")) == ([], [])


# -- its errors


def refused(status: int, kind: str, message: str, extra: str = "") -> bytes:
    document = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
    return answer(json.dumps(document).encode(), status=f"{status} No", extra=extra)


@pytest.mark.parametrize(
    ("said", "code", "status"),
    [
        (refused(400, "invalid_request_error", "max_tokens: too large"), "upstream_rejected", 400),
        (
            refused(400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API."),
            "upstream_quota",
            502,
        ),
        (refused(401, "authentication_error", "invalid x-api-key"), "upstream_auth", 502),
        (refused(403, "permission_error", "no"), "upstream_auth", 502),
        (refused(404, "not_found_error", "model: m-1"), "upstream_not_found", 502),
        (refused(413, "request_too_large", "no"), "upstream_rejected", 400),
        (refused(429, "rate_limit_error", "no"), "upstream_rate_limited", 429),
        (refused(500, "api_error", "no"), "upstream_error", 502),
        (refused(529, "overloaded_error", "Overloaded"), "upstream_error", 502),
    ],
)
def test_what_refusals_become(said: bytes, code: str, status: int) -> None:
    error = trial(said, dialect=Messages(), retries=0).error
    assert error is not None
    assert (error.code, error.status) == (code, status)


def test_an_overloaded_server_is_asked_again() -> None:
    busy = events({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
    seen = trial(refused(529, "overloaded_error", "Overloaded"), busy, GOOD, dialect=Messages())
    assert (seen.events, len(seen.bodies)) == (["Hi", RunDone("stop")], 3)


def test_the_key_is_never_shown() -> None:
    error = trial(refused(500, "api_error", f"for {KEY}"), dialect=Messages(), retries=0).error
    assert error is not None
    assert KEY not in error.message


def test_thoughts_that_are_too_long_are_not_kept() -> None:
    long = {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "x" * 600_000}}
    dialect = Messages()
    seen = trial(
        events(THOUGHT[0], long, long, *THOUGHT[3:]), dialect=dialect, run=asked(*RESULT[:1], reasoning_effort="low")
    )
    assert seen.events[-1] == RunDone("tool_calls")
    assert "thinking" not in body(asked(*RESULT, reasoning_effort="low"), dialect=dialect)
