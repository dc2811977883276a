"""All connections of one gateway, whatever they came in by."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Task, sleep, wait
from collections.abc import Mapping

from .connection import Connection
from .phase import Phase
from .services import Options, Services

__all__ = ["Server"]

LOOK = 0.05
"""Seconds between two looks whether all connections have had their last request."""


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
    def websockets(self) -> int:
        """How many of them are WebSockets."""
        return sum(one.phase is Phase.LINK for one in self.services.connections if isinstance(one, Connection))

    @property
    def cuts(self) -> Mapping[str, int]:
        """How often each limit has ended or refused something, by its name."""
        return self.services.cuts.counts

    async def drain(self, patience: float = 0.0) -> None:
        """Take no more requests; returns once those under way are answered.  Cancel it to stop waiting.

        For `patience` seconds connections may send one more: whoever sends it cannot know yet that it is the last.
        """
        self.services.draining = True
        end = self.services.loop.time() + patience
        while self._idle() and self.services.loop.time() < end:  # noqa: ASYNC110 - rare, and costs connections nothing
            await sleep(LOOK)
        self.services.shut = True
        for handshake in list(self.services.handshakes):
            handshake.abort()
        for connection in list(self.services.connections):
            connection.retire()
        while tasks := self._tasks():
            await wait(tasks)

    async def close(self, patience: float = 1.0) -> None:
        """End all connections; waits up to `patience` seconds for what their tasks do when they are cancelled."""
        self.services.draining = self.services.shut = True
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

    def _idle(self) -> bool:
        """Whether there are connections, or handshakes, on which a request may come."""
        services = self.services
        return bool(services.handshakes) or any(connection.task is None for connection in services.connections)

    def _tasks(self) -> set[Task[None]]:
        services = self.services
        shared = services.handlers.shared
        tasks = {connection.task for connection in services.connections if connection.task} | services.orphans
        return tasks if shared is None else tasks | {shared}
