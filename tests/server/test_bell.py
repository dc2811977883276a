"""Bells beside futures: whatever is done to a task that waits, it goes on in the same turn, and in the same way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from functools import partial
from typing import Any, Protocol

import pytest

from gateway.server.bell import Bell

# The loop's own tasks are in C; those in Python ask a future in another way.
TASKS = [pytest.param(asyncio.Task, id="c"), pytest.param(vars(asyncio.tasks)["_PyTask"], id="python")]
WHO: ContextVar[str] = ContextVar("who", default="nobody")


class Waiting(Protocol):
    def ring(self) -> None: ...
    async def wait(self) -> None: ...


class WithBell:
    def __init__(self) -> None:
        self.bell = Bell(asyncio.get_running_loop())

    def ring(self) -> None:
        self.bell.ring()

    async def wait(self) -> None:
        assert not self.bell.awaited
        await self.bell


class WithFuture:
    """What a bell stands for: a new future for each wait."""

    def __init__(self) -> None:
        self._future: asyncio.Future[None] | None = None

    def ring(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self) -> None:
        self._future = asyncio.get_running_loop().create_future()
        try:
            await self._future
        finally:
            self._future = None


def run(main: Callable[[], Coroutine[Any, Any, Any]], factory: Any) -> Any:
    """With a task factory, all tasks are of that kind, the one of `main` too."""
    loop = asyncio.new_event_loop()
    loop.set_task_factory(lambda loop, coro, **more: factory(coro, loop=loop, **more))
    faults: list[Any] = []
    loop.set_exception_handler(lambda _, context: faults.append(context))
    try:
        found = loop.run_until_complete(asyncio.wait_for(main(), 10))
    finally:
        loop.close()
    assert not faults
    return found


async def script(kind: Callable[[], Waiting], seed: int) -> list[str]:
    """Rings, cancels, waits of several tasks at random; which task went on when, and how."""
    choice = random.Random(seed)
    log: list[str] = []
    tasks: list[asyncio.Task[None]] = []

    async def waits(name: int, one: Waiting, stubborn: int) -> None:
        for turn in range(3):
            try:
                await one.wait()
                log.append(f"{name}.{turn} rung in {WHO.get()}")
            except asyncio.CancelledError as error:
                log.append(f"{name}.{turn} cancelled {error.args}")
                if turn >= stubborn:
                    raise

    ones = [kind() for _ in range(4)]
    for name, one in enumerate(ones):
        WHO.set(str(name))
        tasks.append(asyncio.get_running_loop().create_task(waits(name, one, choice.randrange(3))))
    WHO.set("main")
    for _ in range(25):
        for _ in range(choice.randrange(4)):
            at = choice.randrange(4)
            match choice.randrange(4):
                case 0:
                    log.append(f"cancel {at}: {tasks[at].cancel()}")
                case 1:
                    tasks[at].cancel("with a word")
                case _:
                    ones[at].ring()
        if choice.random() < 0.8:
            log.append("turn")
            await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
        task.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    log.append(f"{[task.done() for task in tasks]}")
    for _ in range(4):
        for one in ones:
            one.ring()
        await asyncio.sleep(0)
    await asyncio.wait(tasks)
    return [*log, *(f"{task.cancelled()}" for task in tasks)]


@pytest.mark.parametrize("factory", TASKS)
def test_whatever_happens_a_bell_does_what_futures_do(factory: Any) -> None:
    seen: set[str] = set()
    for seed in range(150):
        by_bell: list[str] = run(partial(script, WithBell, seed), factory)
        by_future: list[str] = run(partial(script, WithFuture, seed), factory)
        assert _turns(by_bell) == _turns(by_future), f"seed {seed}"
        seen.update(line.partition(" ")[2].partition(" ")[0] for line in by_bell)
    assert {"rung", "cancelled"} <= seen


def _turns(log: list[str]) -> list[list[str]]:
    """What happened in each turn; the order within one is not promised."""
    turns: list[list[str]] = [[]]
    for line in log:
        if line == "turn":
            turns.append([])
        turns[-1].append(line)
    return [sorted(turn) for turn in turns]


@pytest.mark.parametrize("factory", TASKS)
def test_time_limits(factory: Any) -> None:
    async def main() -> None:
        bell = Bell(asyncio.get_running_loop())

        async def wait() -> str:
            await bell
            return "rung"

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await bell
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wait(), 0.01)
        assert not bell.awaited
        for ring in (bell.ring, bell.ring_now):
            asyncio.get_running_loop().call_later(0.01, ring)
            assert await asyncio.wait_for(wait(), 5) == "rung"
            assert not bell.awaited

    run(main, factory)


@pytest.mark.parametrize("factory", TASKS)
def test_a_ring_wakes_in_the_next_turn_and_one_that_is_no_task_s_at_once(factory: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        bell = Bell(loop)
        log: list[str] = []

        async def wait() -> None:
            WHO.set("waiter")
            while True:
                await bell
                log.append(f"woken of {WHO.get()}")
                if log[-2:-1] == ["fail"]:
                    raise ValueError

        def callback(*words: str) -> None:
            log.extend(words)
            bell.ring_now()
            log.append(f"back in {WHO.get()}")
            bell.ring_now()  # within the same turn again

        bell.ring_now()  # nobody waits yet
        task = loop.create_task(wait())
        await asyncio.sleep(0)
        WHO.set("caller")
        bell.ring_now()
        bell.ring_now()
        assert log == []
        await asyncio.sleep(0)
        assert log == ["woken of waiter"]
        log.clear()
        loop.call_soon(callback)
        await asyncio.sleep(0)
        assert log == ["woken of waiter", "back in caller", "woken of waiter"]
        log.clear()
        loop.call_soon(bell.ring)
        loop.call_soon(callback)  # it is on its way
        await asyncio.sleep(0)
        assert log == ["back in caller"]
        await asyncio.sleep(0)
        assert log == ["back in caller", "woken of waiter"]
        log.clear()
        loop.call_soon(callback, "fail")
        await asyncio.wait([task])
        assert log == ["fail", "woken of waiter", "back in caller"]
        assert isinstance(task.exception(), ValueError)
        assert not bell.awaited

    run(main, factory)


@pytest.mark.parametrize("factory", TASKS)
def test_a_task_that_is_cancelled_within_the_turn_of_a_ring(factory: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for first, then in ((0, 1), (1, 0)):
            bell = Bell(loop)
            rung = False

            async def wait(bell: Bell) -> None:
                nonlocal rung
                await bell
                rung = True

            task = loop.create_task(wait(bell))
            await asyncio.sleep(0)
            calls = (task.cancel, bell.ring_now)
            loop.call_soon(calls[first])
            loop.call_soon(calls[then])
            await asyncio.wait([task])
            assert task.cancelled() is (first == 0)
            assert rung is (first == 1)
            assert not bell.awaited

    run(main, factory)
