"""Failed authentications, counted per peer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.throttle import Throttle, ThrottleLimits

LIMITS = ThrottleLimits(attempts=3, window=60.0, lockout=300.0)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_so_many_and_no_more() -> None:
    clock = Clock()
    throttle = Throttle(LIMITS, clock)
    assert not throttle.busy
    assert [throttle.failed("a") for _ in range(3)] == [0, 0, 300]
    assert throttle.busy
    assert throttle.wait("a") == 300
    assert throttle.wait("b") == 0, "another peer is not meant"
    clock.now += 299.5
    assert throttle.wait("a") == 0.5
    clock.now += 0.5
    assert throttle.wait("a") == 0
    assert not throttle.busy
    assert len(throttle) == 0
    assert [throttle.failed("a") for _ in range(3)] == [0, 0, 300], "counted anew"


def test_the_window_begins_with_the_first_failure() -> None:
    clock = Clock()
    throttle = Throttle(LIMITS, clock)
    throttle.failed("a")
    clock.now += 59
    throttle.failed("a")
    clock.now += 1
    assert throttle.failed("a") == 0, "the first has run out, and the second with it"
    assert throttle.failed("a") == 0
    assert throttle.failed("a") == 300


def test_success_resets() -> None:
    throttle = Throttle(LIMITS, Clock())
    for _ in range(5):
        assert throttle.failed("a") == 0
        assert throttle.failed("a") == 0
        throttle.succeeded("a")
    assert len(throttle) == 0
    throttle.succeeded("never seen")


def test_it_can_be_switched_off() -> None:
    throttle = Throttle(LIMITS._replace(attempts=0), Clock())
    assert [throttle.failed("a") for _ in range(100)] == [0] * 100
    assert len(throttle) == 0
    assert not throttle.busy


def test_one_attempt() -> None:
    throttle = Throttle(LIMITS._replace(attempts=1), Clock())
    assert throttle.failed("a") == 300


def test_the_oldest_peer_is_forgotten_first() -> None:
    throttle = Throttle(LIMITS._replace(peers=2), Clock())
    for peer in "abc":
        throttle.failed(peer)
        throttle.failed(peer)
    assert throttle.failed("a") == 0, "forgotten"
    assert throttle.failed("c") == 300
    for peer in "xyz":
        for _ in range(3):
            throttle.failed(peer)
    assert [throttle.wait(peer) > 0 for peer in "cxyz"] == [False, False, True, True]


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefg"), st.sampled_from(["failed", "succeeded", "wait"]), st.integers(0, 40))
    )
)
def test_against_a_plain_model(steps: list[tuple[str, str, int]]) -> None:
    clock = Clock()
    throttle = Throttle(LIMITS, clock)
    failures: dict[str, list[float]] = {}
    locked: dict[str, float] = {}
    for peer, what, seconds in steps:
        clock.now += seconds
        if failures.get(peer) and failures[peer][0] + 60 <= clock.now:
            del failures[peer]
        is_locked = locked.get(peer, 0.0) > clock.now
        assert throttle.wait(peer) == (locked[peer] - clock.now if is_locked else 0)
        if is_locked:  # as the guard does: who is locked out is asked for nothing
            continue
        if what == "failed":
            failures.setdefault(peer, []).append(clock.now)
            locks = len(failures[peer]) == 3
            assert throttle.failed(peer) == (300 if locks else 0)
            if locks:
                del failures[peer]
                locked[peer] = clock.now + 300
        elif what == "succeeded":
            throttle.succeeded(peer)
            failures.pop(peer, None)
    clock.now += 301
    assert throttle.wait("a") == 0
    assert len(throttle) == 0, "what has run out is not kept"
    assert not throttle.busy


@given(st.lists(st.text("abcdefghij", min_size=2, max_size=2)))
def test_it_is_bounded(peers: list[str]) -> None:
    throttle = Throttle(LIMITS._replace(peers=5, attempts=2), Clock())
    for peer in peers:
        throttle.failed(peer)
        assert len(throttle) <= 10


def test_what_others_have_seen_counts_and_is_not_told_again() -> None:
    told: list[tuple[str, bool]] = []
    throttle = Throttle(LIMITS, Clock())
    throttle.tell = lambda peer, failed: told.append((peer, failed))
    throttle.failed("a")
    assert throttle.count("a") == 0
    assert throttle.failed("a") == 300, "the third, wherever"
    assert told == [("a", True)] * 2
    throttle.failed("b")
    assert throttle.forgive("b")
    throttle.succeeded("b")
    assert told == [("a", True), ("a", True), ("b", True)], "nothing was left to forgive"
    throttle.failed("b")
    throttle.succeeded("b")
    assert told[3:] == [("b", True), ("b", False)]


def test_another_one_takes_over_what_is_known() -> None:
    clock, later = Clock(), Clock()
    later.now += 5_000  # its own clock
    one, other = Throttle(LIMITS, clock), Throttle(LIMITS, later)
    for peer in ("locked", "locked", "locked", "failed", "failed", "both"):
        one.failed(peer)
    clock.now += 10
    other.failed("both")
    other.failed("both")
    other.failed("own")
    other.adopt(*one.state())
    assert other.wait("locked") == 290
    assert other.failed("failed") == 300
    assert other.failed("both") == 300
    assert other.failed("own") == 0
    fresh = Throttle(LIMITS, later)
    assert not fresh.busy
    fresh.adopt(*one.state())
    assert fresh.busy
    later.now += 50
    assert fresh.failed("failed") == 0, "the window of the first failure is over"
    later.now += 240
    assert fresh.wait("locked") == 0
    small = Throttle(LIMITS._replace(peers=1), later)
    small.adopt({"a": (10.0, 1), "b": (20.0, 1)}, {})
    assert len(small) == 1, "no more than it would remember by itself"
