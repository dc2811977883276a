"""What is counted, as it travels from who counts to who is told."""

from __future__ import annotations

from typing import TypeAlias

from ..records import NamedTuple

__all__ = ["Distribution", "Family", "Labels", "Sample", "Series"]

Labels: TypeAlias = tuple[tuple[str, str], ...]
"""Names and values."""


class Distribution(NamedTuple):
    """How often a value was up to each of `bounds`, and above the one before; in the end, above the last one.

    `counts` is one longer than `bounds`; `total` is the sum of all values.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float


class Sample(NamedTuple):
    """One figure."""

    labels: Labels
    value: float | Distribution


class Series(NamedTuple):
    """What figures there are of one name, and by which labels.

    `kind`: `counter`, `gauge` or `histogram`.  Counters are named here without the `_total` that they are told with.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


class Family(NamedTuple):
    """The figures of one name, with the members of its `Series`."""

    name: str
    kind: str
    help: str
    samples: tuple[Sample, ...]
