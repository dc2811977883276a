"""Each run is counted once, for what it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from gateway.agents import conversation
from gateway.agents.conversation import ANSWER_CHARACTERS, Conversations
from gateway.agents.counted import OUTCOMES, CountedRuns
from gateway.agents.limits import NO_LIMITS, RunLimits
from gateway.agents.registry import AgentEntry, Registry
from gateway.errors import AgentError, StoreError
from gateway.model.caller import Caller
from gateway.model.chat import ChatRequest, Message
from gateway.model.run import ModelChange, ReasoningDelta, RunDone, RunFailed, RunInput, ToolCallDelta, Usage
from gateway.model.session import SessionInfo
from gateway.ports import Agent
from gateway.sessions.lanes import Lanes
from gateway.sessions.store import MemoryStore
from gateway.tallies import MOST, OTHER

LIMITS = RunLimits(first_token=0.1, idle=0.1, total=0.3)


def runs_of(agent: Agent, limits: RunLimits = NO_LIMITS, most: int = 100, own_model: str | None = None) -> CountedRuns:
    registry = Registry([AgentEntry("main", agent, limits=limits, own_model=own_model)])
    return CountedRuns(registry, Conversations(MemoryStore(), Lanes(), lambda: 0.0), most)


def asking(run_id: str = "r1", *, key: str | None = None, agent_id: str = "main", **more: Any) -> RunInput:
    return RunInput(run_id, agent_id, key, ChatRequest((Message("user", "hi"),)), **more)


def yielding(*script: Any) -> Agent:
    """Gives the events; a number is a pause in seconds, an exception is raised."""

    async def agent(_: RunInput) -> AsyncIterator[Any]:
        for step in script:
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, float):
                await asyncio.sleep(step)
            else:
                yield step

    return agent


async def pulled(runs: CountedRuns, run: RunInput) -> None:
    async with aclosing(runs.run(run)) as events:
        async for _ in events:
            pass


async def answered(runs: CountedRuns, run: RunInput) -> None:
    await runs.answer(run)


PATHS = pytest.mark.parametrize("pull", [pulled, answered])
KEYS = pytest.mark.parametrize("key", [None, "session"])


def ended(runs: CountedRuns) -> dict[str, int]:
    """How often each outcome was counted."""
    counts = {outcome: int(sum(cell[:-1])) for (_, outcome), cell in runs.ended.values.items()}
    return {outcome: count for outcome, count in counts.items() if count}


def firsts(runs: CountedRuns) -> int:
    return int(sum(runs.first_tokens.values["main",][:-1]))


async def whole(_: RunInput) -> str:
    return "all of it"


async def broken(_: RunInput) -> str:
    raise ValueError("secret")


@PATHS
@KEYS
@pytest.mark.parametrize(
    ("agent", "outcome", "heard"),
    [
        (yielding("a", "b"), "completed", 1),
        (yielding(), "completed", 0),
        (yielding("", ""), "completed", 0),
        (yielding(["a", "b"], RunDone("length")), "completed", 1),
        (yielding(ReasoningDelta("hm")), "completed", 1),
        (yielding(ToolCallDelta(0, "c", "f", "{}"), RunDone("tool_calls")), "completed", 1),
        (yielding(Usage(1, 1)), "completed", 0),
        (whole, "completed", 0),
        (broken, "error", 0),
        (yielding("a", AgentError("no")), "error", 1),
        (yielding("a", RunFailed("no", "no", 500), "b"), "error", 1),
        (yielding("a", 1), "error", 1),
        (yielding("a", asyncio.CancelledError()), "error", 1),
        (yielding(5.0), "timeout", 0),
        (yielding("a", 5.0), "timeout", 1),
        (yielding(*("a", 0.04) * 20), "timeout", 1),
    ],
)  # fmt: skip
def test_outcome(agent: Agent, outcome: str, heard: int, key: str | None, pull: Any) -> None:
    async def main() -> None:
        runs = runs_of(agent, LIMITS)
        try:
            await pull(runs, asking(key=key))
        finally:
            runs.close()
        assert ended(runs) == {outcome: 1}
        assert firsts(runs) == heard
        assert runs.under_way == {"main": 0}

    asyncio.run(main())


@PATHS
@KEYS
def test_a_caller_that_leaves(pull: Any, key: str | None) -> None:
    async def main() -> None:
        runs = runs_of(yielding("a", 60.0))
        task = asyncio.create_task(pull(runs, asking(key=key)))
        while not runs.active:
            await asyncio.sleep(0)
        assert runs.under_way == {"main": 1}
        task.cancel()
        await asyncio.wait({task})
        assert (ended(runs), runs.under_way) == ({"cancelled": 1}, {"main": 0})

    asyncio.run(main())


@KEYS
def test_a_caller_that_stops_pulling(key: str | None) -> None:
    async def main() -> None:
        runs = runs_of(yielding("a", "b"))
        async with aclosing(runs.run(asking(key=key))) as events:
            assert await anext(events) == "a"
        assert ended(runs) == {"cancelled": 1}

    asyncio.run(main())


@PATHS
@KEYS
@pytest.mark.parametrize("stop", [lambda runs: runs.abort("r1"), lambda runs: runs.stop_all()])
def test_a_run_that_somebody_ends(stop: Any, pull: Any, key: str | None) -> None:
    async def main() -> None:
        runs = runs_of(yielding("a", 60.0))
        task = asyncio.create_task(pull(runs, asking(key=key)))
        while not runs.active:
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        stop(runs)
        await task
        assert ended(runs) == {"aborted": 1}

    asyncio.run(main())


def test_refused_runs() -> None:
    async def main() -> None:
        runs = runs_of(yielding("a"), most=1)
        async with aclosing(runs.run(asking())) as events:
            await anext(events)
            with pytest.raises(AgentError):
                runs.run(asking("r2"))
            assert isinstance((await runs.answer(asking("r3"))).ending, RunFailed)
            outsider = Caller("k", frozenset({"other"}), None)
            with pytest.raises(AgentError):
                runs.run(asking("r4", caller=outsider))
        runs.stop_all()
        await answered(runs, asking("r5"))
        assert runs.refused.values == {("main",): 4}
        assert ended(runs) == {"cancelled": 1}

    asyncio.run(main())


@pytest.mark.parametrize("pull", [pulled, answered])
@KEYS
def test_an_answer_that_is_too_long(pull: Any, key: str | None) -> None:
    async def main() -> None:
        runs = runs_of(yielding("x" * ANSWER_CHARACTERS, "y", "z"))
        await pull(runs, asking(key=key))
        kept = key is not None or pull is answered  # what is only passed on has no end
        assert ended(runs) == {"error" if kept else "completed": 1}

    asyncio.run(main())


def test_a_whole_answer_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    async def agent(_: RunInput) -> str:
        return "x" * (ANSWER_CHARACTERS + 1)

    runs = runs_of(agent)
    ending = asyncio.run(runs.answer(asking())).ending
    assert ending == conversation.TOO_LONG
    assert ended(runs) == {"error": 1}


@PATHS
@KEYS
@pytest.mark.parametrize(
    ("script", "own", "wanted", "told"),
    [
        ((Usage(1, 2), "a"), None, None, {"": (1, 2)}),
        ((Usage(1, 2), "a"), "p/own", None, {"p/own": (1, 2)}),
        ((Usage(1, 2), "a"), "p/own", "p/wanted", {"p/wanted": (1, 2)}),
        ((Usage(1, 2), "a", Usage(10, 20)), "p/own", None, {"p/own": (11, 22)}),
        (
            (Usage(1, 2), ModelChange("p/next", "busy"), Usage(10, 20)),
            "p/own",
            None,
            {"p/own": (1, 2), "p/next": (10, 20)},
        ),
        ((Usage(-5, 10**30),), None, None, {"": (0, 10**12)}),
        ((Usage(1, 2), AgentError("no")), None, None, {"": (1, 2)}),
        (("a",), "p/own", None, {}),
    ],
)
def test_tokens(script: Any, own: str | None, wanted: str | None, told: Any, pull: Any, key: str | None) -> None:
    async def main() -> None:
        runs = runs_of(yielding(*script), own_model=own)
        await pull(runs, asking(key=key, model=wanted))
        prompt, completion = runs.prompt_tokens.values, runs.completion_tokens.values
        assert {model: (count, completion[agent, model]) for (agent, model), count in prompt.items()} == told
        assert runs._answering == {}

    asyncio.run(main())


def test_times() -> None:
    async def main() -> None:
        runs = runs_of(yielding(0.05, "a", 0.05, "b"))
        await pulled(runs, asking())
        first, whole = runs.first_tokens.values["main",][-1], runs.ended.values["main", "completed"][-1]
        assert 0.04 < first <= whole - 0.04

    asyncio.run(main())


def test_a_run_that_waits_for_its_session() -> None:
    async def main() -> None:
        runs = runs_of(yielding("a"))
        async with aclosing(runs.run(asking(key="k"))) as events:
            await anext(events)
            task = asyncio.create_task(pulled(runs, asking("r2", key="k")))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert (runs.waiting, runs.under_way) == (1, {"main": 1})
        await task
        assert runs.waiting == 0
        assert ended(runs) == {"completed": 1, "cancelled": 1}

    asyncio.run(main())


def test_how_long_the_store_takes() -> None:
    class Slow(MemoryStore):
        async def commit(self, *given: Any, **more: Any) -> SessionInfo:
            await asyncio.sleep(0.03)
            raise StoreError("the disk is full")

    async def main() -> None:
        conversations = Conversations(Slow(), Lanes(), lambda: 0.0)
        runs = CountedRuns(Registry([AgentEntry("main", yielding("a"))]), conversations)
        await pulled(runs, asking(key="k"))
        await pulled(runs, asking("r2"))
        load, commit = runs.store_calls.values["load",], runs.store_calls.values["commit",]
        assert (sum(load[:-1]), sum(commit[:-1])) == (1, 1)
        assert load[-1] < 0.03 <= commit[-1]
        assert isinstance(conversations.store, Slow), "others see it as it is"

    asyncio.run(main())


def test_agents_beyond_the_limit_count_together() -> None:
    async def main() -> None:
        agents = [AgentEntry(f"a{number}", yielding("a", Usage(1, 1))) for number in range(MOST + 2)]
        runs = CountedRuns(Registry(agents), Conversations(MemoryStore(), Lanes(), lambda: 0.0))
        for number in (0, MOST, MOST + 1):
            await pulled(runs, asking(agent_id=f"a{number}"))
        assert sum(runs.ended.values["a0", "completed"][:-1]) == 1
        assert sum(runs.ended.values[OTHER, "completed"][:-1]) == 2
        assert len(runs.ended.values) == MOST + 1
        assert runs.prompt_tokens.values == {("a0", ""): 1, (OTHER, ""): 2}

    asyncio.run(main())


def test_outcomes_have_names() -> None:
    assert OUTCOMES == ("completed", "error", "timeout", "aborted", "cancelled", "refused")
