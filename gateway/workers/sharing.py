"""What a gateway that is one of several processes shares with the others."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from ..agents.conversation import Conversations
from ..agents.run import Runs
from ..api.guard import Guard
from ..ports import Exchange, Handler, Siblings
from ..server.services import Services
from ..wire.upgrade import accept
from .handover import Handover
from .lanes import SharedLanes
from .reporting import Reporter
from .reports import OFFER, WATCH
from .showing import Showing

__all__ = ["FIRST", "Sharing"]

FIRST = 1
"""The worker that serves the operators' protocol: clients, presence and devices are the state of one process."""

KEY = b"idempotency-key"


class Sharing:
    """Of one worker.  To be made before it joins the others."""

    def __init__(self, siblings: Siblings) -> None:
        self._siblings = siblings
        self._handover = Handover(siblings.inbox, siblings.outboxes)
        self._reporter: Reporter | None = None
        self._showing: Showing | None = None
        self.lanes = SharedLanes(siblings)
        if siblings.number == FIRST:
            siblings.handle(OFFER, self._ask)

    def open(self, services: Services, runs: Runs, conversations: Conversations, _guard: Guard) -> None:
        """Take what the others hand over, and tell them what they want to know, from now on."""
        self._handover.open(services)
        if self._siblings.number != FIRST:
            self._reporter = Reporter(self._siblings, runs, conversations)
            self._siblings.tell(FIRST, OFFER)

    def show(self, control: Any) -> None:
        """Show the clients of the operators' protocol, a `control.service.Control`, what happens elsewhere."""
        services = control.services
        showing = self._showing = Showing(self._siblings, services.book, services.conversations.scribe)
        services.hub.peopled = showing.clients

    def _ask(self, process: int) -> None:
        """A process has begun to serve, and offers to tell of its runs."""
        if self._showing is not None and self._showing.wanted:
            self._siblings.tell(process, WATCH, True)

    def drain(self) -> None:
        """Take no more connections."""
        self._handover.close()

    def close(self) -> None:
        """Tell no more."""
        self._handover.close()
        if self._reporter is not None:
            self._reporter.close()

    def sockets(self, serve: Handler) -> Handler:
        """What answers WebSockets of the operators' protocol, which `serve` does in the first worker."""
        return serve if self._siblings.number == FIRST else self._to_first

    async def _to_first(self, exchange: Exchange) -> None:
        accept(exchange.head)  # raises RequestError: what is no handshake stays here
        await self._handover.pass_on(exchange, FIRST)

    def once(self, serve: Handler, body_limit: int) -> Handler:
        """What answers requests with an `Idempotency-Key`, which `serve` does in the worker that the key belongs to.

        All that come with one key are answered by one process: only there is known what was answered.
        """

        async def answer(exchange: Exchange) -> None:
            owner = self._owner(exchange)
            if owner == self._siblings.number:
                await serve(exchange)
            else:
                await self._handover.pass_on(exchange, owner, await exchange.body(body_limit))

        return answer

    def _owner(self, exchange: Exchange) -> int:
        digest = sha256(exchange.head.fields[KEY]).digest()
        return 1 + int.from_bytes(digest[:8], "big") % self._siblings.count
