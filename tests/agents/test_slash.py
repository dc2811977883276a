"""Slash commands: what they do, who may give them, and that they leave no trace."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from gateway import __version__
from gateway.agents.conversation import Conversations
from gateway.agents.limits import RunLimits
from gateway.agents.registry import AgentEntry, Registry
from gateway.agents.run import Runs
from gateway.agents.slash import Commands
from gateway.errors import RequestError, StoreError
from gateway.model.caller import OPERATOR, Caller
from gateway.model.chat import ChatRequest, Image, Message, ToolCall
from gateway.model.run import RunDone, RunFailed, RunInput
from gateway.model.session import Session
from gateway.sessions.lanes import Lanes
from gateway.sessions.store import MemoryStore

SYSTEM = Message("system", "be brief")


def user(text: str) -> Message:
    return Message("user", text)


def assistant(text: str) -> Message:
    return Message("assistant", text)


class Stage:
    """Runs with commands, and an agent that says what it was told; `wait` makes it wait."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.now = 0.0
        self.store = MemoryStore() if store is None else store
        self.seen: list[RunInput] = []
        registry = Registry(
            [
                AgentEntry("main", self.agent, default=True, check_model=self.check, own_model="local/small"),
                AgentEntry("program", self.agent, limits=RunLimits(concurrent=1)),
            ]
        )
        conversations = Conversations(self.store, Lanes(), lambda: 0.0, 400_000)
        self.runs = Runs(registry, conversations, 100, Commands(registry, conversations, lambda: self.now))
        self._number = 0

    async def agent(self, run: RunInput) -> AsyncIterator[str]:
        self.seen.append(run)
        yield run.request.messages[-1].text
        if run.request.messages[-1].text == "wait":
            await asyncio.sleep(60)

    @staticmethod
    def check(wanted: str, param: str) -> str:
        if wanted != "local/large":
            raise RequestError(404, f"The model `{wanted}` does not exist.", param=param, code="model_not_found")
        return wanted

    def input(
        self, *said: str | Message, key: str | None = "k", agent: str = "main", caller: Caller = OPERATOR
    ) -> RunInput:
        self._number += 1
        messages = tuple(user(one) if isinstance(one, str) else one for one in said)
        return RunInput(f"r{self._number}", agent, key, ChatRequest(messages), caller=caller)

    async def say(
        self, *said: str | Message, key: str | None = "k", agent: str = "main", caller: Caller = OPERATOR
    ) -> str:
        """The answer; the same whole and streamed where it is a command."""
        answer = await self.runs.answer(self.input(*said, key=key, agent=agent, caller=caller))
        assert answer.ending == RunDone(), answer
        return answer.text

    async def stream(self, text: str, key: str | None = "k") -> list[object]:
        return [event async for event in self.runs.run(self.input(text, key=key))]


def play(scene: Callable[[Stage], Awaitable[None]], store: MemoryStore | None = None) -> None:
    asyncio.run(scene(Stage(store)))  # type: ignore[arg-type]  # a coroutine, as all that the scenes here give


def test_status() -> None:
    async def scene(stage: Stage) -> None:
        assert await stage.say("hi") == "hi"
        stage.now = 7384.5
        text = await stage.say("/status")
        assert re.sub(r"[\d,]+ characters", "N characters", text) == (
            "Agent: main\nModel: local/small\nSession: k\nTurns: 1, N characters\nRuns under way: none\n"
            f"Gateway: {__version__}, up 2 h 3 min"
        )
        assert await stage.stream("/status") == [text, RunDone()]
        task = asyncio.create_task(stage.say("wait"))
        await asyncio.sleep(0.01)
        under_way = stage.seen[-1].run_id
        assert f"Runs under way: {under_way}\n" in await stage.say("/status"), "it does not wait for it"
        task.cancel()
        assert "Session: none. This request has no session." in await stage.say("/status", key=None)
        assert "Model: none" in await stage.say("/status", agent="program")

    play(scene)


@pytest.mark.parametrize("command", ["/new", "/reset"])
def test_a_new_beginning(command: str) -> None:
    async def scene(stage: Stage) -> None:
        await stage.say("one")
        await stage.say("/model local/large")
        assert await stage.say(command) == "The session begins anew."
        assert await stage.say("two") == "two"
        assert stage.seen[-1].history == ()
        assert stage.seen[-1].model == "local/large", "what was chosen is not what was said"
        assert await stage.say(command, key="never used") == "The session is new: nothing was said in it."
        assert await stage.stream(command, None) == [await stage.say(command, key=None), RunDone()]
        assert "has no session" in await stage.say(command, key=None)

    play(scene)


def test_a_new_beginning_ends_the_run_under_way() -> None:
    async def scene(stage: Stage) -> None:
        await stage.say("one")
        task = asyncio.create_task(stage.runs.answer(stage.input("wait")))
        await asyncio.sleep(0.01)
        assert await asyncio.wait_for(stage.say("/new"), 5) == "The session begins anew."
        ending = (await task).ending
        assert isinstance(ending, RunFailed)
        assert ending.code == "run_aborted"
        assert (await stage.store.load("k")).turns == ()

    play(scene)


def test_stop() -> None:
    async def scene(stage: Stage) -> None:
        assert await stage.say("/stop") == "Nothing is running in this session."
        task = asyncio.create_task(stage.runs.answer(stage.input("wait")))
        other = asyncio.create_task(stage.runs.answer(stage.input("wait", key="other")))
        await asyncio.sleep(0.01)
        waiting = asyncio.create_task(stage.say("next"))
        await asyncio.sleep(0.01)
        assert await asyncio.wait_for(stage.say("/stop"), 5) == "The run was stopped."
        assert (await task).ending == RunFailed("the run was stopped", "run_aborted", 410)
        assert await waiting == "next", "those that wait for the session go on"
        assert stage.runs.active == 1, "the run of another session goes on"
        other.cancel()
        assert len((await stage.store.load("k")).turns) == 1
        assert "has no session" in await stage.say("/stop", key=None)

    play(scene)


def test_model() -> None:
    async def scene(stage: Stage) -> None:
        own = "The agent's own is local/small."
        assert await stage.say("/model") == f"None was chosen for the session. {own}"
        assert await stage.say("/model  local/large") == (
            "The session uses local/large. `/model default` goes back to the agent's own."
        )
        await stage.say("hi")
        assert stage.seen[-1].model == "local/large"
        assert await stage.say("/model") == f"The session uses local/large. {own}"
        assert "Model: local/large, chosen for this session" in await stage.say("/status")
        assert await stage.say("/model local/none") == "The model `local/none` does not exist."
        assert await stage.say("/model default") == "The session uses the agent's own model, local/small."
        await stage.say("hi")
        assert stage.seen[-1].model is None
        assert (
            await stage.say("/model local/large", agent="program")
            == "The agent `program` has no model that could be chosen."
        )
        caller = Caller("key", None, frozenset({"chat", "operator"}))
        assert "lacks the scope `model`" in await stage.say("/model local/large", caller=caller)

    play(scene)


@pytest.mark.parametrize(
    "text",
    [
        "/Status",
        "/statuses",
        "/status now",
        "//status",
        "status",
        "/model a b",
        "please /stop",
        "/stop\nand go on",
        "/",
        "/new x",
    ],
)
def test_anything_else_goes_to_the_agent(text: str) -> None:
    async def scene(stage: Stage) -> None:
        assert await stage.say(text) == text
        assert len(stage.seen) == 1

    play(scene)


def test_white_space_around_a_command_is_none_of_it() -> None:
    async def scene(stage: Stage) -> None:
        assert "Agent: main" in await stage.say(" /status\n")
        assert await stage.say(Message("user", "/status", parts=("/status", Image("image/png", b"x")))) == "/status"
        called = Message("assistant", "", tool_calls=(ToolCall("c", "f", "{}"),))
        assert await stage.say(user("hi"), called, Message("tool", "/status", tool_call_id="c")) == "/status"

    play(scene)


def test_who_is_no_operator_talks_to_the_agent() -> None:
    async def scene(stage: Stage) -> None:
        caller = Caller("key", None, frozenset({"chat"}))
        assert await stage.say("/new", caller=caller) == "/new"
        assert await stage.say("/status", assistant("x"), "hi", caller=caller) == "hi"
        assert len(stage.seen[-1].request.messages) == 3

    play(scene)


def test_commands_are_kept_nowhere() -> None:
    async def scene(stage: Stage) -> None:
        for text in ("/status", "/stop", "/model", "/new"):
            await stage.say(text)
        assert len(stage.store) == 0
        await stage.say(SYSTEM, "one")
        # A client that resends what it shows.
        status = await stage.say(SYSTEM, "one", assistant("one"), "/status")
        said = (SYSTEM, user("one"), assistant("one"), user("/status"), assistant(status), user("two"))
        await stage.say(*said, key=None)
        assert [*stage.seen[-1].request.messages] == [SYSTEM, user("one"), assistant("one"), user("two")]
        anew = (*said, assistant("two"), user("/new"), assistant("The session begins anew."), user("three"))
        await stage.say(*anew, key=None)
        assert [*stage.seen[-1].request.messages] == [SYSTEM, user("three")]
        kept = (await stage.store.load("k")).turns
        assert [message.text for turn in kept for message in (*turn.asked, *turn.answered)] == ["one", "one"]

    play(scene)


def test_commands_need_no_place_among_the_runs() -> None:
    async def scene(stage: Stage) -> None:
        task = asyncio.create_task(stage.runs.answer(stage.input("wait", agent="program")))
        await asyncio.sleep(0.01)
        assert [event async for event in stage.runs.run(stage.input("/stop", agent="program"))] == [
            "The run was stopped.",
            RunDone(),
        ]
        assert isinstance((await task).ending, RunFailed)

    play(scene)


def test_a_store_that_fails() -> None:
    class Broken(MemoryStore):
        async def load(self, key: str) -> Session:
            raise StoreError(f"the disk is full: {key}")

    async def scene(stage: Stage) -> None:
        answer = await stage.runs.answer(stage.input("/status"))
        assert answer.ending == RunFailed("the disk is full: k", "session_store_unavailable", 503)

    play(scene, Broken())
