"""Whatever is done to them, the store in memory and the one in a file tell the same."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import tempfile
from collections.abc import Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sessions_data import KEYS, MESSAGES, TEXTS

from gateway.model.chat import Message
from gateway.model.run import Usage
from gateway.model.session import SessionInfo, Turn
from gateway.sessions.sqlite import SqliteStore
from gateway.sessions.store import MemoryStore

T = TypeVar("T")
COUNTS = st.integers(0, 4)
SESSIONS = 4
IDLE = 100.0
AGENTS = st.sampled_from(["", "main", "other"])
MODELS = st.none() | TEXTS.filter(bool)
USAGES = st.builds(Usage, COUNTS, COUNTS, st.none() | COUNTS, st.none() | COUNTS)
SETTINGS = st.dictionaries(st.sampled_from(["label", "level"]), st.none() | TEXTS)


def alike(info: SessionInfo | None) -> SessionInfo | None:
    """What is told of a session, but for its id."""
    return None if info is None else info._replace(id="", settings=dict(info.settings))


class Alike(RuleBasedStateMachine):
    """`reopen` is the end of one process and the start of the next."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.numbers = itertools.count()
        self.runs: list[str] = []
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name, "sessions.db")
        self.runner = asyncio.Runner()
        self.memory = MemoryStore(SESSIONS, self.clock, idle=IDLE)
        self.stores = [SqliteStore(str(self.path), SESSIONS, self.clock, idle=IDLE) for _ in range(2)]

    def clock(self) -> float:
        return self.now

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def teardown(self) -> None:
        for store in self.stores:
            self.do(store.aclose())
        self.runner.close()
        self.folder.cleanup()

    @property
    def sqlite(self) -> SqliteStore:
        """Two on one file, in turn: what one of them remembers, the other may have changed."""
        self.stores.reverse()
        return self.stores[0]

    def load(self, key: str) -> int:
        loaded = self.do(self.memory.load(key))
        assert loaded == self.do(self.sqlite.load(key))
        return len(loaded.turns)

    @rule(key=KEYS, asked=MESSAGES, answered=MESSAGES, run_id=TEXTS, loaded=st.booleans(), data=st.data())
    def commit(
        self,
        key: str,
        asked: tuple[Message, ...],
        answered: tuple[Message, ...],
        run_id: str,
        loaded: bool,
        data: st.DataObject,
    ) -> None:
        turns = self.load(key) if loaded else 0
        drop = data.draw(st.integers(0, turns))
        keep = data.draw(st.none() | st.integers(0, turns))
        agent, model, usage = data.draw(AGENTS), data.draw(MODELS), data.draw(USAGES)
        turn = Turn(f"{run_id}{next(self.numbers)}", asked, answered, self.now, agent=agent, model=model, usage=usage)
        self.runs.append(turn.run_id)
        info = self.do(self.memory.commit(key, turn, drop=drop, keep=keep))
        assert alike(info) == alike(self.do(self.sqlite.commit(key, turn, drop=drop, keep=keep)))

    @rule(key=KEYS)
    def read(self, key: str) -> None:
        self.load(key)

    @rule(key=KEYS, model=st.none() | TEXTS)
    def choose_model(self, key: str, model: str | None) -> None:
        self.do(self.memory.choose_model(key, model))
        self.do(self.sqlite.choose_model(key, model))

    @rule(key=KEYS, change=SETTINGS)
    def configure(self, key: str, change: dict[str, str | None]) -> None:
        info = self.do(self.memory.configure(key, change))
        assert alike(info) == alike(self.do(self.sqlite.configure(key, change)))

    @rule(key=KEYS, drop=COUNTS)
    def trim(self, key: str, drop: int) -> None:
        assert self.do(self.memory.trim(key, drop)) == self.do(self.sqlite.trim(key, drop))

    @rule(key=KEYS)
    def describe(self, key: str) -> None:
        assert alike(self.do(self.memory.describe(key))) == alike(self.do(self.sqlite.describe(key)))

    @rule(key=KEYS, turns=COUNTS, new_key=KEYS)
    def fork(self, key: str, turns: int, new_key: str) -> None:
        self.do(self.memory.fork(key, turns, new_key))
        self.do(self.sqlite.fork(key, turns, new_key))

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        assert self.do(self.memory.delete(key)) == self.do(self.sqlite.delete(key))

    @rule(key=KEYS)
    def reset(self, key: str) -> None:
        assert self.do(self.memory.reset(key)) == self.do(self.sqlite.reset(key))

    @rule(seconds=st.sampled_from([0.0, 40.0, 101.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def reopen(self) -> None:
        for number, store in enumerate(self.stores):
            self.do(store.aclose())
            self.stores[number] = SqliteStore(str(self.path), SESSIONS, self.clock, idle=IDLE)

    @rule(data=st.data())
    def locate(self, data: st.DataObject) -> None:
        run_id = data.draw(st.sampled_from(self.runs)) if self.runs else "nobody"
        places = [self.do(self.memory.locate(run_id)), self.do(self.sqlite.locate(run_id))]
        assert (places[0] is None) == (places[1] is None)
        for place in places:
            if place is not None:
                assert self.do(self.memory.load(place[0])).turns[place[1] - 1].run_id == run_id

    @invariant()
    def the_same_list(self) -> None:
        listed = self.do(self.sqlite.sessions())
        assert list(map(alike, self.do(self.memory.sessions()))) == list(map(alike, listed))
        assert len({info.id for info in listed}) == len(listed)

    @invariant()
    def the_same_usage(self) -> None:
        assert sorted(self.do(self.memory.usage(0, 1)), key=str) == sorted(self.do(self.sqlite.usage(0, 1)), key=str)

    @invariant()
    def nothing_is_left_over(self) -> None:
        if not self.path.exists():
            return
        with closing(sqlite3.connect(self.path)) as database:
            assert database.execute("PRAGMA foreign_key_check").fetchall() == []
            orphans = "SELECT count(*) FROM images WHERE id NOT IN (SELECT image FROM turn_images)"
            assert database.execute(orphans).fetchone() == (0,)
            assert database.execute("SELECT * FROM totals").fetchone() == (
                database.execute("SELECT count(*), coalesce(sum(bytes), 0) FROM sessions").fetchone()
            )
            counted = "SELECT count(*), coalesce(sum(characters), 0), coalesce(sum(bytes), 0) FROM turns"
            assert database.execute(
                "SELECT coalesce(sum(turns), 0), coalesce(sum(characters), 0), "
                "coalesce(sum(bytes - length(settings)), 0) FROM sessions"
            ).fetchone() == (database.execute(counted).fetchone())


@pytest.mark.timeout(240)
def test_alike() -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(Alike, settings=settings(max_examples=40, stateful_step_count=30, deadline=None))
