"""The command line: `python -m tests.bench`, from the checkout."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from time import perf_counter_ns

from . import accepted
from .accepted import MOST, Verdict
from .benches import BENCHES, HOT, REFERENCE, Bench
from .counting import CountError, count, tool

__all__ = ["main"]

REPETITIONS = 5
REPETITION_SECONDS = 0.03
"""Long enough for a clock, and short enough to fall between two interruptions now and then."""
NO_TOOL = "instructions are not counted: valgrind is not installed, and perf may not count"


def nanoseconds(one: Bench) -> float:
    """For one operation: the best of some repetitions."""
    with one.make() as run:
        run(1)
        began = perf_counter_ns()
        run(one.rounds[0])
        once = (perf_counter_ns() - began) / one.rounds[0]
        rounds = max(1, int(REPETITION_SECONDS * 1e9 / once))
        best = once
        gc.collect()
        for _ in range(REPETITIONS):
            began = perf_counter_ns()
            run(rounds)
            best = min(best, (perf_counter_ns() - began) / rounds)
    return best / one.operations


def table(benches: Sequence[Bench], counted: dict[str, float]) -> Iterable[str]:
    """The lines of a Markdown table."""
    yield f"| benchmark | explains | ns (best of {REPETITIONS}) | instructions |"
    yield "| --- | --- | ---: | ---: |"
    for one in benches:
        instructions = f"{counted[one.name]:,.0f}" if one.name in counted else ""
        yield f"| {one.name} | {one.explains} | {nanoseconds(one):,.0f} | {instructions} |"


def show(only: str | None, counts: bool) -> int:
    """Print the table."""
    benches = [one for one in BENCHES if only is None or only in one.name]
    if not benches:
        print(f"there is no benchmark with {only!r} in its name", file=sys.stderr)
        return 2
    by = tool() if counts else None
    if counts and by is None:
        print(NO_TOOL, file=sys.stderr)
    counted = {} if by is None else count([one.name for one in benches], by, seeds=1)
    for line in table(benches, counted):
        print(line, flush=True)
    if counted:
        print(f"\nInstructions of {accepted.build()}, by {by}.")
    return 0


def hot(only: str | None) -> list[str]:
    """The names of the paths that are held to accepted figures."""
    return [name for name in HOT if only is None or name == only]


def check(only: str | None, seeds: int, file: Path) -> int:
    """Compare the hot paths with what was accepted; 1 where one has got too dear."""
    by = tool()
    if by is None:
        print(f"{NO_TOOL}. Nothing was checked.")
        return 0
    figures = accepted.read(by, file)
    if figures is None:
        print(
            f"no figures of {by} were accepted for this version of Python. Nothing was checked; --accept writes some."
        )
        return 0
    other = figures.build != accepted.build()
    if other:
        print(f"The figures are of {figures.build}, and are scaled to this one by what both need for the same work.")
    counted = count([*hot(only), REFERENCE.name] if other else hot(only), by, seeds)
    reference = counted.pop(REFERENCE.name, None)
    verdicts = accepted.judge(figures, counted, reference)
    print(f"Instructions by {by}, against those accepted on {figures.date} ({figures.commit}):")
    for verdict in verdicts:
        print(_line(verdict))
    return 0 if all(verdict.good for verdict in verdicts) else 1


def _line(verdict: Verdict) -> str:
    told = f"{verdict.name}: {verdict.now:,.0f}, accepted {verdict.accepted:,.0f} ({verdict.change:+.1%})"
    if not verdict.good:
        return f"FAILED {told}: more than {MOST:.0%} dearer. Make it cheaper, or accept it with a reason (--accept)"
    if verdict.change < -MOST:
        return f"ok     {told}: accept the new figure (--accept), so that the next step back shows"
    return f"ok     {told}"


def accept(only: str | None, seeds: int, file: Path) -> int:
    """Write what the hot paths need now."""
    by = tool()
    if by is None:
        print(f"{NO_TOOL}. Nothing was accepted.", file=sys.stderr)
        return 1
    counted = count([*hot(only), REFERENCE.name], by, seeds)
    accepted.write(by, counted.pop(REFERENCE.name), counted, file)
    for name, value in counted.items():
        print(f"{name}: {value:,.0f}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Micro-benchmarks of the gateway.")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="compare the hot paths with the accepted figures")
    choice.add_argument("--accept", action="store_true", help="accept what the hot paths need now")
    parser.add_argument("--only", metavar="NAME", help="benchmarks with this in their name; of the hot paths, this one")
    parser.add_argument("--no-counts", action="store_true", help="times only, which takes some seconds")
    parser.add_argument("--seeds", type=int, default=2, help="hash seeds to take the mean of (default: %(default)s)")
    parser.add_argument("--file", type=Path, default=accepted.FILE, help="of the figures (default: accepted.json here)")
    options = parser.parse_args(arguments)
    try:
        if options.accept:
            return accept(options.only, options.seeds, options.file)
        if options.check:
            return check(options.only, options.seeds, options.file)
        return show(options.only, not options.no_counts)
    except CountError as error:
        print(f"instructions could not be counted: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
