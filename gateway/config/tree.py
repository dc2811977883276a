"""A configuration as it was written: values that know their file, line and column.

Place      where something was written
Node       a value and its place; objects hold nodes by key, arrays hold nodes
build      a Document of `json5` as nodes
merge      one tree laid over another
show_path  a path as people write it: `agents.list[2].id`
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from .json5 import Document, Key, Mark, Path

__all__ = ["NO_INDEX", "Node", "Place", "build", "merge", "show_path"]

_BARE_KEY = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]*")

NO_INDEX = -1
"""An index of a path that stands for any element; shown as `[]`."""


class Place(NamedTuple):
    """`line` and `column` count from 1; line 0 is something that was not read from a file."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Node:
    """`value` is a scalar, a dict of nodes or a list of nodes.  `key_place` is that of the key, if it has one."""

    value: Any
    place: Place
    key_place: Place


def build(document: Document, file: str) -> Node:
    """The nodes of a document.  Recursion: the reader's nesting limit must be well below Python's."""

    def node(value: Any, mark: Mark) -> Node:
        inner = mark.inner or {}
        if isinstance(value, dict):
            value = {key: node(member, inner[key]) for key, member in value.items()}
        elif isinstance(value, list):
            value = [node(item, inner[index]) for index, item in enumerate(value)]
        return Node(value, Place(file, *document.place(mark.value)), Place(file, *document.place(mark.key)))

    return node(document.value, document.root)


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
    return f".{key}" if _BARE_KEY.fullmatch(key) else f"[{json.dumps(key)}]"
