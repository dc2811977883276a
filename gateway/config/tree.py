"""A configuration as it was written: values that know their file, line and column.

Place      where something was written
Node       a value and its place; objects hold nodes by key, arrays hold nodes
Problem    a line about a fault, and what it is made of
merge      one tree laid over another
show_path  a path as people write it: `agents.list[2].id`
"""

from __future__ import annotations

import json
import re
from typing import Any, Self, TypeAlias

from ..records import NamedTuple

__all__ = ["NO_INDEX", "Key", "Node", "Path", "Place", "Problem", "merge", "show_path"]

Key: TypeAlias = str | int
Path: TypeAlias = tuple[Key, ...]
"""Keys and indexes, from the root."""

_BARE_KEY = r"[A-Za-z_$][A-Za-z0-9_$-]*"

NO_INDEX = -1
"""An index of a path that stands for any element; shown as `[]`."""


class Place(NamedTuple):
    """`line` and `column` count from 1; line 0 is something that was not read from a file."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


class Node(NamedTuple):
    """`value` is a scalar, a dict of nodes or a list of nodes.  `key_place` is that of the key, if it has one."""

    value: Any
    place: Place
    key_place: Place


class Problem(str):
    """`FILE:LINE:COLUMN: path: message`, as text; for programs its parts as well."""

    __slots__ = ("message", "path", "place")

    place: Place
    path: Path
    message: str

    def __new__(cls, place: Place, path: Path, message: str) -> Self:
        shown = show_path(path)
        problem = super().__new__(cls, f"{place}: {shown}: {message}" if shown else f"{place}: {message}")
        problem.place = place
        problem.path = path
        problem.message = message
        return problem


def merge(under: Node, over: Node) -> Node:
    """Objects member by member, arrays one after the other; of anything else `over` stays."""
    if isinstance(under.value, dict) and isinstance(over.value, dict):
        members = dict(under.value)
        for key, member in over.value.items():
            members[key] = merge(members[key], member) if key in members else member
        return Node(members, over.place, over.key_place)
    if isinstance(under.value, list) and isinstance(over.value, list):
        return Node([*under.value, *over.value], over.place, over.key_place)
    return over


def show_path(path: Path) -> str:
    shown = "".join(_show_key(key) for key in path)
    return shown.removeprefix(".")


def _show_key(key: Key) -> str:
    if isinstance(key, int):
        return "[]" if key == NO_INDEX else f"[{key}]"
    return f".{key}" if re.fullmatch(_BARE_KEY, key) else f"[{json.dumps(key)}]"
