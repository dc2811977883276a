"""What a store does for one session does not grow with the number of the others."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import perf_counter

import pytest

from gateway.model.chat import Image, Message
from gateway.model.run import Usage
from gateway.model.session import Turn
from gateway.sessions.database import Database, Keeping
from gateway.sessions.store import DAY_SECONDS, MemoryStore

NOON = 20_000 * DAY_SECONDS + DAY_SECONDS / 2


def turn(run_id: str) -> Turn:
    asked = Message("user", "hello", parts=("hello", Image("image/png", b"picture")))
    return Turn(run_id, (asked,), (Message("assistant", "ok"),), NOON, NOON, agent="main", usage=Usage(1, 2))


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "sessions.db")


def statements(database: Database, work: Callable[[], object]) -> list[str]:
    """What the database was asked for, with its values, within `work`; also by triggers of its own."""
    asked: list[str] = []
    database.connection.set_trace_callback(asked.append)
    work()
    database.connection.set_trace_callback(None)
    return [one for one in asked if re.match(r"SELECT|INSERT|UPDATE|DELETE", one)]


def one_of_each(database: Database) -> None:
    """Everything that is done for one session."""
    database.commit("a", turn("1"), 0, None)
    database.commit("a", turn("2"), 1, None)
    database.commit("a", turn("3"), 0, 1)
    row = database.find("a")
    assert row is not None
    assert len(database.read(row).turns) == 2
    assert database.locate("3") == ("a", 2)
    assert database.describe("a") is not None
    database.choose_model("a", "p/m")
    database.configure("a", {"label": "one"})
    database.fork("a", 1, "b")
    database.trim("a", 1)
    database.reset("a")
    database.make_room()
    assert database.delete("b")


def test_each_statement_finds_its_rows_by_an_index(path: str) -> None:
    database = Database(path, Keeping(), lambda: NOON)
    with closing(database.connection) as connection:
        asked = statements(database, lambda: one_of_each(database))
        assert len(asked) > 40
        plans = {one: connection.execute(f"EXPLAIN QUERY PLAN {one}").fetchall() for one in asked}
    # `totals` has one row; the first or last of an index is found at its end, and told as a search or a limited scan.
    harmless = re.compile(r"SCAN (totals|\d+ CONSTANT ROWS?|CONSTANT ROW)|SCAN sessions USING INDEX sessions_by_use$")
    walks = [
        (one, step[3])
        for one, steps in plans.items()
        for step in steps
        if step[3].startswith("SCAN") and not harmless.match(step[3])
    ]
    assert not walks
    by_use = [one for one, steps in plans.items() if any("SCAN sessions" in step[3] for step in steps)]
    assert all(one.endswith("LIMIT 1") for one in by_use)


def rows_looked_at(database: Database, work: Callable[[], object]) -> int:
    """Steps of SQLite's machine, of which every row that is looked at takes some."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    database.connection.set_progress_handler(count, 1)
    work()
    database.connection.set_progress_handler(None, 0)
    return steps


def filled(path: str, sessions: int) -> Database:
    database = Database(path, Keeping(sessions=sessions), lambda: NOON)
    database.begin()
    for number in range(sessions):
        database.commit(f"session {number}", turn(f"run {number}"), 0, None)
    database.end()
    return database


def test_a_turn_looks_at_as_many_rows_among_many_sessions_as_among_few(tmp_path: Path) -> None:
    counted = {}
    for sessions in (10, 3_000):
        database = filled(str(tmp_path / f"{sessions}.db"), sessions)
        with closing(database.connection):

            def one(database: Database = database, sessions: int = sessions) -> None:
                key = f"session {sessions // 2}"
                assert database.describe(key) is not None
                database.commit(key, turn("another"), 1, None)
                assert database.locate("another") == (key, 1)
                database.commit("one more than there is room for", turn("a new one"), 0, None)

            counted[sessions] = rows_looked_at(database, one)
    assert counted[3_000] <= counted[10] * 1.1, counted


def test_days_to_forget_are_looked_for_once_a_day(path: str) -> None:
    now = [NOON]
    database = Database(path, Keeping(), lambda: now[0])
    with closing(database.connection):
        database.commit("a", turn("1"), 0, None)
        assert len(statements(database, database.forget_usage)) == 1
        assert statements(database, database.forget_usage) == []
        now[0] += DAY_SECONDS
        assert len(statements(database, database.forget_usage)) == 1


def test_making_room_in_memory_costs_as_much_among_many_sessions_as_among_few() -> None:
    """Which one goes is found as fast: a dict would look for its first entry behind all that went before."""

    async def found(sessions: int) -> float:
        store = MemoryStore(sessions, lambda: NOON)
        one = Turn("1", (), (), NOON)
        for number in range(sessions + sessions // 2):
            await store.commit(str(number), one._replace(run_id=str(number)))
        assert len(store) == sessions

        def first() -> float:
            began = perf_counter()
            for _ in range(100):
                assert next(iter(store._sessions)) == str(sessions // 2)
            return perf_counter() - began

        return min(first() for _ in range(5))

    few, many = asyncio.run(found(10)), asyncio.run(found(20_000))
    assert many < 10 * few, f"{many * 1e4:.2f} us among many, {few * 1e4:.2f} us among few"


def test_sqlite_tells_of_walks(path: str) -> None:
    """What the first test looks for is there where an index is missing."""
    database = Database(path, Keeping(), lambda: NOON)
    with closing(database.connection) as connection:
        steps = connection.execute("EXPLAIN QUERY PLAN SELECT id FROM sessions WHERE created_at = 1").fetchall()
        assert [step[3] for step in steps] == ["SCAN sessions"]
        assert isinstance(connection, sqlite3.Connection)
