"""Runs whose text flows: they end as others do, are held to the same limits, and are kept and seen as others are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any, cast

import pytest
from scripted import Tool, asks

from gateway.agents import conversation, loop
from gateway.agents.conversation import Conversations
from gateway.agents.fallbacks import CoolDown, Fallbacks
from gateway.agents.limits import NO_LIMITS, RunLimits
from gateway.agents.loop import ToolLimits, ToolLoop
from gateway.agents.registry import AgentEntry, Registry
from gateway.agents.run import Runs
from gateway.control.watching import watched
from gateway.errors import AgentError
from gateway.model.chat import ChatRequest, Message
from gateway.model.chat import Tool as CallersTool
from gateway.model.run import ModelChange, RunDone, RunEvent, RunFailed, RunInput, Step, ToolCallDelta
from gateway.ports import Agent, Flow, TextSink
from gateway.sessions.lanes import Lanes
from gateway.sessions.store import MemoryStore
from gateway.testing import counting_ids

TEXTS = ["a", "b", "c", "d"]
DONE = RunDone()


class Flowing(Flow):
    """Gives these texts, with a pause before each; a string of several letters is texts that come together."""

    used = False
    """Whether any was."""

    def __init__(self, texts: list[str], pause: float) -> None:
        super().__init__()
        self.texts = texts
        self.pause = pause
        self.stopped = asyncio.Event()

    async def into(self, sink: TextSink) -> bool:
        self.waited_for = Flowing.used = True
        self.stopped.clear()
        more, full = True, False
        while self.texts and more and not full:
            try:
                await asyncio.wait_for(self.stopped.wait(), self.pause)
                break
            except TimeoutError:
                pass
            texts = [*self.texts.pop(0)]
            self.heard = True
            more = all(tap(texts) for tap in self.taps)
            if more:
                full = sink.put_all(texts)
        self.waited_for = False
        return full

    def stop(self) -> None:
        self.stopped.set()


class Model:
    """Says the first text as an event and lets the others flow; without flows it says all of them as events."""

    def __init__(
        self, texts: list[str], ending: RunDone | AgentError = DONE, *, pause: float = 0.001, more: Any = ()
    ) -> None:
        self.texts, self.ending, self.pause, self.more = texts, ending, pause, more
        self.asked = 0
        self.closed = False

    def __call__(self, run: RunInput) -> AsyncIterator[RunEvent]:
        return cast("AsyncIterator[RunEvent]", self.events(run, flows=False))

    def with_flow(self, run: RunInput) -> AsyncIterator[RunEvent | Flow]:
        return self.events(run, flows=True)

    async def events(self, run: RunInput, *, flows: bool) -> AsyncIterator[RunEvent | Flow]:
        del run
        self.asked += 1
        texts = [*self.texts]
        try:
            while texts:
                yield texts.pop(0)
                if flows and texts:
                    flow = Flowing(texts, self.pause)
                    yield flow
                    texts = flow.texts
            for event in self.more:
                yield event
            if isinstance(self.ending, AgentError):
                raise self.ending
            yield self.ending
        finally:
            self.closed = True


class Body:
    """A sink that keeps what is seen of a run, texts letter by letter; `room`: how many fit before it is drained."""

    def __init__(self, room: int = 1 << 30) -> None:
        self.seen: list[Any] = []
        self.room = self.left = room

    def put(self, text: str) -> bool:
        return self.put_all([*text])

    def put_all(self, texts: list[str]) -> bool:
        self.seen += texts
        self.left -= len(texts)
        return self.left <= 0

    def take(self, event: RunEvent) -> bool:
        self.seen.append(event)
        return False

    async def drain(self) -> None:
        assert self.left <= 0
        await asyncio.sleep(0)
        self.left = self.room

    def end(self, ending: RunEvent) -> None:
        self.seen.append(ending)


async def pulled(runs: Runs, run: RunInput, body: Body | None = None) -> list[Any]:
    """What is seen of a run; its ending is the last."""
    body = body or Body()
    ending = await runs.pull(run, body, runs.open(run))
    assert body.seen[-1] is ending
    return body.seen


def runs_of(agent: Agent, limits: RunLimits = NO_LIMITS, store: MemoryStore | None = None) -> Runs:
    entries = Registry([AgentEntry("main", agent, limits=limits)])
    return Runs(entries, Conversations(MemoryStore() if store is None else store, Lanes(), lambda: 0.0, 400_000))


def asking(key: str | None = None, *, tools: tuple[CallersTool, ...] = ()) -> RunInput:
    return RunInput("r1", "main", key, ChatRequest((Message("user", "hi"),), tools=tools))


def same(make: Callable[[], Agent], key: str | None, limits: RunLimits = NO_LIMITS, room: int = 1 << 30) -> list[Any]:
    """What is seen of a run, with flows and without."""

    async def main(*, flows: bool) -> list[Any]:
        agent = make()
        runs = runs_of(agent, limits)
        if flows:
            seen = await pulled(runs, asking(key), Body(room))
        else:
            async with aclosing(runs.run(asking(key))) as events:
                seen = [
                    one async for event in events for one in ([*event] if isinstance(event, str | list) else [event])
                ]
        assert Flowing.used == flows
        assert runs.active == 0
        runs.close()
        return seen

    Flowing.used = False
    plain, flowing = asyncio.run(main(flows=False)), asyncio.run(main(flows=True))
    assert flowing == plain
    return plain


KEYS = pytest.mark.parametrize("key", [None, "session"])


@KEYS
@pytest.mark.parametrize("room", [1, 2, 1 << 30])
def test_the_same_is_seen(key: str | None, room: int) -> None:
    call = ToolCallDelta(0, "c", "f", "{}")
    assert same(lambda: Model(TEXTS, more=[call]), key, room=room) == [*TEXTS, call, RunDone()]
    assert same(lambda: Model(["a", "bcd", "ef"]), key, room=room) == [*"abcdef", RunDone()]
    failure = AgentError("down", code="down", status=502)
    assert same(lambda: Model(TEXTS, failure), key, room=room) == [*TEXTS, RunFailed("down", "down", 502)]


@KEYS
def test_a_caller_with_tools_sees_the_same(key: str | None) -> None:
    tools = (CallersTool("f", None, None),)

    async def main() -> None:
        call = ToolCallDelta(7, "c", "f", "{}")
        runs = runs_of(Model(TEXTS, more=[call]))
        Flowing.used = False
        seen = await pulled(runs, asking(key, tools=tools))
        assert seen == [*TEXTS, ToolCallDelta(0, "c", "f", "{}"), RunDone("tool_calls")]
        assert Flowing.used

    asyncio.run(main())


@KEYS
def test_agents_without_flows_are_run_as_ever(key: str | None) -> None:
    async def agent(run: RunInput) -> AsyncIterator[str]:
        yield run.request.messages[-1].text

    async def whole(run: RunInput) -> str:
        return run.request.messages[-1].text

    async def main(agent: Agent) -> list[Any]:
        return await pulled(runs_of(agent), asking(key))

    assert asyncio.run(main(agent)) == asyncio.run(main(whole)) == ["h", "i", RunDone()]


def test_an_agent_that_gives_a_flow_unasked_has_failed() -> None:
    async def agent(_: RunInput) -> AsyncIterator[Any]:
        yield Flowing(["a"], 0.0)

    async def main() -> list[Any]:
        return [event async for event in runs_of(agent).run(asking())]

    assert asyncio.run(main()) == [RunFailed("the agent gave Flowing where text was expected", "agent_error", 500)]


# -- its end


@KEYS
@pytest.mark.parametrize("how", ["abort", "stop_all"])
def test_ended_by_somebody(key: str | None, how: str) -> None:
    async def main() -> None:
        model = Model([*"ab", *"x" * 10_000], pause=0.01)
        runs = runs_of(model)
        body = Body()
        taking = asyncio.create_task(pulled(runs, asking(key), body))
        while len(body.seen) < 3:
            await asyncio.sleep(0.01)
        assert runs.active == 1
        if how == "abort":
            assert runs.abort("r1")
        else:
            runs.stop_all()
        seen = await asyncio.wait_for(taking, 10)
        assert seen[-1].code == {"abort": "run_aborted", "stop_all": "shutting_down"}[how]
        assert set(seen[2:-1]) <= {"x"}
        assert model.closed
        assert runs.active == 0

    asyncio.run(main())


@KEYS
def test_ended_while_the_caller_is_busy(key: str | None) -> None:
    class Busy(Body):
        async def drain(self) -> None:
            assert runs.abort("r1")
            await asyncio.sleep(0.02)

    async def main() -> list[Any]:
        return await pulled(runs, asking(key), Busy(2))

    runs = runs_of(Model([*"abcd"]))
    seen = asyncio.run(main())
    assert seen[:2] == ["a", "b"]
    assert seen[-1].code == "run_aborted"


@KEYS
def test_a_caller_that_leaves_ends_it(key: str | None) -> None:
    async def main() -> None:
        model = Model([*"ab", *"x" * 10_000], pause=0.01)
        runs = runs_of(model)
        body = Body()
        taking = asyncio.create_task(pulled(runs, asking(key), body))
        while len(body.seen) < 3:
            await asyncio.sleep(0.01)
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
        assert model.closed
        assert runs.active == 0

    asyncio.run(main())


# -- limits


@KEYS
def test_silence_in_a_flow(key: str | None) -> None:
    def limited(pause: float, limits: RunLimits) -> list[Any]:
        async def main() -> list[Any]:
            runs = runs_of(Model(["a", *"x" * 12], pause=pause), limits)
            try:
                return await asyncio.wait_for(pulled(runs, asking(key)), 60)
            finally:
                runs.close()

        return asyncio.run(main())

    seen = limited(20.0, RunLimits(idle=0.1))
    assert (seen[0], seen[1].code) == ("a", "idle_timeout")
    assert len(limited(0.05, RunLimits(idle=0.4))) == 14, "longer than the limit, and never silent for so long"
    seen = limited(0.05, RunLimits(total=0.2))
    assert seen[-1].code == "total_timeout"
    assert len(limited(0.05, RunLimits(first_token=0.3))) == 14


# -- who sees it on its way


def test_what_flowed_is_kept() -> None:
    store = MemoryStore()

    async def main() -> None:
        await pulled(runs_of(Model(["a", "bc", "d"]), store=store), asking("session"))
        session = await store.load("session")
        assert session.turns[0].answered == (Message("assistant", "abcd"),)

    asyncio.run(main())


def test_what_is_too_long_to_be_kept_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "ANSWER_CHARACTERS", 5)
    seen = same(lambda: Model([*"abcdefghijk"]), "session")
    assert seen[-1].code == conversation.TOO_LONG.code
    assert "g" not in seen


@KEYS
def test_an_observer_sees_it(key: str | None) -> None:
    class Watch:
        def __init__(self) -> None:
            self.pending: list[str] = []
            self.rest: list[Any] = []

        def wake(self) -> None: ...

        def take(self, event: Any) -> None:
            if isinstance(event, list):
                self.pending += event
            else:
                self.rest.append(event)

        def leave(self) -> None:
            self.rest.append("left")

    class Observer:
        watch_of = Watch()

        def watch(
            self, run: RunInput, events: AsyncGenerator[RunEvent | Flow, None], /
        ) -> AsyncGenerator[RunEvent | Flow, None]:
            del run
            return watched(events, lambda: self.watch_of)

    async def main() -> None:
        runs = runs_of(Model(["a", "bc", "d"]))
        observer = runs.observer = Observer()
        Flowing.used = False
        assert await pulled(runs, asking(key)) == [*"abcd", RunDone()]
        assert Flowing.used
        assert observer.watch_of.pending == [*"abcd"]
        assert observer.watch_of.rest == [RunDone(), "left"]

    asyncio.run(main())


def test_fallbacks_hand_it_on() -> None:
    down = Model([], AgentError("down", code="upstream_unreachable", status=502))

    def agent() -> Fallbacks:
        def nobody(wanted: str) -> Agent:
            raise AssertionError(wanted)

        return Fallbacks({"p/0": down, "p/1": Model(TEXTS)}, nobody, CoolDown(lambda: 0.0))

    assert same(agent, None) == [ModelChange("p/1", "upstream_unreachable"), *TEXTS, RunDone()]


class Rounds(Model):
    """Asks for a tool first, says this in the second round."""

    async def events(self, run: RunInput, *, flows: bool) -> AsyncIterator[RunEvent | Flow]:
        if self.asked:
            async for event in super().events(run, flows=flows):
                yield event
            return
        self.asked += 1
        texts = [*"lo"]
        yield "l"
        if flows:
            yield (flow := Flowing(texts[1:], 0.001))
            texts = [*"l", *flow.texts]
        for text in texts[1:]:
            yield text
        for asked in asks(("f", "{}")):
            yield cast("RunEvent", asked)


def test_the_loop_of_tools_keeps_what_flowed() -> None:
    async def work(_: Mapping[str, Any]) -> str:
        return "done"

    def agent() -> ToolLoop:
        async def offer() -> Mapping[str, Tool]:
            return {"f": Tool("f", work)}

        return ToolLoop(Rounds(TEXTS), offer, ToolLimits(), counting_ids(), lambda: 0.0)

    seen = same(agent, None)
    step = next(event for event in seen if isinstance(event, Step))
    assert step.messages[0].text == "lo"
    assert [event for event in seen if isinstance(event, str)] == [*"lo", "\n", "\n", *TEXTS]


def test_the_loop_of_tools_ends_one_that_says_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "TEXT_CHARACTERS", 5)

    async def offer() -> Mapping[str, Tool]:
        return {}

    seen = same(lambda: ToolLoop(Model([*"abcdefghij"]), offer, ToolLimits(), counting_ids(), lambda: 0.0), None)
    assert seen[-1].code == "answer_too_long"
