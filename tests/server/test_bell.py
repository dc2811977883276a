"""Bells beside futures: whatever is done to a task that waits, it goes on in the same turn, and in the same way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from functools import partial
from typing import Any, Protocol

import pytest

from gateway.server.bell import Bell, Bells

# The loop's own tasks are in C; those in Python ask a future in another way.
TASKS = [pytest.param(asyncio.Task, id="c"), pytest.param(vars(asyncio.tasks)["_PyTask"], id="python")]
WHO: ContextVar[str] = ContextVar("who", default="nobody")


class Waiting(Protocol):
    def ring(self) -> None: ...
    async def wait(self) -> None: ...


class WithBell:
    def __init__(self, bells: Bells) -> None:
        self.bell = Bell(bells)

    def ring(self) -> None:
        self.bell.ring()

    async def wait(self) -> None:
        assert not self.bell.awaited
        await self.bell


class WithFuture:
    """What a bell stands for: a new future for each wait."""

    def __init__(self, _: Bells) -> None:
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


def run(main: Callable[[Bells], Coroutine[Any, Any, Any]], factory: Any) -> Any:
    """With a task factory, all tasks are of that kind, the one of `main` too."""
    loop = asyncio.new_event_loop()
    loop.set_task_factory(lambda loop, coro, **more: factory(coro, loop=loop, **more))
    faults: list[Any] = []
    loop.set_exception_handler(lambda _, context: faults.append(context))
    try:
        found = loop.run_until_complete(asyncio.wait_for(main(Bells(loop)), 10))
    finally:
        loop.close()
    assert not faults
    return found


async def script(kind: Callable[[Bells], Waiting], seed: int, bells: Bells) -> list[str]:
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

    ones = [kind(bells) for _ in range(4)]
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
    async def main(bells: Bells) -> None:
        bell = Bell(bells)

        async def wait() -> str:
            await bell
            return "rung"

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await bell
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wait(), 0.01)
        assert not bell.awaited
        asyncio.get_running_loop().call_later(0.01, bell.ring)
        assert await asyncio.wait_for(wait(), 5) == "rung"
        assert not bell.awaited

    run(main, factory)


def test_tasks_are_woken_in_the_order_of_the_rings_and_never_within_a_ring() -> None:
    async def main(bells: Bells) -> None:
        log: list[int] = []
        several = [Bell(bells) for _ in range(5)]

        async def wait(number: int) -> None:
            await several[number]
            log.append(number)

        tasks = [asyncio.create_task(wait(number)) for number in range(5)]
        several[1].ring()  # nobody waits yet: that is no ring
        await asyncio.sleep(0)
        for number in (3, 0, 3, 4):
            several[number].ring()
        assert log == []
        await asyncio.sleep(0)
        assert log == [3, 0, 4]
        for number in (2, 1):
            several[number].ring()
        await asyncio.wait(tasks)
        assert log == [3, 0, 4, 2, 1]

    run(main, asyncio.Task)


def test_two_that_ring_each_other_do_not_keep_the_loop() -> None:
    async def main(bells: Bells) -> None:
        one, other = Bell(bells), Bell(bells)
        rounds = 0

        async def play(mine: Bell, theirs: Bell) -> None:
            nonlocal rounds
            while True:
                await mine
                rounds += 1
                theirs.ring()

        tasks = [asyncio.create_task(play(one, other)), asyncio.create_task(play(other, one))]
        await asyncio.sleep(0)
        one.ring()
        for _ in range(20):
            await asyncio.sleep(0)
        assert 10 <= rounds <= 20
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    run(main, asyncio.Task)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_who_ends_the_program_keeps_the_others_from_nothing(error: type[BaseException]) -> None:
    loop = asyncio.new_event_loop()
    bells = Bells(loop)
    several = [Bell(bells) for _ in range(3)]
    woken: list[int] = []

    async def wait(number: int) -> None:
        await several[number]
        woken.append(number)
        if number == 0:
            raise error

    async def ring() -> None:
        await asyncio.sleep(0)
        for bell in several:
            bell.ring()
        await asyncio.sleep(1)

    tasks = [loop.create_task(wait(number)) for number in range(3)]
    with pytest.raises(error):
        loop.run_until_complete(ring())
    assert woken == [0]
    loop.run_until_complete(asyncio.wait(tasks[1:]))
    assert woken == [0, 1, 2]
    assert isinstance(tasks[0].exception(), error)
    rest = asyncio.all_tasks(loop)
    for task in rest:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
    loop.close()
