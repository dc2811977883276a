"""The check of instruction counts can fail, and the tools' outputs are read as they are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from . import accepted
from .accepted import MOST, Accepted, judge
from .benches import BENCHES, HOT
from .counting import CountError, callgrind_total, perf_count

ROOT = Path(__file__).resolve().parents[2]

SLOWED = """
import gateway.api.chat_bytes as module

real = module.completion

def slow(*arguments, **options):
    for _ in range(20):
        repr(arguments)
    return real(*arguments, **options)

module.completion = slow
"""
"""Runs before anything else does, as `sitecustomize`: the answer of a completion is shown twenty times besides."""


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind, which counts, is not installed")
@pytest.mark.timeout(240)
def test_a_slower_path_is_caught(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLOWED, encoding="utf-8")

    def bench(what: str, *path: Path) -> subprocess.CompletedProcess[str]:
        options = ["--only", HOT[0], "--seeds", "1", "--file", str(tmp_path / "accepted.json")]
        return subprocess.run(
            [sys.executable, "-m", "tests.bench", what, *options],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
            capture_output=True,
            text=True,
            check=False,
        )

    taken = bench("--accept", ROOT)
    assert taken.returncode == 0, taken.stderr
    slower = bench("--check", tmp_path, ROOT)
    assert (slower.returncode, f"FAILED {HOT[0]}: " in slower.stdout) == (1, True), slower.stdout + slower.stderr


def figures(**instructions: float) -> Accepted:
    return Accepted("2026-01-01", "abc", "some build", 1_000.0, instructions)


def test_a_tenth_more_is_borne_and_not_more() -> None:
    assert [verdict.good for verdict in judge(figures(one=100.0), {"one": 109.9})] == [True]
    assert [verdict.good for verdict in judge(figures(one=100.0), {"one": 110.1})] == [False]
    assert [verdict.good for verdict in judge(figures(one=100.0), {"one": 10.0})] == [True]


def test_another_build_is_compared_by_what_it_needs_for_the_same_work() -> None:
    [verdict] = judge(figures(one=100.0), {"one": 150.0}, reference=1_400.0)
    assert verdict.accepted == pytest.approx(140.0)
    assert verdict.good
    assert not judge(figures(one=100.0), {"one": 160.0}, reference=1_400.0)[0].good


def test_a_path_without_a_figure_is_a_fault() -> None:
    with pytest.raises(KeyError):
        judge(figures(one=100.0), {"two": 1.0})


def test_figures_are_kept_for_each_version_and_tool(tmp_path: Path) -> None:
    path = tmp_path / "accepted.json"
    assert accepted.read("perf", path) is None
    accepted.write("perf", 10.0, {"one": 1.0}, path)
    accepted.write("callgrind", 20.0, {"one": 2.0}, path)
    accepted.write("perf", 30.0, {"one": 3.0}, path)
    found = [accepted.read(name, path) for name in ("perf", "callgrind")]
    assert [(one.reference, one.instructions) for one in found if one] == [(30.0, {"one": 3.0}), (20.0, {"one": 2.0})]
    assert [one.build for one in found if one] == [accepted.build()] * 2


def test_the_accepted_figures_are_of_the_hot_paths() -> None:
    named = {one.name for one in BENCHES}
    assert set(HOT) <= named
    for tools in accepted._all(accepted.FILE).values():
        for one in tools.values():
            assert set(Accepted(**one).instructions) == set(HOT)
            assert all(count > 1_000 for count in one["instructions"].values())


def test_what_callgrind_writes(tmp_path: Path) -> None:
    (tmp_path / "out.1").write_text(
        "# callgrind format\nevents: Ir\nsummary: 17\n\ntotals: 1354551\n", encoding="utf-8"
    )
    assert callgrind_total(tmp_path / "out.1") == 1_354_551
    (tmp_path / "out.2").write_text("# callgrind format\n", encoding="utf-8")
    with pytest.raises(CountError, match="no totals"):
        callgrind_total(tmp_path / "out.2")


def test_what_perf_writes() -> None:
    assert perf_count("a warning\n123456789,,instructions:u,1000,100.00,,\n") == 123_456_789
    assert perf_count("<not supported>,,instructions:u,0,100.00,,\n") is None
    assert perf_count("") is None
    assert MOST == 0.1


def test_where_nothing_counts_nothing_is_checked(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--check"],
        cwd=ROOT,
        env={**os.environ, "PATH": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "instructions are not counted: valgrind is not installed, and perf may not count. Nothing was checked.\n"
    )
