"""Values of JSON for people: an outline, indented, without a single brace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .console import legible

__all__ = ["outline"]

MAX_DEPTH = 100
"""Deeper than any answer of a gateway; what is below is left out."""


def outline(value: Any, depth: int = 0) -> Iterator[str]:
    """Lines; a member of an object is `name: value`, one of an array begins with `- `."""
    if isinstance(value, dict) and value and depth < MAX_DEPTH:
        for name, member in value.items():
            yield from _member(f"{legible(name)}:", member, depth)
    elif isinstance(value, list) and value and depth < MAX_DEPTH:
        for member in value:
            first, *rest = outline(member, depth + 1)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
    else:
        yield from _plain(value)


def _member(name: str, value: Any, depth: int) -> Iterator[str]:
    lines = list(outline(value, depth + 1))
    if (isinstance(value, dict | list) and value) or len(lines) > 1:
        yield name
        yield from (f"  {line}" for line in lines)
    else:
        yield f"{name} {lines[0]}".rstrip()


def _plain(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield from map(legible, value.split("\n"))
        case dict() | list():
            yield "..." if value else "none"
        case None:
            yield "none"
        case _:
            yield json.dumps(value)
