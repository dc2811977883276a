"""The command line: `python -m tests.bench.growth`, from the checkout.  Linux only; takes about four minutes."""

from __future__ import annotations

import argparse
import os
import platform
import re
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

from .chart import Line, Panel, svg
from .measuring import Idle, Streams, Turns, fill, idle, streams, turns

__all__ = ["main"]

HERE = Path(__file__).resolve().parent
README = HERE.parents[2] / "README.md"
PICTURE = HERE.with_suffix(".svg")
PAUSE_MS = 200
"""Between the tokens of a paced stream: of 5,000 streams, 25,000 tokens a second, which one processor can do."""
PACED, UNPACED = f"pace-{PAUSE_MS}", "loop"
MARKS = re.compile(r"(<!-- growth: begin -->\n)(.*?)(<!-- growth: end -->)", re.DOTALL)


Figure = TypeVar("Figure", Streams, Idle, Turns)


class Sizes(NamedTuple):
    """`seconds` that a figure is measured for; more where little happens."""

    streams: tuple[int, ...] = (1, 100, 1_000, 5_000)
    connections: tuple[int, ...] = (100, 1_000, 10_000)
    sessions: tuple[int, ...] = (10, 1_000, 100_000)
    seconds: float = 6.0


QUICK = Sizes((1, 20), (10, 50), (10, 200), 0.5)


class Figures(NamedTuple):
    paced: list[Streams]
    unpaced: list[Streams]
    idle: list[Idle]
    turns: list[Turns]


def measure(sizes: Sizes, disk: str | None) -> Figures:
    """All figures; `disk` is a folder on the disk that sessions are to be kept on."""
    figures = Figures([], [], [], [])
    for number in sizes.streams:
        figures.paced.append(told(streams(number, PACED, sizes.seconds)))
        figures.unpaced.append(told(streams(number, UNPACED, sizes.seconds / 2)))
    for number in sizes.connections:
        figures.idle.append(told(idle(number, sizes.seconds)))
    with tempfile.TemporaryDirectory(prefix="gateway-growth-", dir=disk) as folder:
        for number in sizes.sessions:
            store = Path(folder) / f"{number}.db"
            fill(store, number)
            figures.turns.append(told(turns(number, store, sizes.seconds)))
    return figures


def told(figure: Figure) -> Figure:
    """Show that something happens."""
    print(f"{time.strftime('%T')} {figure}", file=sys.stderr, flush=True)
    return figure


def table(figures: Figures) -> Iterator[str]:
    """The lines of three Markdown tables, and what they are of."""
    yield f"{machine()}; `python -m tests.bench.growth` on {datetime.now(UTC):%Y-%m-%d}."
    yield ""
    yield f"| streams at a time | CPU us/token, one in {PAUSE_MS} ms | core use | CPU us/token, as fast as it goes | tokens/s |"
    yield "| ---: | ---: | ---: | ---: | ---: |"
    for one, other in zip(figures.paced, figures.unpaced, strict=True):
        yield f"| {one.number:,} | {one.cpu_us:.1f} | {one.use:.0%} | {other.cpu_us:.1f} | {other.tokens:,.0f} |"
    yield ""
    yield "| idle connections | KiB each | CPU us to accept and answer one request | CPU us each second |"
    yield "| ---: | ---: | ---: | ---: |"
    for at in figures.idle:
        yield f"| {at.number:,} | {at.kib:.2f} | {at.accept_us:.0f} | {at.idle_us:.2f} |"
    yield ""
    yield "| stored sessions | CPU us/turn | turns/s, each on the disk | MiB of disk |"
    yield "| ---: | ---: | ---: | ---: |"
    for turn in figures.turns:
        yield f"| {turn.number:,} | {turn.cpu_us:.0f} | {turn.turns:,.0f} | {turn.file_mib:.1f} |"


def picture(figures: Figures) -> str:
    """The same, to be seen at a glance: what is flat grows linearly in all."""
    paced = Line(f"one in {PAUSE_MS} ms", [(one.number, one.cpu_us) for one in figures.paced])
    unpaced = Line("as fast as it goes", [(one.number, one.cpu_us) for one in figures.unpaced])
    memory = Line("memory, KiB", [(one.number, one.kib) for one in figures.idle])
    accept = Line("accept, us", [(one.number, one.accept_us) for one in figures.idle])
    rest = Line("each second, us", [(one.number, one.idle_us) for one in figures.idle])
    turn = Line("SQLite, kept on disk", [(one.number, one.cpu_us) for one in figures.turns])
    panels = [
        Panel("CPU per token", "concurrent streams", "us", [paced, unpaced]),
        Panel("Memory and CPU per idle connection", "connections", "KiB, us", [memory, accept, rest]),
        Panel("CPU per turn of a session", "stored sessions", "us", [turn]),
    ]
    return svg(
        panels, "Costs of the gateway for each token, connection and turn: where a line is flat, costs are linear."
    )


def machine() -> str:
    """The processor, the system and Python."""
    told = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"^model name\s*: (.*)$", told, re.MULTILINE)
    name = model[1] if model else platform.machine()
    return (
        f"{name}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.growth", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, for some seconds: to see that it works")
    parser.add_argument(
        "--disk", metavar="FOLDER", help="where sessions are kept (default: the system's temporary one)"
    )
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write the picture to this file")
    parser.add_argument(
        "--readme", action="store_true", help="put the tables into README.md, and the picture beside them"
    )
    options = parser.parse_args(arguments)
    if sys.platform != "linux":
        print("the costs of a process are read from /proc, which only Linux has", file=sys.stderr)
        return 2
    sizes = QUICK if options.quick else Sizes()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most < max(*sizes.streams, *sizes.connections) + 200:
        print(f"{most} files may be open, which is too few: see `ulimit -Hn`", file=sys.stderr)
        return 2
    figures = measure(sizes, options.disk)
    text = "\n".join(table(figures)) + "\n"
    print(text)
    if options.readme:
        readme = README.read_text(encoding="utf-8")
        README.write_text(MARKS.sub(lambda found: found[1] + text + found[3], readme), encoding="utf-8")
    target = options.svg or (PICTURE if options.readme else None)
    if target is not None:
        target.write_text(picture(figures), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
