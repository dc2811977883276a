"""A supervisor's switch and the channels of workers, in one process, over real socket pairs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from gateway.workers.channel import Channel
from gateway.workers.switch import Switch

__all__ = ["Member", "Party", "party", "true_soon"]


async def true_soon(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until it is true."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)


class Member(Channel):
    """A worker's end, as `ports.Siblings` has it."""

    def __init__(self, number: int, workers: int, inbox: socket.socket, outboxes: Mapping[int, socket.socket]) -> None:
        super().__init__(number, workers)
        self.inbox = inbox
        self.outboxes = outboxes


class Party:
    """The channels by the numbers of their workers."""

    def __init__(self, workers: int) -> None:
        self.switch = Switch(workers)
        self.channels: dict[int, Channel] = {}
        self.addresses: dict[int, int] = {}
        self.count = workers
        self._boxes = {number: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for number in range(1, workers + 1)}

    def channel(self, number: int) -> Member:
        """One that is still to be opened, so that there is time to add handlers."""
        outboxes = {to: out for to, (_, out) in self._boxes.items() if to != number}
        return Member(number, self.count, self._boxes[number][0], outboxes)

    def close(self) -> None:
        for pair in self._boxes.values():
            for one in pair:
                one.close()

    async def join(self, channel: Member) -> Member:
        """From now on it is this worker."""
        ours, theirs = socket.socketpair()
        for one in (ours, theirs):
            one.setblocking(False)
        number = channel.number
        address = self.addresses[number] = self.switch.address(number)
        await self.switch.attach(address, ours)
        await channel.open(theirs)
        self.switch.serving[number] = address
        self.channels[number] = channel
        return channel

    def die(self, number: int) -> None:
        """The worker is gone without a word."""
        self.switch.detach(self.addresses[number])


@asynccontextmanager
async def party(workers: int) -> AsyncIterator[Party]:
    made = Party(workers)
    try:
        yield made
    finally:
        for channel in made.channels.values():
            await channel.aclose()
        await made.switch.aclose()
        await asyncio.sleep(0.01)
        made.close()
