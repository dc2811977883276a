"""A whole gateway in this process, over the shipped test transport: requests go in as bytes, answers come out."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gateway
from gateway.config import Config
from gateway.model.run import RunInput
from gateway.testing import MemoryTransport

from .traffic import TOKEN, TOKENS

__all__ = ["Scene", "SteadyLoop", "agent", "scene"]

TURN_SECONDS = 0.00025
"""What a turn of the loop is taken to last: about as long as it does with some dozen streams."""
CLOCK = 1_700_000_000.0


async def agent(run: RunInput) -> AsyncIterator[str]:
    """`stream`: 200 tokens, and a turn of the loop before each; anything else: one piece of about 100 characters."""
    text = run.request.messages[-1].text
    if text == "stream":
        for token in TOKENS:
            await asyncio.sleep(0)
            yield token
    else:
        yield (f"echo: {text} " * 3)[:100]


class _Selector(selectors.DefaultSelector):
    """Waits for files only where nothing is to happen by itself; what is due later is due at once."""

    loop: SteadyLoop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is not None:
            self.loop.now += max(timeout, TURN_SECONDS)
            timeout = 0
        return super().select(timeout)


class SteadyLoop(asyncio.SelectorEventLoop):
    """A loop whose time passes by its turns, so that what timers do does not depend on how fast the machine is.

    For work in which no other thread takes part: the loop would not wait for that.
    """

    def __init__(self) -> None:
        self.now = 0.0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now


class _Client(MemoryTransport):
    """Holds the last piece of the last answer, and tells its scene of the end of each."""

    scene: Scene
    end = b"}"

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written = bytearray(data)
        if self.written.endswith(self.end):
            self.scene.one_less()


class Scene:
    """A gateway and its connections.  Methods are called from outside of the loop."""

    def __init__(self, served: gateway.Gateway, loop: asyncio.AbstractEventLoop, connections: int) -> None:
        self._loop = loop
        self._left = 0
        self._done: asyncio.Future[None] = loop.create_future()
        self._clients = []
        for _ in range(connections):
            protocol = served.protocol()
            client = _Client(protocol)
            client.scene = self
            client.connect()
            self._clients.append((protocol, client))

    def one_less(self) -> None:
        """Another answer is complete."""
        self._left -= 1
        if not self._left:
            self._done.set_result(None)

    def ask(self, request: Callable[[], bytes], end: bytes = b"}") -> None:
        """Each client asks once; returns when each has its answer, which ends with `end`.  Raises TimeoutError."""
        self._loop.run_until_complete(self._ask(request, end))

    async def _ask(self, request: Callable[[], bytes], end: bytes) -> None:
        self._left = len(self._clients)
        self._done = self._loop.create_future()
        for protocol, client in self._clients:
            client.end = end
            protocol.data_received(request())
        await self._done

    @property
    def last(self) -> bytes:
        """The last piece of an answer."""
        return bytes(self._clients[-1][1].written)


@contextmanager
def scene(connections: int, *, config: Config | None = None, steady: bool = True, **options: Any) -> Iterator[Scene]:
    """A gateway that serves `agent` as `bench`.  `steady`: on a SteadyLoop."""
    loop = SteadyLoop() if steady else asyncio.new_event_loop()
    served = gateway.Gateway(
        config, agents={"bench": agent}, listen="127.0.0.1:0", token=TOKEN, clock=lambda: CLOCK, **options
    )
    try:
        loop.run_until_complete(served.start())
        made = loop.run_until_complete(_made(served, connections))
        yield made
        loop.run_until_complete(served.aclose())
    finally:
        loop.close()


async def _made(served: gateway.Gateway, connections: int) -> Scene:
    return Scene(served, asyncio.get_running_loop(), connections)
