"""What counts: with as many label values as are allowed, and no more."""

from __future__ import annotations

from gateway.tallies import OTHER, SECONDS, Counter, Histogram


def test_numbers_grow() -> None:
    counter = Counter()
    counter.add(("a",))
    counter.add(("a",), 2)
    counter.add(("b",), 0.5)
    assert counter.values == {("a",): 3, ("b",): 0.5}


def test_later_values_count_together() -> None:
    counter, histogram = Counter(2), Histogram((1.0,), 2)
    for name in "abcda":
        counter.add((name, "x"))
        histogram.observe((name, "x"), 0.5)
    assert counter.values == {("a", "x"): 2, ("b", "x"): 1, (OTHER, OTHER): 2}
    assert histogram.values == {("a", "x"): [2, 0, 1.0], ("b", "x"): [1, 0, 0.5], (OTHER, OTHER): [2, 0, 1.0]}


def test_a_bound_belongs_to_what_is_below_it() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.0, 1.0, 1.5, 2.0, 2.5, 100.0):
        histogram.observe((), value)
    told = histogram.distribution(*histogram.values.values())
    assert (told.bounds, told.counts, told.total) == ((1.0, 2.0), (2, 2, 2), 107.0)


def test_cells_are_added() -> None:
    histogram = Histogram((1.0,))
    for key, value in (("a", 0.5), ("b", 3.0), ("b", 4.0)):
        histogram.observe((key,), value)
    assert histogram.distribution(*histogram.values.values()) == ((1.0,), (1, 2), 7.5)
    assert histogram.distribution() == ((1.0,), (0, 0), 0)


def test_the_bounds_for_times_grow() -> None:
    assert sorted(set(SECONDS)) == list(SECONDS)
