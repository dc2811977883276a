"""All connections of one gateway, whatever they came in by."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Task, wait
from collections.abc import Mapping

from .connection import Connection
from .services import Options, Services

__all__ = ["Server"]


class Server:
    """Makes connections, and ends them.  `protocol` is a factory for `loop.create_server`."""

    def __init__(self, loop: AbstractEventLoop, options: Options) -> None:
        self._services = Services(loop, options)

    def protocol(self) -> Connection:
        """A Protocol for one more connection."""
        return Connection(self._services)

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._services.connections)

    @property
    def cuts(self) -> Mapping[str, int]:
        """How often each limit has ended or refused something, by its name."""
        return self._services.cuts.counts

    async def drain(self) -> None:
        """Take no more requests; returns once those under way are answered.  Cancel it to stop waiting."""
        self._services.draining = True
        for connection in list(self._services.connections):
            connection.retire()
        while tasks := self._tasks():
            await wait(tasks)

    async def close(self, patience: float = 1.0) -> None:
        """End all connections; waits up to `patience` seconds for what their tasks do when they are cancelled."""
        self._services.draining = True
        tasks = self._tasks()
        for connection in [*self._services.connections, *self._services.refused]:
            connection.abort()
        for task in tasks:
            task.cancel()
        if tasks:
            await wait(tasks, timeout=patience)
        self._services.close()

    def _tasks(self) -> set[Task[None]]:
        services = self._services
        return {connection.task for connection in services.connections if connection.task} | services.orphans
