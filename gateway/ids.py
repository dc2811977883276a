"""Names that nobody can guess."""

from __future__ import annotations

import os
import re

from .ports import Ids

__all__ = ["random_ids"]

_THIRTY_TWO = re.compile(".{32}")


def random_ids() -> Ids:
    """A source of `ports.Ids` from the system's randomness, which it asks for some hundred ids at a time."""
    pool: list[str] = []

    def draw(digits: int) -> str:
        if digits != 32:
            return os.urandom((digits + 1) // 2).hex()[:digits]
        if not pool:
            pool.extend(_THIRTY_TWO.findall(os.urandom(4096).hex()))
        return pool.pop()

    return draw
