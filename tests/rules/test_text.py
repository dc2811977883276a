"""What no file of the project contains."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SKIP = {".git", ".venv", "__pycache__", "build", "dist", "node_modules"}

# Spelled with a class in each, so that this file does not match itself.
TO_DO = re.compile(r"\b(TO[D]O|FIX[M]E|X[X]X|HA[C]K)\b")
MACHINE = re.compile(r"(?<![\w.~])(/wor[k]/|/hom[e]/\w|/User[s]/\w|/roo[t]/|/tm[p]/dev\b|[A-Z]:\\User[s])")
ERRAND = re.compile(
    r"\b((this|next|later|previous) issu[e]|desig[n](\.md|, section)|styl[e]\.md|the brie[f])\b", re.IGNORECASE
)


def lines() -> Iterator[tuple[str, str]]:
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in SKIP and not name.endswith(("_cache", ".egg-info"))]
        folders[:] = [name for name in folders if name != ".hypothesis"]
        for name in (name for name in names if name not in SKIP):  # `.git` is a file in a linked worktree
            path = Path(folder, name)
            try:
                text = path.read_text(encoding="utf-8")
            except (UnicodeDecodeError, FileNotFoundError):  # binary, or a socket or temporary file that has gone
                continue
            for number, line in enumerate(text.splitlines(), 1):
                yield f"{path.relative_to(ROOT)}:{number}", line


def found(pattern: re.Pattern[str]) -> list[str]:
    return [f"{place}: {match[0]}" for place, line in lines() if (match := pattern.search(line))]


def test_no_notes_to_self() -> None:
    wrong = found(TO_DO)
    assert not wrong, "\n".join([*wrong, "Do it now, or open an issue: a note in the code is read by nobody."])


def test_no_machine_paths() -> None:
    wrong = found(MACHINE)
    assert not wrong, "\n".join(
        [*wrong, "A path of one machine is wrong on all others: use tmp_path or a relative path."]
    )


def test_no_references_to_the_errand() -> None:
    wrong = found(ERRAND)
    assert not wrong, "\n".join(
        [*wrong, "Readers have the code, not the errand it was written on: say the reason itself."]
    )
