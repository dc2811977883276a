"""A process that is one of several workers: what its supervisor has handed to it, and hears of it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from logging import getLogger
from typing import Any

from ..errors import ConfigError
from ..logring import LogRing
from ..model.names import WORKER_PLACE
from .channel import SUPERVISOR, TELL, Channel, frame
from .logs import FIRST, LogForward, LogOfAll

__all__ = ["ALIVE", "DRAIN", "FAILED", "READY", "Worker", "place", "worker_here"]

READY = "ready"
"""The worker serves."""
FAILED = "failed"
"""It cannot start; the value is a tuple of lines for people."""
ALIVE = "alive"
"""A sign of life of its event loop."""
DRAIN = "drain"
"""It is to take no more requests, and to end with those it has; the value is for how many seconds connections may send
one more.  The answer: how many runs are under way.
"""

PATIENCE = 5.0
"""Seconds to tell why it could not start: the supervisor does nothing but listen."""


class Worker(Channel):
    """A worker in its own process, from the start on.

    `sockets` listen already.  At `inbox`, a datagram socket, arrives what other workers put into the `outboxes` of
    theirs that has this worker's number: these sockets outlive the processes.  `watchdog` is how often the supervisor
    wants a sign of life, in seconds; 0 for not at all.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__(given["number"], given["count"])
        self.watchdog: float = given["watchdog"]
        self._forward: LogForward | None = None
        self._log: LogOfAll | None = None
        self._end = _socket(given["channel"])
        self.sockets: Sequence[socket.socket] = [_socket(one) for one in given["listen"]]
        self.inbox = _socket(given["inbox"])
        self.outboxes = {int(number): _socket(one) for number, one in given["outboxes"].items()}

    async def join(self, drain: Callable[[float], int]) -> None:
        """Talk with the others.  `drain(patience)` begins the end, and tells how many runs are under way.

        Without a supervisor a worker goes too: nobody would start another in its place, nor end it.
        """
        self.handle(DRAIN, lambda _sender, patience: drain(patience))

        def lost(address: int) -> None:
            if address == SUPERVISOR:
                self._end.close()  # it hears that we are gone, where it is not
                drain(0.0)

        self.on_lost(lost)
        await self.open(self._end.dup())
        if self._forward is not None:
            self._forward.open()
        if self._log is not None:
            await self._log.take_over(self)

    def keep_log(self) -> LogRing:
        """The log that operators see: that of all processes in the first worker, which the others tell theirs."""
        if self.number == FIRST:
            self._log = LogOfAll(self)
            getLogger().addHandler(self._log)
            return self._log
        self._forward = LogForward(self)
        getLogger().addHandler(self._forward)
        return LogRing()

    def ready(self, _status: str) -> None:
        """It serves."""
        self.tell(SUPERVISOR, READY)

    def alive(self) -> None:
        """A sign of life."""
        self.tell(SUPERVISOR, ALIVE)

    def stopping(self, _status: str) -> None:
        """It takes no more requests.  The supervisor knows."""

    def reloading(self) -> None:
        """For the part of a service manager; this one starts new processes instead."""

    async def aclose(self) -> None:
        """See Channel."""
        if self._forward is not None:
            self._forward.close()
        await super().aclose()
        self._end.close()

    def fail(self, problems: Sequence[str]) -> None:
        """Tell why it cannot start; for when there is no event loop yet, or no more."""
        self._end.settimeout(PATIENCE)
        with suppress(OSError):  # without a supervisor nobody waits for it
            self._end.sendall(frame(SUPERVISOR, TELL, 0, FAILED, tuple(problems)))


def place(
    number: int,
    count: int,
    *,
    channel: socket.socket,
    listen: Sequence[socket.socket],
    inbox: socket.socket,
    outboxes: Mapping[int, socket.socket],
    watchdog: float,
) -> tuple[str, list[int]]:
    """What `worker_here` finds in the environment of a new process, and the file descriptors that it needs."""
    given = {
        "number": number,
        "count": count,
        "channel": channel.fileno(),
        "listen": [one.fileno() for one in listen],
        "inbox": inbox.fileno(),
        "outboxes": {to: one.fileno() for to, one in outboxes.items()},
        "watchdog": watchdog,
    }
    sockets = [channel, *listen, inbox, *outboxes.values()]
    return json.dumps(given), [one.fileno() for one in sockets]


def worker_here(environ: MutableMapping[str, str]) -> Worker | None:
    """What makes this process a worker; None where no supervisor has started it.

    What tells so is taken out of the environment: programs that agents start are none.  Raises ConfigError where it
    cannot be true.
    """
    text = environ.pop(WORKER_PLACE, None)
    if text is None:
        return None
    try:
        return Worker(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as error:
        raise ConfigError(
            f"{WORKER_PLACE} is for processes that `gateway run --workers` starts, and no others: unset it ({error!r})"
        ) from None


def _socket(number: int) -> socket.socket:
    os.set_inheritable(number, False)
    return socket.socket(fileno=number)
