"""One run at a time in each session."""

from __future__ import annotations

import asyncio

import pytest

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
        assert not lanes._lanes, "a session without a run costs nothing"

    asyncio.run(main())


def test_sessions_do_not_wait_for_each_other() -> None:
    async def main() -> None:
        lanes = Lanes()
        async with lanes.enter("a"), asyncio.timeout(1), lanes.enter("b"), lanes.enter("A"):
            assert len(lanes._lanes) == 3
        assert not lanes._lanes

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
        assert not lanes._lanes

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
        assert not lanes._lanes

    asyncio.run(main())


def test_a_run_that_fails_leaves_its_lane() -> None:
    async def main() -> None:
        lanes = Lanes()
        with pytest.raises(ZeroDivisionError):
            async with lanes.enter("k"):
                raise ZeroDivisionError
        assert not lanes._lanes

    asyncio.run(main())
