"""The SQLite file that holds sessions: one connection to it, and what is asked of it.

Nothing here knows of event loops or threads; a connection belongs to the thread that made it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from math import inf
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..model.run import Usage
from ..model.session import Session, SessionInfo, Turn, UsageRow
from ..records import NamedTuple
from .codec import UnreadableError, decode, encode
from .history import characters
from .migrations import migrate
from .place import create, identity
from .row import Row, column, row_of, text
from .settings import merged, packed, unpacked
from .store import DAY_SECONDS, STEP, fresh_id

__all__ = ["BUSY_TIME", "USAGE_DAYS", "Database", "Keeping"]

BUSY_TIME = 5.0
"""Seconds to wait while another process writes: its transactions take milliseconds."""

BUSY_PAUSE = 0.01
"""Seconds between two attempts."""

WAL_BYTES = 16 << 20
"""What the write-ahead log may keep of the disk after a large transaction."""

USAGE_DAYS = 400
"""For which the tokens of each day are kept: a year, and what is needed to compare it with the one before's end."""

FREE_PAGES = 256
"""Given back to the file system in one step of `tidy`."""

_PRAGMAS = (
    "synchronous = FULL",  # a commit has reached the disk when it returns
    "fullfsync = ON",  # on macOS too
    "checkpoint_fullfsync = ON",
    "foreign_keys = ON",
    "secure_delete = ON",  # what was deleted cannot be read from the file any more
    "trusted_schema = OFF",
    "temp_store = MEMORY",
    f"journal_size_limit = {WAL_BYTES}",
)


class Keeping(NamedTuple):
    """How much is kept: sessions, bytes of all together, seconds after their last use."""

    sessions: float = inf
    bytes: float = inf
    idle: float = inf


_COLUMNS = ", ".join(Row._fields)
_FIND = f"SELECT {_COLUMNS} FROM sessions WHERE key = ?"  # noqa: S608 - names of columns
_LIST = f"SELECT {_COLUMNS} FROM sessions WHERE updated_at >= ? ORDER BY used DESC"  # noqa: S608 - the same
_OLDEST = f"SELECT {_COLUMNS} FROM sessions ORDER BY used LIMIT 1"  # noqa: S608 - the same
_ADD = "INSERT INTO sessions (key, used, created_at, updated_at, uuid) VALUES (?, ?, ?, ?, ?)"
_TOUCH = (
    "UPDATE sessions SET used = ?, model = ?, trimmed = ?, updated_at = ?, turns = ?, characters = ?, bytes = ?, "
    "settings = ?, agent = ?, answered_by = ?, last_prompt = ?, last_completion = ? WHERE id = ?"
)
_COUNT = (
    "INSERT INTO usage VALUES (?, ?, ?, ?, 1, ?, ?, ?, ?) ON CONFLICT (session, day, agent, model) DO UPDATE SET "
    "turns = turns + 1, prompt = prompt + excluded.prompt, completion = completion + excluded.completion, "
    "cached = cached + excluded.cached, reasoning = reasoning + excluded.reasoning"
)
_SUMS = "sum(usage.turns), sum(prompt), sum(completion), sum(cached), sum(reasoning)"
_USAGE = f"SELECT '', day, agent, model, {_SUMS} FROM usage WHERE day BETWEEN ? AND ? GROUP BY day, agent, model"  # noqa: S608 - names of columns
_USAGE_APART = (
    f"SELECT coalesce(key, ''), day, usage.agent, usage.model, {_SUMS} FROM usage "  # noqa: S608 - the same
    "LEFT JOIN sessions ON sessions.id = session WHERE day BETWEEN ? AND ? "
    "GROUP BY session, day, usage.agent, usage.model"
)
_ADD_TURN = "INSERT INTO turns (session, run_id, at, characters, bytes, payload) VALUES (?, ?, ?, ?, ?, ?)"
_COPY_TURN = (
    "INSERT INTO turns (session, run_id, at, characters, bytes, payload) "
    "SELECT ?, run_id, at, characters, bytes, payload FROM turns WHERE id = ?"
)
_READ_TURNS = "SELECT id, run_id, at, payload FROM turns WHERE session = ? ORDER BY id"
_READ_IMAGES = (
    "SELECT turn, data FROM turns JOIN turn_images ON turn = turns.id JOIN images ON images.id = image "
    "WHERE session = ? ORDER BY turn, number"
)


class Database:
    """One connection.  `clock` gives seconds since the epoch.  Errors are sqlite3's, and StoreError."""

    def __init__(self, path: str, keeping: Keeping, clock: Callable[[], float]) -> None:
        """Open the file, which is made where there is none, and bring it up to date."""
        self._keeping = keeping
        self._clock = clock
        self._path = path
        self._usage_from: int | None = None  # the first day of which the tokens are known to be kept
        create(path)
        self.connection = sqlite3.connect(
            Path(path).absolute().as_uri() + "?mode=rw", uri=True, timeout=BUSY_TIME, isolation_level=None
        )
        try:
            self._file = identity(path)
            self._prepare()
            migrate(self.connection)
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        execute = self.connection.execute
        if not execute("PRAGMA page_count").fetchone()[0]:
            execute("PRAGMA auto_vacuum = INCREMENTAL")  # only means something in an empty file, and locks any other
        for pragma in _PRAGMAS:
            execute(f"PRAGMA {pragma}")
        mode = self._patiently("PRAGMA journal_mode = WAL")
        if mode != "wal":
            raise StoreError("its file system cannot do write-ahead logging. Keep it on a disk of this machine")

    def _patiently(self, change: str) -> Any:
        """Run a statement that waits for nobody by itself: others may be opening the file too."""
        end = time.monotonic() + BUSY_TIME
        while True:
            try:
                return self.connection.execute(change).fetchone()[0]
            except sqlite3.OperationalError as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                    raise
                time.sleep(BUSY_PAUSE)

    def close(self) -> None:
        """Give the file back."""
        with suppress(sqlite3.Error):
            self.connection.close()

    @property
    def is_current(self) -> bool:
        """Whether the file is still the one that was opened: one that was removed would take what nobody finds."""
        return identity(self._path) == self._file

    # -- reading

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """What is read within is of one moment."""
        self.connection.execute("BEGIN")
        try:
            yield
        finally:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")

    def find(self, key: str) -> Row | None:
        """The session, also one that is over."""
        return row_of(self.connection.execute(_FIND, (column(key),)).fetchone())

    def is_over(self, row: Row) -> bool:
        """Whether it has been idle for too long."""
        return self._clock() - row.updated_at > self._keeping.idle

    def read(self, row: Row) -> Session:
        """All of a session."""
        images: dict[int, list[bytes]] = {}
        for turn, data in self.connection.execute(_READ_IMAGES, (row.id,)):
            images.setdefault(turn, []).append(data)
        turns = self.connection.execute(_READ_TURNS, (row.id,))
        try:
            read = [decode(payload, images.get(turn, ()), text(run_id), at) for turn, run_id, at, payload in turns]
        except UnreadableError as error:
            raise StoreError(f"session {row.key!r}: {error}") from error
        return Session(tuple(read), row.trimmed, row.model)

    def locate(self, run_id: str) -> tuple[str, int] | None:
        """See `ports.SessionStore.locate`."""
        found = self.connection.execute(
            "SELECT turns.id, key, updated_at, sessions.id FROM turns JOIN sessions ON sessions.id = session "
            "WHERE run_id = ?",
            (column(run_id),),
        )
        for turn, key, updated_at, session in found.fetchall():
            if self._clock() - updated_at <= self._keeping.idle:
                count = "SELECT count(*) FROM turns WHERE session = ? AND id <= ?"
                return text(key), self.connection.execute(count, (session, turn)).fetchone()[0]
        return None

    def sessions(self) -> tuple[SessionInfo, ...]:
        """See `ports.SessionStore.sessions`."""
        oldest = self._clock() - self._keeping.idle
        rows = self.connection.execute(_LIST, (oldest if oldest > -inf else 0,))
        return tuple(row.info for row in map(row_of, rows) if row)

    def describe(self, key: str) -> SessionInfo | None:
        """See `ports.SessionStore.describe`."""
        row = self.find(key)
        return None if row is None or self.is_over(row) else row.info

    def usage(self, since: int, until: int, *, apart: bool) -> tuple[UsageRow, ...]:
        """See `ports.SessionStore.usage`."""
        rows = self.connection.execute(_USAGE_APART if apart else _USAGE, (since, until))
        return tuple(
            UsageRow(text(key), day, text(agent), text(model) or None, turns, Usage(*counts))
            for key, day, agent, model, turns, *counts in rows
        )

    # -- writing, within a transaction

    def begin(self) -> None:
        """Begin a transaction that writes: no other process can, until its end."""
        self.connection.execute("BEGIN IMMEDIATE")

    def end(self) -> None:
        """Keep what was written."""
        self.connection.execute("COMMIT")

    def undo(self) -> None:
        """Keep nothing of it."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def commit(self, key: str, turn: Turn, drop: int, keep: int | None) -> tuple[Row | None, Row]:
        """See `ports.SessionStore.commit`; the session as it was, and as it is then."""
        coded, length = encode(turn), characters(turn)
        # Not `living`: a run that takes longer than sessions are kept goes on with the one it began in.
        before = self.find(key)
        row = self._let_go(before or self._add(key), drop, keep)
        answered_by = row.answered_by if turn.model is None else turn.model
        row = row._replace(trimmed=row.trimmed or drop > 0, agent=turn.agent or row.agent, answered_by=answered_by)
        if turn.agent:
            row = row._replace(last_prompt=turn.usage.prompt_tokens, last_completion=turn.usage.completion_tokens)
            self._count(row, turn)
        execute = self.connection.execute
        added = execute(_ADD_TURN, (row.id, column(turn.run_id), turn.at, length, coded.size, coded.payload)).lastrowid
        for number, data in enumerate(coded.images):
            digest = sha256(data).digest()
            execute("INSERT OR IGNORE INTO images (digest, data) VALUES (?, ?)", (digest, data))
            execute("INSERT INTO turn_images SELECT ?, ?, id FROM images WHERE digest = ?", (added, number, digest))
        row = self._touch(self._grown(row, 1, length, coded.size))
        self.make_room()
        return before, row

    def choose_model(self, key: str, model: str | None) -> None:
        """See `ports.SessionStore.choose_model`."""
        self._touch((self.living(key) or self._add(key))._replace(model=model))
        self.make_room()

    def configure(self, key: str, change: Mapping[str, Any]) -> SessionInfo:
        """See `ports.SessionStore.configure`."""
        row = self.living(key) or self._add(key)
        settings = packed(merged(unpacked(row.settings), change))
        row = self._touch(row._replace(settings=settings, bytes=row.bytes + len(settings) - len(row.settings)))
        self.make_room()
        return row.info

    def trim(self, key: str, drop: int) -> int:
        """See `ports.SessionStore.trim`."""
        row = self.living(key)
        if row is None:
            return 0
        return self._touch(self._let_go(row, drop, None)._replace(trimmed=True)).turns if drop else row.turns

    def fork(self, key: str, turns: int, new_key: str) -> None:
        """See `ports.SessionStore.fork`."""
        source = self.living(key)
        if source is None:
            return
        execute = self.connection.execute
        if new_key == key:
            row = self._let_go(source, 0, turns)
        else:
            row = self._let_go(self.living(new_key) or self._add(new_key), 0, 0)
            copied = "SELECT id, characters, bytes FROM turns WHERE session = ? ORDER BY id LIMIT ?"
            for turn, length, size in execute(copied, (source.id, turns)).fetchall():
                new = execute(_COPY_TURN, (row.id, turn)).lastrowid
                execute("INSERT INTO turn_images SELECT ?, number, image FROM turn_images WHERE turn = ?", (new, turn))
                row = self._grown(row, 1, length, size)
        self._touch(row._replace(model=source.model, trimmed=source.trimmed))
        self.make_room()

    def delete(self, key: str) -> bool:
        """See `ports.SessionStore.delete`."""
        row = self.living(key)
        if row is not None:
            self._forget(row)
        return row is not None

    def reset(self, key: str) -> bool:
        """See `ports.SessionStore.reset`."""
        row = self.living(key)
        if row is not None:
            self._touch(self._let_go(row, 0, 0)._replace(trimmed=False, last_prompt=0, last_completion=0))
        return row is not None

    def living(self, key: str) -> Row | None:
        """The session; one that is over is forgotten."""
        row = self.find(key)
        if row is None or not self.is_over(row):
            return row
        self._forget(row)
        return None

    def make_room(self) -> bool:
        """Let go of a few sessions, where there are too many, or some that are over; whether there may be more."""
        for _ in range(STEP):
            oldest = row_of(self.connection.execute(_OLDEST).fetchone())
            if oldest is None:
                return False
            sessions, size = self.connection.execute("SELECT sessions, bytes FROM totals").fetchone()
            too_many = sessions > self._keeping.sessions or (size > self._keeping.bytes and sessions > 1)
            if not too_many and not self.is_over(oldest):
                return False
            self._forget(oldest)
        return True

    def give_back(self) -> bool:
        """Give some room that is not used any more to the file system; whether there may be more."""
        free: int = self.connection.execute("PRAGMA freelist_count").fetchone()[0]
        total: int = self.connection.execute("PRAGMA page_count").fetchone()[0]
        if free * 4 < total or free < FREE_PAGES:  # it will be used again
            return False
        self.connection.execute(f"PRAGMA incremental_vacuum({FREE_PAGES})").fetchall()
        return True

    def _add(self, key: str) -> Row:
        now = self._clock()
        self.connection.execute(_ADD, (column(key), self._next(), now, now, fresh_id()))
        row = self.find(key)
        assert row is not None, "it was added"
        return row

    def _touch(self, row: Row) -> Row:
        """Write the session as `row` tells; it is the one used last."""
        row = row._replace(used=self._next(), updated_at=self._clock())
        values = (
            row.used, column(row.model), row.trimmed, row.updated_at, row.turns, row.characters, row.bytes,
            row.settings, column(row.agent), column(row.answered_by), row.last_prompt, row.last_completion, row.id,
        )  # fmt: skip
        self.connection.execute(_TOUCH, values)
        return row

    def _count(self, row: Row, turn: Turn) -> None:
        """Add a turn to what was used on its day."""
        day, usage = int(turn.at // DAY_SECONDS), turn.usage
        counts = (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens or 0, usage.reasoning_tokens or 0)
        self.connection.execute(_COUNT, (row.id, day, column(turn.agent), column(turn.model or ""), *counts))

    def forget_usage(self) -> None:
        """Let go of days that nobody asks for any more.  Looks at all of them, once a day."""
        oldest = int(self._clock() // DAY_SECONDS) - USAGE_DAYS
        if oldest != self._usage_from:
            self.connection.execute("DELETE FROM usage WHERE day < ?", (oldest,))
            self._usage_from = oldest

    def _next(self) -> int:
        most: int | None = self.connection.execute("SELECT max(used) FROM sessions").fetchone()[0]
        return (most or 0) + 1

    def _let_go(self, row: Row, drop: int, keep: int | None) -> Row:
        """Delete turns as `commit` does."""
        gone = []
        select = "SELECT id, characters, bytes FROM turns WHERE session = ? ORDER BY id LIMIT ? OFFSET ?"
        if keep is not None:
            gone += self.connection.execute(select, (row.id, -1, max(drop, keep))).fetchall()
        if drop:
            gone += self.connection.execute(select, (row.id, drop, 0)).fetchall()
        self.connection.executemany("DELETE FROM turns WHERE id = ?", [(turn,) for turn, _, _ in gone])
        length, size = sum(one[1] for one in gone), sum(one[2] for one in gone)
        return self._grown(row, -len(gone), -length, -size)

    @staticmethod
    def _grown(row: Row, turns: int, length: int, size: int) -> Row:
        return row._replace(turns=row.turns + turns, characters=row.characters + length, bytes=row.bytes + size)

    def _forget(self, row: Row) -> None:
        self.connection.execute("DELETE FROM sessions WHERE id = ?", (row.id,))
