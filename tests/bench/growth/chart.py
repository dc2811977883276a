"""Panels of lines on two logarithmic axes, as SVG: readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import ceil, floor, log10
from typing import NamedTuple

__all__ = ["Line", "Panel", "svg"]

WIDTH, HEIGHT, GAP = 300, 200, 64
LEFT, TOP, BOTTOM = 52, 44, 96
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

STYLE = """
text { font: 11px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 12px }
.grid { stroke: #d0d7de; stroke-width: 1 }
.frame { stroke: #57606a; stroke-width: 1; fill: none }
.line { fill: none; stroke-width: 2 }
.s0 { stroke: #0550ae } .d0 { fill: #0550ae }
.s1 { stroke: #bc4c00 } .d1 { fill: #bc4c00 }
.s2 { stroke: #1a7f37 } .d2 { fill: #1a7f37 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .grid { stroke: #30363d } .frame { stroke: #8b949e }
  .s0 { stroke: #79c0ff } .d0 { fill: #79c0ff }
  .s1 { stroke: #ffa657 } .d1 { fill: #ffa657 }
  .s2 { stroke: #7ee787 } .d2 { fill: #7ee787 }
}
"""


class Line(NamedTuple):
    """`points` are pairs of positive numbers; others cannot stand on such axes, and are left out."""

    name: str
    points: Sequence[tuple[float, float]]


class Panel(NamedTuple):
    """`across` and `up` name the axes, with their units.  Three lines at most."""

    title: str
    across: str
    up: str
    lines: Sequence[Line]


class _Axis(NamedTuple):
    """From one power of ten to another."""

    first: int
    last: int

    def part(self, value: float) -> float:
        """Where a value stands: 0 at the beginning, 1 at the end."""
        return (log10(value) - self.first) / (self.last - self.first)


def svg(panels: Sequence[Panel], caption: str) -> str:
    """The picture; `caption` is for those who cannot see it, too."""
    width = LEFT + len(panels) * (WIDTH + GAP)
    height = TOP + HEIGHT + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(caption)}">',
        f"<style>{STYLE}</style>",
        *(_panel(panel, LEFT + number * (WIDTH + GAP)) for number, panel in enumerate(panels)),
        f'<text x="{LEFT}" y="{height - 8}">{escape(caption)}</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _panel(panel: Panel, left: float) -> str:
    points = [point for line in panel.lines for point in _shown(line)]
    across, up = (_axis([point[number] for point in points]) for number in (0, 1))
    parts = [f'<text class="title" x="{left}" y="{TOP - 26}">{escape(panel.title)}</text>']
    parts += [f'<text x="{left}" y="{TOP - 8}">{escape(panel.up)}</text>']
    for power in range(across.first, across.last + 1):
        x = left + WIDTH * across.part(10**power)
        parts.append(_grid(x, TOP, x, TOP + HEIGHT))
        parts.append(f'<text x="{x:.1f}" y="{TOP + HEIGHT + 16}" text-anchor="middle">{_number(power)}</text>')
    for power in range(up.first, up.last + 1):
        y = TOP + HEIGHT * (1 - up.part(10**power))
        parts.append(_grid(left, y, left + WIDTH, y))
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{_number(power)}</text>')
    parts.append(f'<rect class="frame" x="{left}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}"/>')
    middle = left + WIDTH / 2
    parts.append(f'<text x="{middle:.1f}" y="{TOP + HEIGHT + 32}" text-anchor="middle">{escape(panel.across)}</text>')
    for number, line in enumerate(panel.lines):
        places = [(left + WIDTH * across.part(x), TOP + HEIGHT * (1 - up.part(y))) for x, y in _shown(line)]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline class="line s{number}" points="{joined}"/>')
        parts += [f'<circle class="d{number}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places]
        x = left + number * WIDTH / len(panel.lines)
        y = TOP + HEIGHT + 52
        parts.append(f'<line class="line s{number}" x1="{x:.1f}" y1="{y - 4}" x2="{x + 14:.1f}" y2="{y - 4}"/>')
        parts.append(f'<text x="{x + 19:.1f}" y="{y}">{escape(line.name)}</text>')
    return "\n".join(parts)


def _grid(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="grid" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _shown(line: Line) -> list[tuple[float, float]]:
    return [(x, y) for x, y in line.points if x > 0 and y > 0]


def _axis(values: Sequence[float]) -> _Axis:
    """Whole powers of ten around the values, three of them at least: what is nearly flat is to look so."""
    first, last = floor(log10(min(values))), ceil(log10(max(values)))
    return _Axis(first, max(last, first + 2))


def _number(power: int) -> str:
    return f"{10**power:,}" if 0 <= power <= 5 else f"10{str(power).translate(SUPERSCRIPTS)}"
