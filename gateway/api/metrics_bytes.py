"""Figures as text: the exposition formats of Prometheus (0.0.4) and of OpenMetrics (1.0).

Sources: https://prometheus.io/docs/instrumenting/exposition_formats/ and
https://prometheus.io/docs/specs/om/open_metrics_spec/.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from math import inf, isnan

from ..model.metrics import Distribution, Family, Labels, Sample

__all__ = ["OPENMETRICS", "TEXT", "exposition", "prefers_openmetrics"]

TEXT = b"text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = b"application/openmetrics-text; version=1.0.0; charset=utf-8"


def exposition(groups: Iterable[tuple[Labels, Sequence[Family]]], *, openmetrics: bool = False) -> bytes:
    """The text.  Each group's labels stand before those of its figures; a family of several groups is told once."""
    families: dict[str, Family] = {}
    samples: dict[str, list[Sample]] = {}
    for labels, group in groups:
        for family in group:
            families.setdefault(family.name, family)
            found = samples.setdefault(family.name, [])
            found += [Sample((*labels, *sample.labels), sample.value) for sample in family.samples]
    lines: list[str] = []
    for name, family in families.items():
        total = f"{name}_total" if family.kind == "counter" else name
        told = name if openmetrics else total
        lines += (f"# HELP {told} {_help(family.help, openmetrics=openmetrics)}", f"# TYPE {told} {family.kind}")
        for sample in samples[name]:
            lines += _lines(total, sample)
    if openmetrics:
        lines.append("# EOF")
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


def prefers_openmetrics(accept: bytes) -> bool:
    """Whether the value of an Accept header asks for OpenMetrics, at least as much as for plain text."""
    weights = {b"application/openmetrics-text": 0.0, b"text/plain": 0.0}
    for element in accept.split(b","):
        kind, *parameters = (part.strip().lower() for part in element.split(b";"))
        if kind in weights:
            weights[kind] = max(weights[kind], _weight(parameters))
    asked, plain = weights.values()
    return asked > 0 and asked >= plain


def _weight(parameters: list[bytes]) -> float:
    """RFC 9110, 12.4.2; 0 for what is none."""
    given = next((value for name, _, value in (one.partition(b"=") for one in parameters) if name == b"q"), b"1")
    try:
        weight = float(given)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0


def _lines(name: str, sample: Sample) -> Iterator[str]:
    labels, value = sample
    if not isinstance(value, Distribution):
        yield f"{name}{_labels(labels)} {_number(value)}"
        return
    counts = list(accumulate(value.counts))
    for bound, count in zip((*value.bounds, inf), counts, strict=True):
        yield f"{name}_bucket{_labels((*labels, ('le', _number(float(bound)))))} {count}"
    yield f"{name}_sum{_labels(labels)} {_number(value.total)}"
    yield f"{name}_count{_labels(labels)} {counts[-1]}"


def _labels(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _help(text: str, *, openmetrics: bool) -> str:
    return _escaped(text) if openmetrics else text.replace("\\", "\\\\").replace("\n", "\\n")


def _number(value: float) -> str:
    """As Go reads it: `+Inf`, `-Inf` and `NaN` for what is no number."""
    if isnan(value):
        return "NaN"
    if value in {inf, -inf}:
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)
