"""Sessions that were read lately."""

from __future__ import annotations

from gateway.model.session import Session
from gateway.sessions.cache import Cache, Cached


def one(size: int, used: int = 1) -> Cached:
    return Cached((1, used), Session(trimmed=bool(size)), size)


def test_only_the_state_that_was_asked_for() -> None:
    cache = Cache()
    assert cache.get("a", (1, 1)) is None
    cache.put("a", one(5))
    assert cache.get("a", (1, 1)) == one(5)
    assert cache.get("a", (1, 2)) is None
    assert cache.get("a", (2, 1)) is None
    cache.put("a", one(7, used=2))
    assert cache.get("a", (1, 1)) is None
    assert cache.get("a", (1, 2)) == one(7, used=2)


def test_its_number_is_bounded() -> None:
    cache = Cache(sessions=2)
    for key in "ab":
        cache.put(key, one(1))
    assert cache.get("a", (1, 1))
    cache.put("c", one(1))
    assert [key for key in "abc" if cache.get(key, (1, 1))] == ["a", "c"]


def test_its_size_is_bounded() -> None:
    cache = Cache(size=100)
    for key in "abc":
        cache.put(key, one(40))
    assert [key for key in "abc" if cache.get(key, (1, 1))] == ["b", "c"]
    cache.put("b", one(10))
    cache.put("d", one(50))
    assert [key for key in "abcd" if cache.get(key, (1, 1))] == ["b", "c", "d"]
    cache.put("e", one(101))
    assert not [key for key in "abcde" if cache.get(key, (1, 1))], "what does not fit is not kept"
    cache.put("f", one(100))
    assert cache.get("f", (1, 1))
