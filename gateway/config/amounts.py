"""Counts and times as options."""

from __future__ import annotations

from typing import Any

from .fields import Integer, option

__all__ = ["DAY_MS", "GIB", "count", "milliseconds"]


DAY_MS = 86_400_000
GIB = 1 << 30


def count(default: int, help: str, least: int = 1, most: int = 1_000_000) -> Any:  # noqa: A002 - as in `option`
    return option(default, help, Integer(least, most))


def milliseconds(default: int, help: str, least: int = 0) -> Any:  # noqa: A002 - as in `option`
    return option(default, f"{help} In milliseconds; 0 for no limit." if least == 0 else help, Integer(least, DAY_MS))
