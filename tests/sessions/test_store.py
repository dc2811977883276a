"""The turns of sessions, in memory."""

from __future__ import annotations

import asyncio

from gateway.model.chat import Message
from gateway.model.session import Session, SessionInfo, Turn
from gateway.sessions.history import MESSAGE_CHARACTERS, messages_of
from gateway.sessions.store import MemoryStore


def turn(text: str, answer: str = "ok") -> Turn:
    return Turn(f"run of {text}", (Message("user", text),), (Message("assistant", answer),))


def texts(session: Session) -> list[str]:
    return [message.text for message in messages_of(session.turns)]


def test_turns_in_their_order() -> None:
    async def main() -> None:
        store = MemoryStore()
        assert await store.load("a") == Session()
        assert len(store) == 0, "asking for a session does not make one"
        await store.commit("a", turn("one"))
        await store.commit("b", turn("other"))
        await store.commit("a", turn("two"))
        assert await store.load("a") == Session((turn("one"), turn("two")))
        assert await store.load("b") == Session((turn("other"),))
        assert len(store) == 2

    asyncio.run(main())


def test_what_was_loaded_does_not_change() -> None:
    async def main() -> None:
        store = MemoryStore()
        await store.commit("a", turn("one"))
        before = await store.load("a")
        await store.commit("a", turn("two"))
        assert texts(before) == ["one", "ok"]

    asyncio.run(main())


def test_the_longest_unused_session_goes_first() -> None:
    async def main() -> None:
        store = MemoryStore(sessions=3)
        for key in "abc":
            await store.commit(key, turn(key))
        await store.commit("a", turn("again"))
        await store.commit("d", turn("d"))
        assert len(store) == 3
        assert await store.load("b") == Session()
        for key in "acd":
            assert (await store.load(key)).turns

    asyncio.run(main())


def test_turns_that_go() -> None:
    async def main() -> None:
        store = MemoryStore()
        for number in range(4):
            await store.commit("a", turn(str(number)))
        await store.commit("a", turn("4"), keep=3)
        assert await store.load("a") == Session((turn("0"), turn("1"), turn("2"), turn("4")))
        await store.commit("a", turn("5"), drop=1, keep=3)
        assert await store.load("a") == Session((turn("1"), turn("2"), turn("5")), trimmed=True)

    asyncio.run(main())


def test_forks() -> None:
    async def main() -> None:
        store = MemoryStore()
        for number in range(3):
            await store.commit("a", turn(str(number)))
        await store.choose_model("a", "up/m")
        assert await store.locate("run of 1") == ("a", 2)
        assert await store.locate("run of 9") is None
        await store.fork("a", 2, "b")
        await store.fork("nothing", 2, "c")
        assert await store.load("b") == Session((turn("0"), turn("1")), model="up/m")
        assert len((await store.load("a")).turns) == 3
        assert len(store) == 2

    asyncio.run(main())


def test_the_list_and_deletion() -> None:
    now = 1000.0

    async def main() -> None:
        nonlocal now
        store = MemoryStore(clock=lambda: now)
        await store.commit("a", turn("one", "12"))
        await store.commit("b", turn("one"))
        now = 2000.0
        await store.commit("a", turn("two", "12"))
        size = 2 * (MESSAGE_CHARACTERS + 3 + MESSAGE_CHARACTERS + 2)
        listed = await store.sessions()
        assert listed[0] == SessionInfo("a", 2, size, 1000.0, 2000.0)
        assert [info.key for info in listed] == ["a", "b"]
        assert await store.delete("a")
        assert not await store.delete("a")
        assert await store.load("a") == Session()

    asyncio.run(main())
