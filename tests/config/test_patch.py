"""Patches: cases in tests/data/config/patches.txt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.config.json5 import loads
from gateway.config.patch import lost_entries, merge_patch, replaced_paths

CASES = Path(__file__).parents[1] / "data" / "config" / "patches.txt"


def never(_: str) -> bool:
    return False


def cases() -> list[Any]:
    _, *texts = CASES.read_text(encoding="utf-8").split("=== ")
    found = []
    for text in texts:
        title, before, patch, after, loses = text.replace("\n--- loses", "\n--- ").replace("--- ", "").splitlines()
        found.append(pytest.param(loads(before), loads(patch), loads(after), loses.split(), id=title))
    return found


@pytest.mark.parametrize(("value", "patch", "merged", "loses"), cases())
def test_cases(value: Any, patch: Any, merged: Any, loses: list[str]) -> None:
    found = merge_patch(value, patch, never)
    assert found == merged
    assert [*lost_entries(value, patch, found)] == loses


def test_arrays_that_are_named_are_replaced() -> None:
    value = {"list": [{"id": "a", "tools": [{"id": "t"}]}, {"id": "b"}]}
    patch = {"list": [{"id": "a", "tools": [{"id": "u"}]}]}
    assert merge_patch(value, patch, replaced_paths(["list"]).__contains__) == patch
    inner = replaced_paths(["list[0].tools"])
    assert inner == {"list[].tools"}
    assert merge_patch(value, patch, inner.__contains__)["list"] == [patch["list"][0], {"id": "b"}]
    assert replaced_paths([" list[] "]) == {"list"}


def test_elements_of_one_id_cannot_be_told_apart() -> None:
    twice = [{"id": "a"}, {"id": "a"}]
    for value, patch in (([{"id": "a"}], twice), (twice, [{"id": "b"}])):
        with pytest.raises(ValueError, match="replacePaths"):
            merge_patch({"list": value}, {"list": patch}, never)
