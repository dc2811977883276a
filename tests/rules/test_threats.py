"""The threat model says nothing that no test shows."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from readme_tables import ROOT, limits

TEXT = (ROOT / "gateway" / "THREATS.md").read_text(encoding="utf-8")
TESTS = ROOT / "tests"
CLAIMED = re.findall(r"^\| (.+) \| (.+) \| (.+) \|$", TEXT, re.MULTILINE)
ROWS = [row for row in CLAIMED if row[2] not in {"Shown by", "---"}]
REFERENCE = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


@cache
def functions_of(path: Path) -> frozenset[str]:
    """The test functions of a file, as pytest collects them."""
    if not path.is_file():
        return frozenset()
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return frozenset(node.name for node in body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"))


def test_there_are_rows() -> None:
    assert len(ROWS) > 40


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_each_line_names_tests_that_exist(row: tuple[str, str, str]) -> None:
    named = REFERENCE.findall(row[2])
    assert named, "name the tests that show it"
    assert not REFERENCE.sub("", row[2]).strip(), "write each as `server/test_secure.py::test_name`"
    missing = [f"{file}::{name}" for file, name in named if name not in functions_of(TESTS / file)]
    assert not missing, f"there are no such tests: {missing}"


def test_every_limit_is_spoken_of() -> None:
    names = re.findall(r"^\| `(\w+)` \|", limits(), re.MULTILINE)
    assert len(names) > 20
    silent = [name for name in names if f"`{name}`" not in TEXT]
    assert not silent, f"say in gateway/THREATS.md what {silent} stop, or that they defend nothing"
