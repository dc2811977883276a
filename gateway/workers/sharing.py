"""What a gateway that is one of several processes shares with the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from logging import getLogger
from typing import Any, TypeAlias

from ..agents.conversation import Conversations
from ..agents.run import Runs
from ..api.guard import Guard
from ..api.keys import Rates
from ..config.schema import Config
from ..errors import ConfigError
from ..ports import Exchange, Handler, Siblings
from ..server.services import Services
from ..wire.upgrade import accept
from .handover import Handover
from .lanes import SharedLanes
from .lockouts import Lockouts
from .logs import FIRST
from .portions import portion
from .rates import SharedRates
from .reporting import Reporter
from .reports import OFFER, WATCH
from .showing import Showing

__all__ = ["Sharing"]

_logger = getLogger(__name__)

KEY = b"idempotency-key"
RELOAD = "reload"
"""(config, environ): what operators have changed is to be taken over, as far as it can be while a gateway runs."""

Reload: TypeAlias = Callable[[Config, Mapping[str, str]], Sequence[str]]


class Sharing:
    """Of one worker.  To be made before it joins the others."""

    def __init__(self, siblings: Siblings) -> None:
        self._siblings = siblings
        self._handover = Handover(siblings.inbox, siblings.outboxes)
        self._reporter: Reporter | None = None
        self._showing: Showing | None = None
        self._rates: SharedRates | None = None
        self._guard: Guard | None = None
        self._leaving = False
        self.lanes = SharedLanes(siblings)
        if siblings.number == FIRST:
            siblings.handle(OFFER, self._ask)

    async def learn(self, guard: Guard) -> None:
        """What has to be known of the others before anybody is served."""
        await Lockouts(self._siblings, guard.throttle).learn()

    def open(self, services: Services, runs: Runs, conversations: Conversations, guard: Guard, reload: Reload) -> None:
        """Take what the others hand over, and tell them what they want to know, from now on."""

        def take_over(_process: int, config: Config, environ: Mapping[str, str]) -> None:
            try:
                reload(config, environ)
            except ConfigError as error:  # the first worker has taken it, and told of what it could not
                _logger.warning("what an operator has changed is not taken over: %s", "; ".join(error.problems))
            self._count_keys(guard)

        self._siblings.handle(RELOAD, take_over)
        self._count_keys(guard)
        self._guard = guard
        self._handover.open(services)
        if self._siblings.number != FIRST:
            self._reporter = Reporter(self._siblings, runs, conversations)
            self._siblings.tell(FIRST, OFFER)

    def _count_keys(self, guard: Guard) -> None:
        """Share what keys spend, from the moment on when there are some."""
        if self._rates is None and isinstance(guard.rates, Rates):
            self._rates = SharedRates(self._siblings, guard.rates)

    def show(self, control: Any) -> None:
        """Show the clients of the operators' protocol, a `control.service.Control`, what happens elsewhere."""
        services = control.services
        showing = self._showing = Showing(self._siblings, services.book, services.conversations.scribe)
        services.hub.peopled = showing.clients

    def _ask(self, process: int) -> None:
        """A process has begun to serve, and offers to tell of its runs."""
        if self._showing is not None and self._showing.wanted:
            self._siblings.tell(process, WATCH, True)

    def portion(self, config: Config) -> Config:
        """The part of the limits that is this worker's."""
        return portion(config, self._siblings.count)

    def reloading(self, reload: Reload) -> Reload:
        """What takes over a configuration that an operator has changed: here, and then in the other processes."""

        def everywhere(config: Config, environ: Mapping[str, str]) -> Sequence[str]:
            done = reload(config, environ)
            if self._guard is not None:
                self._count_keys(self._guard)
            self._siblings.tell(None, RELOAD, config, dict(environ))
            return done

        return everywhere

    def drain(self, *, leaving: bool) -> None:
        """Take no more connections.  `leaving`: another process has this worker's place, and takes what is to come."""
        self._leaving = leaving
        self._handover.close()

    def close(self) -> None:
        """Tell no more."""
        self._handover.close()
        if self._reporter is not None:
            self._reporter.close()
        if self._rates is not None:
            self._rates.close()

    def sockets(self, serve: Handler) -> Handler:
        """What answers WebSockets of the operators' protocol, which `serve` does in the first worker."""

        async def answer(exchange: Exchange) -> None:
            if self._is_mine(FIRST):
                await serve(exchange)
            else:
                accept(exchange.head)  # raises RequestError: what is no handshake stays here
                await self._handover.pass_on(exchange, FIRST)

        return answer

    def once(self, serve: Handler, body_limit: int) -> Handler:
        """What answers requests with an `Idempotency-Key`, which `serve` does in the worker that the key belongs to.

        All that come with one key are answered by one process: only there is known what was answered.
        """

        async def answer(exchange: Exchange) -> None:
            owner = self._owner(exchange)
            if self._is_mine(owner):
                await serve(exchange)
            else:
                body = await exchange.body(body_limit)
                if self._rates is not None:  # there it is let in, and counted, once more
                    self._rates.give_back(exchange.caller.id)
                await self._handover.pass_on(exchange, owner, body)

        return answer

    def _is_mine(self, number: int) -> bool:
        return number == self._siblings.number and not self._leaving

    def _owner(self, exchange: Exchange) -> int:
        digest = sha256(exchange.head.fields[KEY]).digest()
        return 1 + int.from_bytes(digest[:8], "big") % self._siblings.count
