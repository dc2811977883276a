"""What the book of runs does for one session does not grow with the runs of others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest

from gateway.control.hub import Hub
from gateway.control.record import Record
from gateway.control.runs import RunBook
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
