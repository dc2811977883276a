"""One run at a time in each session, whichever process it is in."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable

import pytest
from channels import Party, party, true_soon

from gateway.errors import AgentError
from gateway.sessions.lanes import Lanes
from gateway.workers.book import LaneBook
from gateway.workers.lanes import SharedLanes

if not hasattr(socket, "AF_UNIX"):
    pytest.skip("several processes need unix sockets", allow_module_level=True)


class Shared:
    """The lanes of two workers, and the book that both ask."""

    def __init__(self, made: Party, lanes: Lanes) -> None:
        self.party = made
        self.book = LaneBook(made.switch, lanes)
        self.lanes: dict[int, SharedLanes] = {}

    async def join(self, number: int) -> SharedLanes:
        channel = self.party.channel(number)
        lanes = self.lanes[number] = SharedLanes(channel)
        await self.party.join(channel)
        return lanes


def run(
    test: Callable[[Shared, SharedLanes, SharedLanes], Awaitable[None]], waiting: int = 64, wait: float = 60.0,
    mode: str = "queue",
) -> None:  # fmt: skip
    async def main() -> None:
        async with asyncio.timeout(30), party(2) as made:
            shared = Shared(made, Lanes(waiting, wait, mode))
            await test(shared, await shared.join(1), await shared.join(2))
            await true_soon(lambda: not len(shared.book.lanes))

    asyncio.run(main())


def test_one_at_a_time_and_in_the_order_in_which_they_came() -> None:
    async def test(_: Shared, one: SharedLanes, two: SharedLanes) -> None:
        served: list[int] = []
        inside: list[int] = []

        async def visit(lanes: SharedLanes, number: int) -> None:
            async with lanes.enter("k"):
                inside.append(number)
                assert inside == [number], "nobody else is in the session"
                await asyncio.sleep(0.002)
                served.append(number)
                inside.remove(number)

        tasks = []
        for number in range(40):
            tasks.append(asyncio.create_task(visit((one, two)[number % 2], number)))
            await asyncio.sleep(0.001)
        await asyncio.gather(*tasks)
        assert sorted(served) == list(range(40))
        assert [number for number in served if number % 2] == list(range(1, 40, 2)), "of one worker, in order"
        assert not len(one)
        assert not len(two)

    run(test)


def test_sessions_do_not_wait_for_each_other() -> None:
    async def test(shared: Shared, one: SharedLanes, two: SharedLanes) -> None:
        async with one.enter("a"), two.enter("b"), asyncio.timeout(5):
            assert len(shared.book.lanes) == 2

    run(test)


@pytest.mark.parametrize(("waiting", "mode"), [(0, "queue"), (1, "queue"), (64, "reject")])
def test_a_refusal_is_the_same_as_in_one_process(waiting: int, mode: str) -> None:
    async def refused(lanes: SharedLanes | Lanes) -> AgentError:
        with pytest.raises(AgentError) as caught:
            async with lanes.enter("k"):
                pytest.fail("it got in")
        return caught.value

    async def alone() -> AgentError:
        lanes = Lanes(waiting, 60.0, mode)

        async def hold() -> None:
            async with lanes.enter("k", waits=True):
                pass

        async with lanes.enter("k"):
            tasks = [asyncio.create_task(hold()) for _ in range(waiting if mode == "queue" else 0)]
            await asyncio.sleep(0.01)
            error = await refused(lanes)
        await asyncio.gather(*tasks)
        return error

    expected = asyncio.run(alone())

    async def test(shared: Shared, one: SharedLanes, two: SharedLanes) -> None:
        async def hold() -> None:
            async with one.enter("k"):
                pass

        async with one.enter("k"):
            tasks = [asyncio.create_task(hold()) for _ in range(waiting if mode == "queue" else 0)]
            await true_soon(lambda: len(one) == 1 + len(tasks))
            await true_soon(lambda: shared.book.lanes._queued == len(tasks))
            error = await refused(two)
        await asyncio.gather(*tasks)
        assert type(error) is AgentError
        assert vars(error) == vars(expected)
        assert error.status == 409

    run(test, waiting, mode=mode)


def test_the_longest_wait() -> None:
    async def test(_: Shared, one: SharedLanes, two: SharedLanes) -> None:
        async with one.enter("k"):
            with pytest.raises(AgentError, match=r"busy for 0\.05 seconds"):
                async with two.enter("k"):
                    pass
        async with two.enter("k"), asyncio.timeout(5):
            pass

    run(test, wait=0.05)


def test_interruption_reaches_the_other_process() -> None:
    async def test(_: Shared, one: SharedLanes, two: SharedLanes) -> None:
        ended = asyncio.Event()
        async with one.enter("k") as visit:

            def end() -> bool:
                ended.set()
                return True

            visit.end = end
            later = asyncio.create_task(enter(two))
            await ended.wait()
            assert not later.done(), "it waits for the end of the run all the same"
        await later

    async def enter(lanes: SharedLanes) -> None:
        async with lanes.enter("k"):
            pass

    run(test, mode="interrupt")


def test_interruption_by_request() -> None:
    async def test(_: Shared, one: SharedLanes, two: SharedLanes) -> None:
        assert not await two.interrupt("k")
        async with one.enter("k") as visit:
            assert await two.interrupt("k")
            await true_soon(lambda: visit.interrupted)
        assert not await two.interrupt("k")

    run(test)


def test_who_leaves_while_it_waits_leaves_the_queue() -> None:
    async def test(shared: Shared, one: SharedLanes, two: SharedLanes) -> None:
        async def enter() -> None:
            async with two.enter("k"):
                pytest.fail("it got in")

        async with one.enter("k"):
            task = asyncio.create_task(enter())
            await true_soon(lambda: shared.book.lanes._queued == 1)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            await true_soon(lambda: shared.book.lanes._queued == 0)

    run(test)


def test_whenever_one_leaves_the_lane_goes_on() -> None:
    """Cancelled at any moment: before it is asked, while it waits, with its turn on its way, inside."""

    async def test(_: Shared, one: SharedLanes, two: SharedLanes) -> None:
        numbers = random.Random(7)
        inside = 0

        async def visit(lanes: SharedLanes) -> None:
            nonlocal inside
            async with lanes.enter("k"):
                inside += 1
                assert inside == 1
                try:
                    await asyncio.sleep(0)
                finally:
                    inside -= 1

        tasks = [asyncio.create_task(visit(numbers.choice((one, two)))) for _ in range(60)]
        while not all(task.done() for task in tasks):
            victim = numbers.choice(tasks)
            if numbers.random() < 0.5:
                victim.cancel()
            await asyncio.sleep(numbers.choice((0, 0, 0.0005)))
        for task in tasks:
            assert task.cancelled() or task.exception() is None
        async with one.enter("k"), asyncio.timeout(5):
            assert inside == 0

    run(test)


def test_a_dead_worker_holds_no_lane_and_waits_for_none() -> None:
    async def test(shared: Shared, one: SharedLanes, two: SharedLanes) -> None:
        inside = asyncio.Event()

        async def hold(key: str) -> None:
            async with two.enter(key):
                inside.set()
                await asyncio.sleep(60)

        holds = [asyncio.create_task(hold("k"))]
        await inside.wait()
        holds.append(asyncio.create_task(hold("k")))
        await true_soon(lambda: shared.book.lanes._queued == 1)
        mine = asyncio.create_task(enter(one))
        await true_soon(lambda: shared.book.lanes._queued == 2)
        shared.party.die(2)
        await mine
        for task in holds:
            task.cancel()
        await asyncio.wait(holds)
        successor = await shared.join(2)
        async with successor.enter("k"), asyncio.timeout(5):
            assert not len(one)

    async def enter(lanes: SharedLanes) -> None:
        async with lanes.enter("k"):
            pass

    run(test)


def test_without_a_supervisor_nobody_gets_in() -> None:
    async def main() -> None:
        async with asyncio.timeout(30), party(1) as made:
            shared = Shared(made, Lanes())
            lanes = await shared.join(1)
            async with lanes.enter("held"):
                made.die(1)
                for _ in range(2):
                    with pytest.raises(AgentError) as caught:
                        async with lanes.enter("k"):
                            pass
                    assert (caught.value.status, caught.value.code) == (503, "shutting_down")
                with pytest.raises(AgentError):
                    await lanes.interrupt("k")
            assert not len(lanes)

    asyncio.run(main())
