"""What only the store in a file does: it keeps, and says clearly when it cannot."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from gateway.errors import ConfigError, MisuseError, StoreError
from gateway.model.chat import Image, Message, Part
from gateway.model.session import Session, SessionInfo, Turn
from gateway.sessions import database as database_module
from gateway.sessions import migrations, sqlite, worker
from gateway.sessions.database import Database, Keeping
from gateway.sessions.sqlite import SqliteStore, verify

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]


def turn(text: str, *images: bytes) -> Turn:
    parts: list[Part] = [Image("image/png", data) for data in images]
    asked = Message("user", text, parts=(text, *parts) if parts else ())
    return Turn(f"run of {text}", (asked,), (Message("assistant", "ok"),))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "sessions.db"


def run(path: Path, work: Callable[[SqliteStore], Awaitable[T]], **settings: Any) -> T:
    """What `work` gives on a store that is opened for it."""

    async def main() -> T:
        store = SqliteStore(str(path), **settings)
        try:
            return await work(store)
        finally:
            await store.aclose()

    return asyncio.run(main())


def texts(session: Session) -> list[str]:
    return [one.asked[0].text for one in session.turns]


def kept(path: Path, key: str = "a") -> list[str]:
    return texts(run(path, lambda store: store.load(key)))


@contextmanager
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


# -- the file


def test_it_is_there_after_the_end(path: Path) -> None:
    run(path, lambda store: store.commit("a", turn("one")))
    run(path, lambda store: store.commit("a", turn("two")))
    assert kept(path) == ["one", "two"]


def test_nothing_is_made_before_something_is_kept(path: Path) -> None:
    async def ask(store: SqliteStore) -> None:
        assert await store.load("a") == Session()
        assert await store.sessions() == ()
        assert await store.locate("r") is None
        assert not await store.delete("a")
        assert not await store.reset("a")
        await store.fork("a", 1, "b")

    run(path, ask)
    assert not path.parent.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")
def test_only_the_owner_may_read(path: Path) -> None:
    async def look(store: SqliteStore) -> None:
        await store.commit("a", turn("one"))
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
        assert modes == dict.fromkeys(["sessions.db", "sessions.db-wal", "sessions.db-shm"], 0o600)

    before = os.umask(0)
    try:
        run(path, look)
    finally:
        os.umask(before)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.chmod(0o644)
    run(path, look)


def test_a_commit_survives_more_than_the_process(path: Path) -> None:
    run(path, lambda store: store.commit("a", turn("one")))
    opened = Database(str(path), Keeping(), lambda: 0.0)
    with closing(opened.connection) as connection:
        found = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "fullfsync")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1, "fullfsync": 1}


def test_what_is_deleted_cannot_be_found_in_the_file(path: Path) -> None:
    secret, picture = "a secret that stands nowhere else", bytes(range(256)) * 40

    async def work(store: SqliteStore) -> None:
        await store.commit("a", turn(secret, picture))
        await store.commit("b", turn("other"))
        assert await store.delete("a")

    run(path, work)
    data = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert secret.encode() not in data
    assert picture[:200] not in data


def test_a_file_that_is_removed_under_way_is_made_again(path: Path) -> None:
    async def work(store: SqliteStore) -> None:
        await store.commit("a", turn("one"))
        assert texts(await store.load("a")) == ["one"]
        for file in path.parent.iterdir():
            file.unlink()
        assert await store.load("a") == Session()
        await store.commit("a", turn("two"))
        assert texts(await store.load("a")) == ["two"]

    run(path, work)
    assert kept(path) == ["two"]


def test_pictures_are_kept_once_and_not_longer_than_they_are_shown(path: Path) -> None:
    one, other = b"\x89PNG" * 1000, b"GIF" * 1000

    def images() -> int:
        with raw(path) as connection:
            count: int = connection.execute("SELECT count(*) FROM images").fetchone()[0]
        return count

    async def work(store: SqliteStore) -> None:
        await store.commit("a", turn("1", one, other, one))
        await store.commit("b", turn("2", one))
        assert images() == 2
        await store.fork("a", 1, "c")
        assert await store.delete("a")
        assert images() == 2
        assert (await store.load("c")).turns == (turn("1", one, other, one),)
        await store.commit("c", turn("3"), drop=1)
        assert images() == 1
        assert await store.reset("b")
        assert images() == 0

    run(path, work)


def test_room_is_given_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "TIDY", 0.02)

    def size() -> int:
        with raw(path) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return path.stat().st_size

    async def work(store: SqliteStore) -> None:
        for number in range(30):
            await store.commit(str(number), turn(str(number), os.urandom(200_000)))
        assert size() > 6_000_000
        for number in range(29):
            await store.delete(str(number))
        async with asyncio.timeout(60):
            while size() > 1_500_000:
                await asyncio.sleep(0.02)

    run(path, work)
    assert kept(path, "29") == ["29"]


def test_sessions_that_are_over_go_by_themselves(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "TIDY", 0.02)
    now = 1_000.0

    async def work(store: SqliteStore) -> None:
        nonlocal now
        for number in range(20):
            await store.commit(str(number), turn("x"))
        now = 2_000.0
        async with asyncio.timeout(10):
            while True:
                with raw(path) as connection:
                    if connection.execute("SELECT count(*) FROM sessions").fetchone() == (0,):
                        return
                await asyncio.sleep(0.02)

    run(path, work, idle=60.0, clock=lambda: now)


# -- many at a time


def test_turns_that_wait_share_a_transaction(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transactions = 0
    begin = Database.begin

    def count(database: Database) -> None:
        nonlocal transactions
        transactions += 1
        begin(database)

    monkeypatch.setattr(Database, "begin", count)

    async def work(store: SqliteStore) -> None:
        await store.commit("first", turn("opens the file"))
        await asyncio.gather(*(store.commit(str(n % 50), turn(str(n))) for n in range(500)))
        sizes = [len((await store.load(str(n))).turns) for n in range(50)]
        assert sizes == [10] * 50

    run(path, work)
    assert transactions < 60


def test_a_turn_that_cannot_be_kept_is_alone_with_that(path: Path) -> None:
    broken = Turn("r", (Message("user", object()),), ())  # type: ignore[arg-type]  # what an embedder might do

    async def work(store: SqliteStore) -> None:
        wanted = [store.commit(str(n), broken if n == 5 else turn(str(n))) for n in range(10)]
        results = await asyncio.gather(*wanted, return_exceptions=True)
        assert isinstance(results.pop(5), TypeError)
        assert [type(result) for result in results] == [SessionInfo] * 9
        assert len(await store.sessions()) == 9

    run(path, work)


def test_who_leaves_before_the_turn_is_begun_takes_it_along(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    begin = Database.begin

    def wait(database: Database) -> None:
        gate.wait(10)
        begin(database)

    monkeypatch.setattr(Database, "begin", wait)

    async def work(store: SqliteStore) -> None:
        under_way = asyncio.create_task(store.commit("a", turn("under way")))
        while store._writing is None:
            await asyncio.sleep(0.001)
        waits = asyncio.create_task(store.commit("a", turn("waits")))
        await asyncio.sleep(0.01)
        under_way.cancel()
        waits.cancel()
        await asyncio.wait({waits}, timeout=5)
        assert waits.cancelled()
        await asyncio.sleep(0.01)
        assert not under_way.done(), "what comes next in the session must find this turn or not, but know which"
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await under_way
        assert texts(await store.load("a")) == ["under way"]

    run(path, work)


def test_the_queue_has_an_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "WAITING", 10)

    async def work(store: SqliteStore) -> None:
        results = await asyncio.gather(*(store.commit(str(n), turn("x")) for n in range(300)), return_exceptions=True)
        refused = [result for result in results if isinstance(result, BaseException)]
        assert refused
        assert all(isinstance(one, StoreError) and "wait for the disk" in one.message for one in refused)
        assert len(await store.sessions()) == len(results) - len(refused)

    run(path, work)


def test_after_the_end_it_says_so(path: Path) -> None:
    async def main() -> None:
        store = SqliteStore(str(path))
        await store.commit("a", turn("one"))
        await store.aclose()
        await store.aclose()
        with pytest.raises(MisuseError, match="closed"):
            await store.commit("a", turn("two"))

    asyncio.run(main())
    assert kept(path) == ["one"]


def test_what_was_given_out_before_the_end_is_kept(path: Path) -> None:
    async def main() -> None:
        store = SqliteStore(str(path))
        tasks = [asyncio.create_task(store.commit("a", turn(str(n)))) for n in range(20)]
        await asyncio.sleep(0)
        await store.aclose()
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert kept(path) == [str(n) for n in range(20)]


WRITER = """
import asyncio, sys
from gateway.model.chat import Message
from gateway.model.session import Turn
from gateway.sessions.sqlite import SqliteStore

async def main(path, name):
    store = SqliteStore(path)
    async def one(number):
        key = f"shared {number % 4}"
        await store.load(key)
        await store.commit(key, Turn(f"{name} {number}", (Message("user", f"{name} {number}"),), ()))
    for start in range(0, 200, 10):
        await asyncio.gather(*(one(number) for number in range(start, start + 10)))
    await store.aclose()

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


def test_several_processes_on_one_file(path: Path) -> None:
    """They make it at the same moment, too."""
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), name], env={**os.environ, "PYTHONPATH": str(ROOT)})
        for name in "xyz"
    ]
    assert [writer.wait(50) for writer in writers] == [0, 0, 0]

    async def check(store: SqliteStore) -> list[str]:
        return [text for n in range(4) for text in texts(await store.load(f"shared {n}"))]

    found = run(path, check)
    assert sorted(found) == sorted(f"{name} {number}" for name in "xyz" for number in range(200))
    for name in "xyz":
        mine = [text for text in found if text.startswith(name) and int(text.split()[1]) % 4 == 0]
        assert mine == [f"{name} {number}" for number in range(0, 200, 4)], "each in its order"
    with raw(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# -- what goes wrong


def refused(store: SqliteStore, *words: str) -> Callable[[Awaitable[object]], Awaitable[None]]:
    async def check(attempt: Awaitable[object]) -> None:
        with pytest.raises(StoreError) as caught:
            await attempt
        error = caught.value
        assert (error.status, error.code) == (503, "session_store_unavailable")
        assert store.path in error.message
        for word in words:
            assert word in error.message

    return check


def test_a_full_disk(path: Path) -> None:
    async def work(store: SqliteStore) -> None:
        await store.commit("a", turn("one"))
        database = store._writing
        assert database is not None
        pages = await store._writer.do(lambda found: found.connection.execute("PRAGMA page_count").fetchone()[0])
        await store._writer.do(
            lambda found: found.connection.execute(f"PRAGMA max_page_count = {pages + 2}").fetchone()
        )
        await refused(store, "full", "Make room")(store.commit("a", turn("x" * 50_000)))
        assert texts(await store.load("a")) == ["one"]
        await store.commit("a", turn("two"))
        assert texts(await store.load("a")) == ["one", "two"]

    run(path, work)
    assert kept(path) == ["one", "two"]


def test_a_large_turn_that_does_not_fit_is_alone_with_that(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "_PRAGMAS", (*database_module._PRAGMAS, "max_page_count = 60"))

    async def work(store: SqliteStore) -> None:
        await store.commit("a", turn("one"))
        wanted = [store.commit(str(n), turn("x" * 900_000 if n == 1 else "x")) for n in range(4)]
        results = await asyncio.gather(*wanted, return_exceptions=True)
        assert [type(result) for result in results] == [SessionInfo, StoreError, SessionInfo, SessionInfo]

    run(path, work)


def test_another_process_that_does_not_let_go(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "BUSY_TIME", 0.1)

    async def work(store: SqliteStore) -> None:
        await store.commit("a", turn("one"))
        with raw(path) as other:
            other.execute("BEGIN IMMEDIATE")
            assert texts(await store.load("a")) == ["one"], "reading goes on"
            await refused(store, "locked", "Another process")(store.commit("a", turn("two")))
            verify(str(path))  # that is no reason not to start
            other.execute("ROLLBACK")
        await store.commit("a", turn("three"))

    run(path, work)
    assert kept(path) == ["one", "three"]


def test_no_database(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("this is a letter, and a rather long one at that. " * 100, encoding="utf-8")

    async def work(store: SqliteStore) -> None:
        await refused(store, "not a database", "backup")(store.load("a"))
        await refused(store, "not a database", "backup")(store.commit("a", turn("one")))
        path.unlink()
        await store.commit("a", turn("two"))

    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"session\.store: .*sessions\.db.*not a database"):
        verify(str(path))
    assert path.read_bytes() == before
    run(path, work)
    assert kept(path) == ["two"]


def test_a_damaged_database(path: Path) -> None:
    async def fill(store: SqliteStore) -> None:
        for number in range(50):
            await store.commit("a", turn(f"{number} " * 500))

    run(path, fill)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(100_000))

    async def work(store: SqliteStore) -> None:
        await refused(store, "malformed", "backup")(store.load("a"))
        await refused(store, "malformed", "backup")(store.commit("a", turn("one")))

    run(path, work)


def test_a_damaged_turn(path: Path) -> None:
    run(path, lambda store: store.commit("a", turn("one")))
    with raw(path) as connection:
        connection.execute("UPDATE turns SET payload = '{'")

    async def work(store: SqliteStore) -> None:
        await refused(store, "session 'a'", "damaged")(store.load("a"))
        await store.commit("b", turn("goes on"))
        assert await store.delete("a")

    run(path, work)
    assert kept(path, "b") == ["goes on"]


def test_the_database_of_another_program(path: Path) -> None:
    path.parent.mkdir()
    with raw(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url)")

    async def work(store: SqliteStore) -> None:
        await refused(store, "another program", "session.store")(store.commit("a", turn("one")))

    run(path, work)
    with pytest.raises(ConfigError, match="another program"):
        verify(str(path))
    with raw(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("bookmarks",)]


def test_a_newer_version(path: Path) -> None:
    run(path, lambda store: store.commit("a", turn("one")))
    with raw(path) as connection:
        connection.execute("PRAGMA user_version = 99")

    async def work(store: SqliteStore) -> None:
        await refused(store, "newer version", "Update")(store.load("a"))
        await refused(store, "newer version", "Update")(store.commit("a", turn("two")))

    run(path, work)
    with pytest.raises(ConfigError, match="newer version"):
        verify(str(path))
    with raw(path) as connection:
        connection.execute(f"PRAGMA user_version = {len(migrations.MIGRATIONS)}")
    assert kept(path) == ["one"]


def test_migrations_are_taken_whole_or_not_at_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(path, lambda store: store.commit("a", turn("one")))
    before = migrations.MIGRATIONS

    def add_note(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE sessions ADD COLUMN note")

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE half (done)")
        connection.execute("SELECT nonsense")

    monkeypatch.setattr(migrations, "MIGRATIONS", (*before, add_note, fail))
    with pytest.raises(ConfigError, match="nonsense"):
        verify(str(path))
    with raw(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(before),)
        assert "note" not in str(connection.execute("SELECT sql FROM sqlite_master").fetchall())
    monkeypatch.setattr(migrations, "MIGRATIONS", (*before, add_note))
    verify(str(path))
    verify(str(path))
    assert kept(path) == ["one"]
    with raw(path) as connection:
        assert connection.execute("SELECT note FROM sessions").fetchall() == [(None,)]
