"""The instructions of the hottest paths that were accepted last, and the check that nobody has made them dearer."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["FILE", "MOST", "Accepted", "Verdict", "build", "judge", "read", "write"]

FILE = Path(__file__).with_name("accepted.json")
MOST = 0.10
"""By how much a path may get dearer.  Counts of one program differ by less than a hundredth from run to run."""


class Accepted(NamedTuple):
    """What was accepted for one minor version of Python, counted by one tool.

    `build` tells which Python it was exactly; `reference` are the instructions of what does not change with the
    gateway, by which those of another build can be compared.
    """

    date: str
    commit: str
    build: str
    reference: float
    instructions: Mapping[str, float]


class Verdict(NamedTuple):
    """`accepted` is what was accepted, as this build of Python would have it."""

    name: str
    now: float
    accepted: float

    @property
    def change(self) -> float:
        """0.1 for a tenth more."""
        return self.now / self.accepted - 1

    @property
    def good(self) -> bool:
        return self.change <= MOST


def build() -> str:
    """Which Python this is: another compiler makes other instructions of it."""
    return f"{platform.python_implementation()} {' '.join(sys.version.split())}, {platform.machine()}"


def _key() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def read(tool: str, path: Path = FILE) -> Accepted | None:
    """What was accepted for this version of Python; None where nothing was."""
    found = _all(path).get(_key(), {}).get(tool)
    return None if found is None else Accepted(**found)


def write(tool: str, reference: float, instructions: Mapping[str, float], path: Path = FILE) -> None:
    """Accept new figures for this version of Python."""
    everything = _all(path)
    rounded = {name: round(value, 1) for name, value in instructions.items()}
    made = Accepted(f"{datetime.now(UTC):%Y-%m-%d}", _commit(), build(), round(reference, 1), rounded)
    everything.setdefault(_key(), {})[tool] = made._asdict()
    path.write_text(json.dumps(everything, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def judge(accepted: Accepted, instructions: Mapping[str, float], reference: float | None = None) -> list[Verdict]:
    """One verdict for each path.  `reference` is needed where this is another build than that of the figures."""
    scale = 1.0 if reference is None else reference / accepted.reference
    return [Verdict(name, now, accepted.instructions[name] * scale) for name, now in instructions.items()]


def _all(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def _commit() -> str:
    """The commit that the figures are of, or rather the one before."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=FILE.parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
