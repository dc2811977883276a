"""The supervisor's end of all channels: it hands on what workers tell each other, and tells them who is gone."""

from __future__ import annotations

import socket
from typing import Any

from .channel import (
    ANSWER,
    ASK,
    CANCEL,
    EVERYBODY,
    FAILURE,
    GENERATION,
    LOST,
    SUPERVISOR,
    Channel,
    Pipe,
    envelope,
    frame,
    number_of,
)

__all__ = ["Switch"]


class Switch(Channel):
    """The channel of the supervisor.  Several processes may be one worker for a time; `serving` is the one of them.

    Messages for other workers are handed on as they are: only their heads are read here.
    """

    def __init__(self, workers: int) -> None:
        super().__init__(SUPERVISOR, workers)
        self.serving: dict[int, int] = {}
        """Number to address: to whom messages go that are for the worker of this number."""
        self._open = True
        self._pipes: dict[int, Pipe] = {}
        self._generations: dict[int, int] = {}
        self._asked: dict[tuple[int, int], int] = {}
        """Who asked, and the number of the question: who is to answer."""

    def address(self, number: int) -> int:
        """One for the next process of a worker."""
        generation = self._generations[number] = self._generations.get(number, 0) + 1
        return generation * GENERATION + number

    async def attach(self, address: int, sock: socket.socket) -> None:
        """Talk with the process at this address, over our end of a socket pair."""
        pipe = self._pipes[address] = Pipe(self, address)
        await pipe.open(sock)

    def detach(self, address: int) -> None:
        """The process is gone, whoever has its socket still."""
        pipe = self._pipes.get(address)
        if pipe is not None:
            pipe.end()

    async def aclose(self) -> None:
        """See Channel."""
        await super().aclose()
        for pipe in list(self._pipes.values()):
            pipe.close()

    def received(self, pipe: Pipe, address: int, form: int, number: int, body: bytes) -> None:
        """Hand on; see `Ends`.  The address of whoever sends goes into the place of the one that it is sent to."""
        if address != SUPERVISOR:
            self._forward(pipe.address, address, form, number, envelope(pipe.address, form, number, body))
            return
        if form in {ANSWER, FAILURE}:
            self._asked.pop((SUPERVISOR, number), None)
        self._take(pipe.address, form, number, body)

    def ended(self, pipe: Pipe) -> None:
        """See `Ends`: all are told, and whoever waits for its answer gets none."""
        gone = pipe.address
        del self._pipes[gone]
        if self.serving.get(number_of(gone)) == gone:
            del self.serving[number_of(gone)]
        for (asker, number), answerer in list(self._asked.items()):
            if answerer == gone:
                self._unanswered(asker, gone, number)
            elif asker == gone:
                del self._asked[asker, number]
        self._lost(gone)
        self.tell(None, LOST, gone)

    def _send(self, to: int, form: int, number: int, *values: Any) -> None:
        self._forward(SUPERVISOR, to, form, number, frame(SUPERVISOR, form, number, *values))

    def _forward(self, sender: int, to: int, form: int, number: int, data: bytes) -> None:
        if to == EVERYBODY:
            for address, pipe in list(self._pipes.items()):
                if address != sender:
                    pipe.send(data)
            return
        address = to if to >= GENERATION else self.serving.get(to, 0)
        if form == CANCEL:
            # To the very process that was asked, which may not be the one that serves by now.
            address = self._asked.pop((sender, number), 0)
        elif form in {ANSWER, FAILURE}:
            self._asked.pop((address, number), None)
        receiver = self._pipes.get(address)
        if receiver is None:
            if form == ASK:
                self._unanswered(sender, to, number)
            return
        if form == ASK:
            self._asked[sender, number] = address
        receiver.send(data)

    def _unanswered(self, asker: int, answerer: int, number: int) -> None:
        self._asked.pop((asker, number), None)
        reason = f"worker {number_of(answerer)} is gone"
        if asker == SUPERVISOR:
            self._answered(number, FAILURE, reason)
        elif asker in self._pipes:
            self._pipes[asker].send(frame(answerer, FAILURE, number, reason))
