"""The turns of sessions, in memory: they end with the process."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..model.session import Session, SessionInfo, Turn
from .history import characters

__all__ = ["MemoryStore"]


class _Kept:
    """One session."""

    __slots__ = ("created", "model", "trimmed", "turns", "updated")

    def __init__(self, now: float) -> None:
        self.turns: list[Turn] = []
        self.trimmed = False
        self.model: str | None = None
        self.created = self.updated = now


class MemoryStore:
    """`ports.SessionStore` in a dict.

    Holds at most `sessions` sessions, of which the longest unused goes first.  `clock` gives seconds since the epoch.
    """

    def __init__(self, sessions: int = 10_000, clock: Callable[[], float] = time.time) -> None:
        self._most = sessions
        self._clock = clock
        self._sessions: dict[str, _Kept] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    async def load(self, key: str) -> Session:
        """See `ports.SessionStore.load`."""
        kept = self._sessions.get(key)
        return Session() if kept is None else Session(tuple(kept.turns), kept.trimmed, kept.model)

    async def commit(self, key: str, turn: Turn, *, drop: int = 0, keep: int | None = None) -> None:
        """See `ports.SessionStore.commit`."""
        kept = self._touch(key)
        kept.turns[:] = [*kept.turns[drop:keep], turn]
        kept.trimmed = kept.trimmed or drop > 0

    async def choose_model(self, key: str, model: str | None) -> None:
        """See `ports.SessionStore.choose_model`."""
        self._touch(key).model = model

    async def locate(self, run_id: str) -> tuple[str, int] | None:
        """See `ports.SessionStore.locate`."""
        for key, kept in self._sessions.items():
            for number, turn in enumerate(kept.turns, 1):
                if turn.run_id == run_id:
                    return key, number
        return None

    async def fork(self, key: str, turns: int, new_key: str) -> None:
        """See `ports.SessionStore.fork`."""
        source = self._sessions.get(key)
        if source is not None:
            kept = self._touch(new_key)
            kept.turns[:] = source.turns[:turns]
            kept.trimmed, kept.model = source.trimmed, source.model

    async def sessions(self) -> tuple[SessionInfo, ...]:
        """See `ports.SessionStore.sessions`."""
        return tuple(
            SessionInfo(key, len(kept.turns), sum(map(characters, kept.turns)), kept.created, kept.updated, kept.model)
            for key, kept in reversed(self._sessions.items())
        )

    async def delete(self, key: str) -> bool:
        """See `ports.SessionStore.delete`."""
        return self._sessions.pop(key, None) is not None

    async def aclose(self) -> None:
        """There is nothing to give back."""

    def _touch(self, key: str) -> _Kept:
        now = self._clock()
        kept = self._sessions.pop(key) if key in self._sessions else _Kept(now)
        self._sessions[key] = kept
        kept.updated = now
        while len(self._sessions) > self._most:
            del self._sessions[next(iter(self._sessions))]
        return kept
