"""The loop of a model that uses tools: it asks for calls, they are done here, and it is asked again.

The caller's own tools are not called here: those calls are handed to the caller, and the run ends with them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any, cast

from ..errors import AgentError
from ..model.chat import AnyTool, ChatRequest, Message, Tool, ToolCall, ToolChoice
from ..model.run import RunDone, RunEvent, RunFailed, RunInput, Step, ToolCallDelta, ToolUse
from ..ports import Agent, Flow, GatewayTool, Ids, Offer
from ..records import NamedTuple
from ..sessions.history import size
from .tool_call import Result, perform
from .unanswered import Unanswered

__all__ = ["ToolLimits", "ToolLoop"]

ARGUMENT_CHARACTERS = 1_000_000
"""Of the arguments of all calls of a round: more than a model can write in an answer."""

TEXT_CHARACTERS = 4_000_000
"""Of what is said in a round, which is kept for the next."""

STEP_CHARACTERS = 8_000_000
"""Of all calls of a run and their results, which are sent with each round: no model reads so much."""

# What a call counts besides the characters of its arguments.
_CALL = 100


class ToolLimits(NamedTuple):
    """What holds a model that never has enough."""

    rounds: int = 20
    """Rounds of calls in a run; then the model has to answer with what it has.  People wait, and each round costs."""

    calls: int = 32
    """Calls in one round that are done; the model is told of those beyond."""

    parallel: int = 8
    """Calls of a run that are under way at a time."""

    call_time: float | None = 300.0
    """Seconds for one call, whatever limits its tool has of its own."""

    result_characters: int = 50_000
    """Of a result, for the model: some 12,000 tokens."""


class ToolLoop:
    """The agent: `agent`, a model, with tools.  Raises AgentError.

    `offer` gives the tools as they are now; `ids` are for calls of the caller's tools, which get new ones.
    """

    def __init__(self, agent: Agent, offer: Offer, limits: ToolLimits, ids: Ids, clock: Callable[[], float]) -> None:
        self._agent = agent
        self._offer = offer
        self._limits = limits
        self._ids = ids
        self._unanswered = Unanswered(clock)

    def __call__(self, run: RunInput) -> AsyncIterator[RunEvent]:
        """The events of the model, and those of its tools."""
        return cast("AsyncIterator[RunEvent]", self._events(run, self._agent))

    def with_flow(self, run: RunInput) -> AsyncIterator[RunEvent | Flow]:
        """The same, with a Flow among them where the model gives one."""
        return self._events(run, getattr(self._agent, "with_flow", self._agent))

    async def _events(self, run: RunInput, agent: Callable[[RunInput], Any]) -> AsyncIterator[RunEvent | Flow]:
        tools = await self._offer()
        owner = f"{run.agent_id} {run.caller.id}"
        request = run.request
        _check_names(request, tools)
        restored = self._unanswered.restore(owner, request.messages)
        request = request._replace(messages=restored)
        steps: tuple[Message, ...] = ()
        said = False
        room = STEP_CHARACTERS
        for number in range(self._limits.rounds + 1):
            asked = _offered(request, tools, number, last=number == self._limits.rounds)
            one = _Round(asked, tools, self._ids, gap=said)
            async with aclosing(_ask(agent(run._replace(request=asked)), one)) as events:
                async for event in events:
                    yield event
            if isinstance(one.ending, RunFailed) or one.ending.finish_reason in _CUT:
                yield one.ending  # a call that was cut short is none
                return
            said = said or bool(one.texts)
            text = "".join(one.texts)
            calls = one.calls()
            if calls and number == self._limits.rounds:
                rounds = self._limits.rounds
                raise AgentError(f"the model calls tools without end: {rounds} rounds were done", code="tool_rounds")
            if calls:
                results: dict[str, Result] = {}
                async with aclosing(self._use(calls, tools, results)) as uses:
                    async for use in uses:
                        yield use
                step = Step(_messages(text, calls, results))
                text = ""  # it is part of the step
                steps += step.messages
                room -= sum(map(size, step.messages))
                if room < 0:
                    raise AgentError("the results of the tools are more than a model can read", code="tool_results")
                yield step
            if one.asks_caller:
                if steps:
                    self._unanswered.keep(owner, one.caller_ids, steps, text)
                yield RunDone("tool_calls")
                return
            if not calls:
                yield one.ending
                return
            request = request._replace(messages=(*restored, *steps))

    async def _use(
        self, calls: tuple[ToolCall, ...], tools: Mapping[str, GatewayTool], results: dict[str, Result]
    ) -> AsyncGenerator[RunEvent, None]:
        """Do the calls, several at a time; `results` by the ids of the calls.

        Who stops waiting ends those under way.
        """
        limits = self._limits
        gate = asyncio.Semaphore(limits.parallel)

        async def work(call: ToolCall) -> Result:
            async with gate:
                return await perform(call, tools, limits.call_time, limits.result_characters)

        for call in calls[limits.calls :]:
            results[call.id] = Result(f"Not done: at most {limits.calls} calls are done at once.", failed=True)
        tasks = {asyncio.ensure_future(work(call)): call for call in calls[: limits.calls]}
        waiting = set(tasks)
        try:
            for call in tasks.values():
                yield ToolUse(call)
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    result = results[tasks[task].id] = task.result()
                    yield ToolUse(tasks[task], result.text, result.failed)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _ask(produced: Any, one: _Round) -> AsyncGenerator[RunEvent | Flow, None]:
    """One answer of the model; what concerns the gateway's tools stays in `one`."""
    async with aclosing(produced) as events:
        async for event in events:
            kind = event.__class__
            if kind is str or kind is list:
                for text in one.say(event):
                    yield text
            elif kind is ToolCallDelta:
                delta = one.route(event)
                if delta is not None:
                    yield delta
            elif kind is RunDone or kind is RunFailed:
                one.ending = event
                break
            elif not isinstance(event, Flow):
                yield event
            elif not one.gap:
                event.taps.append(one.hear)
                yield event
                one.check()


class _Round:
    """What the model says and asks for in one answer."""

    def __init__(self, asked: ChatRequest, tools: Mapping[str, GatewayTool], ids: Ids, *, gap: bool) -> None:
        self.texts: list[str] = []
        self.ending: RunDone | RunFailed = RunDone()
        self.caller_ids: list[str] = []
        self._theirs = {tool.name for tool in asked.tools} - tools.keys()
        self._ids = ids
        self.gap = gap
        """Whether the next text is to stand apart from that of the round before."""
        self._numbers: dict[int, int] = {}  # of the caller's calls: the model's numbers to those the caller sees
        self._pieces: dict[int, list[ToolCallDelta]] = {}
        self._room = ARGUMENT_CHARACTERS
        self._text_room = TEXT_CHARACTERS

    @property
    def asks_caller(self) -> bool:
        """Whether the caller is asked for something."""
        return bool(self._numbers)

    def say(self, said: Any) -> Iterable[RunEvent]:
        """What the caller is to read: text, apart from what was said in the round before."""
        texts: list[str] = [said] if said.__class__ is str else said
        if not any(texts):
            return ()
        if self.gap:
            self.texts.append("\n\n")
        self.hear(texts)
        self.check()
        if self.gap:
            self.gap = False
            return ("\n\n", said)
        return (said,)

    def hear(self, texts: list[str]) -> bool:
        """Texts that the caller reads; false where they are too many."""
        self.texts += texts
        self._text_room -= sum(map(len, texts))
        return self._text_room >= 0

    def check(self) -> None:
        """Raises AgentError where too much was said."""
        if self._text_room < 0:
            raise AgentError(f"the agent said more than {TEXT_CHARACTERS} characters", code="answer_too_long")

    def route(self, delta: ToolCallDelta) -> ToolCallDelta | None:
        """The piece as the caller is to see it; None for one of a call that is done here."""
        number = self._numbers.get(delta.number)
        if number is not None:
            return delta._replace(number=number, id="", name="")
        if delta.number not in self._pieces and delta.name in self._theirs:
            number = self._numbers[delta.number] = len(self._numbers)
            self.caller_ids.append(f"call_{self._ids(24)}")
            return delta._replace(number=number, id=self.caller_ids[-1])
        pieces = self._pieces.setdefault(delta.number, [])
        pieces.append(delta)
        self._room -= len(delta.arguments) + (_CALL if len(pieces) == 1 else 1)
        if self._room < 0:
            raise AgentError("the model asks for more than fits into a round of tool calls", code="tool_arguments")
        return None

    def calls(self) -> tuple[ToolCall, ...]:
        """Those that are done here, each with an id of its own."""
        calls: list[ToolCall] = []
        taken: set[str] = set()
        for _, pieces in sorted(self._pieces.items()):
            call_id = pieces[0].id
            if not call_id or call_id in taken:  # some servers give none, or one to all
                call_id = f"call_{self._ids(24)}"
            taken.add(call_id)
            calls.append(ToolCall(call_id, pieces[0].name, "".join(piece.arguments for piece in pieces)))
        return tuple(calls)


_CUT = frozenset({"length", "content_filter"})


def _check_names(request: ChatRequest, tools: Mapping[str, GatewayTool]) -> None:
    clash = next((tool.name for tool in request.tools if tool.name in tools), None)
    if clash is not None:
        message = f"`tools`: the agent has a tool `{clash}` of its own; give yours another name"
        raise AgentError(message, code="tool_name_taken", status=400)
    choice = request.tool_choice
    known = tools.keys() | {tool.name for tool in request.tools}
    if choice.mode == "function" and choice.name not in known:
        raise AgentError(f"`tool_choice`: there is no tool `{choice.name}`", code="invalid_value", status=400)


def _offered(request: ChatRequest, tools: Mapping[str, GatewayTool], number: int, *, last: bool) -> ChatRequest:
    """The request of one round.

    `tool_choice` is about the caller's tools, and only about the first round: a model that had to call in each would
    never come to an answer.
    """
    own = tuple(Tool(tool.name, tool.description, tool.parameters) for tool in tools.values())
    theirs = request.tools
    choice = request.tool_choice
    if choice.mode == "none":
        theirs, choice = (), AnyTool
    elif choice.mode == "required" and theirs and number == 0:
        own = ()
    elif number:
        choice = AnyTool
    if last:
        choice = ToolChoice("none")
    return request._replace(tools=(*theirs, *own), tool_choice=choice)


def _messages(text: str, calls: tuple[ToolCall, ...], results: Mapping[str, Result]) -> tuple[Message, ...]:
    shown = tuple(call._replace(arguments=_readable(call.arguments)) for call in calls)
    said = Message("assistant", text, tool_calls=shown)
    return (said, *(Message("tool", results[call.id].text, tool_call_id=call.id) for call in calls))


def _readable(arguments: str) -> str:
    """JSON, as providers want it; the model is told in the result what was wrong with its own."""
    try:
        return arguments if isinstance(json.loads(arguments), dict) else "{}"
    except (ValueError, RecursionError):
        return "{}"
