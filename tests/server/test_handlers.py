"""Handlers that wait for nothing share a task; nobody may notice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

import pytest

from gateway.server.handlers import Handlers

Handle = Callable[[], Awaitable[None]]
LEFT: ContextVar[str] = ContextVar("LEFT", default="")


class Request:
    """A connection whose handler is `handle`."""

    def __init__(self, handle: Handle, log: list[object]) -> None:
        self.task: asyncio.Task[None] | None = None
        self.ran_in: asyncio.Task[None] | None = None
        self.left_there = ""
        self._handle = handle
        self._log = log

    async def serve(self) -> None:
        self.ran_in = asyncio.current_task()
        self.left_there = LEFT.get()
        assert self.task is self.ran_in
        try:
            await self._handle()
            self._log.append(self)
        finally:
            self.task = None


async def at_once() -> None:
    pass


def served(*handles: Handle) -> tuple[list[Request], list[object], Handlers]:
    """Requests that have come in this turn of the loop."""
    log: list[object] = []
    handlers = Handlers(asyncio.get_running_loop())
    requests = [Request(handle, log) for handle in handles]
    for request in requests:
        handlers.add(request)
    return requests, log, handlers


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_what_waits_for_nothing_shares_a_task() -> None:
    async def scene() -> None:
        requests, log, handlers = served(*[at_once] * 5)
        assert handlers.shared is not None
        await turns()
        assert log == requests
        assert len({request.ran_in for request in requests}) == 1
        assert handlers.shared is None
        assert {request.task for request in requests} == {None}

    asyncio.run(scene())


def test_one_that_waits_holds_up_nobody() -> None:
    async def scene() -> None:
        go = asyncio.Event()

        async def waits() -> None:
            await go.wait()

        requests, log, handlers = served(at_once, at_once, waits, at_once, waits, at_once)
        await turns()
        assert [requests.index(one) for one in log if isinstance(one, Request)] == [0, 1, 3, 5]
        assert handlers.shared is None
        third, fifth = requests[2].task, requests[4].task
        assert third is not None
        assert fifth is not None
        assert third is not fifth
        later, more, _ = served(at_once)
        await turns()
        assert more == later
        go.set()
        await turns()
        assert set(log) == set(requests)

    asyncio.run(scene())


def test_the_one_that_waits_can_be_cancelled_by_itself() -> None:
    async def scene() -> None:
        async def waits() -> None:
            await asyncio.Event().wait()

        requests, log, _ = served(waits, waits, at_once)
        await turns()
        assert requests[0].task is not None
        requests[0].task.cancel()
        await turns()
        assert requests[0].task is None
        assert requests[1].task is not None
        assert log == [requests[2]]
        requests[1].task.cancel()
        await turns()

    asyncio.run(scene())


def test_what_a_handler_leaves_in_its_context_is_not_found_by_others() -> None:
    async def scene() -> None:
        async def leaves() -> None:
            LEFT.set("secret")

        requests, log, _ = served(leaves, at_once, leaves, at_once)
        await turns()
        assert len(log) == 4
        assert [request.left_there for request in requests] == [""] * 4

    asyncio.run(scene())


def test_a_handler_that_cancels_its_own_task_takes_nobody_with_it() -> None:
    async def scene() -> None:
        async def cancels() -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()

        async def raises() -> None:
            raise asyncio.CancelledError

        requests, log, _ = served(cancels, at_once, raises, at_once, cancels, at_once)
        await turns()
        assert [one in log for one in requests] == [True, True, False, True, True, True]
        for request in requests:
            assert request.ran_in is not None

    asyncio.run(scene())


def test_requests_that_come_while_others_are_handled_are_handled() -> None:
    async def scene() -> None:
        log: list[object] = []
        handlers = Handlers(asyncio.get_running_loop())
        seconds = [Request(at_once, log) for _ in range(3)]

        async def brings_more() -> None:
            for second in seconds:
                handlers.add(second)

        firsts = [Request(at_once, log), Request(brings_more, log), Request(at_once, log)]
        for first in firsts:
            handlers.add(first)
        await turns()
        assert set(log) == {*firsts, *seconds}
        assert handlers.shared is None

    asyncio.run(scene())


@pytest.mark.parametrize("before", [0, 1, 3])
def test_a_timeout_inside_a_shared_task_is_its_own(before: int) -> None:
    async def scene() -> None:
        outcome: list[str] = []

        async def limited() -> None:
            try:
                async with asyncio.timeout(0.01):
                    await asyncio.Event().wait()
            except TimeoutError:
                outcome.append("timeout")

        requests, log, _ = served(*[at_once] * before, limited, at_once)
        await turns()
        assert len(log) == before + 1
        await asyncio.sleep(0.05)
        assert outcome == ["timeout"]
        assert set(log) == set(requests)

    asyncio.run(scene())
