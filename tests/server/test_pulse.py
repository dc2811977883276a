"""Streams that hold something back share one timer."""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop
from typing import cast

from gateway.server.pulse import Pulse
from gateway.testing import ManualTimer


def test_one_beat_for_all_that_wait() -> None:
    timer = ManualTimer()
    pulse = Pulse(cast("AbstractEventLoop", timer), 2.0)
    told: list[str] = []
    first, second, third = (lambda: told.append("a")), (lambda: told.append("b")), (lambda: told.append("c"))
    pulse.add(first)
    timer.advance(1.5)
    pulse.add(second)
    pulse.add(third)
    pulse.add(second)
    pulse.remove(third)
    pulse.remove(third)
    assert told == []
    timer.advance(0.5)
    assert told == ["a", "b"]
    assert len(pulse) == 0
    timer.advance(10)
    assert told == ["a", "b"]


def test_who_is_added_within_a_beat_has_the_next() -> None:
    timer = ManualTimer()
    pulse = Pulse(cast("AbstractEventLoop", timer), 2.0)
    told: list[float] = []

    def again() -> None:
        told.append(timer.time())
        if len(told) < 3:
            pulse.add(again)

    began = timer.time()
    pulse.add(again)
    for _ in range(20):
        timer.advance(0.5)
    assert [at - began for at in told] == [2.0, 4.0, 6.0]


def test_a_closed_one_calls_nobody() -> None:
    timer = ManualTimer()
    pulse = Pulse(cast("AbstractEventLoop", timer), 2.0)
    told: list[int] = []
    pulse.add(lambda: told.append(1))
    pulse.close()
    pulse.close()
    timer.advance(10)
    assert told == []


def test_without_a_time_it_is_the_next_turn_of_the_loop() -> None:
    async def scene() -> None:
        told: list[int] = []
        pulse = Pulse(asyncio.get_running_loop(), 0)
        pulse.add(lambda: told.append(1))
        pulse.add(lambda: told.append(2))
        assert told == []
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert told == [1, 2]

    asyncio.run(scene())
