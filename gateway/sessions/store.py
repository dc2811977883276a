"""The turns of sessions, in memory: they end with the process."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from math import inf
from os import urandom
from typing import Any, TypeAlias

from ..model.chat import Image
from ..model.run import NO_USAGE, Usage, uuid_of
from ..model.session import NO_SETTINGS, Session, SessionInfo, Turn, UsageRow
from .history import characters, picture
from .settings import merged, packed

__all__ = ["DAY_SECONDS", "MemoryStore", "fresh_id"]

DAY_SECONDS = 86_400

USAGE_ROWS = 400
"""Of the tokens of each day, of a session, and of all that are gone: those of the oldest go first."""

_Counts: TypeAlias = dict[tuple[int, str, str | None], tuple[int, Usage]]
"""By day, agent and model: turns, and tokens."""

# Sessions that one addition may end: a limit that was passed by far is reached in steps, none of which takes long.
STEP = 4


class _Kept:
    """One session."""

    __slots__ = (
        "agent", "answered_by", "characters", "created", "id", "last", "model", "settings", "trimmed",
        "turns", "updated", "usage",
    )  # fmt: skip

    def __init__(self, now: float) -> None:
        self.turns: list[Turn] = []
        self.characters = 0
        self.trimmed = False
        self.model: str | None = None
        self.created = self.updated = now
        self.id = fresh_id()
        self.settings = NO_SETTINGS
        self.agent = ""
        self.answered_by: str | None = None
        self.last = NO_USAGE
        self.usage: _Counts = {}


class MemoryStore:
    """`ports.SessionStore` in a dict.

    Holds at most `sessions` sessions and, but for the last one used, `size` bytes and characters of them, of which the
    longest unused go first, and each for `idle` seconds after its last use.  `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        sessions: int = 10_000,
        clock: Callable[[], float] = time.time,
        *,
        idle: float = inf,
        size: float = inf,
    ) -> None:
        self._most = sessions
        self._most_size = size
        self._idle = idle
        self._clock = clock
        # The longest unused first.  Not a dict, which finds its first entry behind the places of all that were deleted
        # there: with 100,000 sessions, of which one goes with each that comes, a turn would cost three times as much.
        self._sessions: OrderedDict[str, _Kept] = OrderedDict()
        self._places: dict[str, dict[str, None]] = {}  # run_id to the keys of the sessions that hold its turn
        self._size = 0
        self._gone: _Counts = {}  # what sessions have used that are there no more

    def __len__(self) -> int:
        return len(self._sessions)

    async def load(self, key: str) -> Session:
        """See `ports.SessionStore.load`."""
        kept = self._find(key)
        return Session() if kept is None else Session(tuple(kept.turns), kept.trimmed, kept.model)

    async def commit(self, key: str, turn: Turn, *, drop: int = 0, keep: int | None = None) -> SessionInfo:
        """See `ports.SessionStore.commit`."""
        # Not `_find`: a run that takes longer than sessions are kept goes on with the one it began in.
        kept = self._touch(key, self._sessions.get(key))
        self._replace(key, kept, drop, keep, turn)
        kept.trimmed = kept.trimmed or drop > 0
        kept.agent = turn.agent or kept.agent
        kept.answered_by = turn.model or kept.answered_by
        if turn.agent:
            kept.last = turn.usage
            _add(kept.usage, (int(turn.at // DAY_SECONDS), turn.agent, turn.model), 1, turn.usage)
        self._make_room()
        return _info(key, kept)

    async def choose_model(self, key: str, model: str | None) -> None:
        """See `ports.SessionStore.choose_model`."""
        self._touch(key, self._find(key)).model = model
        self._make_room()

    async def locate(self, run_id: str) -> tuple[str, int] | None:
        """See `ports.SessionStore.locate`."""
        for key in self._places.get(run_id, ()):
            kept = self._sessions[key]
            for number, turn in enumerate(kept.turns, 1):
                if turn.run_id == run_id and not self._is_over(kept):
                    return key, number
        return None

    async def fork(self, key: str, turns: int, new_key: str) -> None:
        """See `ports.SessionStore.fork`."""
        source = self._find(key)
        if source is not None:
            kept = self._touch(new_key, self._find(new_key))
            self._replace(new_key, kept, 0, 0, *source.turns[:turns])
            kept.trimmed, kept.model = source.trimmed, source.model
            self._make_room()

    async def sessions(self) -> tuple[SessionInfo, ...]:
        """See `ports.SessionStore.sessions`."""
        return tuple(_info(key, kept) for key, kept in reversed(self._sessions.items()) if not self._is_over(kept))

    async def describe(self, key: str) -> SessionInfo | None:
        """See `ports.SessionStore.describe`."""
        kept = self._find(key)
        return None if kept is None else _info(key, kept)

    async def configure(self, key: str, change: Mapping[str, Any]) -> SessionInfo:
        """See `ports.SessionStore.configure`."""
        kept = self._find(key)
        before = NO_SETTINGS if kept is None else kept.settings
        settings = merged(before, change)
        kept = self._touch(key, kept)
        self._size += len(packed(settings)) - len(packed(before))
        kept.settings = settings
        self._make_room()
        return _info(key, kept)

    async def usage(self, since: int, until: int, *, apart: bool = False) -> tuple[UsageRow, ...]:
        """See `ports.SessionStore.usage`."""
        found: dict[str, _Counts] = {}
        for key, counts in (*((key, kept.usage) for key, kept in self._sessions.items()), ("", self._gone)):
            for place, (turns, usage) in counts.items():
                if since <= place[0] <= until:
                    _add(found.setdefault(key if apart else "", {}), place, turns, usage)
        return tuple(
            UsageRow(key, *place, *found[key][place])
            for key in sorted(found)
            for place in sorted(found[key], key=lambda place: (*place[:2], place[2] or ""))
        )

    async def trim(self, key: str, drop: int) -> int:
        """See `ports.SessionStore.trim`."""
        kept = self._find(key)
        if kept is None:
            return 0
        if drop:
            self._replace(key, self._touch(key, kept), drop, None)
            kept.trimmed = True
        return len(kept.turns)

    async def delete(self, key: str) -> bool:
        """See `ports.SessionStore.delete`."""
        kept = self._find(key)
        if kept is not None:
            self._forget(key, kept)
        return kept is not None

    async def reset(self, key: str) -> bool:
        """See `ports.SessionStore.reset`."""
        kept = self._find(key)
        if kept is not None:
            self._replace(key, self._touch(key, kept), 0, 0)
            kept.trimmed = False
            kept.last = NO_USAGE
        return kept is not None

    async def aclose(self) -> None:
        """There is nothing to give back."""

    def _find(self, key: str) -> _Kept | None:
        kept = self._sessions.get(key)
        if kept is None or not self._is_over(kept):
            return kept
        self._forget(key, kept)
        return None

    def _is_over(self, kept: _Kept) -> bool:
        return self._clock() - kept.updated > self._idle

    def _touch(self, key: str, kept: _Kept | None) -> _Kept:
        """Make it the one used last."""
        now = self._clock()
        self._sessions[key] = kept = kept or _Kept(now)
        self._sessions.move_to_end(key)
        kept.updated = now
        return kept

    def _replace(self, key: str, kept: _Kept, drop: int, keep: int | None, *more: Turn) -> None:
        """Let go of turns as `commit` does, and add some."""
        turns = kept.turns
        gone = turns[:drop] if keep is None else turns[:drop] + turns[max(drop, keep) :]
        for turn in gone:
            keys = self._places.get(turn.run_id, {})
            keys.pop(key, None)
            if not keys:
                self._places.pop(turn.run_id, None)
        for turn in more:
            self._places.setdefault(turn.run_id, {})[key] = None
        self._size += sum(map(_size, more)) - sum(map(_size, gone))
        kept.characters += sum(map(characters, more)) - sum(map(characters, gone))
        kept.turns = [*turns[drop:keep], *more]

    def _make_room(self) -> None:
        for _ in range(STEP):
            key, kept = next(iter(self._sessions.items()))
            too_many = len(self._sessions) > self._most or (self._size > self._most_size and len(self._sessions) > 1)
            if not too_many and not self._is_over(kept):
                break
            self._forget(key, kept)

    def _forget(self, key: str, kept: _Kept) -> None:
        self._replace(key, kept, 0, 0)
        self._size -= len(packed(kept.settings))
        del self._sessions[key]
        for place, (turns, usage) in kept.usage.items():
            _add(self._gone, place, turns, usage)


def fresh_id() -> str:
    """A UUID (RFC 9562, version 4) for a session."""
    digits = urandom(16).hex()
    return uuid_of(f"{digits[:12]}4{digits[13:16]}a{digits[17:]}")


def _info(key: str, kept: _Kept) -> SessionInfo:
    return SessionInfo(
        key, len(kept.turns), kept.characters, kept.created, kept.updated, kept.model, kept.id, kept.settings,
        kept.agent, kept.answered_by, Usage(kept.last.prompt_tokens, kept.last.completion_tokens),
    )  # fmt: skip


def _add(counts: _Counts, place: tuple[int, str, str | None], turns: int, usage: Usage) -> None:
    before, used = counts.get(place, (0, Usage(0, 0, 0, 0)))
    counts[place] = before + turns, used.plus(usage)
    if len(counts) > USAGE_ROWS:
        del counts[next(iter(counts))]


def _size(turn: Turn) -> int:
    """What a turn takes: its characters, and of pictures their bytes."""
    total = characters(turn)
    for message in (*turn.asked, *turn.answered):
        for part in message.parts:
            if isinstance(part, Image):
                total += len(part.data) - picture(part)
    return total
