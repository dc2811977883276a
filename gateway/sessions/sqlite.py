"""The turns of sessions in a file, which survive the end of the process at any moment."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from logging import getLogger
from math import inf
from pathlib import Path
from typing import Any, TypeVar

from ..errors import ConfigError, StoreError
from ..model.session import Session, SessionInfo, Turn, UsageRow
from .cache import Cache, Cached
from .database import Database, Keeping
from .place import explained, identity
from .row import Row
from .worker import Job, Worker

__all__ = ["SqliteStore", "verify"]

TIDY = 60.0
"""Seconds without a turn after which sessions that are over are looked for: those of a busy store go by the way."""

T = TypeVar("T")

_STORE = (sqlite3.Error, OSError, StoreError)
"""What the store can do nothing about; anything else is a fault of ours."""

EMPTY: Session | None = Session()

_logger = getLogger(__name__)


def verify(path: str) -> None:
    """Open a file that is there, and bring it up to date.  Raises ConfigError where it cannot be used."""
    try:
        Database(path, Keeping(), time.time).close()
    except _STORE as error:
        if getattr(error, "sqlite_errorname", "") != "SQLITE_BUSY":  # another gateway is at work: that passes
            raise ConfigError(f"session.store: {explained(error, path).message}") from error


class SqliteStore:
    """`ports.SessionStore` in an SQLite file, which is opened, and made, with the first turn that is kept.

    One thread writes: the turns that wait for it go into one transaction, and none is answered before that has reached
    the disk.  Another reads.  Several processes may use the file.

    Holds at most `sessions` sessions and, but for the last one used, `size` bytes of them, of which the longest unused
    go first, and each for `idle` seconds after its last use.  `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        path: str,
        sessions: float = 10_000,
        clock: Callable[[], float] = time.time,
        *,
        idle: float = inf,
        size: float = inf,
    ) -> None:
        self.path = str(Path(path).absolute())  # the working folder may change
        self._keeping = Keeping(sessions, size, idle)
        self._clock = clock
        self._cache = Cache()
        self._reading: Database | None = None
        self._writing: Database | None = None
        self._reader = Worker("sessions-read", self._read, self._end_reading)
        self._writer = Worker("sessions-write", self._write, self._end_writing, TIDY)

    async def load(self, key: str) -> Session:
        """See `ports.SessionStore.load`."""

        def read(database: Database) -> Session | None:
            row = database.find(key)
            if row is None:
                return Session()
            if database.is_over(row):
                return None
            cached = self._cache.get(key, row.stamp)
            return cached.session if cached else self._read_anew(database, key)

        while True:
            found = await self._ask(read, EMPTY)
            if found is not None:
                return found
            if await self._writer.do(lambda database: database.living(key)) is None:
                return Session()

    async def commit(self, key: str, turn: Turn, *, drop: int = 0, keep: int | None = None) -> SessionInfo:
        """See `ports.SessionStore.commit`."""

        def write(database: Database) -> tuple[Row | None, Row]:
            return database.commit(key, turn, drop, keep)

        before, row = await self._writer.do(write)
        known = self._cache.get(key, before.stamp) if before else None
        if known or row.turns == 1:
            earlier = known.session.turns[drop:keep] if known else ()
            session = Session((*earlier, turn), row.trimmed, row.model)
            self._cache.put(key, Cached(row.stamp, session, row.bytes))
        return row.info

    async def choose_model(self, key: str, model: str | None) -> None:
        """See `ports.SessionStore.choose_model`."""
        await self._writer.do(lambda database: database.choose_model(key, model))

    async def locate(self, run_id: str) -> tuple[str, int] | None:
        """See `ports.SessionStore.locate`."""
        return await self._ask(lambda database: database.locate(run_id), None)

    async def fork(self, key: str, turns: int, new_key: str) -> None:
        """See `ports.SessionStore.fork`."""
        if self._exists:
            await self._writer.do(lambda database: database.fork(key, turns, new_key))

    async def sessions(self) -> tuple[SessionInfo, ...]:
        """See `ports.SessionStore.sessions`."""
        return await self._ask(lambda database: database.sessions(), ())

    async def describe(self, key: str) -> SessionInfo | None:
        """See `ports.SessionStore.describe`."""
        return await self._ask(lambda database: database.describe(key), None)

    async def configure(self, key: str, change: Mapping[str, Any]) -> SessionInfo:
        """See `ports.SessionStore.configure`."""
        return await self._writer.do(lambda database: database.configure(key, change))

    async def usage(self, since: int, until: int, *, apart: bool = False) -> tuple[UsageRow, ...]:
        """See `ports.SessionStore.usage`."""
        return await self._ask(lambda database: database.usage(since, until, apart=apart), ())

    async def trim(self, key: str, drop: int) -> int:
        """See `ports.SessionStore.trim`."""
        return await self._writer.do(lambda database: database.trim(key, drop)) if self._exists else 0

    async def delete(self, key: str) -> bool:
        """See `ports.SessionStore.delete`."""
        return self._exists and await self._writer.do(lambda database: database.delete(key))

    async def reset(self, key: str) -> bool:
        """See `ports.SessionStore.reset`."""
        return self._exists and await self._writer.do(lambda database: database.reset(key))

    async def aclose(self) -> None:
        """See `ports.SessionStore.aclose`."""
        await self._reader.close()
        await self._writer.close()

    @property
    def _exists(self) -> bool:
        """Whether there is a file: only what is to be kept makes one."""
        return identity(self.path) is not None

    # -- in the reading thread

    async def _ask(self, question: Callable[[Database], T], nothing: T) -> T:
        """The answer; `nothing` where there is no file."""
        return await self._reader.do(lambda database: nothing if database is None else question(database))

    def _read(self, jobs: list[Job[Any]]) -> bool:
        for job in jobs:
            try:
                job.result = job.work(self._open_to_read())
            except _STORE as error:
                self._end_reading()
                job.error = explained(error, self.path)
            except Exception as error:  # a fault of ours, and this job's alone
                job.error = error
        return False

    def _open_to_read(self) -> Database | None:
        if self._reading is not None and not self._reading.is_current:
            self._end_reading()
        if self._reading is None and self._exists:
            self._reading = Database(self.path, self._keeping, self._clock)
        return self._reading

    def _read_anew(self, database: Database, key: str) -> Session | None:
        with database.snapshot():
            row = database.find(key)
            if row is None:
                return Session()
            if database.is_over(row):
                return None
            session = database.read(row)
        self._cache.put(key, Cached(row.stamp, session, row.bytes))
        return session

    def _end_reading(self) -> None:
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    # -- in the writing thread

    def _write(self, jobs: list[Job[Any]]) -> bool:
        if not jobs:
            return self._tidy()
        try:
            database = self._open_to_write()
            database.begin()
        except _STORE as error:
            self._end_writing()
            for job in jobs:
                job.error = explained(error, self.path)
            return False
        try:
            for job in jobs:
                job.result = job.work(database)
            database.end()
        except Exception as error:  # that of a single job must not be that of all
            self._undo(database, error)
            if len(jobs) == 1:
                jobs[0].error = explained(error, self.path) if isinstance(error, _STORE) else error
            else:
                for job in jobs:
                    self._write([job])
        return False

    def _undo(self, database: Database, error: Exception) -> None:
        try:
            database.undo()
        except sqlite3.Error:
            error = sqlite3.Error()
        if isinstance(error, sqlite3.Error):  # what the connection is worth now, nobody knows
            self._end_writing()

    def _open_to_write(self) -> Database:
        if self._writing is not None and not self._writing.is_current:
            self._end_writing()
        if self._writing is None:
            self._writing = Database(self.path, self._keeping, self._clock)
        return self._writing

    def _end_writing(self) -> None:
        if self._writing is not None:
            self._writing.close()
            self._writing = None

    def _tidy(self) -> bool:
        """One step; whether there is more to be done."""
        if self._writing is None or not self._writing.is_current:
            return False
        try:
            self._writing.begin()
            more = self._writing.make_room()
            self._writing.forget_usage()
            self._writing.end()
            return more or self._writing.give_back()
        except sqlite3.Error as error:
            _logger.warning("old sessions stay for now: %s", explained(error, self.path).message)
            self._end_writing()
            return False
