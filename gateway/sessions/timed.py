"""A session store of which it is told how long it takes."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from ..model.session import Session, SessionInfo, Turn
from ..ports import SessionStore

__all__ = ["TimedStore"]


class TimedStore:
    """What `store` does; `observe` is told of each `load` and `commit`, with the seconds, also of those that fail."""

    def __init__(self, store: SessionStore, observe: Callable[[tuple[str], float], None]) -> None:
        self._store = store
        self._observe = observe

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def load(self, key: str) -> Session:
        """See `ports.SessionStore.load`."""
        began = perf_counter()
        try:
            return await self._store.load(key)
        finally:
            self._observe(("load",), perf_counter() - began)

    async def commit(self, key: str, turn: Turn, *, drop: int = 0, keep: int | None = None) -> SessionInfo:
        """See `ports.SessionStore.commit`."""
        began = perf_counter()
        try:
            return await self._store.commit(key, turn, drop=drop, keep=keep)
        finally:
            self._observe(("commit",), perf_counter() - began)
