"""Whatever an agent does, its run ends with exactly one RunDone or RunFailed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from gateway.agents.conversation import Conversations
from gateway.agents.counted import CountedRuns
from gateway.agents.registry import AgentEntry, Registry
from gateway.agents.run import Runs
from gateway.agents.sink import Gathered
from gateway.errors import AgentError
from gateway.model.chat import ChatRequest, Message
from gateway.model.run import RunDone, RunEvent, RunFailed, RunInput, Usage
from gateway.model.session import Session, SessionInfo, Turn
from gateway.ports import Agent, SessionStore
from gateway.sessions.lanes import Lanes
from gateway.sessions.store import MemoryStore

ASKED = (Message("system", "be brief"), Message("user", "hi"), Message("developer", "be kind"))
NOW = 1_700_000_000.0
BROKEN = RunFailed("the agent failed", "agent_error", 500)
STOPPED = RunFailed("the gateway is shutting down", "shutting_down", 503)


@pytest.fixture(params=[Runs, CountedRuns], autouse=True)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that are counted are the same runs."""
    monkeypatch.setitem(globals(), "Runs", request.param)


def runs_of(agent: Agent, store: SessionStore | None = None, waiting: int = 64) -> Runs:
    store = MemoryStore() if store is None else store
    return Runs(Registry([AgentEntry("main", agent)]), Conversations(store, Lanes(waiting), lambda: NOW, 400_000))


def asking(run_id: str = "r1", *, key: str | None = None) -> RunInput:
    return RunInput(run_id, "main", key, ChatRequest(ASKED))


async def gather(runs: Runs, run: RunInput) -> list[RunEvent]:
    async with aclosing(runs.run(run)) as events:
        return [event async for event in events]


def outcome(agent: Agent, *, key: str | None = None, store: SessionStore | None = None) -> list[RunEvent]:
    """The events of one run; what holds for each run is checked."""

    async def main() -> list[RunEvent]:
        runs = runs_of(agent, store)
        events = await gather(runs, asking(key=key))
        assert runs.active == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return events

    events = asyncio.run(main())
    assert [isinstance(event, RunDone | RunFailed) for event in events] == [False] * (len(events) - 1) + [True]
    return events


class Text(str):
    """A str, and more."""

    __slots__ = ()


def yielding(*script: Any) -> Agent:
    async def agent(_: RunInput) -> AsyncIterator[Any]:
        for step in script:
            if isinstance(step, BaseException):
                raise step
            yield step

    return agent


def wrong(kind: str) -> RunFailed:
    return RunFailed(f"the agent gave {kind} where text was expected", "agent_error", 500)


@pytest.mark.parametrize("key", [None, "session"])
@pytest.mark.parametrize(
    ("script", "events"),
    [
        ((), [RunDone()]),
        (("a", "", "b"), ["a", "b", RunDone()]),
        (("a", RunDone("length")), ["a", RunDone("length")]),
        (("a", RunDone(), "b", RunDone()), ["a", RunDone()]),
        (("a", RunFailed("x", "y", 502), "b"), ["a", RunFailed("x", "y", 502)]),
        ((Usage(1, 2), "a", Usage(3, 4)), [Usage(1, 2), "a", Usage(3, 4), RunDone()]),
        ((Text("a"),), ["a", RunDone()]),
        (("a", AgentError("no", code="c", status=429, retry_after=2)), ["a", RunFailed("no", "c", 429, 2)]),
        ((AgentError("no"),), [RunFailed("no", "agent_error", 500)]),
        (("a", ValueError("secret")), ["a", BROKEN]),
        (("a", StopAsyncIteration()), ["a", BROKEN]),
        (("a", asyncio.CancelledError()), ["a", BROKEN]),
        (("a", 1, "b"), ["a", wrong("int")]),
        ((None,), [wrong("NoneType")]),
        ((b"a",), [wrong("bytes")]),
        ((["a", "", "b"], [], "c"), [["a", "b"], "c", RunDone()]),
        ((["a", 1],), [wrong("int")]),
        ((("a",),), [wrong("tuple")]),
    ],
)
def test_generators(script: tuple[Any, ...], events: list[RunEvent], key: str | None) -> None:
    assert outcome(yielding(*script), key=key) == events


@pytest.mark.parametrize(
    ("answer", "events"),
    [
        ("all of it", ["all of it", RunDone()]),
        (None, [wrong("NoneType")]),
        (17, [wrong("int")]),
        (AgentError("no", code="c", status=502), [RunFailed("no", "c", 502)]),
        (KeyError("secret"), [BROKEN]),
        (asyncio.CancelledError(), [BROKEN]),
    ],
)
def test_coroutines(answer: Any, events: list[RunEvent]) -> None:
    async def agent(_: RunInput) -> str:
        if isinstance(answer, BaseException):
            raise answer
        return answer  # type: ignore[no-any-return]  # wrong types are the point

    assert outcome(agent) == events


def test_what_is_no_agent() -> None:
    def fails(_: RunInput) -> str:
        raise ValueError

    unfit: list[Any] = [lambda _: "text", lambda _: None, lambda: "no argument", fails]
    for broken in unfit:
        assert outcome(broken) == [BROKEN]


def test_an_iterator_that_is_no_generator() -> None:
    class Letters:
        def __init__(self) -> None:
            self.left = ["a", "b"]

        def __aiter__(self) -> Letters:
            return self

        async def __anext__(self) -> str:
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop(0)

    assert outcome(lambda _: Letters()) == ["a", "b", RunDone()]


def test_failures_are_logged_but_not_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "gateway"):
        assert outcome(yielding(ValueError("for the log"))) == [BROKEN]
    assert "for the log" in caplog.text
    assert "r1" in caplog.text


@pytest.mark.parametrize("key", [None, "session"])
def test_clean_up_that_fails(key: str | None, caplog: pytest.LogCaptureFixture) -> None:
    async def agent(_: RunInput) -> AsyncIterator[RunEvent]:
        try:
            yield "a"
            yield RunDone("length")
        finally:
            raise ValueError("too late")

    assert outcome(agent, key=key) == ["a", RunDone("length")]
    assert "too late" in caplog.text


def test_an_agent_that_will_not_close(caplog: pytest.LogCaptureFixture) -> None:
    async def agent(_: RunInput) -> AsyncIterator[RunEvent]:
        try:
            yield RunDone()
        finally:
            yield "one more thing"

    assert outcome(agent) == [RunDone()]
    assert "ignored GeneratorExit" in caplog.text


@pytest.mark.parametrize("key", [None, "session"])
def test_a_caller_that_stops_closes_the_agent(key: str | None) -> None:
    seen: list[str] = []

    async def agent(_: RunInput) -> AsyncIterator[str]:
        try:
            yield "a"
            yield "b"
        finally:
            await asyncio.sleep(0)
            seen.append("closed")

    async def main() -> None:
        runs, store = runs_of(agent), MemoryStore()
        async with aclosing(runs.run(asking(key=key))) as events:
            async for _ in events:
                assert runs.active == 1
                break
        assert seen == ["closed"], "what it holds is given back at once"
        assert runs.active == 0
        assert len(store) == 0

    asyncio.run(main())


@pytest.mark.parametrize("key", [None, "session"])
def test_cancelling_the_caller_cancels_the_agent(key: str | None) -> None:
    seen: list[str] = []

    async def agent(_: RunInput) -> AsyncIterator[str]:
        try:
            yield "a"
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def main() -> None:
        runs = runs_of(agent)
        task = asyncio.create_task(gather(runs, asking(key=key)))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == ["cancelled"]
        assert runs.active == 0

    asyncio.run(main())


# Sessions.


def test_the_turns_of_a_session() -> None:
    seen: list[RunInput] = []

    async def agent(run: RunInput) -> AsyncIterator[RunEvent]:
        seen.append(run)
        yield "an"
        yield Usage(1, 1)
        yield "swer"

    async def main() -> None:
        runs = runs_of(agent)
        for key in ("session", None, "session", "other"):
            await gather(runs, asking(key=key))

    asyncio.run(main())
    turn = (Message("user", "hi"), Message("assistant", "answer"))
    assert [run.history for run in seen] == [(), (), turn, ()]
    assert all(run.request.messages == ASKED for run in seen)


@pytest.mark.parametrize("script", [("a", ValueError()), ("a", RunFailed("x", "y", 500)), (AgentError("x"),)])
def test_what_failed_is_not_kept(script: tuple[Any, ...]) -> None:
    store = MemoryStore()
    outcome(yielding(*script), key="session", store=store)
    assert len(store) == 0


class BrokenStore(MemoryStore):
    def __init__(self, broken: str) -> None:
        super().__init__()
        self.broken = broken

    async def load(self, key: str) -> Session:
        if self.broken == "load":
            raise OSError("disk on fire")
        return await super().load(key)

    async def commit(self, key: str, turn: Turn, *, drop: int = 0, keep: int | None = None) -> SessionInfo:
        if self.broken == "commit":
            raise OSError("disk on fire")
        return await super().commit(key, turn, drop=drop, keep=keep)


def test_a_store_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    failed = RunFailed("the session could not be read or kept", "session_error", 500)
    assert outcome(yielding("a"), key="session", store=BrokenStore("load")) == [failed]
    assert outcome(yielding("a"), key="session", store=BrokenStore("commit")) == ["a", failed]
    assert "disk on fire" in caplog.text
    assert outcome(yielding("a"), store=BrokenStore("load")) == ["a", RunDone()], "stateless runs do not need it"


def test_a_full_lane() -> None:
    async def main() -> None:
        hold = asyncio.Event()

        async def agent(_: RunInput) -> str:
            await hold.wait()
            return "a"

        runs = runs_of(agent, waiting=1)
        tasks = [asyncio.create_task(gather(runs, asking(key="session"))) for _ in range(3)]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        (refused,) = done
        assert await refused == [RunFailed("too many requests wait for this session", "session_busy", 409, 1)]
        hold.set()
        for task in tasks:
            if task is not refused:
                assert await task == ["a", RunDone()]

    asyncio.run(main())


# Stopping.


def test_stopping_ends_every_run_and_begins_none() -> None:
    began: list[str] = []

    async def agent(run: RunInput) -> AsyncIterator[str]:
        began.append(run.run_id)
        yield "a"
        await asyncio.sleep(60)

    async def main() -> None:
        runs = runs_of(agent)
        keys = [None, "one", "two", "two"]
        tasks = [asyncio.create_task(gather(runs, asking(f"r{at}", key=key))) for at, key in enumerate(keys)]
        await asyncio.sleep(0.01)
        assert runs.active == 3
        runs.stop_all()
        runs.stop_all()
        assert await asyncio.gather(*tasks) == [["a", STOPPED]] * 3 + [[STOPPED]]
        assert [task.cancelling() for task in tasks] == [0] * 4, "the callers go on"
        assert await gather(runs, asking("late")) == [STOPPED]
        assert await gather(runs, asking("late", key="one")) == [STOPPED]
        assert began == ["r0", "r1", "r2"]
        assert runs.active == 0

    asyncio.run(main())


def test_stopping_while_the_caller_is_busy() -> None:
    """A run whose caller does something else is not cancelled: it would not be the agent that is hit."""

    async def agent(_: RunInput) -> AsyncIterator[str]:
        while True:
            yield "a"

    async def main() -> None:
        runs = runs_of(agent)
        got: list[RunEvent] = []

        async def caller() -> None:
            async with aclosing(runs.run(asking())) as events:
                async for event in events:
                    got.append(event)
                    await asyncio.sleep(0.02)

        task = asyncio.create_task(caller())
        await asyncio.sleep(0.01)
        runs.stop_all()
        await task
        assert got == ["a", STOPPED]

    asyncio.run(main())


def test_stopping_an_agent_that_will_not_be_cancelled() -> None:
    async def agent(_: RunInput) -> AsyncIterator[str]:
        yield "a"
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            yield "b"
        yield "c"

    async def main() -> None:
        runs = runs_of(agent)
        task = asyncio.create_task(gather(runs, asking()))
        await asyncio.sleep(0.01)
        runs.stop_all()
        assert await task == ["a", "b", STOPPED]

    asyncio.run(main())


def test_cancelling_and_stopping_at_once() -> None:
    async def agent(_: RunInput) -> str:
        await asyncio.sleep(60)
        return "never"

    async def main() -> None:
        for first in (True, False):
            runs = runs_of(agent)
            task = asyncio.create_task(gather(runs, asking()))
            await asyncio.sleep(0.01)
            if first:
                task.cancel()
            runs.stop_all()
            if not first:
                task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())


KEPT = AgentError("again and again", code="kept")


def test_an_error_that_an_agent_keeps_does_not_keep_who_listened() -> None:
    async def main() -> None:
        said = Gathered()
        ending = await runs_of(yielding("so far", KEPT)).pull(asking(), said)
        assert ending == RunFailed("again and again", "kept", 500)
        trace = KEPT.__traceback__
        frames = []
        while trace is not None:
            frames.append(trace.tb_frame)
            trace = trace.tb_next
        held = [frame.f_code.co_name for frame in frames for value in frame.f_locals.values() if value is said]
        assert len(frames) > 1
        assert held == ["main"] * held.count("main")

    asyncio.run(main())
