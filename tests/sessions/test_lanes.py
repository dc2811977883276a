"""One run at a time in each session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import AgentError
from gateway.sessions.lanes import Lanes


def test_first_come_first_served() -> None:
    async def main() -> None:
        lanes = Lanes()
        order: list[int] = []
        inside = 0

        async def one(number: int) -> None:
            nonlocal inside
            async with lanes.enter("k"):
                inside += 1
                assert inside == 1
                order.append(number)
                await asyncio.sleep(0)
                inside -= 1

        await asyncio.gather(*(one(number) for number in range(50)))
        assert order == list(range(50))
        assert not lanes, "a session without a run costs nothing"

    asyncio.run(main())


def test_sessions_do_not_wait_for_each_other() -> None:
    async def main() -> None:
        lanes = Lanes()
        async with lanes.enter("a"), asyncio.timeout(1), lanes.enter("b"), lanes.enter("A"):
            assert len(lanes) == 3
        assert not lanes

    asyncio.run(main())


def test_a_queue_has_an_end() -> None:
    async def main() -> None:
        lanes = Lanes(waiting=2)
        done: list[int] = []

        async def one(number: int) -> None:
            async with lanes.enter("k"):
                await asyncio.sleep(0)
                done.append(number)

        async with lanes.enter("k"):
            tasks = [asyncio.create_task(one(number)) for number in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(AgentError) as caught:
                async with lanes.enter("k"):
                    pass
            error = caught.value
            assert (error.code, error.status, error.retry_after) == ("session_busy", 409, 1)
            async with lanes.enter("other"):
                pass
        await asyncio.gather(*tasks)
        assert done == [0, 1]
        assert not lanes

    asyncio.run(main())


def test_nobody_waits() -> None:
    async def main() -> None:
        lanes = Lanes(waiting=0)
        async with lanes.enter("k"):
            with pytest.raises(AgentError):
                async with lanes.enter("k"):
                    pass
        async with lanes.enter("k"):
            pass

    asyncio.run(main())


def test_who_gives_up_makes_room() -> None:
    async def main() -> None:
        lanes = Lanes(waiting=1)
        done: list[str] = []

        async def one(name: str) -> None:
            async with lanes.enter("k"):
                done.append(name)

        async with lanes.enter("k"):
            gives_up = asyncio.create_task(one("gives up"))
            await asyncio.sleep(0)
            gives_up.cancel()
            await asyncio.wait({gives_up})
            stays = asyncio.create_task(one("stays"))
            await asyncio.sleep(0)
        await stays
        assert done == ["stays"]
        assert not lanes

    asyncio.run(main())


def test_a_run_that_fails_leaves_its_lane() -> None:
    async def main() -> None:
        lanes = Lanes()
        with pytest.raises(ZeroDivisionError):
            async with lanes.enter("k"):
                raise ZeroDivisionError
        assert not lanes

    asyncio.run(main())


def busy(error: AgentError) -> bool:
    return (error.code, error.status, error.retry_after) == ("session_busy", 409, 1)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_waiting_has_an_end() -> None:
    async def main() -> None:
        lanes = Lanes(wait=0.05)
        seen: list[str] = []

        async def one(name: str) -> None:
            with pytest.raises(AgentError, match=r"was busy for 0\.05 seconds") as caught:
                await enter_and_leave(lanes)
            assert busy(caught.value)
            seen.append(f"{name} gives up")

        async with lanes.enter("k"):
            tasks = [asyncio.create_task(one(name)) for name in "ab"]
            await asyncio.sleep(0.3)
            assert seen == ["a gives up", "b gives up"]
        await asyncio.gather(*tasks)
        await enter_and_leave(lanes)
        assert not lanes

    asyncio.run(main())


def test_a_limit_of_0_is_none() -> None:
    async def main() -> None:
        lanes = Lanes(wait=0)
        async with lanes.enter("k"):
            task = asyncio.create_task(lanes.enter("k").__aenter__())
            await asyncio.sleep(0.05)
            assert not task.done()
        await task

    asyncio.run(main())


def test_time_is_measured_only_while_somebody_waits() -> None:
    class Loop(asyncio.SelectorEventLoop):
        timers = 0

        def call_at(
            self, when: float, callback: Callable[..., object], *args: object, context: object = None
        ) -> asyncio.TimerHandle:
            self.timers += 1
            return super().call_at(when, callback, *args)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        lanes = Lanes()
        async with lanes.enter("a"), lanes.enter("b"):
            pass
        assert loop.timers == 0
        async with lanes.enter("k"):
            tasks = [asyncio.create_task(enter_and_leave(lanes)) for _ in range(50)]
            await settle()
            assert loop.timers == 1
        await asyncio.gather(*tasks)
        assert not [handle for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]  # nothing else tells

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main())


async def enter_and_leave(lanes: Lanes) -> None:
    async with lanes.enter("k"):
        await asyncio.sleep(0)


def test_a_busy_session_may_be_refused_at_once() -> None:
    async def main() -> None:
        lanes = Lanes(mode="reject")
        async with lanes.enter("k"):
            with pytest.raises(AgentError, match="under way") as caught:
                await enter_and_leave(lanes)
            assert busy(caught.value)
            async with lanes.enter("other"):
                pass
        await enter_and_leave(lanes)
        assert not lanes

    asyncio.run(main())


@pytest.mark.parametrize("mode", ["queue", "reject", "interrupt"])
def test_one_that_waits_in_every_mode(mode: str) -> None:
    async def main() -> None:
        lanes = Lanes(mode=mode)
        order: list[str] = []

        async def one() -> None:
            async with lanes.enter("k", waits=True):
                order.append("its turn")

        async with lanes.enter("k") as visit:
            task = asyncio.create_task(one())
            await settle()
            assert not visit.interrupted
            order.append("first")
        await task
        assert order == ["first", "its turn"]
        assert not lanes

    asyncio.run(main())


def test_a_new_run_may_end_the_one_under_way() -> None:
    async def main() -> None:
        lanes = Lanes(mode="interrupt", waiting=2)
        order: list[str] = []

        async def one(name: str) -> None:
            async with lanes.enter("k") as visit:
                order.append(name)
                while not visit.interrupted:
                    await asyncio.sleep(0)
                order.append(f"{name} ends")

        first = asyncio.create_task(one("a"))
        await settle()
        later = [asyncio.create_task(one(name)) for name in "bc"]
        await settle()
        assert order == ["a", "a ends", "b"], "those who wait keep their order"
        later.append(asyncio.create_task(one("d")))
        await settle()
        assert order == ["a", "a ends", "b", "b ends", "c"]
        with pytest.raises(AgentError) as caught:
            await asyncio.gather(*(lanes.enter("k").__aenter__() for _ in range(9)))
        assert busy(caught.value), "a queue has an end here as well"
        for task in (first, *later):
            task.cancel()
        await asyncio.wait([first, *later])

    asyncio.run(main())


def test_limits_change_for_those_who_come() -> None:
    async def main() -> None:
        lanes = Lanes(waiting=1, wait=60.0)
        done: list[int] = []

        async def one(number: int) -> None:
            async with lanes.enter("k"):
                done.append(number)

        async with lanes.enter("k"):
            waiting = asyncio.create_task(one(0))
            await asyncio.sleep(0)
            lanes.limit(2, 0.02, "queue")
            with pytest.raises(AgentError, match=r"busy for 0\.02 seconds"):
                await one(1)
            lanes.limit(2, 0.02, "reject")
            with pytest.raises(AgentError, match="has a run under way"):
                await one(2)
            assert not waiting.done(), "who waited before waits on"
        await waiting
        assert done == [0]
        assert not lanes

    asyncio.run(main())


def test_interruption_by_request() -> None:
    async def main() -> None:
        lanes = Lanes()
        assert not await lanes.interrupt("k")
        async with lanes.enter("k") as visit:
            assert await lanes.interrupt("k")
            assert visit.interrupted
            assert not await lanes.interrupt("k"), "it knows"
            assert not await lanes.interrupt("other")
        assert not await lanes.interrupt("k")

    asyncio.run(main())


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.sampled_from("ab")),
        st.tuples(st.just("leave"), st.sampled_from("ab")),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("expire"), st.integers(0, 30)),
        st.tuples(st.just("both"), st.integers(0, 30)),
        st.tuples(st.just("turn"), st.integers(1, 4)),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=200)
@given(STEPS, st.integers(0, 4))
def test_whatever_happens(steps: list[tuple[str, str | int]], waiting: int) -> None:
    """Never two inside, always first come first served, and in the end nothing is left."""

    async def main() -> None:
        lanes = Lanes(waiting, wait=1000)
        inside: dict[str, list[int]] = {"a": [], "b": []}
        served: dict[str, list[int]] = {"a": [], "b": []}
        doors: dict[int, asyncio.Event] = {}
        tasks: list[asyncio.Task[str]] = []

        async def one(key: str, number: int) -> str:
            try:
                async with lanes.enter(key):
                    inside[key].append(number)
                    assert inside[key] == [number], "never two"
                    assert not served[key] or served[key][-1] < number, "in the order in which they came"
                    served[key].append(number)
                    try:
                        await doors[number].wait()
                    finally:
                        inside[key].remove(number)
            except AgentError:
                return "refused"
            return "served"

        for what, which in steps:
            if what == "enter":
                doors[len(tasks)] = asyncio.Event()
                tasks.append(asyncio.create_task(one(str(which), len(tasks))))
            elif what == "leave":
                for number in inside[str(which)]:
                    doors[number].set()
            elif what == "turn":
                for _ in range(int(which)):
                    await asyncio.sleep(0)
            elif tasks:
                number = int(which) % len(tasks)
                waits = [*lanes._limits._due] if lanes._limits is not None else []
                if what in ("expire", "both") and waits:
                    entry = waits[number % len(waits)]
                    lanes._limits.clear(entry)  # type: ignore[union-attr]  # there are entries in it
                    lanes._expire(60.0, entry)
                if what in ("cancel", "both"):
                    tasks[number].cancel()
        for door in doors.values():
            door.set()
        async with asyncio.timeout(5):
            await asyncio.gather(*tasks, return_exceptions=True)
        came = [number for number, task in enumerate(tasks) if not task.cancelled() and task.result() == "served"]
        assert {*came} <= {*served["a"], *served["b"]}, "who is not refused, and stays, is served"
        assert not lanes
        assert lanes._queued == 0
        assert lanes._limits is None or not len(lanes._limits)

    asyncio.run(main())
