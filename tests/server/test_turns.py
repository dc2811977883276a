"""Work that waits for its turn: how much is done at a time, and for which part of the time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.server.turns import Turns
from gateway.testing import ManualTimer


class Worker:
    """So many pieces of work, each of which takes its time."""

    def __init__(self, timer: ManualTimer, pieces: int, seconds: float = 0.001) -> None:
        self.timer = timer
        self.left = pieces
        self.seconds = seconds

    def __call__(self) -> bool:
        assert self.left > 0, "called again after False"
        self.left -= 1
        self.timer.now += self.seconds
        return self.left > 0


def make() -> tuple[ManualTimer, Turns, Callable[..., Worker]]:
    timer = ManualTimer()
    turns = Turns(timer, turn=0.01, share=0.25)

    def worker(pieces: int, seconds: float = 0.001) -> Worker:
        added = Worker(timer, pieces, seconds)
        turns.add(added)
        return added

    return timer, turns, worker


def test_a_little_is_done_at_once() -> None:
    timer, _, worker = make()
    assert worker(9).left == 0
    assert timer.now < 0.0091


def test_more_takes_a_quarter_of_the_time() -> None:
    timer, _, worker = make()
    one = worker(1000)
    assert one.left == 990
    began, done = timer.now, one.left
    timer.advance(1.0)
    assert 240 <= done - one.left <= 260
    timer.advance(5.0)
    assert one.left == 0
    assert 3.9 < began + 4.0 < 4.1


def test_all_take_it_together_and_in_turn() -> None:
    timer, _, worker = make()
    workers = [worker(1000) for _ in range(5)]
    timer.advance(2.0)
    done = [1000 - one.left for one in workers]
    assert 490 <= sum(done) <= 520
    assert max(done) - min(done) <= 11


def test_what_comes_in_small_pieces_counts_as_well() -> None:
    """Work that always fits into one turn, added again and again, gets no more than its share."""
    timer, _, worker = make()
    workers = []
    for _ in range(1000):
        workers.append(worker(1))
        timer.advance(0.001)
    done = sum(one.left == 0 for one in workers)
    assert 0.24 * timer.now < done * 0.001 < 0.28 * timer.now + 0.01


def test_time_without_work_is_no_credit() -> None:
    timer, _, worker = make()
    timer.advance(100.0)
    assert worker(100).left == 90


def test_one_that_fails_does_not_stop_the_others() -> None:
    timer, turns, worker = make()
    one = worker(100)

    def broken() -> bool:
        raise ValueError

    turns.add(broken)
    with pytest.raises(ValueError):
        timer.advance(1.0)
    timer.advance(1.0)
    assert one.left == 0


def test_one_long_piece_is_made_up_for() -> None:
    timer, _, worker = make()
    worker(1, seconds=1.0)
    late = worker(1)
    timer.advance(2.9)
    assert late.left == 1
    timer.advance(0.2)
    assert late.left == 0
