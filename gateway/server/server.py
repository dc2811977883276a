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
        self.services = Services(loop, options)

    def protocol(self) -> Connection:
        """A Protocol for one more connection."""
        return Connection(self.services)

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self.services.connections)

    @property
    def cuts(self) -> Mapping[str, int]:
        """How often each limit has ended or refused something, by its name."""
        return self.services.cuts.counts

    async def drain(self) -> None:
        """Take no more requests; returns once those under way are answered.  Cancel it to stop waiting."""
        self.services.draining = True
        for handshake in list(self.services.handshakes):
            handshake.abort()
        for connection in list(self.services.connections):
            connection.retire()
        while tasks := self._tasks():
            await wait(tasks)

    async def close(self, patience: float = 1.0) -> None:
        """End all connections; waits up to `patience` seconds for what their tasks do when they are cancelled."""
        self.services.draining = True
        tasks = self._tasks()
        for handshake in list(self.services.handshakes):
            handshake.abort()
        for connection in [*self.services.connections, *self.services.refused]:
            connection.abort()
        for task in tasks:
            task.cancel()
        if tasks:
            await wait(tasks, timeout=patience)
        self.services.close()

    def _tasks(self) -> set[Task[None]]:
        services = self.services
        shared = services.handlers.shared
        tasks = {connection.task for connection in services.connections if connection.task} | services.orphans
        return tasks if shared is None else tasks | {shared}
