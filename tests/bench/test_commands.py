"""The commands that are written down for people are there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "tests/bench/README.md")]
COMMANDS = sorted(
    {
        line.partition("#")[0].strip()
        for text in TEXTS
        for line in re.findall(r"^python -m tests\.bench.*$", text, re.MULTILINE)
    }
)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_their_options_are_known(command: str) -> None:
    done = run(*shlex.split(command)[1:], "--help")
    assert done.returncode == 0, done.stderr
    for option in re.findall(r"--[a-z-]+", command):
        assert option in done.stdout


def test_there_are_some() -> None:
    assert len(COMMANDS) >= 5


def test_the_table_of_times() -> None:
    done = run("-m", "tests.bench", "--no-counts", "--only", "guard")
    assert done.returncode == 0, done.stderr
    head, _, row = done.stdout.splitlines()
    assert head.startswith("| benchmark | explains | ns ")
    name, explains, nanoseconds, instructions = (cell.strip() for cell in row.strip("|").split("|"))
    assert (name, explains, instructions) == ("guard and routing", "W1 W2 W5", "")
    assert int(nanoseconds.replace(",", "")) > 50


def test_a_name_that_is_none() -> None:
    done = run("-m", "tests.bench", "--no-counts", "--only", "nothing like it")
    assert done.returncode == 2
    assert "there is no benchmark" in done.stderr
