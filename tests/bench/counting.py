"""Instructions of micro-benchmarks, counted by valgrind's callgrind, or by `perf stat` where that is allowed.

A count does not depend on how busy the machine is, and hardly on which it is.  What is told is the difference of two
runs of different lengths, so that start-up and preparations cancel out, as the mean over some hash seeds.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .benches import BENCHES, REFERENCE

__all__ = ["CountError", "callgrind_total", "count", "perf_count", "tool"]

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 300
"""That one process may take; under valgrind it takes fifty times as long as without."""
MARK = "sched_yield"  # of `counted`


class CountError(Exception):
    """The tool did not count."""


def tool() -> str | None:
    """`callgrind` or `perf`, whichever is there and works; None for neither."""
    if shutil.which("valgrind"):
        return "callgrind"
    if shutil.which("perf"):
        tried = subprocess.run([*_PERF, "true"], capture_output=True, text=True, check=False)
        if perf_count(tried.stderr) is not None:
            return "perf"
    return None


def count(names: Sequence[str], by: str, seeds: int) -> dict[str, float]:
    """Instructions for one operation of each.  Raises CountError."""
    counter = _by_callgrind if by == "callgrind" else _by_perf
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder:
        _run([sys.executable, "-m", "tests.bench.counted", *names, "--only", "short"], folder, 0)  # fills the cache
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = list(pool.map(lambda seed: counter(names, Path(folder), seed), range(seeds)))
    return {name: sum(one[name] for one in found) / seeds for name in names}


def _run(command: Sequence[str], folder: str | Path, seed: int) -> str:
    """What it wrote to stderr."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONHASHSEED": str(seed), "PYTHONPYCACHEPREFIX": str(Path(folder) / "cache")}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise CountError(f"{command[0]} took more than {SECONDS} s") from None
    if done.returncode:
        raise CountError(f"{' '.join(command)} failed with {done.returncode}:\n{done.stderr[-2_000:]}")
    return done.stderr


def _per_operation(name: str, short: int, long: int) -> float:
    one = next(one for one in (*BENCHES, REFERENCE) if one.name == name)
    return (long - short) / (one.rounds[1] - one.rounds[0]) / one.operations


# -- callgrind


def _by_callgrind(names: Sequence[str], folder: Path, seed: int) -> dict[str, float]:
    out = folder / f"callgrind.{seed}"
    valgrind = ["valgrind", "--tool=callgrind", f"--dump-before={MARK}", f"--callgrind-out-file={out}"]
    _run([*valgrind, sys.executable, "-m", "tests.bench.counted", *names], folder, seed)
    # One part up to each mark: preparations, the short run, the long run.
    parts = [callgrind_total(out.with_name(f"{out.name}.{number + 1}")) for number in range(3 * len(names))]
    return {name: _per_operation(name, parts[3 * at + 1], parts[3 * at + 2]) for at, name in enumerate(names)}


def callgrind_total(path: Path) -> int:
    """The instructions that a file of callgrind's tells of.  Raises CountError."""
    found = re.search(r"^totals: (\d+)$", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    if found is None:
        raise CountError(f"{path} holds no totals")
    return int(found[1])


# -- perf

_PERF = ("perf", "stat", "-x", ",", "-e", "instructions:u")


def _by_perf(names: Sequence[str], folder: Path, seed: int) -> dict[str, float]:
    def one(name: str, length: str) -> int:
        told = _run([*_PERF, sys.executable, "-m", "tests.bench.counted", name, "--only", length], folder, seed)
        counted = perf_count(told)
        if counted is None:
            raise CountError(f"perf counts no instructions here: {told.strip()[-200:]}")
        return counted

    return {name: _per_operation(name, one(name, "short"), one(name, "long")) for name in names}


def perf_count(told: str) -> int | None:
    """The instructions that `perf stat -x ,` tells of; None where it could not count them."""
    found = re.search(r"^(\d+),[^,]*,instructions", told, re.MULTILINE)
    return None if found is None else int(found[1])
