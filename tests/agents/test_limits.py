"""Runs that are silent, take too long, or are too many end with an error that says which limit it was."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from gateway.agents.conversation import Conversations
from gateway.agents.counted import CountedRuns
from gateway.agents.limits import RunLimits
from gateway.agents.registry import AgentEntry, Registry
from gateway.agents.run import Runs
from gateway.errors import AgentError
from gateway.model.chat import ChatRequest, Message, ToolCall
from gateway.model.run import ReasoningDelta, RunDone, RunEvent, RunFailed, RunInput, ToolCallDelta, ToolUse, Usage
from gateway.ports import Agent
from gateway.sessions.lanes import Lanes
from gateway.sessions.store import MemoryStore

SHORT = 0.12
LONG = 30.0


@pytest.fixture(params=[Runs, CountedRuns], autouse=True)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that are counted are the same runs."""
    monkeypatch.setitem(globals(), "Runs", request.param)


def runs_of(agent: Agent, limits: RunLimits, most: int = 10_000) -> Runs:
    agents = Registry([AgentEntry("main", agent, limits=limits), AgentEntry("other", agent)])
    return Runs(agents, Conversations(MemoryStore(), Lanes(), lambda: 0.0, 400_000), most)


def asking(run_id: str = "r1", key: str | None = None, agent_id: str = "main") -> RunInput:
    return RunInput(run_id, agent_id, key, ChatRequest((Message("user", "hi"),)))


async def gather(runs: Runs, run: RunInput) -> list[RunEvent]:
    async with aclosing(runs.run(run)) as events:
        return [event async for event in events]


async def whole(runs: Runs, run: RunInput) -> list[RunEvent]:
    answer = await runs.answer(run)
    return [answer.text, answer.ending]


PATHS = pytest.mark.parametrize("pull", [gather, whole])
KEYS = pytest.mark.parametrize("key", [None, "session"])


def ending(agent: Agent, limits: RunLimits, pull: Any, key: str | None) -> RunDone | RunFailed:
    """How a run ends; what holds for each end is checked."""

    async def main() -> RunDone | RunFailed:
        runs = runs_of(agent, limits)
        try:
            events = await pull(runs, asking(key=key))
        finally:
            runs.close()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0, "the caller goes on"
        assert runs.active == 0
        last = events[-1]
        assert isinstance(last, RunDone | RunFailed)
        return last

    return asyncio.run(main())


class Seen:
    """An agent's own account of its end."""

    def __init__(self) -> None:
        self.cancelled = False
        self.closed = False

    async def sleep(self) -> None:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        finally:
            self.closed = True


@PATHS
@KEYS
def test_a_generator_without_a_first_token(pull: Any, key: str | None) -> None:
    seen = Seen()

    async def agent(_: RunInput) -> AsyncIterator[RunEvent]:
        yield Usage(1, 0)  # counts no token
        await seen.sleep()

    begun = time.monotonic()
    end = ending(agent, RunLimits(first_token=SHORT), pull, key)
    assert end == RunFailed(
        "the agent gave no token within 0.12 s; `timeouts.firstTokenMs` of the agent allows more",
        "first_token_timeout",
        504,
    )
    assert SHORT <= time.monotonic() - begun < LONG / 2
    assert seen.cancelled
    assert seen.closed


@PATHS
@KEYS
def test_a_coroutine_without_an_answer(pull: Any, key: str | None) -> None:
    seen = Seen()

    async def agent(_: RunInput) -> str:
        await seen.sleep()
        return "never"

    end = ending(agent, RunLimits(first_token=SHORT), pull, key)
    assert isinstance(end, RunFailed)
    assert (end.code, end.status) == ("first_token_timeout", 504)
    assert seen.cancelled


FIRST = ["text", ["a", "list"], ReasoningDelta("hm"), ToolCallDelta(0, "id", "f"), ToolUse(ToolCall("id", "f", "{}"))]


@PATHS
@KEYS
@pytest.mark.parametrize("first", FIRST)
def test_silence_after_the_first_token(pull: Any, key: str | None, first: RunEvent) -> None:
    seen = Seen()

    async def agent(_: RunInput) -> AsyncIterator[RunEvent]:
        yield first
        await seen.sleep()

    begun = time.monotonic()
    end = ending(agent, RunLimits(first_token=LONG, idle=SHORT), pull, key)
    assert isinstance(end, RunFailed)
    assert (end.code, end.status) == ("idle_timeout", 504)
    assert "silent for 0.12 s" in end.message
    assert "idleMs" in end.message
    assert SHORT <= time.monotonic() - begun < LONG / 2
    assert seen.closed


@PATHS
@KEYS
def test_each_token_begins_the_silence_anew(pull: Any, key: str | None) -> None:
    async def agent(_: RunInput) -> AsyncIterator[RunEvent]:
        for _number in range(3):
            await asyncio.sleep(0.15)
            yield "a"
            await asyncio.sleep(0.15)
            yield ToolUse(ToolCall("id", "f", "{}"))

    assert ending(agent, RunLimits(first_token=0.6, idle=0.6), pull, key) == RunDone(), "0.9 s, but never silent"


@PATHS
@KEYS
def test_what_takes_too_long_in_all(pull: Any, key: str | None) -> None:
    seen = Seen()

    async def agent(_: RunInput) -> AsyncIterator[RunEvent]:
        try:
            while True:
                yield "on "
                await asyncio.sleep(0.001)
        finally:
            seen.closed = True

    end = ending(agent, RunLimits(first_token=LONG, idle=LONG, total=SHORT), pull, key)
    assert isinstance(end, RunFailed)
    assert (end.code, end.status) == ("total_timeout", 504)
    assert "longer than 0.12 s" in end.message
    assert "totalMs" in end.message
    assert seen.closed


@PATHS
@KEYS
def test_an_agent_that_answers_its_cancellation(pull: Any, key: str | None) -> None:
    """It ends with the limit all the same, whatever it says then."""

    async def says_more(_: RunInput) -> AsyncIterator[RunEvent]:
        yield "a"
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            yield "b"
        yield "c"
        await asyncio.sleep(LONG)

    async def returns(_: RunInput) -> str:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            return "late"
        return "never"

    async def fails(_: RunInput) -> str:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            raise AgentError("cleaning up failed") from None
        return "never"

    for agent in (says_more, returns, fails):
        end = ending(agent, RunLimits(total=SHORT), pull, key)
        assert isinstance(end, RunFailed)
        assert end.code == "total_timeout"


def test_a_slow_caller_is_not_the_agents_silence() -> None:
    class Letters:
        """An iterator that is no generator: nobody can see whether it runs."""

        def __init__(self) -> None:
            self.left = ["a", "b"]

        def __aiter__(self) -> Letters:
            return self

        async def __anext__(self) -> str:
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop(0)

    async def letters(_: RunInput) -> AsyncIterator[RunEvent]:
        yield "a"
        yield "b"

    async def main(agent: Agent) -> list[RunEvent]:
        runs = runs_of(agent, RunLimits(first_token=SHORT, idle=SHORT))
        got: list[RunEvent] = []
        async with aclosing(runs.run(asking())) as events:
            async for event in events:
                got.append(event)
                await asyncio.sleep(3 * SHORT)
        runs.close()
        return got

    assert asyncio.run(main(letters)) == ["a", "b", RunDone()]
    assert asyncio.run(main(lambda _: Letters())) == ["a", "b", RunDone()]


def test_the_limit_of_a_run_whose_caller_is_busy() -> None:
    """It is told when the run is pulled again; the caller itself is not hit."""

    async def agent(_: RunInput) -> AsyncIterator[RunEvent]:
        while True:
            yield "a"

    async def main() -> None:
        runs = runs_of(agent, RunLimits(total=SHORT))
        got: list[Any] = []
        async with aclosing(runs.run(asking())) as events:
            async for event in events:
                got.append(event)
                await asyncio.sleep(2 * SHORT)
        assert [got[0], got[1].code] == ["a", "total_timeout"]
        runs.close()

    asyncio.run(main())


def test_leaving_and_a_limit_at_once() -> None:
    """Who leaves is cancelled, whatever else comes up."""

    async def agent(_: RunInput) -> str:
        try:
            await asyncio.sleep(LONG)
        finally:
            await asyncio.sleep(2 * SHORT)  # the limit falls due during its clean-up
        return "never"

    async def main() -> None:
        runs = runs_of(agent, RunLimits(total=SHORT))
        task = asyncio.create_task(gather(runs, asking()))
        await asyncio.sleep(SHORT / 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert runs.active == 0
        runs.close()

    asyncio.run(main())


def test_waiting_for_the_session_counts_nothing() -> None:
    async def agent(_: RunInput) -> str:
        await asyncio.sleep(0.3)
        return "a"

    async def main() -> None:
        runs = runs_of(agent, RunLimits(first_token=0.8, total=0.8))
        answers = await asyncio.gather(*(runs.answer(asking(f"r{at}", "session")) for at in range(4)))
        assert [answer.ending for answer in answers] == [RunDone()] * 4, "the last of them took 1.2 s"
        runs.close()

    asyncio.run(main())


def test_limits_keep_nothing_of_runs_that_are_over() -> None:
    async def agent(_: RunInput) -> str:
        return "a"

    async def main() -> None:
        runs = runs_of(agent, RunLimits(LONG, LONG, LONG))
        for at in range(100):
            await runs.answer(asking(f"r{at}", "session" if at % 2 else None))
        kept = runs._agents["main"]
        assert kept._looking is not None
        assert kept.totals is not None
        assert (kept.running, len(kept.totals)) == (0, 0)
        kept._look_at_all()
        assert kept._looking is None, "a timer that nobody needs is not set again"
        runs.close()

    asyncio.run(main())


# How many.


def refused_by(message: str) -> RunFailed:
    return RunFailed(message, "too_many_runs", 429, 1.0)


OF_AGENT = refused_by("agent 'main' has 2 runs under way, as many as its `maxConcurrent` allows")
OF_ALL = refused_by("2 runs are under way, as many as `agents.maxConcurrentRuns` allows")


@pytest.mark.parametrize(("concurrent", "most", "refusal", "other"), [(2, 100, OF_AGENT, True), (0, 2, OF_ALL, False)])
@KEYS
def test_too_many_runs(concurrent: int, most: int, refusal: RunFailed, other: bool, key: str | None) -> None:
    async def main() -> None:
        hold = asyncio.Event()

        async def agent(_: RunInput) -> str:
            await hold.wait()
            return "a"

        runs = runs_of(agent, RunLimits(concurrent=concurrent), most)
        tasks = [asyncio.create_task(whole(runs, asking(f"r{at}"))) for at in range(2)]
        await asyncio.sleep(0.01)
        assert runs.active == 2
        assert (await runs.answer(asking("r3", key))).ending == refusal
        with pytest.raises(AgentError, match="under way") as raised:
            runs.run(asking("r4", key))
        assert (raised.value.code, raised.value.status, raised.value.retry_after) == ("too_many_runs", 429, 1.0)
        if other:
            tasks.append(asyncio.create_task(whole(runs, asking("r5", key, "other"))))
            await asyncio.sleep(0.01)
        hold.set()
        assert await asyncio.gather(*tasks) == [["a", RunDone()]] * len(tasks)
        assert await gather(runs, asking("r6", key)) == ["a", RunDone()], "there is room again"

    asyncio.run(main())


def test_runs_that_wait_for_their_session_take_no_place() -> None:
    async def main() -> None:
        hold = asyncio.Event()

        async def agent(_: RunInput) -> str:
            await hold.wait()
            return "a"

        runs = runs_of(agent, RunLimits(concurrent=2))
        tasks = [asyncio.create_task(whole(runs, asking(f"r{at}", "session"))) for at in range(8)]
        await asyncio.sleep(0.01)
        assert runs.active == 1
        tasks.append(asyncio.create_task(whole(runs, asking("r9", "another"))))
        await asyncio.sleep(0.01)
        hold.set()
        assert await asyncio.gather(*tasks) == [["a", RunDone()]] * 9

    asyncio.run(main())


# Ended from without.


@PATHS
@KEYS
def test_abort(pull: Any, key: str | None) -> None:
    seen = Seen()

    async def agent(_: RunInput) -> AsyncIterator[RunEvent]:
        yield "so far"
        await seen.sleep()

    async def main() -> None:
        runs = runs_of(agent, RunLimits())
        task = asyncio.create_task(pull(runs, asking("r1", key)))
        await asyncio.sleep(0.01)
        assert runs.active_in("session") == (() if key is None else ("r1",))
        assert not runs.abort("r2")
        assert runs.abort("r1")
        assert await task == ["so far", RunFailed("the run was stopped", "run_aborted", 410)]
        assert seen.cancelled
        assert not runs.abort("r1")
        assert runs.active_in("session") == ()

    asyncio.run(main())
