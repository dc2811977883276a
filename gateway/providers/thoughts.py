"""What models thought before they called tools.

A model that thinks wants its thoughts back, word for word and signed, with the results of the tools.  The messages of a
chat completion have no place for them, so they are kept here for a while, by the id of the call that they led to.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

__all__ = ["BLOCK_CHARACTERS", "ENTRIES", "THINKING_CHARACTERS", "THOUGHT_CHARACTERS", "Thoughts"]

ENTRIES = 1000
"""Calls whose thoughts are kept.  Results come back within seconds, or minutes where a person has to agree; who comes
later is answered all the same, without them."""

THOUGHT_CHARACTERS = 16_000_000
"""Of all of them together."""

THINKING_CHARACTERS = 1_000_000
"""Of the thoughts of one answer; the longest are about a third of it.  What is longer is not kept: the API would refuse
a part."""

BLOCK_CHARACTERS = 100
"""What a thought counts besides its characters."""


class Thoughts:
    """`keep` and `find` take the id of a call, which the provider made up and nobody can guess."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[list[dict[str, Any]], int]] = OrderedDict()
        self._size = 0

    def keep(self, call_id: str, blocks: list[dict[str, Any]]) -> None:
        """Keep what was thought before a call; the oldest go when there is too much."""
        self._drop(call_id)
        size = sum(len(value) for block in blocks for value in block.values() if isinstance(value, str))
        self._kept[call_id] = (blocks, size)
        self._size += size
        while len(self._kept) > ENTRIES or self._size > THOUGHT_CHARACTERS:
            self._drop(next(iter(self._kept)))

    def find(self, call_id: str) -> list[dict[str, Any]]:
        """What was thought before a call; empty where nothing is known."""
        return self._kept[call_id][0] if call_id in self._kept else []

    def _drop(self, call_id: str) -> None:
        _, size = self._kept.pop(call_id, ([], 0))
        self._size -= size
