"""What conversations tell of turns as they begin and are kept, and what of a run is kept that does not end well."""

from __future__ import annotations

import asyncio
from typing import Any

from test_conversation import SYSTEM, Talk, answer, user

from gateway.errors import AgentError
from gateway.model.chat import Message, ToolCall
from gateway.model.run import ModelChange, RunDone, RunEvent, RunInput, Step, ToolCallDelta, Usage
from gateway.model.session import SessionInfo, Turn

STEP = Step(
    (Message("assistant", "let me see", tool_calls=(ToolCall("c", "f", "{}"),)), Message("tool", "1", None, "c"))
)


class Notes:
    """A `Scribe` that writes all down."""

    def __init__(self) -> None:
        self.began_: list[tuple[str, str, int]] = []
        self.turns: list[Turn] = []
        self.infos: list[SessionInfo] = []

    def began(self, run: RunInput, asked: tuple[Message, ...], first: int) -> None:
        self.began_.append((run.run_id, " ".join(message.text for message in asked), first))

    def kept(self, info: SessionInfo, turn: Turn) -> None:
        self.infos.append(info)
        self.turns.append(turn)


def noted(talk: Talk) -> Notes:
    notes = Notes()
    talk.conversations.scribe = notes
    return notes


async def keeping(talk: Talk, text: str) -> list[RunEvent]:
    """A run of which all is kept."""
    run = talk.input(user(text))._replace(keeps=True)
    return [event async for event in talk.runs.run(run)]


def test_messages_are_numbered_without_end() -> None:
    async def main() -> None:
        talk = Talk(turns=2)
        notes = noted(talk)
        for number in range(1, 5):
            await talk.say(SYSTEM, user(f"u{number}"))
        assert notes.began_ == [("r1", "u1", 1), ("r2", "u2", 3), ("r3", "u3", 5), ("r4", "u4", 7)]
        assert [turn.first for turn in notes.turns] == [1, 3, 5, 7]
        assert [info.turns for info in notes.infos] == [1, 2, 2, 2]
        await talk.say(user("u3"), answer("a3"), user("other"))
        assert (notes.began_[-1], notes.turns[-1].first) == (("r5", "other", 7), 7), "it takes the place of the fourth"
        added = await talk.conversations.add("k", Turn("note", (), (answer("by the way"),)))
        assert (added.first, notes.turns[-1]) == (9, added)
        await talk.conversations.reset("k")
        await talk.say(user("anew"))
        assert notes.turns[-1].first == 1

    asyncio.run(main())


def test_what_is_too_old_at_once_counts() -> None:
    async def main() -> None:
        talk = Talk(turns=1)
        notes = noted(talk)
        await talk.say(user("u1"), answer("a1"), user("u2"))
        assert notes.began_ == [("r1", "u1 a1 u2", 1)]
        assert (notes.turns[0].asked, notes.turns[0].first) == ((user("u2"),), 3)

    asyncio.run(main())


def test_older_turns_that_have_no_numbers() -> None:
    async def main() -> None:
        talk = Talk()
        for number in range(2):
            await talk.store.commit("k", Turn(f"old {number}", (user("u"),), (answer("a"),)))
        notes = noted(talk)
        await talk.say(user("u3"))
        assert notes.turns[0].first == 5

    asyncio.run(main())


def test_a_turn_tells_who_answered_and_what_it_took() -> None:
    async def agent(run: RunInput) -> Any:
        yield ModelChange("up/second", "the first one is away")
        yield "hi"
        yield Usage(1, 2, 3, 4)
        yield Usage(10, 20)
        yield RunDone("length")

    async def main() -> None:
        talk = Talk(agent, own_model={"main": "up/first"}.get)
        notes = noted(talk)
        await talk.say(user("u"))
        turn = notes.turns[0]
        assert (turn.agent, turn.model, turn.usage, turn.finish) == ("main", "up/second", Usage(11, 22, 3, 4), "length")

    asyncio.run(main())


def test_the_model_where_nothing_is_said() -> None:
    async def main() -> None:
        talk = Talk(own_model={"main": "up/first"}.get)
        notes = noted(talk)
        await talk.say(user("u"))
        await talk.store.choose_model("k", "up/chosen")
        await talk.say(user("u"))
        assert [turn.model for turn in notes.turns] == ["up/first", "up/chosen"]

    asyncio.run(main())


def test_what_fails_is_kept_for_who_wants_it() -> None:
    async def agent(run: RunInput) -> Any:
        yield STEP
        yield "and "
        yield ToolCallDelta(0, "x", "theirs", '{"half')
        raise AgentError("no credit", code="no_credit", status=402)

    async def main() -> None:
        talk = Talk(agent)
        notes = noted(talk)
        await talk.say(user("u"))
        assert notes.turns == []
        await keeping(talk, "u")
        (turn,) = notes.turns
        assert turn.asked == (user("u"),)
        assert turn.answered == (*STEP.messages, answer("and ")), "a call that is not whole, nobody can answer"
        assert turn.finish == "error"

    asyncio.run(main())


def test_what_is_ended_is_kept_for_who_wants_it() -> None:
    began = asyncio.Event()

    async def agent(run: RunInput) -> Any:
        if run.request.messages[-1].text == "quick":
            return
        yield "so far"
        began.set()
        await asyncio.sleep(60)

    async def main() -> None:
        talk = Talk(agent)
        notes = noted(talk)
        task = asyncio.create_task(keeping(talk, "u"))
        await began.wait()
        assert talk.runs.abort("r1")
        await task
        assert (notes.turns[0].answered, notes.turns[0].finish) == ((answer("so far"),), "aborted")
        await talk.say(user("quick"))
        assert [message.text for message in talk.seen[-1].history] == ["u", "so far"]

    asyncio.run(main())


def test_what_never_began_is_not_told() -> None:
    async def main() -> None:
        talk = Talk()
        notes = noted(talk)
        await talk.say(Message("tool", "1", None, "nobody's"))
        await talk.say(user("x"), after="r9")
        assert (notes.began_, notes.turns) == ([], [])

    asyncio.run(main())


def test_the_oldest_messages_go_with_their_turns() -> None:
    async def main() -> None:
        talk = Talk()
        for number in range(1, 4):
            await talk.say(user(f"u{number}"))
        assert await talk.conversations.trim("nobody", 1) == 0
        assert await talk.conversations.trim("k", 6) == 6
        assert await talk.conversations.trim("k", 3) == 4
        assert await talk.transcript() == "u2 a2 u3 a3"
        assert await talk.conversations.trim("k", 1) == 2
        assert await talk.conversations.delete("k")
        assert not await talk.conversations.delete("k")

    asyncio.run(main())
