"""What every store of sessions does: the same tests for each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from gateway.model.chat import Image, Message
from gateway.model.session import Session, SessionInfo, Turn
from gateway.ports import SessionStore
from gateway.sessions.deferred import DeferredStore
from gateway.sessions.history import MESSAGE_CHARACTERS, messages_of
from gateway.sessions.sqlite import SqliteStore
from gateway.sessions.store import MemoryStore

Make: TypeAlias = Callable[..., SessionStore]
opened: list[SessionStore] = []


def run(main: Callable[[], Coroutine[None, None, None]]) -> None:
    async def whole() -> None:
        try:
            await main()
        finally:
            while opened:
                await opened.pop().aclose()

    asyncio.run(whole())


@pytest.fixture(params=["memory", "sqlite", "deferred"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes a store; one that is made again goes on with what the first has kept, but for the one in memory."""

    def make_one(**settings: Any) -> SessionStore:
        def sqlite() -> SessionStore:
            return SqliteStore(str(tmp_path / "new" / "sessions.db"), **settings)

        made: dict[str, Callable[[], SessionStore]] = {
            "memory": lambda: MemoryStore(**settings),
            "sqlite": sqlite,
            "deferred": lambda: DeferredStore(sqlite),
        }
        opened.append(made[request.param]())
        return opened[-1]

    return make_one


def turn(text: str, answer: str = "ok") -> Turn:
    return Turn(f"run of {text}", (Message("user", text),), (Message("assistant", answer),))


def texts(session: Session) -> list[str]:
    return [message.text for message in messages_of(session.turns)]


def test_turns_in_their_order(make: Make) -> None:
    async def main() -> None:
        store = make()
        assert await store.load("a") == Session()
        assert await store.sessions() == (), "asking for a session does not make one"
        await store.commit("a", turn("one"))
        await store.commit("b", turn("other"))
        await store.commit("a", turn("two"))
        assert await store.load("a") == Session((turn("one"), turn("two")))
        assert await store.load("b") == Session((turn("other"),))
        assert len(await store.sessions()) == 2

    run(main)


def test_what_was_loaded_does_not_change(make: Make) -> None:
    async def main() -> None:
        store = make()
        await store.commit("a", turn("one"))
        before = await store.load("a")
        await store.commit("a", turn("two"))
        assert texts(before) == ["one", "ok"]

    run(main)


def test_the_longest_unused_session_goes_first(make: Make) -> None:
    async def main() -> None:
        store = make(sessions=3)
        for key in "abc":
            await store.commit(key, turn(key))
        await store.commit("a", turn("again"))
        await store.commit("d", turn("d"))
        assert len(await store.sessions()) == 3
        assert await store.load("b") == Session()
        for key in "acd":
            assert (await store.load(key)).turns

    run(main)


def test_turns_that_go(make: Make) -> None:
    async def main() -> None:
        store = make()
        for number in range(4):
            await store.commit("a", turn(str(number)))
        await store.commit("a", turn("4"), keep=3)
        assert await store.load("a") == Session((turn("0"), turn("1"), turn("2"), turn("4")))
        await store.commit("a", turn("5"), drop=1, keep=3)
        assert await store.load("a") == Session((turn("1"), turn("2"), turn("5")), trimmed=True)

    run(main)


def test_forks(make: Make) -> None:
    async def main() -> None:
        store = make()
        for number in range(3):
            await store.commit("a", turn(str(number)))
        await store.choose_model("a", "up/m")
        assert await store.locate("run of 1") == ("a", 2)
        assert await store.locate("run of 9") is None
        await store.fork("a", 2, "b")
        await store.fork("nothing", 2, "c")
        assert await store.load("b") == Session((turn("0"), turn("1")), model="up/m")
        assert len((await store.load("a")).turns) == 3
        assert len(await store.sessions()) == 2

    run(main)


def test_the_list_and_deletion(make: Make) -> None:
    now = 1000.0

    async def main() -> None:
        nonlocal now
        store = make(clock=lambda: now)
        await store.commit("a", turn("one", "12"))
        await store.commit("b", turn("one"))
        now = 2000.0
        await store.commit("a", turn("two", "12"))
        size = 2 * (MESSAGE_CHARACTERS + 3 + MESSAGE_CHARACTERS + 2)
        listed = await store.sessions()
        assert listed[0]._replace(id="") == SessionInfo("a", 2, size, 1000.0, 2000.0)
        assert [info.key for info in listed] == ["a", "b"]
        assert await store.delete("a")
        assert not await store.delete("a")
        assert await store.load("a") == Session()

    run(main)


def test_reset(make: Make) -> None:
    async def main() -> None:
        store = make()
        assert not await store.reset("a")
        await store.commit("a", turn("one"))
        await store.choose_model("a", "up/m")
        await store.commit("a", turn("two"), drop=1)
        assert await store.reset("a")
        assert await store.load("a") == Session(model="up/m")
        assert await store.locate("run of two") is None
        assert [info.turns for info in await store.sessions()] == [0]

    run(main)


def test_idle_sessions_are_as_if_they_had_never_been(make: Make) -> None:
    now = 1000.0

    async def main() -> None:
        nonlocal now
        store = make(clock=lambda: now, idle=60)
        for key in "abcde":
            await store.commit(key, turn(key))
        now = 1060.0
        await store.commit("a", turn("again"))
        assert len((await store.load("b")).turns) == 1
        now = 1061.0
        assert [info.key for info in await store.sessions()] == ["a"]
        assert await store.load("b") == Session()
        assert await store.locate("run of c") is None
        assert not await store.delete("d")
        assert not await store.reset("e")
        assert len(await store.sessions()) == 1
        await store.commit("b", turn("new"))
        assert texts(await store.load("b")) == ["new", "ok"]

    run(main)


def test_idle_sessions_make_room_by_themselves(make: Make) -> None:
    now = 1000.0

    async def main() -> None:
        nonlocal now
        store = make(clock=lambda: now, idle=60)
        for number in range(10):
            await store.commit(str(number), turn("x"))
        now = 2000.0
        for _ in range(3):
            await store.commit("new", turn("x"))
        assert len(await store.sessions()) == 1
        assert await store.locate("run of x") == ("new", 1)

    run(main)


def test_a_run_that_takes_longer_than_sessions_are_kept_goes_on_with_its_own(make: Make) -> None:
    now = 1000.0

    async def main() -> None:
        nonlocal now
        store = make(clock=lambda: now, idle=60)
        await store.commit("a", turn("one"))
        now = 2000.0
        await store.commit("a", turn("two"))
        assert texts(await store.load("a")) == ["one", "ok", "two", "ok"]

    run(main)


def test_all_together_have_a_size(make: Make) -> None:
    async def main() -> None:
        picture = Image("image/png", bytes(5000))
        store = make(size=12_000)
        for key in "abc":
            await store.commit(key, Turn(key, (Message("user", "see", parts=("see", picture)),), ()))
        assert [info.key for info in await store.sessions()] == ["c", "b"]
        await store.commit("d", turn("x" * 20_000))
        assert [info.key for info in await store.sessions()] == ["d"], "the one used last stays, whatever its size"
        await store.commit("e", turn("small"))
        assert [info.key for info in await store.sessions()] == ["e"]

    run(main)
