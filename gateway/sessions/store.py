"""The turns of sessions, in memory: they end with the process."""

from __future__ import annotations

from ..model.chat import Message

__all__ = ["MemoryStore"]

# What a message takes besides its characters; otherwise empty ones would be free, and their number without a bound.
MESSAGE_CHARACTERS = 100


class MemoryStore:
    """`ports.SessionStore` in a dict.

    Holds at most `sessions` sessions, of which the longest unused goes first, and of each at most `characters`
    characters, of which the oldest turns go first; the latest turn always stays.  A message counts as some characters
    more than it has.
    """

    def __init__(self, sessions: int = 10_000, characters: int = 400_000) -> None:
        self._most = sessions
        self._characters = characters
        self._sessions: dict[str, list[tuple[Message, ...]]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    async def load(self, key: str) -> tuple[Message, ...]:
        """See `ports.SessionStore.load`."""
        return tuple(message for turn in self._sessions.get(key, ()) for message in turn)

    async def append(self, key: str, turn: tuple[Message, ...]) -> None:
        """See `ports.SessionStore.append`."""
        turns = self._sessions.pop(key, [])
        self._sessions[key] = turns
        turns.append(turn)
        size = sum(map(_characters, turns))
        while size > self._characters and len(turns) > 1:
            size -= _characters(turns.pop(0))
        while len(self._sessions) > self._most:
            del self._sessions[next(iter(self._sessions))]


def _characters(turn: tuple[Message, ...]) -> int:
    return sum(MESSAGE_CHARACTERS + sum(len(text) for text in message if text) for message in turn)
