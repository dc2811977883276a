"""Runs in a session: one at a time, on what was said before, and kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from gateway.agents.conversation import Conversations
from gateway.agents.registry import AgentEntry, Registry
from gateway.agents.run import Runs
from gateway.model.caller import OPERATOR, Caller
from gateway.model.chat import ChatRequest, Message, ToolCall
from gateway.model.run import MOST_TOKENS, RunDone, RunEvent, RunFailed, RunInput, Step, ToolCallDelta, Usage
from gateway.ports import Agent
from gateway.sessions.history import messages_of
from gateway.sessions.keys import scoped
from gateway.sessions.lanes import Lanes
from gateway.sessions.sqlite import SqliteStore
from gateway.sessions.store import MemoryStore

INTERRUPTED = RunFailed("the run was ended for a newer one, or by request", "interrupted", 410)
NOT_FOUND = RunFailed("Previous response with id 'resp_r9' not found.", "previous_response_not_found", 404)
SYSTEM = Message("system", "be brief")


def user(text: str) -> Message:
    return Message("user", text)


def answer(text: str, *calls: ToolCall) -> Message:
    return Message("assistant", text, tool_calls=calls)


class Talk:
    """Runs of one agent in one store; `seen` are the runs as the agent got them."""

    def __init__(self, agent: Agent | None = None, lanes: Lanes | None = None, **bounds: Any) -> None:
        self.store = MemoryStore()
        self.seen: list[RunInput] = []
        self._agent = agent
        self.conversations = Conversations(self.store, Lanes() if lanes is None else lanes, lambda: 0.0, **bounds)
        self.runs = Runs(Registry([AgentEntry("main", self._answer)]), self.conversations)
        self.count = 0

    def _answer(self, run: RunInput) -> Any:
        self.seen.append(run)
        return self._number(run) if self._agent is None else self._agent(run)

    async def _number(self, run: RunInput) -> str:
        return f"a{run.run_id[1:]}"

    def input(
        self, *messages: Message, key: str = "k", after: str | None = None, caller: Caller = OPERATOR
    ) -> RunInput:
        self.count += 1
        session = scoped(caller.id, f"fork{self.count}" if after else key)
        return RunInput(f"r{self.count}", "main", session, ChatRequest(messages), caller=caller, after=after)

    async def say(self, *messages: Message, **members: Any) -> list[RunEvent]:
        async with aclosing(self.runs.run(self.input(*messages, **members))) as events:
            return [event async for event in events]

    async def transcript(self, key: str = "k") -> str:
        return told(messages_of((await self.store.load(key)).turns))


def told(messages: tuple[Message, ...]) -> str:
    return " ".join(message.text or "-" for message in messages)


def test_what_is_resent_is_not_kept_twice() -> None:
    async def main() -> None:
        talk = Talk()
        await talk.say(SYSTEM, user("u1"))
        await talk.say(SYSTEM, user("u1"), answer("a1"), user("u2"))
        run = talk.seen[1]
        assert run.history == (user("u1"), answer("a1"))
        assert run.request.messages == (SYSTEM, user("u2"))
        assert run.conversation == (SYSTEM, user("u1"), answer("a1"), user("u2"))
        await talk.say(user("u3"), SYSTEM)
        assert talk.seen[2].request.messages == (user("u3"), SYSTEM), "what is all new stays as it came"
        assert await talk.transcript() == "u1 a1 u2 a2 u3 a3"
        await talk.say(SYSTEM, user("u1"), answer("a1"), user("other"))
        assert talk.seen[3].history == (user("u1"), answer("a1"))
        assert await talk.transcript() == "u1 a1 other a4"
        await talk.say(user("x"), answer("y"), user("z"))
        assert talk.seen[4].history == ()
        assert talk.seen[4].request.messages == (user("x"), answer("y"), user("z"))
        assert await talk.transcript() == "x y z a5"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        (Usage(3, 4, 1, 2), Usage(3, 4, 1, 2)),
        (Usage(-1, 10**30, -5, 2**63), Usage(0, MOST_TOKENS, 0, MOST_TOKENS)),
        (Usage(1, 2), Usage(1, 2)),
    ],
)
def test_counts_that_nobody_can_have_meant_are_not_kept(told: Usage, kept: Usage, tmp_path: Path) -> None:
    async def main() -> None:
        async def agent(run: RunInput) -> AsyncIterator[RunEvent]:
            yield "hi"
            yield told

        store = SqliteStore(str(tmp_path / "sessions.sqlite3"))
        registry = Registry([AgentEntry("main", agent)])
        runs = Runs(registry, Conversations(store, Lanes(), lambda: 0.0))
        request = ChatRequest((user("u"),))
        ending = (await runs.answer(RunInput("r", "main", "k", request))).ending
        assert isinstance(ending, RunDone)
        assert (await store.load("k")).turns[0].usage == kept
        await store.aclose()

    asyncio.run(main())


def test_a_run_that_fails_takes_nothing_back() -> None:
    failing = False

    async def agent(_: RunInput) -> str:
        if failing:
            raise ValueError
        return "a"

    async def main() -> None:
        nonlocal failing
        talk = Talk(agent)
        await talk.say(user("u1"))
        await talk.say(user("u2"))
        failing = True
        await talk.say(user("u1"), answer("a"), user("edited"))
        assert await talk.transcript() == "u1 a u2 a"

    asyncio.run(main())


def test_side_requests_of_chat_programs_do_not_stay() -> None:
    """Open WebUI asks for titles and tags with the id of the chat they are for."""

    async def main() -> None:
        talk = Talk()
        await talk.say(user("u1"))
        await talk.say(user("### Task: a title for <chat_history>u1 a1</chat_history>"))
        await talk.say(user("u1"), answer("a1"), user("u2"))
        assert await talk.transcript() == "u1 a1 u2 a3"

    asyncio.run(main())


def test_sessions_have_bounds() -> None:
    async def main() -> None:
        talk = Talk(turns=3)
        shown: list[Message] = []
        for number in range(1, 8):
            await talk.say(*shown, user(f"u{number}"))
            shown += [user(f"u{number}"), answer(f"a{number}")]
        assert await talk.transcript() == "u5 a5 u6 a6 u7 a7"
        assert told(talk.seen[-1].conversation) == "u5 a5 u6 a6 u7"
        long = [message for number in range(9) for message in (user(f"b{number}"), answer(f"c{number}"))]
        await talk.say(*long, user("u8"))
        assert told(talk.seen[-1].conversation) == "b7 c7 b8 c8 u8"
        assert await talk.transcript() == "b7 c7 b8 c8 u8 a8"
        await talk.say(*long, user("u8"), answer("a8"), user("u9"))
        assert told(talk.seen[-1].conversation) == "b8 c8 u8 a8 u9"
        small = Talk(characters=1000)
        for number in range(50):
            await small.say(user(f"{number:03}" * 30))
        assert len((await small.store.load("k")).turns) == 3

    asyncio.run(main())


# Tools.

CALL = ToolCall("c1", "weather", '{"in": "Ulm"}')


async def calling(run: RunInput) -> AsyncIterator[RunEvent]:
    """Calls a tool of its own and one of the caller, which it tells the result of."""
    last = run.request.messages[-1]
    if last.role == "tool":
        yield f"It is {last.text}."
        return
    yield "Let me see. "
    own = ToolCall("own", "clock", "{}")
    yield Step((answer("Let me see. ", own), Message("tool", "noon", None, "own")))
    yield "One moment."
    yield ToolCallDelta(0, "c1", "weather", '{"in": ')
    yield ToolCallDelta(0, arguments='"Ulm"}')
    yield RunDone("tool_calls")


SHOWN = answer("Let me see. One moment.", CALL)
RESULT = Message("tool", "sunny", None, "c1")


@pytest.mark.parametrize("request_", [(RESULT,), (user("u1"), SHOWN, RESULT)])
def test_a_result_finds_its_call(request_: tuple[Message, ...]) -> None:
    async def main() -> None:
        talk = Talk(calling)
        await talk.say(user("u1"))
        assert await talk.say(*request_) == ["It is sunny.", RunDone()]
        run = talk.seen[1]
        assert run.request.messages == (RESULT,)
        assert [message.role for message in run.history] == ["user", "assistant", "tool", "assistant"]
        assert run.history[-1] == answer("One moment.", CALL)
        await talk.say(user("u1"), SHOWN, RESULT, answer("It is sunny."), user("u2"))
        assert await talk.transcript() == (
            "u1 Let me see.  noon One moment. sunny It is sunny. u2 Let me see.  noon One moment."
        )

    asyncio.run(main())


def test_a_result_that_answers_nothing() -> None:
    async def main() -> None:
        talk = Talk(calling)
        await talk.say(user("u1"))
        (failed,) = await talk.say(Message("tool", "sunny", None, "c2"))
        assert isinstance(failed, RunFailed)
        assert (failed.status, failed.code) == (400, "tool_call_not_found")
        assert "'c2'" in failed.message
        assert len(talk.seen) == 1

    asyncio.run(main())


def test_a_call_that_nobody_answers_does_not_stop_the_conversation() -> None:
    async def main() -> None:
        talk = Talk(calling)
        await talk.say(user("u1"))
        await talk.say(user("never mind"))
        history = talk.seen[1].history
        assert history[-1] == answer("One moment."), "no model takes a call without its result"
        assert history[1].tool_calls

    asyncio.run(main())


def test_tools_for_ever_have_an_end() -> None:
    async def agent(run: RunInput) -> AsyncIterator[RunEvent]:
        yield ToolCallDelta(0, f"c{run.run_id}", "f", "{}")
        yield RunDone("tool_calls")

    async def main() -> None:
        talk = Talk(agent, characters=1000)
        end = (await talk.say(user("go")))[-1]
        for _ in range(100):
            last = (await talk.store.load("k")).turns[-1].answered[-1].tool_calls[0]
            end = (await talk.say(Message("tool", "x" * 100, None, last.id)))[-1]
            if isinstance(end, RunFailed):
                break
        assert isinstance(end, RunFailed)
        assert (end.code, end.status) == ("session_turn_too_long", 400)
        assert talk.count < 30
        assert isinstance((await talk.say(user("go on")))[-1], RunDone)
        assert isinstance((await talk.say(user("and on")))[-1], RunDone)
        assert len((await talk.store.load("k")).turns) == 2

    asyncio.run(main())


# Runs that are ended for others.


async def patient(run: RunInput) -> AsyncIterator[str]:
    yield "a"
    if run.request.messages[-1].text == "wait":
        await asyncio.sleep(60)
    yield "b"


async def coroutine(run: RunInput) -> str:
    if run.request.messages[-1].text == "wait":
        await asyncio.sleep(60)
    return "ab"


async def stubborn(run: RunInput) -> AsyncIterator[str]:
    try:
        yield "a"
        if run.request.messages[-1].text == "wait":
            await asyncio.sleep(60)
        yield "b"
    except asyncio.CancelledError:
        yield "not yet"
        yield "no"


async def turning(run: RunInput) -> AsyncIterator[str]:
    try:
        async for text in patient(run):
            yield text
    except asyncio.CancelledError:
        raise ValueError from None


@pytest.mark.parametrize("agent", [patient, coroutine, stubborn, turning])
@pytest.mark.parametrize("mode", ["interrupt", "queue"])
def test_a_run_is_ended(agent: Agent, mode: str) -> None:
    async def main() -> None:
        talk = Talk(agent, Lanes(mode=mode))
        task = asyncio.create_task(talk.say(user("wait")))
        await asyncio.sleep(0.01)
        if mode == "queue":
            assert await talk.conversations.interrupt("k")
        assert (await talk.say(user("u2")))[-1] == RunDone()
        assert (await task)[-1] == INTERRUPTED
        assert task.cancelling() == 0, "its caller goes on"
        assert await talk.transcript() == "u2 ab", "what was ended is not kept"
        assert talk.runs.active == 0
        assert not await talk.conversations.interrupt("k")

    asyncio.run(main())


def test_a_run_whose_caller_is_busy_ends_when_it_is_asked_again() -> None:
    async def main() -> None:
        talk = Talk(patient)
        async with aclosing(talk.runs.run(talk.input(user("hi")))) as events:
            assert await anext(events) == "a"
            assert await talk.conversations.interrupt("k")
            await asyncio.sleep(0)
            assert [event async for event in events] == [INTERRUPTED]
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    asyncio.run(main())


def test_who_leaves_while_being_ended_leaves() -> None:
    async def main() -> None:
        for first in (True, False):
            talk = Talk(patient)
            task = asyncio.create_task(talk.say(user("wait")))
            await asyncio.sleep(0.01)
            if first:
                task.cancel()
            await talk.conversations.interrupt("k")
            if not first:
                task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await talk.say(user("next")))[-1] == RunDone()

    asyncio.run(main())


def test_stopping_and_ending_at_once() -> None:
    async def main() -> None:
        talk = Talk(patient)
        task = asyncio.create_task(talk.say(user("wait")))
        await asyncio.sleep(0.01)
        await talk.conversations.interrupt("k")
        talk.runs.stop_all()
        assert isinstance((await task)[-1], RunFailed)
        assert task.cancelling() == 0

    asyncio.run(main())


def test_one_that_is_ended_while_it_waits_to_begin() -> None:
    began: list[str] = []

    class Slow(MemoryStore):
        async def load(self, key: str) -> Any:
            await asyncio.sleep(0.02)
            return await super().load(key)

    async def agent(run: RunInput) -> str:
        began.append(run.run_id)
        return "a"

    async def main() -> None:
        conversations = Conversations(Slow(), Lanes(), lambda: 0.0)
        runs = Runs(Registry([AgentEntry("main", agent)]), conversations)

        async def say(run_id: str) -> list[RunEvent]:
            return [event async for event in runs.run(RunInput(run_id, "main", "k", ChatRequest((user("hi"),))))]

        task = asyncio.create_task(say("r1"))
        await asyncio.sleep(0)
        assert await conversations.interrupt("k")
        assert await task == [INTERRUPTED]
        assert began == []

    asyncio.run(main())


# Going on from a response.


def test_going_on_from_the_last() -> None:
    async def main() -> None:
        talk = Talk()
        await talk.say(user("u1"))
        await talk.say(user("u1"), after="r1")
        assert await talk.transcript() == "u1 a1 u1 a2", "nothing is taken for a repetition"
        assert talk.seen[1].session == "k"
        assert len(talk.store) == 1
        assert (await talk.runs.answer(talk.input(user("u3"), after="r2"))).text == "a3"
        assert await talk.transcript() == "u1 a1 u1 a2 u3 a3"

    asyncio.run(main())


def test_going_on_from_an_earlier_one() -> None:
    async def main() -> None:
        talk = Talk()
        for number in (1, 2, 3):
            await talk.say(user(f"u{number}"))
        await talk.store.choose_model("k", "up/m")
        await talk.say(SYSTEM, user("other"), after="r2")
        assert await talk.transcript() == "u1 a1 u2 a2 u3 a3"
        assert await talk.transcript("fork4") == "u1 a1 u2 a2 other a4"
        run = talk.seen[-1]
        assert (run.session, run.model, told(run.history)) == ("fork4", "up/m", "u1 a1 u2 a2")
        await talk.say(user("more"), after="r4")
        assert await talk.transcript("fork4") == "u1 a1 u2 a2 other a4 more a5"

    asyncio.run(main())


def test_two_that_go_on_from_the_same() -> None:
    async def main() -> None:
        talk = Talk()
        await talk.say(user("u1"))
        await asyncio.gather(*(talk.say(user(f"x{n}"), after="r1") for n in range(5)))
        keys = ["k", *(f"fork{n}" for n in range(2, 7))]
        found = sorted([await talk.transcript(key) for key in keys])
        assert found == ["", *(f"u1 a1 x{n} a{n + 2}" for n in range(5))]

    asyncio.run(main())


def test_going_on_without_being_kept() -> None:
    async def main() -> None:
        talk = Talk()
        for number in (1, 2):
            await talk.say(user(f"u{number}"))
        for after, history in (("r1", "u1 a1"), ("r2", "u1 a1 u2 a2")):
            run = talk.input(user("x"), after=after)._replace(session=None)
            assert isinstance((await talk.runs.answer(run)).ending, RunDone)
            assert told(talk.seen[-1].history) == history
            assert talk.seen[-1].stateless
        assert await talk.transcript() == "u1 a1 u2 a2"
        assert len(talk.store) == 1
        gone = talk.input(user("x"), after="r9")._replace(session=None)
        assert (await talk.runs.answer(gone)).ending == NOT_FOUND

    asyncio.run(main())


@pytest.mark.parametrize("caller", [OPERATOR, Caller("bob")])
def test_going_on_from_nothing(caller: Caller) -> None:
    async def main() -> None:
        talk = Talk()
        assert await talk.say(user("x"), after="r9", caller=caller) == [NOT_FOUND]
        talk.count = 8
        await talk.say(user("x"), caller=Caller("ann"))
        assert await talk.say(user("x"), after="r9", caller=caller) == [NOT_FOUND], "it is another's"
        assert (await talk.say(user("y"), after="r9", caller=Caller("ann")))[-1] == RunDone()
        await talk.store.delete("key:ann:k")
        assert await talk.say(user("x"), after="r9", caller=Caller("ann")) == [NOT_FOUND]

    asyncio.run(main())


def test_a_fork_that_fails_leaves_nothing() -> None:
    async def agent(run: RunInput) -> str:
        if run.request.messages[-1].text == "fail":
            raise ValueError
        return "a"

    async def main() -> None:
        talk = Talk(agent)
        await talk.say(user("u1"))
        await talk.say(user("u2"))
        assert isinstance((await talk.say(user("fail"), after="r1"))[-1], RunFailed)
        assert len(talk.store) == 1
        assert await talk.transcript() == "u1 a u2 a"

    asyncio.run(main())


# Many at once.


def test_nothing_is_lost_or_doubled_where_many_talk_at_once() -> None:
    async def main() -> None:
        talk = Talk(turns=1000)

        async def client(key: str) -> None:
            shown: list[Message] = []
            for number in range(20):
                said = user(f"{key} {number}")
                events = await talk.say(*shown, said, key=key)
                assert isinstance(events[0], str)
                shown += [said, answer(events[0])]
            session = await talk.store.load(key)
            assert [*messages_of(session.turns)] == shown

        await asyncio.gather(*(client(f"s{n}") for n in range(100)))

    asyncio.run(main())
