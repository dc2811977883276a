"""What stores keep of a session besides its turns."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest
from test_stores import Make, make, run, turn

from gateway.errors import AgentError
from gateway.model.run import Usage
from gateway.model.session import SessionInfo, Turn, UsageRow
from gateway.ports import SessionStore
from gateway.sessions import migrations
from gateway.sessions.codec import encode
from gateway.sessions.database import USAGE_DAYS, Database, Keeping
from gateway.sessions.settings import SETTINGS_BYTES
from gateway.sessions.sqlite import SqliteStore

__all__ = ["make"]

DAY = 20_000
NOON = DAY * 86_400 + 43_200.0


def counted(run_id: str, prompt: int, completion: int, model: str = "up/m", day: int = DAY) -> Turn:
    at = NOON + (day - DAY) * 86_400
    return turn(run_id)._replace(at=at, agent="main", model=model, usage=Usage(prompt, completion, 1))


async def described(store: SessionStore, key: str) -> SessionInfo:
    info = await store.describe(key)
    assert info is not None
    return info


def test_an_id_of_its_own(make: Make) -> None:
    async def main() -> None:
        store = make()
        assert await store.describe("a") is None
        await store.commit("a", turn("one"))
        await store.configure("b", {})
        ids = {(await described(store, key)).id for key in "ab"}
        assert {UUID(one).version for one in ids} == {4}
        assert len(ids) == 2
        await store.reset("a")
        assert (await described(store, "a")).id in ids
        await store.delete("a")
        await store.commit("a", turn("one"))
        assert (await described(store, "a")).id not in ids

    run(main)


def test_settings(make: Make) -> None:
    async def main() -> None:
        store = make()
        info = await store.configure("a", {"label": "one", "verboseLevel": "on"})
        assert (info.turns, info.settings) == (0, {"label": "one", "verboseLevel": "on"})
        await store.commit("a", turn("one"))
        await store.configure("a", {"label": None, "nested": {"x": [1, None]}})
        await store.reset("a")
        assert dict((await described(store, "a")).settings) == {"verboseLevel": "on", "nested": {"x": [1, None]}}
        with pytest.raises(AgentError, match=str(SETTINGS_BYTES)):
            await store.configure("a", {"label": "x" * SETTINGS_BYTES})
        assert dict((await described(store, "a")).settings) == {"verboseLevel": "on", "nested": {"x": [1, None]}}

    run(main)


def test_settings_count_as_what_is_kept(make: Make) -> None:
    async def main() -> None:
        store = make(size=3 * SETTINGS_BYTES)
        for number in range(5):
            await store.configure(f"s{number}", {"label": "x" * (SETTINGS_BYTES - 100)})
        assert [info.key for info in await store.sessions()] == ["s4", "s3", "s2"]

    run(main)


def test_the_last_turn(make: Make) -> None:
    async def main() -> None:
        store = make()
        await store.commit("a", counted("one", 10, 5))
        await store.commit("a", counted("two", 20, 7, "up/n"))
        info = await described(store, "a")
        assert (info.agent, info.answered_by, info.last) == ("main", "up/n", Usage(20, 7))
        await store.commit("a", turn("said by nobody"))
        assert (await described(store, "a")).last == Usage(20, 7)
        await store.reset("a")
        assert (await described(store, "a")).last == Usage(0, 0)

    run(main)


def test_tokens_of_each_day(make: Make) -> None:
    async def main() -> None:
        store = make()
        await store.commit("a", counted("one", 10, 5))
        await store.commit("a", counted("two", 20, 7))
        await store.commit("b", counted("three", 1, 1))
        await store.commit("b", counted("four", 1, 2, "up/n", DAY + 1))
        await store.reset("b")
        assert await store.usage(DAY, DAY) == (UsageRow("", DAY, "main", "up/m", 3, Usage(31, 13, 3, 0)),)
        assert await store.usage(DAY, DAY + 1, apart=True) == (
            UsageRow("a", DAY, "main", "up/m", 2, Usage(30, 12, 2, 0)),
            UsageRow("b", DAY, "main", "up/m", 1, Usage(1, 1, 1, 0)),
            UsageRow("b", DAY + 1, "main", "up/n", 1, Usage(1, 2, 1, 0)),
        )
        await store.delete("a")
        await store.delete("b")
        assert {row.key for row in await store.usage(DAY, DAY, apart=True)} == {""}
        assert [row.turns for row in await store.usage(DAY, DAY + 1)] == [3, 1]

    run(main)


def test_a_session_of_a_program_that_knows_of_no_ids_gets_one(tmp_path: Path) -> None:
    path = str(tmp_path / "sessions.db")
    database = Database(path, Keeping(), lambda: NOON)
    with closing(database.connection) as connection:
        connection.execute("INSERT INTO sessions (key, used, created_at, updated_at) VALUES ('a', 1, 1, 1)")
        info = database.describe("a")
        assert info is not None
        assert UUID(info.id).version == 4


def test_old_days_are_forgotten(tmp_path: Path) -> None:
    path = str(tmp_path / "sessions.db")
    database = Database(path, Keeping(), lambda: NOON)
    with closing(database.connection):
        for day in (DAY, DAY - USAGE_DAYS, DAY - USAGE_DAYS - 1):
            database.commit("a", counted(str(day), 1, 1, day=day), 0, None)
        database.forget_usage()
        assert [row.day for row in database.usage(0, DAY, apart=False)] == [DAY - USAGE_DAYS, DAY]


def test_the_oldest_turns_go(make: Make) -> None:
    async def main() -> None:
        store = make()
        assert await store.trim("a", 1) == 0
        for number in range(4):
            await store.commit("a", turn(str(number)))
        assert await store.trim("a", 0) == 4
        assert not (await store.load("a")).trimmed
        assert await store.trim("a", 3) == 1
        session = await store.load("a")
        assert ([one.run_id for one in session.turns], session.trimmed) == (["run of 3"], True)

    run(main)


def test_what_a_turn_tells_is_kept(make: Make) -> None:
    one = counted("one", 10, 5)._replace(began=NOON - 1, first=7, finish="aborted")

    async def main() -> None:
        store = make()
        await store.commit("a", one)
        assert (await store.load("a")).turns == (one,)

    run(main)


def first_version(path: Path, fill: Callable[[sqlite3.Connection], None]) -> None:
    """A file as the first version of this program left it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        migrations.MIGRATIONS[0](database)
        database.execute(f"PRAGMA application_id = {migrations.APPLICATION_ID}")
        database.execute("PRAGMA user_version = 1")
        fill(database)


def test_a_file_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    old = turn("old")

    def fill(database: sqlite3.Connection) -> None:
        for number, key in enumerate(["a", "b"], 1):
            database.execute(
                "INSERT INTO sessions (key, used, created_at, updated_at, turns) VALUES (?, ?, 1, 1, 1)", (key, number)
            )
            database.execute(
                "INSERT INTO turns (session, run_id, at, characters, bytes, payload) VALUES (?, ?, 0, 1, 1, ?)",
                (number, old.run_id, encode(old).payload),
            )

    first_version(path, fill)

    async def main() -> None:
        store = SqliteStore(str(path))
        assert (await store.load("a")).turns == (old,)
        infos = await store.sessions()
        assert {UUID(info.id).version for info in infos} == {4}
        assert len({info.id for info in infos}) == 2
        await store.commit("a", counted("new", 3, 4))
        assert [one.run_id for one in (await store.load("a")).turns] == [old.run_id, "run of new"]
        assert (await described(store, "a")).last == Usage(3, 4)
        await store.aclose()

    run(main)
