"""A store that is made when it is first used: most gateways that could keep sessions see none for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from ..model.session import Session, SessionInfo, Turn, UsageRow
from ..ports import SessionStore

__all__ = ["DeferredStore"]


class DeferredStore:
    """`ports.SessionStore` as `make` gives it.  `make` is called in a thread: what it imports holds up nobody."""

    def __init__(self, make: Callable[[], SessionStore]) -> None:
        self._make = make
        self._store: SessionStore | None = None

    async def load(self, key: str) -> Session:
        """See `ports.SessionStore.load`."""
        return await (self._store or await self._open()).load(key)

    async def commit(self, key: str, turn: Turn, *, drop: int = 0, keep: int | None = None) -> SessionInfo:
        """See `ports.SessionStore.commit`."""
        return await (self._store or await self._open()).commit(key, turn, drop=drop, keep=keep)

    async def choose_model(self, key: str, model: str | None) -> None:
        """See `ports.SessionStore.choose_model`."""
        await (self._store or await self._open()).choose_model(key, model)

    async def locate(self, run_id: str) -> tuple[str, int] | None:
        """See `ports.SessionStore.locate`."""
        return await (self._store or await self._open()).locate(run_id)

    async def fork(self, key: str, turns: int, new_key: str) -> None:
        """See `ports.SessionStore.fork`."""
        await (self._store or await self._open()).fork(key, turns, new_key)

    async def sessions(self) -> tuple[SessionInfo, ...]:
        """See `ports.SessionStore.sessions`."""
        return await (self._store or await self._open()).sessions()

    async def describe(self, key: str) -> SessionInfo | None:
        """See `ports.SessionStore.describe`."""
        return await (self._store or await self._open()).describe(key)

    async def configure(self, key: str, change: Mapping[str, Any]) -> SessionInfo:
        """See `ports.SessionStore.configure`."""
        return await (self._store or await self._open()).configure(key, change)

    async def usage(self, since: int, until: int, *, apart: bool = False) -> tuple[UsageRow, ...]:
        """See `ports.SessionStore.usage`."""
        return await (self._store or await self._open()).usage(since, until, apart=apart)

    async def trim(self, key: str, drop: int) -> int:
        """See `ports.SessionStore.trim`."""
        return await (self._store or await self._open()).trim(key, drop)

    async def delete(self, key: str) -> bool:
        """See `ports.SessionStore.delete`."""
        return await (self._store or await self._open()).delete(key)

    async def reset(self, key: str) -> bool:
        """See `ports.SessionStore.reset`."""
        return await (self._store or await self._open()).reset(key)

    async def aclose(self) -> None:
        """See `ports.SessionStore.aclose`."""
        if self._store is not None:
            await self._store.aclose()

    async def _open(self) -> SessionStore:
        made = await asyncio.to_thread(self._make)
        if self._store is None:  # others may have asked in the meantime
            self._store = made
        return self._store
