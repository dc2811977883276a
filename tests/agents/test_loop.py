"""The loop of a model with tools: its own, the caller's, both at once, none that is there, and without an end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from scripted import ScriptedModel, Tool, asks

from gateway.agents.loop import ToolLimits, ToolLoop
from gateway.agents.tool_call import fit
from gateway.agents.unanswered import CHARACTERS, RUNS, SECONDS, Unanswered
from gateway.errors import AgentError, ToolError
from gateway.model.caller import OPERATOR, Caller
from gateway.model.chat import ChatRequest, Message, ToolCall, ToolChoice
from gateway.model.chat import Tool as CallersTool
from gateway.model.run import ReasoningDelta, RunDone, RunEvent, RunInput, Step, ToolCallDelta, ToolUse, Usage
from gateway.testing import counting_ids

HI = Message("user", "hi")


async def _add(arguments: Mapping[str, Any]) -> str:
    return str(arguments["a"] + arguments["b"])


async def _fails(_: Mapping[str, Any]) -> str:
    raise ToolError("no such place")


async def _breaks(_: Mapping[str, Any]) -> str:
    raise ValueError("secretless reason")


async def _ends(_: Mapping[str, Any]) -> str:
    raise AgentError("no credit is left", code="no_credit", status=402)


class Stage:
    """A loop with tools `add`, `fails`, `breaks`, `ends`, and its model."""

    def __init__(self, *answers: list[RunEvent | BaseException], limits: ToolLimits | None = None) -> None:
        self.model = ScriptedModel(*answers)
        works = {"add": _add, "fails": _fails, "breaks": _breaks, "ends": _ends}
        self.tools = {name: Tool(name, work) for name, work in works.items()}
        self.now = 0.0
        self.loop = ToolLoop(self.model, self.offer, limits or ToolLimits(), counting_ids(), lambda: self.now)

    async def offer(self) -> Mapping[str, Tool]:
        return self.tools

    async def run(self, run: RunInput) -> list[RunEvent]:
        return [event async for event in self.loop(run)]

    def events(self, *messages: Message, **members: Any) -> list[RunEvent]:
        return asyncio.run(self.run(asked(*messages, **members)))

    def results(self, step: int = -1) -> list[str]:
        """What the model was told in its last round."""
        return [message.text for message in self.model.asked[step].conversation if message.role == "tool"]


def asked(*messages: Message, history: tuple[Message, ...] = (), caller: Caller = OPERATOR, **members: Any) -> RunInput:
    request = ChatRequest(messages or (HI,), **members)
    return RunInput("r1", "main", None, request, history=history, caller=caller)


def texts(events: list[RunEvent]) -> str:
    return "".join(
        event if isinstance(event, str) else "".join(event) for event in events if isinstance(event, str | list)
    )


def test_a_call_is_done_and_the_model_asked_again() -> None:
    call = ToolCall("m0", "add", '{"a": 1, "b": 2}')
    stage = Stage([*asks(("add", '{"a": 1, "b": 2}'), say="Let me add.")[:-1], Usage(5, 1), RunDone("tool_calls")],
                  ["It is ", "3.", Usage(9, 2), RunDone("stop")])  # fmt: skip
    said = Message("assistant", "Let me add.", tool_calls=(call,))
    result = Message("tool", "3", tool_call_id="m0")
    assert stage.events(Message("system", "Be short."), HI) == [
        "Let me add.", Usage(5, 1), ToolUse(call), ToolUse(call, "3"), Step((said, result)),
        "\n\n", "It is ", "3.", Usage(9, 2), RunDone("stop"),
    ]  # fmt: skip
    assert stage.model.asked[1].conversation == (Message("system", "Be short."), HI, said, result)
    assert [tool.name for tool in stage.model.asked[0].request.tools] == ["add", "fails", "breaks", "ends"]


def test_the_order_of_the_conversation_with_history() -> None:
    stage = Stage(asks(("add", '{"a":1,"b":2}')), ["3"])
    before = Message("user", "before")
    stage.events(Message("developer", "D"), HI, history=(before,))
    assert [message.role for message in stage.model.asked[1].conversation] == [
        "developer", "user", "user", "assistant", "tool",
    ]  # fmt: skip


def test_several_rounds_and_calls() -> None:
    stage = Stage(
        asks(("add", '{"a":1,"b":2}'), ("add", '{"a":3,"b":4}')), asks(("add", '{"a":5,"b":6}')), [["done", "."]]
    )
    events = stage.events()
    assert stage.results() == ["3", "7", "11"]
    assert texts(events) == "done."
    assert len([event for event in events if isinstance(event, Step)]) == 2
    assert events[-1] == RunDone("stop")


def test_calls_of_a_round_are_under_way_together_but_not_all() -> None:
    most = 0
    under_way = 0

    async def work(arguments: Mapping[str, Any]) -> str:
        nonlocal most, under_way
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        return str(arguments["n"])

    stage = Stage(asks(*(("add", f'{{"n": {n}}}') for n in range(7))), ["ok"], limits=ToolLimits(parallel=3, calls=5))
    stage.tools["add"].work = work
    stage.events()
    assert most == 3
    refusal = "Not done: at most 5 calls are done at once."
    assert stage.results() == ["0", "1", "2", "3", "4", refusal, refusal]


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("nothing", "{}", "There is no tool `nothing`. There are: add, fails, breaks, ends."),
        ("fails", "{}", "no such place"),
        ("breaks", "", "The tool failed: ValueError: secretless reason"),
        ("add", "{}", "The tool failed: KeyError: 'a'"),
        ("add", '{"a": 1', "The arguments are not valid JSON: "),
        ("add", '{"a": NaN}', "The arguments are not valid JSON: NaN is no JSON value"),
        ("add", "[1]", "The arguments have to be a JSON object."),
        ("add", '{"a": "\\ud800"}', "The arguments are not valid JSON: 'utf-8' codec"),
        ("add", "[" * 100_000, "The arguments are not valid JSON: "),
    ],
)
def test_what_goes_wrong_is_told_to_the_model(name: str, arguments: str, told: str) -> None:
    stage = Stage(asks((name, arguments)), ["Sorry."])
    events = stage.events()
    assert stage.results()[0].startswith(told)
    assert [event.failed for event in events if isinstance(event, ToolUse)] == [False, True]
    assert events[-2:] == ["Sorry.", RunDone("stop")]
    for message in stage.model.asked[1].conversation:  # providers read the arguments again
        assert all(isinstance(json.loads(call.arguments), dict) for call in message.tool_calls)


def test_a_tool_may_end_the_run() -> None:
    stage = Stage(asks(("ends", "{}"), ("add", '{"a":1,"b":1}')), ["never"])
    with pytest.raises(AgentError, match="no credit is left"):
        stage.events()
    assert len(stage.model.asked) == 1


def test_a_call_has_limited_time() -> None:
    async def forever(_: Mapping[str, Any]) -> str:
        await asyncio.sleep(60)
        return "never"

    async def own(_: Mapping[str, Any]) -> str:
        raise TimeoutError("the tool's own")

    stage = Stage(asks(("add", "{}"), ("fails", "{}")), ["ok"], limits=ToolLimits(call_time=0.05))
    stage.tools["add"].work = forever
    stage.tools["fails"].work = own
    stage.events()
    assert stage.results() == [
        "The tool took longer than 0.05 s and was given up.",
        "The tool failed: TimeoutError: the tool's own",
    ]


def test_a_result_has_limited_size() -> None:
    async def much(_: Mapping[str, Any]) -> str:
        return "é" * 300 + "\ud800"

    stage = Stage(asks(("add", "{}")), ["ok"], limits=ToolLimits(result_characters=100))
    stage.tools["add"].work = much
    stage.events()
    assert stage.results() == ["é" * 100 + "\n[cut: these are the first 100 of 301 characters]"]
    assert fit("a\ud800", 10) == "a\ufffd"


def test_a_model_that_never_has_enough_has_to_answer() -> None:
    again = asks(("add", '{"a":1,"b":2}'))
    stage = Stage(again, again, again, ["Enough."], limits=ToolLimits(rounds=3))
    assert texts(stage.events()) == "Enough."
    assert [run.request.tool_choice.mode for run in stage.model.asked] == ["auto", "auto", "auto", "none"]


def test_a_model_that_calls_although_it_must_not_fails() -> None:
    stage = Stage(asks(("add", '{"a":1,"b":2}')), limits=ToolLimits(rounds=2))
    with pytest.raises(AgentError) as caught:
        stage.events()
    assert caught.value.code == "tool_rounds"
    assert len(stage.model.asked) == 3
    assert len(stage.tools["add"].calls) == 2


@pytest.mark.parametrize(
    "piece", [ToolCallDelta(0, "m0", "add", "x" * 100_000), ToolCallDelta(0, "m0", "add"), "x" * 1_000_000]
)
def test_a_round_has_limited_size(piece: RunEvent) -> None:
    stage = Stage([piece] * 1_000_001)
    with pytest.raises(AgentError, match=r"more than"):
        stage.events()


def test_a_run_has_limited_results() -> None:
    async def much(_: Mapping[str, Any]) -> str:
        return "x" * 1_000_000

    limits = ToolLimits(result_characters=1_000_000, rounds=100)
    stage = Stage(asks(*[("add", "{}")] * 3), limits=limits)
    stage.tools["add"].work = much
    with pytest.raises(AgentError) as caught:
        stage.events()
    assert caught.value.code == "tool_results"
    assert len(stage.model.asked) == 3


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_a_call_that_was_cut_short_is_none(reason: str) -> None:
    stage = Stage([*asks(("add", '{"a":1'))[:-1], RunDone(reason)])
    assert stage.events() == [RunDone(reason)]
    assert stage.tools["add"].calls == []


def test_a_failing_model() -> None:
    stage = Stage(asks(("add", '{"a":1,"b":2}')), [AgentError("overloaded", status=503)])
    with pytest.raises(AgentError, match="overloaded"):
        stage.events()


def test_calls_without_ids_get_them() -> None:
    def call(number: int, name: str) -> ToolCallDelta:
        return ToolCallDelta(number, "", name, '{"a":1,"b":2}')

    stage = Stage([call(0, "add"), call(1, "add")], ["ok"])  # a server that tells no finish_reason of its own either
    stage.events()
    ids = [call.id for message in stage.model.asked[1].conversation for call in message.tool_calls]
    assert len(set(ids)) == 2
    assert all(ids)


# -- the caller's tools


LOOKUP = CallersTool("lookup", "The caller's.", {"type": "object"})


def callers(events: list[RunEvent]) -> tuple[ToolCall, ...]:
    """The calls that the caller is asked for."""
    pieces = [event for event in events if isinstance(event, ToolCallDelta)]
    found: dict[int, list[ToolCallDelta]] = {}
    for piece in pieces:
        found.setdefault(piece.number, []).append(piece)
    assert list(found) == list(range(len(found)))
    return tuple(
        ToolCall(some[0].id, some[0].name, "".join(piece.arguments for piece in some)) for some in found.values()
    )


def test_only_the_callers() -> None:
    stage = Stage([ReasoningDelta("hm"), *asks(("lookup", '{"q":1}'), ("lookup", '{"q":2}'), say="I look.")])
    events = stage.events(tools=(LOOKUP,))
    first, second = callers(events)
    assert [first[1:], second[1:]] == [("lookup", '{"q":1}'), ("lookup", '{"q":2}')]
    assert first.id != second.id
    assert events[-1] == RunDone("tool_calls")
    assert not [event for event in events if isinstance(event, Step | ToolUse)]


def test_they_are_passed_on_as_they_come() -> None:
    stage = Stage(asks(("lookup", '{"q":1}')))
    agen = stage.loop(asked(tools=(LOOKUP,)))

    async def main() -> None:
        first = await anext(agen)
        assert isinstance(first, ToolCallDelta)
        assert first.name == "lookup"
        assert first.arguments == ""

    asyncio.run(main())


@pytest.mark.parametrize("order", [("lookup", "add"), ("add", "lookup")])
def test_both_in_one_round(order: tuple[str, str]) -> None:
    arguments = {"add": '{"a":1,"b":2}', "lookup": '{"q":1}'}
    stage = Stage(
        asks(("add", '{"a":5,"b":5}'), say="First."),
        asks(*((name, arguments[name]) for name in order), say="Both."),
        ["The end."],
    )
    events = stage.events(tools=(LOOKUP,))
    (call,) = callers(events)
    assert call[1:] == ("lookup", '{"q":1}')
    assert len(call.id) > 20  # nobody can guess it
    assert isinstance(events[-2], Step)
    assert events[-1] == RunDone("tool_calls")
    assert texts(events) == "First.\n\nBoth."

    shown = Message("assistant", "First.\n\nBoth.", tool_calls=(call,))
    answer = Message("tool", "found", tool_call_id=call.id)
    assert texts(stage.events(HI, shown, answer, tools=(LOOKUP,))) == "The end."
    conversation = stage.model.asked[-1].conversation
    assert [(message.role, message.text) for message in conversation] == [
        ("user", "hi"), ("assistant", "First."), ("tool", "10"), ("assistant", "\n\nBoth."), ("tool", "3"),
        ("assistant", ""), ("tool", "found"),
    ]  # fmt: skip
    assert conversation[5].tool_calls == (call,)
    assert conversation[6].tool_call_id == call.id


def test_what_was_forgotten_is_still_a_conversation() -> None:
    stage = Stage(["ok"])
    shown = Message("assistant", "Both.", tool_calls=(ToolCall("call_gone", "lookup", "{}"),))
    answer = Message("tool", "found", tool_call_id="call_gone")
    stage.events(HI, shown, answer, tools=(LOOKUP,))
    assert stage.model.asked[-1].conversation == (HI, shown, answer)


def test_another_caller_gets_nothing_of_it() -> None:
    stage = Stage(asks(("add", '{"a":1,"b":2}'), ("lookup", "{}")), ["ok"])
    (call,) = callers(stage.events(tools=(LOOKUP,), caller=Caller("one")))
    shown = (HI, Message("assistant", "", tool_calls=(call,)), Message("tool", "found", tool_call_id=call.id))
    stage.events(*shown, tools=(LOOKUP,), caller=Caller("other"))
    assert stage.model.asked[-1].conversation == shown
    stage.events(*shown, tools=(LOOKUP,), caller=Caller("one"))
    assert "3" in stage.results()


def test_a_name_that_both_have() -> None:
    stage = Stage(["never"])
    with pytest.raises(AgentError) as caught:
        stage.events(tools=(CallersTool("add"),))
    assert (caught.value.status, caught.value.code) == (400, "tool_name_taken")


def test_tool_choice() -> None:
    def offered(choice: ToolChoice, *answers: list[RunEvent | BaseException]) -> list[tuple[str, str | None, int]]:
        stage = Stage(*(answers or (["ok"],)))
        stage.events(tools=(LOOKUP,), tool_choice=choice)
        requests = [run.request for run in stage.model.asked]
        return [(one.tool_choice.mode, one.tool_choice.name, len(one.tools)) for one in requests]

    again = asks(("add", '{"a":1,"b":2}'))
    assert offered(ToolChoice()) == [("auto", None, 5)]
    assert offered(ToolChoice("none")) == [("auto", None, 4)]  # none of the caller's
    assert offered(ToolChoice("required")) == [("required", None, 1)]  # one of the caller's
    assert offered(ToolChoice("function", "add"), again, ["ok"]) == [("function", "add", 5), ("auto", None, 5)]
    assert offered(ToolChoice("function", "lookup"), asks(("lookup", "{}"))) == [("function", "lookup", 5)]
    with pytest.raises(AgentError, match="there is no tool `nothing`"):
        offered(ToolChoice("function", "nothing"))


# -- leaving


def test_who_leaves_ends_the_calls_under_way() -> None:
    cancelled: list[str] = []

    async def forever(arguments: Mapping[str, Any]) -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(arguments["who"])
            raise
        return "never"

    async def main(how: str) -> None:
        stage = Stage(asks(("add", '{"who": "a"}'), ("add", '{"who": "b"}')))
        stage.tools["add"].work = forever
        agen = stage.loop(asked())
        begun = [await anext(agen), await anext(agen)]
        assert all(isinstance(event, ToolUse) for event in begun)
        if how == "close":
            await asyncio.sleep(0.01)
            await agen.aclose()  # type: ignore[attr-defined]  # it is an async generator
        else:
            pulling = asyncio.ensure_future(anext(agen))
            await asyncio.sleep(0.01)
            pulling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await pulling

    for how in ("close", "cancel"):
        cancelled.clear()
        asyncio.run(main(how))
        assert sorted(cancelled) == ["a", "b"]


# -- what is remembered


def test_memory_is_bounded() -> None:
    now = 0.0
    memory = Unanswered(lambda: now)
    step = (Message("assistant", "x" * 1000),)

    def known(name: str, owner: str = "o") -> bool:
        message = Message("assistant", "shown", tool_calls=(ToolCall(name, "lookup", "{}"),))
        return memory.restore(owner, (message,)) != (message,)

    for number in range(RUNS):
        memory.keep("o", [f"c{number}"], step, "")
    assert known("c0")  # and is now the one used last
    memory.keep("o", ["new"], step, "")
    assert known("c0")
    assert not known("c1")
    assert known("new")
    assert not known("new", owner="another")
    memory.keep("o", ["large"], (Message("assistant", "x" * (CHARACTERS - 2000)),), "")
    assert known("large")
    assert not known("c5")
    now += SECONDS + 1
    assert not known("large")
    memory.keep("o", ["too large"], (Message("assistant", "x" * CHARACTERS),), "")
    assert not known("too large")
