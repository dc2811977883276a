"""What workers tell of their runs, and what comes of it in the first one."""

from __future__ import annotations

import asyncio
import pickle
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from types import MappingProxyType
from typing import Any

import pytest
from channels import Member, Party, party, true_soon

from gateway.agents.conversation import Conversations
from gateway.agents.registry import AgentEntry, Registry
from gateway.agents.run import Runs
from gateway.control.hub import Hub
from gateway.control.runs import RunBook
from gateway.model.caller import Caller
from gateway.model.chat import ChatRequest, Image, Message
from gateway.model.run import ReasoningDelta, RunDone, RunEvent, RunFailed, RunInput, Step, Usage
from gateway.model.session import NO_SETTINGS, SessionInfo, Turn
from gateway.sessions.lanes import Lanes
from gateway.sessions.store import MemoryStore
from gateway.workers import reporting
from gateway.workers.reporting import Reporter
from gateway.workers.reports import BATCH, OVER, Absent, Seen, asked, kept, light, session_of
from gateway.workers.showing import Showing

if not hasattr(socket, "AF_UNIX"):
    pytest.skip("several processes need unix sockets", allow_module_level=True)

PICTURE = Image("image/png", b"x" * 10_000)
MESSAGE = Message("user", "look", parts=("look", PICTURE))


class Scribe:
    """Notes what it is shown."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def began(self, run: RunInput, asked: tuple[Message, ...], first: int) -> None:
        self.seen.append(("began", run.run_id, asked, first))

    def kept(self, info: SessionInfo, turn: Turn) -> None:
        self.seen.append(("kept", info, turn))


class Seer:
    """The second worker with its runs, and the first one with its book."""

    def __init__(self, made: Party, there: Member, here: Member, runs: Runs, conversations: Conversations) -> None:
        self.party = made
        self.there = there
        self.runs = runs
        self.reporter = Reporter(there, runs, conversations)
        loop = asyncio.get_running_loop()
        self.book = RunBook(runs, Hub(loop), loop, lambda: 1.0, lambda _: True)
        self.scribe = Scribe()
        self.showing = Showing(here, self.book, self.scribe)

    async def watch(self) -> None:
        self.showing.clients(True)
        await true_soon(lambda: self.runs.observer is self.reporter)

    async def say(self, run_id: str, session: str | None = None) -> list[RunEvent]:
        request = ChatRequest((Message("system", "s"), MESSAGE))
        run = RunInput(run_id, "main", session, request, caller=Caller("me", frozenset({"main"}), None))
        async with aclosing(self.runs.run(run)) as events:
            return [event async for event in events]


def run(agent: Any, test: Callable[[Seer], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), party(2) as made:
            here, there = made.channel(1), made.channel(2)
            await made.join(here)
            await made.join(there)
            conversations = Conversations(MemoryStore(), Lanes(), lambda: 1.0)
            runs = Runs(Registry([AgentEntry("main", agent)]), conversations)
            await test(Seer(made, there, here, runs, conversations))

    asyncio.run(main())


async def speaks(_: RunInput) -> AsyncGenerator[RunEvent, None]:
    yield "one "
    yield ["two ", "three "]
    yield ReasoningDelta("hm")
    yield Step((Message("assistant", "inner"),))
    yield "four"
    yield Usage(3, 4)
    yield RunDone("length")


def test_a_run_is_seen_as_if_it_were_here() -> None:
    async def test(seer: Seer) -> None:
        await seer.watch()
        said = await seer.say("r" * 32, "k")
        await true_soon(lambda: seer.book.find("r" * 32, "") is not None)
        record = seer.book.find("r" * 32, "me")
        assert record is not None
        assert await record.wait(5)
        assert record.text == "one two three four"
        assert record.usage == Usage(3, 4)
        assert record.ending == said[-1] == RunDone("length")
        assert record.key == "k"
        assert record.run.request.messages[-1].text == "look"
        assert record.run.caller == Caller("me", frozenset({"main"}), None)
        assert seer.book.active_in("k") == []
        began, kept_turn = seer.scribe.seen
        assert began[:2] == ("began", "r" * 32)
        assert began[2][-1].text == "look"
        assert began[3] == 1
        assert kept_turn[1].key == "k"
        assert kept_turn[1].turns == 1
        assert [message.text for message in kept_turn[2].answered] == ["inner", "four"]

    run(speaks, test)


def test_it_is_stopped_from_there() -> None:
    async def forever(_: RunInput) -> AsyncGenerator[RunEvent, None]:
        while True:
            yield "on "
            await asyncio.sleep(0.001)

    async def test(seer: Seer) -> None:
        await seer.watch()
        task = asyncio.create_task(seer.say("r" * 32))
        await true_soon(lambda: seer.book.find("r" * 32, "") is not None)
        record = seer.book.find("r" * 32, "")
        assert record is not None
        assert not seer.showing.abort("another")
        # `abort` of the book asks its own runs first, which here are the same: so the way over there is taken alone.
        assert seer.showing.abort("r" * 32)
        last = (await task)[-1]
        assert isinstance(last, RunFailed)
        assert last.code == "run_aborted"
        assert await record.wait(5)
        assert record.aborted

    run(forever, test)


def test_what_is_said_meanwhile_is_one_piece() -> None:
    go = asyncio.Event()
    batches: list[int] = []

    async def flood(_: RunInput) -> AsyncGenerator[RunEvent, None]:
        for _number in range(5_000):
            yield "x" * 10
            await asyncio.sleep(0)

    async def test(seer: Seer) -> None:
        show = seer.showing._show

        async def slowly(process: int, reports: list[Any]) -> None:
            batches.append(len(reports))
            await go.wait()
            show(process, reports)

        seer.party.channels[1].handle(BATCH, slowly)
        await seer.watch()
        begun = asyncio.get_running_loop().time()
        await seer.say("r" * 32)
        assert asyncio.get_running_loop().time() - begun < 10, "the run has not waited"
        await asyncio.sleep(0.2)
        assert len(batches) == 1, "the next one waits until this was shown"
        go.set()
        await true_soon(lambda: (record := seer.book.find("r" * 32, "")) is not None and record.ending is not None)
        record = seer.book.find("r" * 32, "")
        assert record is not None
        assert len(record.text) == 50_000
        assert sum(batches) < 20, "thousands of pieces were told as a few"

    run(flood, test)


def test_one_that_stands_still_is_told_no_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reporting, "SHOW_SECONDS", 0.05)

    async def test(seer: Seer) -> None:
        heard: list[str] = []
        never = asyncio.Event()

        async def stands(_process: int, _reports: list[Any]) -> None:
            await never.wait()

        seer.party.channels[1].handle(BATCH, stands)
        seer.party.channels[1].handle(OVER, lambda _: heard.append("over"))
        await seer.watch()
        await seer.say("r" * 32)
        await true_soon(lambda: heard == ["over"])
        assert seer.runs.observer is None
        await seer.watch()  # it can be asked for anew
        never.set()

    run(speaks, test)
    assert "are not shown" in caplog.text


def test_nobody_is_told_who_has_left() -> None:
    async def test(seer: Seer) -> None:
        await seer.watch()
        seer.showing.clients(False)
        await true_soon(lambda: seer.runs.observer is None)
        await seer.say("r" * 32)
        await asyncio.sleep(0.1)
        assert seer.book.find("r" * 32, "") is None

    run(speaks, test)


def test_a_run_that_outlives_its_watchers_gathers_nothing() -> None:
    go = asyncio.Event()

    async def long(_: RunInput) -> AsyncGenerator[RunEvent, None]:
        yield "before "
        await go.wait()
        for _number in range(100):
            yield "x" * 1_000
            await asyncio.sleep(0)

    async def test(seer: Seer) -> None:
        watches: list[Any] = []
        promise = seer.reporter.promise

        def noted(watch: Any) -> None:
            watches.append(watch)
            promise(watch)

        seer.reporter.promise = noted  # type: ignore[method-assign]  # to see what it holds
        await seer.watch()
        task = asyncio.create_task(seer.say("r" * 32))
        await true_soon(lambda: seer.book.find("r" * 32, "") is not None)
        seer.showing.clients(False)
        await true_soon(lambda: seer.runs.observer is None)
        go.set()
        while not task.done():
            await asyncio.sleep(0)
            assert sum(map(len, watches[-1].pending)) <= 2_000
        record = seer.book.find("r" * 32, "")
        assert record is not None
        assert record.ended_at is not None, "as far as is known"

    run(long, test)


def test_the_runs_of_a_process_that_is_gone_are_over() -> None:
    async def silent(_: RunInput) -> AsyncGenerator[RunEvent, None]:
        yield "a"
        await asyncio.sleep(60)

    async def test(seer: Seer) -> None:
        await seer.watch()
        task = asyncio.create_task(seer.say("r" * 32))
        await true_soon(lambda: seer.book.find("r" * 32, "") is not None)
        seer.party.die(2)
        record = seer.book.find("r" * 32, "")
        assert record is not None
        assert await record.wait(5)
        task.cancel()

    run(silent, test)


def test_what_is_told_at_the_end_is_told() -> None:
    async def test(seer: Seer) -> None:
        await seer.watch()
        await seer.say("r" * 32)
        seer.reporter.close()
        await true_soon(lambda: (record := seer.book.find("r" * 32, "")) is not None and record.ending is not None)

    run(speaks, test)


# What is sent.


def test_pictures_stay() -> None:
    (message,) = light((MESSAGE,))
    sent = pickle.dumps(message)
    assert len(sent) < 1_000
    image = pickle.loads(sent).parts[1]
    assert isinstance(image, Image)
    assert isinstance(image.data, Absent)
    assert len(image.data) == 10_000
    assert light((Message("user", "plain"),)) == (Message("user", "plain"),)


def test_what_can_hold_anything_can_be_sent() -> None:
    request = ChatRequest((MESSAGE,), parameters=MappingProxyType({"seed": 1}), user="u")
    run = RunInput("r" * 32, "main", "k", request, model="a/b", caller=Caller("me", None, frozenset({"chat"})))
    seen = pickle.loads(pickle.dumps(Seen(run)))
    again = seen.run()
    assert (again.run_id, again.agent_id, again.session, again.model, again.caller) == (
        run.run_id, run.agent_id, run.session, run.model, run.caller,
    )  # fmt: skip
    assert pickle.loads(pickle.dumps(asked(run, (MESSAGE,), 3)))[3] == 3
    for settings in (NO_SETTINGS, {"label": "x"}):
        info = SessionInfo("k", 1, 2, 3.0, 4.0, settings=settings)
        turn = Turn("r" * 32, (MESSAGE,), (Message("assistant", "a"),))
        _, members, told = pickle.loads(pickle.dumps(kept(info, turn)))
        assert session_of(members) == info
        assert told.answered == turn.answered
