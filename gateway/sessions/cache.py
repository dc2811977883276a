"""Sessions that were read lately, so that a long one need not be read again for each of its turns."""

from __future__ import annotations

from threading import Lock

from ..model.session import Session
from ..records import NamedTuple

__all__ = ["SESSIONS", "SIZE", "Cache", "Cached"]

SESSIONS = 1_024
"""Remembered at a time; reading a usual one takes some 100 us."""

SIZE = 32 << 20
"""Bytes of these, as they stand in the file: some times as much in memory."""


class Cached(NamedTuple):
    """`stamp` names the state of the session that this is; `size` is in bytes, as in the file."""

    stamp: tuple[int, int]
    session: Session
    size: int


class Cache:
    """The sessions read last, by key.  May be used by several threads.

    Whoever takes one out compares its stamp with that of the file: another process may have gone on with the session.
    """

    def __init__(self, sessions: int = SESSIONS, size: int = SIZE) -> None:
        self._most = sessions
        self._most_size = size
        self._lock = Lock()
        self._cached: dict[str, Cached] = {}  # the longest unused first
        self._size = 0

    def get(self, key: str, stamp: tuple[int, int]) -> Cached | None:
        """What is remembered of this state of the session."""
        with self._lock:
            found = self._cached.get(key)
            if found is None or found.stamp != stamp:
                return None
            self._cached[key] = self._cached.pop(key)
            return found

    def put(self, key: str, cached: Cached) -> None:
        """Remember it, for as long as there is room."""
        with self._lock:
            before = self._cached.pop(key, None)
            if before is not None:
                self._size -= before.size
            self._cached[key] = cached
            self._size += cached.size
            while self._size > self._most_size or len(self._cached) > self._most:
                self._size -= self._cached.pop(next(iter(self._cached))).size
