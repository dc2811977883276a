"""Many sessions at a time through a whole gateway: no turn is lost, none is doubled."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from processes import Launch, configuration, python_agent
from siege import FULL
from talking import Talk

from gateway.sessions.sqlite import SqliteStore

SESSIONS, TURNS = (1_000, 20) if FULL else (100, 5)


@pytest.mark.timeout(600)
def test_many_sessions(launch: Launch, tmp_path: Path) -> None:
    path = tmp_path / "state" / "sessions.db"
    config: dict[str, Any] = configuration(python_agent("recall"))
    config["session"] = {"store": str(path)}
    gateway = launch(config)
    said = [f"turn {number}" for number in range(TURNS)]

    async def one(number: int) -> None:
        async with await Talk.to(gateway.port) as talk:
            for count, turn in enumerate(said):
                text = f"{number} {turn}"
                answer = await talk.say(f"session {number}", text, model="openclaw/recall", stream=count % 2 == 0)
                assert answer == "|".join(f"{number} {earlier}" for earlier in said[:count])

    async def all_at_once() -> None:
        await asyncio.gather(*(one(number) for number in range(SESSIONS)))

    async def check() -> None:
        store = SqliteStore(str(path))
        assert len(await store.sessions()) == SESSIONS
        for number in range(SESSIONS):
            turns = (await store.load(f"session {number}")).turns
            assert [turn.asked[0].text for turn in turns] == [f"{number} {text}" for text in said]
            assert len({turn.run_id for turn in turns}) == TURNS
        await store.aclose()

    begun = time.monotonic()
    asyncio.run(all_at_once())
    print(f"\n{SESSIONS} sessions x {TURNS} turns in {time.monotonic() - begun:.1f} s")
    asyncio.run(check())  # while the gateway runs
    assert gateway.end() == 0
    asyncio.run(check())


def test_stateless_requests_leave_nothing(launch: Launch, tmp_path: Path) -> None:
    state = tmp_path / "state"
    gateway = launch(configuration(), env={"GATEWAY_STATE_DIR": str(state)})

    async def ask(key: str | None) -> None:
        async with await Talk.to(gateway.port) as talk:
            for _ in range(5):
                await talk.say(key, "hi")

    asyncio.run(ask(None))
    assert not state.exists()
    asyncio.run(ask("a"))
    assert {file.name for file in state.iterdir()} >= {"sessions.sqlite3"}


def test_a_session_goes_on_after_a_restart(launch: Launch, tmp_path: Path) -> None:
    """By `user`, too, and wherever the state folder is."""
    for variable in ("GATEWAY_STATE_DIR", "OPENCLAW_STATE_DIR", "CLAWDBOT_STATE_DIR", "HOME"):
        config = launch.file(configuration(python_agent("recall")))
        env = {variable: str(tmp_path / variable)}

        async def ask(port: int) -> bytes:
            async with await Talk.to(port) as talk:
                status, answer = await talk.post(None, "my name is Ann", model="openclaw/recall", user="ann")
            assert status == 200
            return answer

        first = launch(config, env=env)
        assert b"Ann" not in asyncio.run(ask(first.port))
        assert first.end() == 0
        second = launch(config, env=env)
        assert b"my name is Ann" in asyncio.run(ask(second.port))
        assert second.end() == 0
        folder = tmp_path / variable / (".gateway" if variable == "HOME" else "")
        assert [file.name for file in folder.iterdir()] == ["sessions.sqlite3"]
