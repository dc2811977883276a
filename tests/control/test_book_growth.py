"""What is done for one session does not grow with the runs, and the clients, of others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest

from gateway.control.client import Client
from gateway.control.clients import ClientInfo
from gateway.control.connect import Welcome
from gateway.control.hub import Hub
from gateway.control.record import Record
from gateway.control.runs import RunBook
from gateway.model.caller import OPERATOR
from gateway.model.chat import ChatRequest
from gateway.model.run import RunDone, RunEvent, RunInput
from gateway.ports import Flow


async def talks() -> AsyncGenerator[RunEvent, None]:
    yield "a word"
    yield RunDone()


def test_the_runs_of_a_session_are_found_without_looking_at_others(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Record] = []

    def key(record: Record) -> str:
        looked.append(record)
        return record.run.session_key

    monkeypatch.setattr(Record, "key", property(key))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        book = RunBook(cast("Any", None), Hub(loop), loop, lambda: 0.0, lambda _: False)

        def run(number: int, session: str) -> AsyncGenerator[RunEvent | Flow, None]:
            return book.watch(RunInput(f"{number:032}", "main", session, ChatRequest(())), talks())

        others = [run(number, f"agent:main:{number}") for number in range(200)]
        ours = [run(number, "agent:main:ours") for number in (1_000, 1_001)]
        for events in (*others, *ours):
            assert await anext(events) == "a word"
        looked.clear()
        found = book.active_in("agent:main:ours")
        assert [record.run.run_id for record in found] == [f"{number:032}" for number in (1_000, 1_001)]
        assert not looked, f"{len(looked)} runs were looked at"
        assert [event async for event in ours[0]] == [RunDone()]
        assert [record.run.run_id for record in book.active_in("agent:main:ours")] == [f"{1_001:032}"]
        for events in (*others, ours[1]):
            await events.aclose()
        assert book.active_in("agent:main:ours") == []
        assert not book._by_session
        await book.aclose()

    asyncio.run(main())


class _Ear:
    full = False

    def write(self, data: bytes) -> None: ...


def test_whether_a_session_is_followed_is_known_without_asking_all_clients() -> None:
    async def main() -> None:
        hub = Hub(asyncio.get_running_loop())
        info = ClientInfo("cli", "cli", "1", "linux")
        welcome = Welcome(OPERATOR, "operator", ("operator.read",), 4, info, (), None, {})
        clients = [Client(cast("Any", _Ear()), welcome, str(number), hub, since=0.0) for number in range(200)]
        for number, client in enumerate(clients):
            client.follow("before it came")
            hub.add(client)
            client.follow(f"session {number}")
        assert len(hub._followers) == 201
        whole = hub.clients
        hub.clients = cast("Any", None)  # nobody is looked at
        assert hub.followed("session 199")
        assert not hub.followed("session 200")
        hub.clients = whole
        clients[0].follow()  # all there are
        assert hub.followed("session 200")
        clients[0].unfollow()
        assert not hub.followed("session 200")
        assert not hub.followed("session 0")
        clients[1].unfollow("session 1", "none of its")
        assert not hub.followed("session 1")
        for client in (*clients, clients[0]):
            hub.remove(client)
            client.follow("after it left")
        assert not hub._followers

    asyncio.run(main())
