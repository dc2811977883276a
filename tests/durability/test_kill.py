"""`kill -9` at any moment under load: what was answered is kept, once, and the next start needs no repair.

ATTACKS=full pytest tests/durability      # 200 kills, and 1,000 sessions of 20 turns

"""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import sqlite3
import sys
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from processes import Launch, Running, configuration, python_agent
from siege import FULL
from talking import BrokenError, Talk

from gateway.model.session import Session
from gateway.sessions.sqlite import SqliteStore

KILLS = 200 if FULL else 10
CLIENTS = 8
SESSIONS = 6

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")


@dataclass
class Said:
    """What the clients of one life of the gateway have said, by session: what was answered, and what was sent."""

    answered: dict[str, list[str]] = field(default_factory=dict)
    sent: dict[str, list[str]] = field(default_factory=dict)

    @property
    def turns(self) -> int:
        return sum(map(len, self.answered.values()))


async def chatter(port: int, said: Said, life: int, client: int) -> None:
    """Say something new, again and again, until the gateway is gone."""
    key = f"life {life} session {client % SESSIONS}"
    answered, sent = said.answered.setdefault(key, []), said.sent.setdefault(key, [])
    async with await Talk.to(port) as talk:
        with suppress(BrokenError):
            for number in range(1_000_000):
                text = f"{life}.{client}.{number}"
                sent.append(text)
                assert await talk.say(key, text, stream=number % 3 == 0) == f"Echo: {text}"
                answered.append(text)


async def live(gateway: Running, life: int, moment: float) -> Said:
    """Load on a gateway, from its first answer for `moment` seconds; then it is killed."""
    said = Said()
    clients = [asyncio.create_task(chatter(gateway.port, said, life, client)) for client in range(CLIENTS)]
    async with asyncio.timeout(20):
        while not said.turns:
            await asyncio.sleep(0.001)
        await asyncio.sleep(moment)
        gateway.process.send_signal(signal.SIGKILL)
        await asyncio.gather(*clients)
    gateway.process.wait()
    return said


def judge(said: Said, sessions: dict[str, Session]) -> None:
    """What was answered is there once, in its order; what was sent at most once; nothing else."""
    for key, answered in said.answered.items():
        turns = sessions[key].turns if key in sessions else ()
        there = [turn.asked[0].text for turn in turns]
        assert [turn.answered[0].text for turn in turns] == [f"Echo: {text}" for text in there]
        counts = Counter(there)
        assert all(counts[text] == 1 for text in answered), f"{key}: an answered turn is lost, or doubled"
        assert set(counts.values()) <= {1}
        assert counts.keys() <= set(said.sent[key])
        for client in range(CLIENTS):
            own = [text for text in there if text.split(".")[1] == str(client)]
            assert own == sorted(own, key=lambda text: int(text.split(".")[2]))


async def read(path: Path, keys: list[str]) -> dict[str, Session]:
    store = SqliteStore(str(path))
    try:
        return {key: await store.load(key) for key in keys}
    finally:
        await store.aclose()


def post_mortem(path: Path, folder: Path, said: Said) -> None:
    """Look at a copy of what the dead have left: the file itself is for the next start, as it is."""
    folder.mkdir()
    for file in path.parent.glob("sessions.db*"):
        if not file.name.endswith("-shm"):
            shutil.copy(file, folder)
    with closing(sqlite3.connect(folder / "sessions.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    judge(said, asyncio.run(read(folder / "sessions.db", [*said.answered])))
    shutil.rmtree(folder)


async def remembers(gateway: Running, said: Said) -> None:
    """The next gateway gives its agents what was said to the one before."""
    key = next(key for key, answered in said.answered.items() if answered)
    async with await Talk.to(gateway.port) as talk:
        history = (await talk.say(key, "what was said?", model="openclaw/recall")).split("|")
    assert set(said.answered[key]) <= set(history)


@pytest.mark.timeout(1200 if FULL else 120)
def test_killed_at_any_moment(launch: Launch, tmp_path: Path) -> None:
    path = tmp_path / "state" / "sessions.db"
    config: dict[str, Any] = configuration(python_agent("recall"))
    config["session"] = {"store": str(path), "maxChars": 100_000_000}
    file = launch.file(config)
    chance = random.Random(KILLS)
    lives: list[Said] = []
    for life in range(KILLS):
        gateway = launch(file)
        if lives:
            asyncio.run(remembers(gateway, lives[-1]))
        lives.append(asyncio.run(live(gateway, life, chance.uniform(0, 0.4))))
        post_mortem(path, tmp_path / "copy", lives[-1])
    gateway = launch(file)
    asyncio.run(remembers(gateway, lives[-1]))
    assert gateway.end() == 0
    sessions = asyncio.run(read(path, [key for said in lives for key in said.answered]))
    for said in lives:
        asked = {
            key: Session(tuple(turn for turn in session.turns if turn.asked[0].text != "what was said?"))
            for key, session in sessions.items()
        }
        judge(said, asked)
    turns = sum(said.turns for said in lives)
    open_ends = sum(len(texts) for said in lives for texts in said.sent.values()) - turns
    print(f"\n{KILLS} kills: {turns} answered turns, {open_ends} without an answer; none lost, none doubled")
    assert turns > KILLS * 10
