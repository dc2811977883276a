"""Many limits on one timer, with a clock that is told to go on."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.deadlines import Deadlines
from gateway.ports import TimerHandle
from gateway.testing import ManualTimer


def make(after: float = 10.0) -> tuple[ManualTimer, Deadlines[str], list[tuple[float, str]]]:
    timer = ManualTimer()
    over: list[tuple[float, str]] = []
    return timer, Deadlines[str](timer, after, lambda key: over.append((timer.time(), key))), over


def test_a_limit_falls_due_once() -> None:
    timer, deadlines, over = make()
    deadlines.set("a")
    timer.advance(9.9)
    assert over == []
    assert len(deadlines) == 1
    timer.advance(0.1)
    assert over == [(10.0, "a")]
    assert len(deadlines) == 0
    timer.advance(100)
    assert over == [(10.0, "a")]


def test_each_in_its_turn() -> None:
    timer, deadlines, over = make()
    for key in "abc":
        deadlines.set(key)
        timer.advance(1)
    timer.advance(100)
    assert over == [(10.0, "a"), (11.0, "b"), (12.0, "c")]


def test_setting_again_starts_anew() -> None:
    timer, deadlines, over = make()
    deadlines.set("a")
    deadlines.set("b")
    timer.advance(9)
    deadlines.set("a")
    timer.advance(100)
    assert over == [(10.0, "b"), (19.0, "a")]


def test_clear() -> None:
    timer, deadlines, over = make()
    deadlines.set("a")
    deadlines.set("b")
    deadlines.clear("a")
    deadlines.clear("never set")
    timer.advance(100)
    assert over == [(10.0, "b")]


def test_close_forgets_all_and_holds_no_timer() -> None:
    timer, deadlines, over = make()
    deadlines.set("a")
    deadlines.close()
    deadlines.close()
    assert len(deadlines) == 0
    timer.advance(100)
    assert over == []


def test_zero_switches_off() -> None:
    for after in (0.0, -1.0):
        timer, deadlines, over = make(after)
        deadlines.set("a")
        assert len(deadlines) == 0
        timer.advance(1e9)
        assert over == []


def test_one_timer_for_all() -> None:
    armed: list[float] = []

    class Counting(ManualTimer):
        def call_at(self, when: float, callback: Callable[..., Any], /, *args: Any) -> TimerHandle:
            armed.append(when)
            return super().call_at(when, callback, *args)

    timer = Counting()
    over: list[int] = []
    deadlines = Deadlines[int](timer, 10.0, over.append)
    for key in range(1000):
        deadlines.set(key)
    for key in range(999):
        deadlines.set(key)
    assert armed == [10.0]
    timer.advance(10)
    assert over == [999, *range(999)]


def test_what_expires_may_set_and_clear_others() -> None:
    timer = ManualTimer()
    over: list[tuple[float, str]] = []

    def expire(key: str) -> None:
        over.append((timer.time(), key))
        if key == "a":
            deadlines.clear("b")
            deadlines.set("c")
            deadlines.set("d")

    deadlines = Deadlines[str](timer, 10.0, expire)
    for key in "abc":
        deadlines.set(key)
    timer.advance(100)
    assert over == [(10.0, "a"), (20.0, "c"), (20.0, "d")]


@given(
    st.lists(
        st.tuples(st.sampled_from(["set", "clear"]), st.integers(0, 4))
        | st.tuples(st.just("advance"), st.integers(0, 12))
    )
)
def test_as_one_timer_for_each_would(steps: list[tuple[str, int]]) -> None:
    timer = ManualTimer()
    over: list[tuple[float, int]] = []
    deadlines = Deadlines[int](timer, 10.0, lambda key: over.append((timer.time(), key)))
    due: dict[int, float] = {}
    wanted: list[tuple[float, int]] = []
    for what, number in [*steps, ("advance", 20)]:
        if what == "advance":
            end = timer.time() + number
            timer.advance(number)
            passed = sorted((when, order, key) for order, (key, when) in enumerate(due.items()) if when <= end)
            for when, _, key in passed:
                wanted.append((when, key))
                del due[key]
        elif what == "set":
            deadlines.set(number)
            due.pop(number, None)
            due[number] = timer.time() + 10
        else:
            deadlines.clear(number)
            due.pop(number, None)
        assert len(deadlines) == len(due)
    assert over == wanted


def test_many_that_fall_due_one_by_one_cost_no_more_each_than_a_few() -> None:
    def fired(count: int) -> float:
        """Seconds for each, in the middle of them."""
        timer = ManualTimer()
        deadlines = Deadlines[int](_Alarm(timer), 1_000.0, lambda _: None)
        for key in range(count):
            timer.now = key / count
            deadlines.set(key)
        for key in range(count // 2):
            timer.now = 1_000 + key / count
            deadlines._fire()
        assert len(deadlines) == count - count // 2
        return min(_seconds(lambda: next(iter(deadlines._due))) for _ in range(5))

    few, many = fired(100), fired(100_000)
    # Behind 50,000 deleted entries the first is a thousand times as far away as behind 50.
    assert many < 200 * few, f"{many * 1e6:.1f} us to find the first of many, {few * 1e6:.1f} us of a few"


class _Alarm:
    """A timer that never rings by itself."""

    def __init__(self, timer: ManualTimer) -> None:
        self._timer = timer

    def time(self) -> float:
        return self._timer.now

    def call_at(self, when: float, callback: Callable[..., Any], /, *args: Any) -> TimerHandle:
        return self._timer.call_at(float("inf"), callback, *args)


def _seconds(work: Callable[[], object]) -> float:
    began = perf_counter()
    for _ in range(100):
        work()
    return perf_counter() - began
