"""Gateways of several processes, for tests that have to know which of them they talk with."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from processes import Launch, Running, configuration, python_agent
from talking import Talk

__all__ = ["AGENTS", "Crew", "crew"]

AGENTS = ("forever", "pause", "recall", "remember", "silent", "tide", "which", "words")
TRIES = 200
"""Connections that are made until one is with the wanted process: the kernel deals them out."""


class Crew:
    """A gateway, and the processes that serve it, by their numbers."""

    def __init__(self, gateway: Running, count: int) -> None:
        self.gateway = gateway
        self.port = gateway.port
        self.count = count
        self.pids: dict[int, int] = {}

    async def meet(self) -> None:
        """Find out which process is which, by what they tell of themselves in the access log."""
        seen: dict[str, int] = {}
        for _ in range(TRIES):
            before = len(self._told())
            async with await Talk.to(self.port) as talk:
                pid = int(await talk.say(None, "who", model="openclaw/which"))
            async with asyncio.timeout(10):
                while len(self._told()) == before:
                    await asyncio.sleep(0.01)
            (line,) = self._told()[before:]
            worker = line.partition("worker=")[2].split()[0]
            seen[worker] = pid
            if len(seen) == self.count:
                break
        assert len(seen) == self.count, f"only {seen} answered"
        self.pids = {int(worker): pid for worker, pid in seen.items()}

    def _told(self) -> list[str]:
        return [line for line in self.gateway.text().splitlines() if "accesslog" in line]

    @asynccontextmanager
    async def at(self, number: int) -> AsyncIterator[Talk]:
        """A connection with this worker."""
        for _ in range(TRIES):
            async with await Talk.to(self.port) as talk:
                if int(await talk.say(None, "who", model="openclaw/which")) == self.pids[number]:
                    yield talk
                    return
        raise AssertionError(f"worker {number} never answered")

    def kill(self, number: int) -> None:
        """Without a word."""
        os.kill(self.pids[number], signal.SIGKILL)

    def marked(self, name: str, what: str) -> bool:
        """See `Running.marked`."""
        return self.gateway.marked(name, what)

    async def until_marked(self, name: str, what: str) -> None:
        """Wait until an agent got as far as `what`."""
        async with asyncio.timeout(20):
            while not self.marked(name, what):
                await asyncio.sleep(0.01)


def crew(
    launch: Launch, tmp_path: Path, workers: int = 2, *, session: dict[str, Any] | None = None, **more: Any
) -> Crew:
    """Start a gateway with so many processes; its sessions are in `sessions.db` of the folder."""
    config = configuration(*map(python_agent, AGENTS), workers=workers, **more)
    config["gateway"]["http"]["accessLog"] = True
    config["session"] = {"store": str(tmp_path / "sessions.db"), **(session or {})}
    return Crew(launch(config), workers)
