"""Runs whose caller has tools: whatever an agent gives, its calls come in the one form that clients put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import AgentError
from gateway.agents.calling import calling
from gateway.agents.conversation import calls_of
from gateway.model.chat import AnyTool, ChatRequest, Message, Tool, ToolCall, ToolChoice
from gateway.model.run import ReasoningDelta, RunDone, RunEvent, RunFailed, RunInput, ToolCallDelta, ToolUse, Usage

DIGITS = "0123456789abcdef0123456789abcdef"


def run_of(choice: ToolChoice = AnyTool) -> RunInput:
    request = ChatRequest((Message("user", "hi"),), tools=(Tool("f"), Tool("g")), tool_choice=choice)
    return RunInput(DIGITS, "main", None, request)


def events_of(script: list[Any], choice: ToolChoice = AnyTool) -> list[RunEvent]:
    async def agent() -> AsyncIterator[RunEvent]:
        for event in script:
            yield event

    async def main() -> list[RunEvent]:
        return [event async for event in calling(agent(), run_of(choice))]

    return asyncio.run(main())


PIECES = st.builds(
    ToolCallDelta,
    st.integers(0, 3),
    st.sampled_from(["", "a", "b"]),
    st.sampled_from(["", "f", "g"]),
    st.text(max_size=3),
)
OTHERS = st.sampled_from(["text", ["two", "texts"], ReasoningDelta("hm"), Usage(1, 1)])


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES | OTHERS, max_size=12))
def test_any_pieces(script: list[Any]) -> None:
    begun: set[int] = set()
    good = True
    for event in script:
        if isinstance(event, ToolCallDelta) and event.number not in begun:
            begun.add(event.number)
            good = good and bool(event.name)
    if not good:
        with pytest.raises(AgentError, match="without its name"):
            events_of(script)
        return
    events = events_of(script)
    assert [event for event in events[:-1] if not isinstance(event, ToolCallDelta)] == [
        event for event in script if not isinstance(event, ToolCallDelta)
    ]
    assert events[-1] == RunDone("tool_calls" if begun else "stop")
    pieces = [event for event in events if isinstance(event, ToolCallDelta)]
    seen: dict[int, ToolCall] = {}
    for piece in pieces:
        if piece.number in seen:
            assert (piece.id, piece.name) == ("", "")
            call = seen[piece.number]
            seen[piece.number] = call._replace(arguments=call.arguments + piece.arguments)
        else:
            assert piece.number == len(seen)
            assert piece.id
            assert len(piece.id) <= 40
            seen[piece.number] = ToolCall(piece.id, piece.name, piece.arguments)
    assert [*calls_of(pieces)] == [*seen.values()]
    order = list(dict.fromkeys(event.number for event in script if isinstance(event, ToolCallDelta)))
    wanted = [
        "".join(event.arguments for event in script if isinstance(event, ToolCallDelta) and event.number == number)
        for number in order
    ]
    assert [call.arguments for call in seen.values()] == wanted


def test_arguments_that_are_no_text() -> None:
    with pytest.raises(AgentError, match="gave dict where the arguments of a call were expected: JSON, as text"):
        events_of([ToolCallDelta(0, "a", "f", {"city": "Paris"})])  # type: ignore[arg-type]  # as agents may do


@pytest.mark.parametrize("reason", ["length", "content_filter", "odd"])
def test_other_endings_stay(reason: str) -> None:
    assert events_of(["x", RunDone(reason), "never"], ToolChoice("required")) == ["x", RunDone(reason)]


def test_a_failure_stays() -> None:
    failed = RunFailed("no", "no", 500)
    assert events_of(["x", failed, "never"], ToolChoice("required")) == ["x", failed]


@pytest.mark.parametrize(
    ("choice", "script", "good"),
    [
        (ToolChoice("required"), [ToolCallDelta(0, "a", "f")], True),
        (ToolChoice("required"), [ToolUse(ToolCall("1", "own", ""))], True),
        (ToolChoice("required"), ["text"], False),
        (ToolChoice("function", "f"), [ToolCallDelta(0, "a", "f")], True),
        (ToolChoice("function", "f"), [ToolCallDelta(0, "a", "g")], False),
        (ToolChoice("function", "f"), [ToolUse(ToolCall("1", "f", ""))], True),
        (ToolChoice("none"), ["text"], True),
        (AnyTool, [], True),
    ],
)
def test_what_is_demanded(choice: ToolChoice, script: list[Any], good: bool) -> None:
    if good:
        assert isinstance(events_of(script, choice)[-1], RunDone)
        return
    with pytest.raises(AgentError) as caught:
        events_of(script, choice)
    assert (caught.value.code, caught.value.status) == ("tool_choice_unsatisfied", 502)
