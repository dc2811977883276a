"""`health` over time: what clients are told unasked, and what becomes of it when the store fails."""

from __future__ import annotations

import asyncio

import pytest
from dialogue import Client, RefusedError
from dialogue import talk as connected
from results import conforms
from test_system import talk

import gateway
from gateway.agents.function import echo
from gateway.control import health
from gateway.errors import StoreError
from gateway.model.caller import Key
from gateway.model.session import SessionInfo
from gateway.sessions.store import MemoryStore

KEYS = {"k3y": Key(gateway.Caller("bob", frozenset({"main"}), frozenset({"operator", "operator.write"})))}


class Store(MemoryStore):
    """Counts how often it is asked for all sessions, which takes it a while, and fails where it is told to."""

    asked = 0
    broken = False

    async def sessions(self) -> tuple[SessionInfo, ...]:
        self.asked += 1
        await asyncio.sleep(0.05)
        if self.broken:
            raise StoreError("the disk is full")
        return await super().sessions()


async def run(client: Client, key: str) -> None:
    await client.request("agent", message="hi", sessionKey="x", idempotencyKey=key, final=True)


def test_changes_are_told_to_each_as_it_may_see_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LOOK_SECONDS", 0.2)

    async def ask(client: Client, gw: gateway.Gateway) -> None:
        async with connected(gw, "k3y", scopes=()) as other:
            await run(client, "one")
            told = await client.event("health")
            assert told["sessions"]["recent"][0]["key"] == "agent:main:x"
            assert (await other.event("health"))["sessions"]["count"] == 0
            (frame,) = [event for event in client.events if event["event"] == "health"]
            conforms("EventFrame", frame)
            assert frame["stateVersion"]["health"] == 2
            await asyncio.sleep(0.6)
            assert len(client.seen("health")) == 1
            await run(client, "two")
            await client.event("health")
        async with connected(gw) as late:
            assert late.hello["snapshot"]["stateVersion"]["health"] == 3

    talk(ask, agents={"main": echo, "second": echo}, keys=KEYS)


def test_many_who_ask_at_once_cost_one_look() -> None:
    store = Store()

    async def ask(client: Client, gw: gateway.Gateway) -> None:
        await run(client, "one")
        before = store.asked
        asked = [await client.send("health") for _ in range(100)]
        answers = [await client.answer(one) for one in asked]
        assert {one["sessions"]["count"] for one in answers} == {1}
        assert store.asked - before == 1
        await run(client, "two")
        assert (await client.request("health"))["ok"] is True
        assert store.asked - before == 2

    talk(ask, store=store)


def test_looks_take_a_small_part_of_the_time() -> None:
    """Who changes something and asks at once gets what is so then, after a while."""
    store = Store()

    async def ask(client: Client, gw: gateway.Gateway) -> None:
        before, began = store.asked, asyncio.get_running_loop().time()
        for number in range(4):
            await client.request("agent", message="hi", sessionKey=f"s{number}", idempotencyKey=f"{number}", final=True)
            asked = [await client.send("health") for _ in range(20)]
            answers = [await client.answer(one) for one in asked]
            assert {one["sessions"]["count"] for one in answers} == {number + 1}
        assert store.asked - before <= 8
        assert asyncio.get_running_loop().time() - began > 3 * 10 * 0.05

    talk(ask, store=store)


def test_a_store_that_fails_is_told_by_who_asks() -> None:
    store = Store()
    store.broken = True

    async def ask(client: Client, gw: gateway.Gateway) -> None:
        conforms("HelloOk", client.hello)
        assert client.hello["snapshot"]["health"] == {}
        for method in ("health", "status"):
            with pytest.raises(RefusedError, match="the disk is full") as caught:
                await client.request(method)
            assert caught.value.code == "UNAVAILABLE"
        store.broken = False
        assert (await client.request("health"))["sessions"]["count"] == 0

    talk(ask, store=store)
