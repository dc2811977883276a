"""One run at a time in each session, first come, first served."""

from __future__ import annotations

from asyncio import Lock
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..errors import AgentError

__all__ = ["Lanes"]

# Runs that wait for one session.  A person types one message at a time; a queue this long is a program gone wild.
WAITING = 64


class Lanes:
    """A FIFO of runs for each session key.  Sessions without a run cost nothing."""

    def __init__(self, waiting: int = WAITING) -> None:
        self._waiting = waiting
        self._lanes: dict[str, tuple[Lock, list[None]]] = {}

    @asynccontextmanager
    async def enter(self, key: str) -> AsyncIterator[None]:
        """Wait for the turn of this run.  Raises AgentError (409, `session_busy`) where too many wait already."""
        lock, crowd = self._lanes.setdefault(key, (Lock(), []))
        if len(crowd) > self._waiting:
            raise AgentError("too many requests wait for this session", code="session_busy", status=409, retry_after=1)
        crowd.append(None)
        try:
            async with lock:
                yield
        finally:
            crowd.pop()
            if not crowd:
                self._lanes.pop(key, None)
