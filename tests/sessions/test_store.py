"""The turns of sessions, in memory."""

from __future__ import annotations

import asyncio

from gateway.model.chat import Message
from gateway.sessions.store import MESSAGE_CHARACTERS, MemoryStore


def turn(text: str, answer: str = "ok") -> tuple[Message, ...]:
    return (Message("user", text), Message("assistant", answer))


def texts(messages: tuple[Message, ...]) -> list[str]:
    return [message.text for message in messages]


def test_turns_in_their_order() -> None:
    async def main() -> None:
        store = MemoryStore()
        assert await store.load("a") == ()
        assert len(store) == 0, "asking for a session does not make one"
        await store.append("a", turn("one"))
        await store.append("b", turn("other"))
        await store.append("a", turn("two"))
        assert await store.load("a") == (*turn("one"), *turn("two"))
        assert await store.load("b") == turn("other")
        assert len(store) == 2

    asyncio.run(main())


def test_what_was_loaded_does_not_change() -> None:
    async def main() -> None:
        store = MemoryStore()
        await store.append("a", turn("one"))
        before = await store.load("a")
        await store.append("a", turn("two"))
        assert texts(before) == ["one", "ok"]

    asyncio.run(main())


def test_the_longest_unused_session_goes_first() -> None:
    async def main() -> None:
        store = MemoryStore(sessions=3)
        for key in "abc":
            await store.append(key, turn(key))
        await store.append("a", turn("again"))
        await store.append("d", turn("d"))
        assert len(store) == 3
        assert await store.load("b") == ()
        for key in "acd":
            assert await store.load(key) != ()

    asyncio.run(main())


def test_the_oldest_turns_go_first_and_whole() -> None:
    async def main() -> None:
        store = MemoryStore(characters=3 * (100 + len("user") + len("assistant") + 2 * MESSAGE_CHARACTERS))
        for number in range(5):
            await store.append("a", turn(f"{number}" * 50, "x" * 42))
        assert [text[0] for text in texts(await store.load("a"))] == ["2", "x", "3", "x", "4", "x"]

    asyncio.run(main())


def test_the_latest_turn_always_stays() -> None:
    async def main() -> None:
        store = MemoryStore(characters=10)
        await store.append("a", turn("one"))
        await store.append("a", turn("x" * 1000))
        assert texts(await store.load("a")) == ["x" * 1000, "ok"]
        await store.append("a", turn("y"))
        assert texts(await store.load("a")) == ["y", "ok"]

    asyncio.run(main())


def test_empty_messages_are_not_free() -> None:
    async def main() -> None:
        store = MemoryStore(characters=100_000)
        for _ in range(20):
            await store.append("a", (*[Message("assistant", "")] * 500, Message("user", "hi")))
        assert len(await store.load("a")) <= 1000

    asyncio.run(main())


def test_names_are_not_free() -> None:
    async def main() -> None:
        store = MemoryStore(characters=2000)
        for _ in range(10):
            await store.append("a", (Message("user", "hi", "n" * 1000),))
            await store.append("b", (Message("tool", "hi", None, "n" * 1000),))
        assert len(await store.load("a")) == 1
        assert len(await store.load("b")) == 1

    asyncio.run(main())
