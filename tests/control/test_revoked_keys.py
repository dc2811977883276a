"""Keys that end, or are taken back, while somebody is connected with them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from judging import BASE, merged
from socketing import Talk

from gateway import Caller, Gateway, Key
from gateway.agents.function import echo
from gateway.api.keys import Keyring, keyring
from gateway.config import Config, load
from gateway.control import service

READ = ["operator.read"]


def config(folder: Path, *keys: dict[str, Any]) -> Config:
    file = folder / "gateway.json5"
    file.write_text(json.dumps({"gateway": {"auth": {"keys": keys}}}), encoding="utf-8")
    return load(str(file), environ={}).config


async def with_key(gateway: Gateway, secret: str) -> Talk:
    talk = await Talk.begin(gateway)
    assert (await talk.greet(merged(BASE, {"auth": {"token": secret}})))["ok"]
    return talk


def test_a_key_that_is_taken_back_ends_its_connections(tmp_path: Path) -> None:
    gone, kept = {"id": "a", "secret": "key-of-a", "scopes": READ}, {"id": "b", "secret": "key-of-b", "scopes": READ}
    less = {"id": "c", "secret": "key-of-c", "scopes": [*READ, "chat"]}

    async def test() -> None:
        first = config(tmp_path, gone, kept, less)
        async with Gateway(first, agents={"main": echo}, listen="127.0.0.1:0", token="own") as gateway:
            talks = [await with_key(gateway, secret) for secret in ("key-of-a", "key-of-b", "key-of-c", "own")]
            gateway.reload(config(tmp_path, kept, {**less, "scopes": READ}))
            assert await talks[0].end() == (4001, "gateway auth changed")
            assert await talks[2].end() == (4001, "gateway auth changed"), "it has other rights now"
            for talk in (talks[1], talks[3]):
                assert (await talk.call("health"))["ok"]
                await talk.close()
            await (await with_key(gateway, "key-of-c")).close()

    asyncio.run(test())


def test_a_key_that_ends_ends_its_connections(monkeypatch: Any) -> None:
    monkeypatch.setattr(service, "TICK_SECONDS", 0.05)
    now = [1000.0]
    keys = {"key-of-a": Key(Caller("a", None, frozenset(READ)), expires=2000.0)}

    async def test() -> None:
        async with Gateway(agents={"main": echo}, listen="127.0.0.1:0", keys=keys, clock=lambda: now[0]) as gateway:
            talk = await with_key(gateway, "key-of-a")
            assert (await talk.call("health"))["ok"]
            now[0] = 2000.0
            assert await talk.end() == (4001, "gateway auth changed")
            again = await Talk.begin(gateway)
            refused = await again.greet(merged(BASE, {"auth": {"token": "key-of-a"}}))
            assert refused["error"]["details"]["code"] == "AUTH_TOKEN_MISMATCH"

    asyncio.run(test())


def test_whom_keys_know() -> None:
    caller = Caller("a", None, frozenset(READ))
    ring = Keyring({b"1": Key(caller, expires=10.0), b"2": Key(caller, expires=20.0)})
    assert ring.holds(caller, 19.9)
    assert not ring.holds(caller, 20.0)
    assert not ring.holds(Caller("b"), 0.0)
    assert Keyring({b"1": Key(caller)}).holds(caller, 1e18)
    assert keyring(lambda _: None).holds(caller, 0.0), "an embedder's lookup cannot be asked"
