"""Counters and histograms, for each of a limited number of label values."""

from __future__ import annotations

from bisect import bisect_left
from typing import Generic, TypeAlias, TypeVar

from .model.metrics import Distribution

__all__ = ["MOST", "OTHER", "SECONDS", "Cell", "Counter", "Histogram", "Key"]

MOST = 200
"""Values of a label, or combinations of them, that are told apart; those that come later count together.  A scrape
stays below a megabyte with that, and who keeps the figures is not flooded with series."""

OTHER = "other"
"""The value of those beyond."""

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Bounds for times: from an answer out of memory to an agent that works for minutes."""

Key: TypeAlias = tuple[str, ...]
"""Values of the labels, in their order."""
Cell: TypeAlias = list[float]
"""The counts of a histogram, and in the end the sum."""
_Value = TypeVar("_Value")


class _Bounded(Generic[_Value]):
    """Values by key, of which there are at most `most`, and one for those beyond."""

    __slots__ = ("_most", "values")

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self.values: dict[Key, _Value] = {}

    def _admitted(self, key: Key) -> Key:
        """The key under which a new one is to be counted."""
        return key if len(self.values) < self._most else (OTHER,) * len(key)


class Counter(_Bounded[float]):
    """Numbers that only grow."""

    __slots__ = ()

    def add(self, key: Key, amount: float = 1) -> None:
        """Count it."""
        if key not in self.values:
            key = self._admitted(key)
        self.values[key] = self.values.get(key, 0) + amount


class Histogram(_Bounded[Cell]):
    """How often values were how large.

    Who observes most often asks for the `cell` once, and adds to it by itself: `cell[bisect_left(bounds, value)] += 1`
    and `cell[-1] += value`.
    """

    __slots__ = ("bounds",)

    def __init__(self, bounds: tuple[float, ...] = SECONDS, most: int = MOST) -> None:
        super().__init__(most)
        self.bounds = bounds

    def cell(self, key: Key) -> Cell:
        """Where values of this key are added."""
        found = self.values.get(key)
        if found is None:
            key = self._admitted(key)
            found = self.values.get(key)
            if found is None:
                found = self.values[key] = [0] * (len(self.bounds) + 2)
        return found

    def observe(self, key: Key, value: float) -> None:
        """Count a value."""
        cell = self.cell(key)
        cell[bisect_left(self.bounds, value)] += 1
        cell[-1] += value

    def distribution(self, *cells: Cell) -> Distribution:
        """Several cells together."""
        sums = [sum(column) for column in zip(*cells, strict=True)] or [0] * (len(self.bounds) + 2)
        return Distribution(self.bounds, tuple(int(count) for count in sums[:-1]), sums[-1])
