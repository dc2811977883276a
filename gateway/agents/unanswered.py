"""Calls of the caller's tools that wait for their results, with what the run did before it asked for them.

Who keeps no session sends back only what it was shown: its own calls and their results.  What the gateway's tools gave
in the same run would be lost to the model, so it is kept here for a while, and put back in front of those calls.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from ..model.chat import Message
from ..records import NamedTuple
from ..sessions.history import size

__all__ = ["Unanswered"]

RUNS = 1_000
"""Runs whose calls wait; the one used longest ago is forgotten first.  The model then sees what the caller shows."""

CHARACTERS = 16_000_000
"""Of all of them together, for each agent."""

SECONDS = 3_600.0
"""How long the caller has for its tools, some of which ask a person."""


class _Kept(NamedTuple):
    owner: str
    steps: tuple[Message, ...]
    text: str
    size: int
    until: float


class Unanswered:
    """`clock` gives seconds; `owner` below is whoever may see what is kept: an agent's caller."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()  # by the id of each call; in the order of use
        self._size = 0

    def keep(self, owner: str, ids: Iterable[str], steps: tuple[Message, ...], text: str) -> None:
        """The caller is asked for the calls with these ids.  `text` is what was said with them, after the steps."""
        kept = _Kept(owner, steps, text, len(text) + sum(map(size, steps)), self._clock() + SECONDS)
        for call_id in ids:
            self._kept[call_id] = kept
            self._size += kept.size
        while len(self._kept) > RUNS or self._size > CHARACTERS:
            self._forget(next(iter(self._kept)))

    def restore(self, owner: str, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """The messages of a request, with what was kept put back where it belongs."""
        if not self._kept or not any(message.tool_calls for message in messages):
            return messages
        whole: list[Message] = []
        for message in messages:
            kept = self._find(owner, message)
            if kept is None:
                whole.append(message)
            else:
                whole += (*kept.steps, message._replace(text=kept.text, parts=()))
        return tuple(whole)

    def _find(self, owner: str, message: Message) -> _Kept | None:
        for call in message.tool_calls:
            kept = self._kept.get(call.id)
            if kept is not None and kept.until < self._clock():
                self._forget(call.id)
            elif kept is not None and kept.owner == owner:
                self._kept.move_to_end(call.id)
                return kept
        return None

    def _forget(self, call_id: str) -> None:
        self._size -= self._kept.pop(call_id).size
