"""Where sessions are kept, as the configuration says it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from gateway import Gateway, RunInput
from gateway.config import Loaded, load
from gateway.errors import ConfigError
from gateway.model.run import fresh_key
from gateway.model.session import Session, Turn
from gateway.ports import SessionStore
from gateway.sessions.place import FILE_NAME, file_of


def read(folder: Path, **session: Any) -> Loaded:
    path = folder / "c.json5"
    path.write_text(json.dumps({"session": session}), encoding="utf-8")
    return load(str(path), environ={"HOME": str(folder)})


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("sqlite", "sqlite"),
        ("memory", "memory"),
        ("/var/lib/x.db", "/var/lib/x.db"),
        ("./x.db", "{folder}/./x.db"),
        ("x.db", "{folder}/x.db"),
        ("~/own/sessions", "{folder}/own/sessions"),
    ],
)
def test_store(tmp_path: Path, written: str, meant: str) -> None:
    assert read(tmp_path, store=written).config.session.store == meant.format(folder=tmp_path)


@pytest.mark.parametrize("written", ["~/.x/agents/{agentId}/sessions/sessions.json", "sessions.json", "a/b.jsonl"])
def test_the_products_own_files_are_left_alone(tmp_path: Path, written: str) -> None:
    loaded = read(tmp_path, store=written)
    assert loaded.config.session.store is None
    assert len(loaded.warnings) == 1
    assert "session.store" in loaded.warnings[0]


@pytest.mark.parametrize("written", ["sqllite", "SQLITE", "postgres", "", "a\0b.db", 1, None, []])
def test_what_is_no_store(tmp_path: Path, written: Any) -> None:
    with pytest.raises(ConfigError, match=r"session\.store"):
        read(tmp_path, store=written)


def test_the_state_folder() -> None:
    assert file_of("sqlite", {"HOME": "/h"}) == f"/h/.gateway/{FILE_NAME}"
    assert file_of("sqlite", {"HOME": "/h", "CLAWDBOT_STATE_DIR": "/c"}) == f"/c/{FILE_NAME}"
    assert (
        file_of("sqlite", {"OPENCLAW_STATE_DIR": "~/o", "HOME": "/h", "CLAWDBOT_STATE_DIR": "/c"})
        == f"/h/o/{FILE_NAME}"
    )
    everything = {"GATEWAY_STATE_DIR": "/g", "OPENCLAW_STATE_DIR": "/o", "CLAWDBOT_STATE_DIR": "/c"}
    assert file_of("sqlite", everything) == f"/g/{FILE_NAME}"
    assert file_of("sqlite", {"GATEWAY_STATE_DIR": "", "USERPROFILE": "/u"}) == f"/u/.gateway/{FILE_NAME}"
    with pytest.raises(ConfigError, match="GATEWAY_STATE_DIR"):
        file_of("sqlite", {})
    assert file_of("/a/b.db", {}) == "/a/b.db"


async def agent(run: RunInput) -> str:
    return "x"


def store_of(gateway: Gateway) -> SessionStore:
    return gateway.runs._conversations._store


def test_embedded_gateways_keep_files_only_where_they_are_asked_to(tmp_path: Path) -> None:
    async def main() -> None:
        plain = Gateway(agents={"main": agent}, listen=())
        configured = Gateway(read(tmp_path).config, agents={"main": agent}, listen=(), environ={"HOME": str(tmp_path)})
        for gateway in (plain, configured):
            await store_of(gateway).commit("a", Turn("r", (), ()))
            await gateway.aclose()
        assert [file.name for file in tmp_path.iterdir()] == ["c.json5"]

        loaded = read(tmp_path, store="./s/x.db", idleMinutes=1, maxSessions=2)
        now = 1_000.0

        def clock() -> float:
            return now

        for _ in range(2):
            gateway = Gateway(loaded.config, agents={"main": agent}, listen=(), clock=clock)
            store = store_of(gateway)
            for number in range(3):
                await store.commit(fresh_key("main", f"{number:032}"), Turn(f"r{number}", (), (), now))
            assert len(await store.sessions()) == 2
            now += 61
            assert await store.sessions() == ()
            assert await store.load(fresh_key("main", f"{2:032}")) == Session()
            await gateway.aclose()
        assert (tmp_path / "s" / "x.db").is_file()

    asyncio.run(main())
