"""What models thought before they called tools.

A model that thinks wants its thoughts back, word for word and signed, with the results of the tools.  The messages of a
chat completion have no place for them, so they are kept here for a while, by the id of the call that they led to.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

from ..model.chat import Message
from ..model.run import RunInput

__all__ = ["BLOCK_CHARACTERS", "ENTRIES", "THINKING_CHARACTERS", "THOUGHT_CHARACTERS", "Keep", "Thoughts", "scope_of"]

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


Keep: TypeAlias = Callable[[str, list[dict[str, Any]]], None]
"""(id of a call, what was thought before it), for a reader."""


class Thoughts:
    """`scope` is where a call was made, see `scope_of`: not all servers give their calls ids that nobody can guess."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, str], tuple[list[dict[str, Any]], int]] = OrderedDict()
        self._size = 0

    def keeper(self, run: RunInput) -> Keep:
        """What keeps the thoughts of the answer to a run."""
        conversation = run.conversation
        return partial(self.keep, scope_of(run, conversation, len(conversation)))

    def keep(self, scope: int, call_id: str, blocks: list[dict[str, Any]]) -> None:
        """Keep what was thought before a call; the oldest go when there is too much."""
        key = (scope, call_id)
        self._drop(key)
        size = sum(len(value) for block in blocks for value in block.values() if isinstance(value, str))
        self._kept[key] = (blocks, size)
        self._size += size
        while len(self._kept) > ENTRIES or self._size > THOUGHT_CHARACTERS:
            self._drop(next(iter(self._kept)))

    def find(self, scope: int, message: Message) -> list[dict[str, Any]]:
        """What was thought before the calls of a message; empty where nothing is known."""
        for call in message.tool_calls:
            if (scope, call.id) in self._kept:
                return self._kept[scope, call.id][0]
        return []

    def _drop(self, key: tuple[int, str]) -> None:
        _, size = self._kept.pop(key, ([], 0))
        self._size -= size


def scope_of(run: RunInput, conversation: Sequence[Message], index: int) -> int:
    """Where in a conversation the message of this index stands: whose it is, and what the user said before."""
    for at in range(index - 1, -1, -1):
        if conversation[at].role == "user":
            return hash((run.caller.id, conversation[at].text))
    return hash(run.caller.id)
