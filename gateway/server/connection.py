"""The one Protocol: it owns the transport, the phase, the gate and the timers of a connection.

Bytes go down to `wire.http1`, events come up and become an exchange, whose handler runs in the connection's single
task.  A WebSocket stays on the same Protocol: from then on the bytes go to its link.
"""

from __future__ import annotations

from asyncio import BaseTransport, CancelledError, Task
from contextlib import suppress
from logging import getLogger

from ..errors import AgentError, MisuseError, PeerGone, RequestError
from ..model.http import BodyEnd, Malformed, RequestHead
from ..wire.grammar import REQUEST_ID
from ..wire.http1 import Http1, Http1Event
from ..wire.response import ResponseState
from .exchange import HttpExchange
from .hangup import hold_little, look_for_reset
from .phase import Phase, move
from .sender import Sender
from .services import Services, Tenant

__all__ = ["Connection"]

_logger = getLogger(__name__)
# One read of the transport: room for any head, and for the usual body with it.
READ_BYTES = 65_536

_IDLE, _EXCHANGE, _DRAIN, _LINK = Phase.IDLE, Phase.EXCHANGE, Phase.DRAIN, Phase.LINK
_DONE = ResponseState.DONE


class Connection(Sender):
    """One connection, from its first byte to its last."""

    __slots__ = (
        "_busy", "_eof", "_exchange", "_head_begun", "_lingering", "_link", "_link_reads", "_paused",
        "_reader", "_waits", "_watched", "is_authenticated", "phase", "task",
    )  # fmt: skip

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self.phase = Phase.IDLE
        self._reader = Http1(services.limits.http1)
        self._exchange: HttpExchange | None = None
        self.task: Task[None] | None = None
        self._link: Tenant | None = None
        self._link_reads = True
        self.is_authenticated = False
        self._head_begun = True
        self._watched = False
        self._busy = False
        self._paused = False
        self._lingering = 0
        self._eof = False
        self._waits = False

    # -- what the transport says

    def connection_made(self, given: BaseTransport) -> None:
        transport = self._take(given)
        if hasattr(transport, "max_size"):
            # asyncio asks for 256 KiB at a time, which the C library maps anew, page by page, at each read: 14 us
            # instead of 1 for a request of some hundred bytes.
            transport.max_size = READ_BYTES
        services = self.services
        refused = "shutting down" if services.shut else services.admission.enter(self.peer)
        if refused is not None:
            self.write(services.refusal(Malformed(503, refused), self.peer, refused))
            self._linger(services.limits.unread_bytes) if services.turn_away(self) else self.close()
            return
        services.connections.add(self)
        services.head.set(self)

    def data_received(self, data: bytes) -> None:
        phase = self.phase
        if phase is _IDLE and not self._paused and (request := self._reader.whole(data)) is not None:  # as mostly
            self._begin(*request)
            return
        if phase >= _LINK:
            if phase is _LINK and self._link is not None:
                self._link.data_received(data)
            elif phase is Phase.LINGER:
                self._discard(len(data))
            return
        events = self._reader.receive(data)
        if events:
            self._advance(events)
        elif phase is _IDLE and not self._head_begun:
            self._head_begun = True
            self.services.head.set(self)
        if self._paused or not self._reader.complete or self._reader.pending:
            self._update_reading()

    def _read_on(self) -> bool:
        """Go on reading what is much work.  For `Turns`, one turn: where there is more, it comes again."""
        self._waits = False
        if events := self._reader.receive(b""):
            self._advance(events)
        self._update_reading()
        return False

    def eof_received(self) -> bool:
        self._eof = True
        exchange = self._exchange
        if self.phase is Phase.LINK and self._link is not None:
            self._link.eof_received()
        if self.phase is not Phase.EXCHANGE or exchange is None or self.peer.tls:
            self.services.outbox.flush()  # the transport closes now, and then takes nothing more
            return False
        if not self._reader.complete:
            exchange.take(Malformed(400, "the connection was closed before the request body was complete"))
        else:
            self.probe_due()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        services = self.services
        if isinstance(exc, TimeoutError):  # from the kernel: see `limit_delivery`
            services.cuts.count("write_stall", self.peer, "the peer takes nothing")
        if self in services.connections:
            services.admission.leave(self.peer, authenticated=self.is_authenticated)
        services.forget(self)
        services.read(self)
        self.phase = move(self.phase, Phase.CLOSED)
        self._transport = None
        self._reader.detach()
        self._gate.open()
        if self._exchange is not None:
            self._exchange.lost()
        if self._link is not None:
            self._link.connection_lost(exc)
            services.bereave(self.task)
            if self.task is None:
                self._link = None
        elif self.task is not None:  # a link tells its handler itself that it is over, and lets it clean up
            self.task.cancel()

    # -- from events to exchanges

    def _advance(self, events: list[Http1Event]) -> None:
        for event in events:
            if isinstance(event, RequestHead):
                self._begin(event, None)
            elif self.phase is _DRAIN:
                if isinstance(event, BodyEnd):
                    self.services.body.clear(self)
                    self._next()
                elif isinstance(event, Malformed):
                    self._linger()
            elif self._exchange is not None:
                self._exchange.take(event)
            elif isinstance(event, Malformed):
                self._refuse(event)

    def _begin(self, head: RequestHead, body: bytes | None) -> None:
        self.phase = move(self.phase, _EXCHANGE)
        self._head_begun = False
        options = self.services.options
        given = head.fields.get(b"x-request-id")
        request_id = given.decode("ascii") if given is not None and REQUEST_ID.fullmatch(given) else options.ids(32)
        self._exchange = exchange = HttpExchange(self, head, request_id, body)
        if options.answered is not None:
            exchange.began = self.loop.time()
        self.services.handlers.add(self)

    async def serve(self) -> None:
        """See `handlers.Served`."""
        exchange = self._exchange
        if exchange is None or self._transport is None:
            self.task = None
            return
        options = self.services.options
        try:
            if self._gate.shut:  # the peer has to read the answer before this one first
                await self.drain()
            try:
                await options.handler(exchange)
            except (AgentError, RequestError) as error:
                if options.failed is None:
                    raise
                await options.failed(exchange, error)
            if self._link is not None:
                await self._link.close()
            elif exchange.writer.state is not _DONE:
                raise MisuseError("a handler returned without a complete answer")
        except (PeerGone, CancelledError) as reason:
            if self.phase is not Phase.CLOSED:
                self.abort()
            if isinstance(reason, CancelledError):
                raise
        except RequestError as error:
            await self._fail(exchange, error)
        except Exception:
            head = exchange.head
            _logger.exception("the handler of %s %s failed req=%s", head.method, head.path, exchange.request_id)
            await self._fail(exchange, RequestError(500, "internal error"))
        finally:
            self.task = None
            self._finish(exchange)

    async def _fail(self, exchange: HttpExchange, error: RequestError) -> None:
        """The handler did not get to its answer."""
        if self.phase is Phase.CLOSED:
            return
        if self._link is not None:
            await self._link.close(1011, error.message)
        elif exchange.started:
            self.abort()
        else:
            headers, body = self.services.options.refusal(error.status, error.message)
            exchange.writer.keep_alive = False
            with suppress(PeerGone):  # the transport closes, and has not said so yet
                exchange.respond(error.status, (*headers, *error.headers), body)

    def _finish(self, exchange: HttpExchange) -> None:
        """The handler is through."""
        self._exchange = None
        if exchange.began is not None and (answered := self.services.options.answered) is not None:
            answered(exchange, self.loop.time() - exchange.began)
        transport = self._transport
        if transport is None:
            self._link = None
        if transport is None or transport.is_closing():
            return
        if self._link is not None:
            if self.phase is Phase.LINK:
                self.close()
        elif self._reader.complete and exchange.writer.keep_alive:
            self._next()
        elif not exchange.writer.keep_alive or self._reader.over:
            if self._reader.complete and not self._reader.pending:
                self.close()
            else:
                self._linger()
        else:
            self.phase = move(self.phase, Phase.DRAIN)
            self.services.body.set(self)
            self._update_reading()

    def _next(self) -> None:
        """On to the next request."""
        services = self.services
        self.phase = move(self.phase, _IDLE)
        if self._watched:
            self._busy = True
        else:
            self._watched = True
            services.soon.set(self)
        if events := self._reader.restart():
            self._advance(events)
        elif self._reader.pending:
            self._head_begun = True
            services.head.set(self)
        if self.phase is _IDLE:
            if self._eof:
                self.close()
            elif services.shut:  # the answer had promised more before
                self.retire()
        if self._paused or self._reader.more:
            self._update_reading()

    def _refuse(self, malformed: Malformed, limit: str = "") -> None:
        """Answer what never became a request."""
        self.write(self.services.refusal(malformed, self.peer, limit or f"refused {malformed.status}"))
        self._linger()

    def _linger(self, room: int = 0) -> None:
        """Close without resetting the last answer out of the peer's hands (RFC 9112, 9.6)."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self.phase = move(self.phase, Phase.LINGER)
        if self._eof:
            self.close()
            return
        self._lingering = room or self.services.limits.linger_bytes
        self.services.linger.set(self)
        self.services.outbox.flush()
        try:
            if transport.can_write_eof():
                transport.write_eof()
        except OSError:  # a reset that nobody has noticed, because reading was paused
            self.abort()
        self._update_reading()

    def _discard(self, size: int) -> None:
        """A peer that is still sending gets more time, as long as it is quick enough and knows an end."""
        before, self._lingering = self._lingering, self._lingering - size
        if self._lingering < 0:
            self.services.cuts.count("linger_bytes", self.peer)
            self.abort()
        elif before // READ_BYTES != self._lingering // READ_BYTES:
            self.services.linger.set(self)

    def _update_reading(self) -> None:
        """The one place that decides whether bytes are wanted."""
        wanted = True
        if self.phase is _IDLE and not self._paused:
            return
        if self.phase is _EXCHANGE and self._exchange is not None:
            room = self.services.limits.unread_bytes
            wanted = self._exchange.unread < room and self._reader.buffered < room
        elif self.phase is Phase.LINK:
            wanted = self._link_reads
        if wanted and self._reader.more:
            wanted = False
            if not self._waits:
                self._waits = True
                self.loop.call_soon(self.services.turns.add, self._read_on)
        if (
            wanted is self._paused
            and self._transport is not None
            and not self._transport.is_closing()
            and not self._eof
        ):
            self._paused = not wanted
            if wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    # -- what exchanges, streams and links ask for

    def may_keep_alive(self) -> bool:
        if self.services.draining or (self._eof and not self._reader.pending):
            return False
        if self._reader.complete:
            return True
        exchange, remaining = self._exchange, self._reader.remaining
        if exchange is None or remaining is None or exchange.head.expects_continue:
            return False
        return remaining <= self.services.limits.drain_bytes

    def body_wanted(self) -> None:
        self.services.body.set(self)
        self._update_reading()

    def body_over(self) -> None:
        self.services.body.clear(self)

    def authenticated(self) -> None:
        self.is_authenticated = True
        self.services.admission.authenticated(self.peer)

    def become_link(self, answer: bytes, link: Tenant) -> None:
        self._link = link
        self.phase = move(self.phase, Phase.LINK)
        if self._transport is not None:
            hold_little(self._transport)
        self.send(answer)
        rest = self._reader.detach()
        if rest:
            self.data_received(rest)
        if self._eof:  # it came while the handler made up its mind
            self._link.eof_received()
        self._update_reading()

    @property
    def following(self) -> bytes:
        """What has been read behind the request."""
        return bytes(self._reader.pending)

    def set_reading(self, wanted: bool) -> None:
        self._link_reads = wanted
        self._update_reading()

    def close(self) -> None:
        """Send what is pending, then close; a peer that does not read is cut off in the end."""
        if self.phase is Phase.LINK and not self._eof and not self.peer.tls:
            self._linger()  # what the peer still sends would reset our close frame away
        elif self._transport is not None and not self._transport.is_closing():
            self.services.outbox.flush()
            self.services.await_reader(self)
            self._transport.close()

    # -- what the timers and the server say

    def head_expired(self) -> None:
        if self.phase is not Phase.IDLE or not self._head_begun:
            return
        if self._reader.pending:
            self._refuse(Malformed(408, "the request head did not come in time"), "head_time")
        else:
            self.services.cuts.count("head_time", self.peer, "nothing came")
            self.close()

    def idle_soon(self) -> None:
        # Armed once, and not by each answer: who was busy in the meantime is looked at again after as long a time.
        if self._busy or self.phase is not Phase.IDLE or self._head_begun:
            self._busy = False
            if self.phase < _LINK:
                self.services.soon.set(self)
            return
        self._watched = False
        self._reader.forget()
        self.services.idle.set(self)

    def idle_expired(self) -> None:
        if self.phase is Phase.IDLE and not self._head_begun and not self._watched:
            self.services.cuts.count("keep_alive_idle", self.peer)
            self.close()

    def body_expired(self) -> None:
        self.services.cuts.count("body_idle", self.peer, "the request body stopped coming")
        if self.phase is Phase.DRAIN:
            self._linger()
        elif self._exchange is not None:
            self._exchange.take(Malformed(408, "the request body stopped coming"))

    def linger_expired(self) -> None:
        self.services.cuts.count("linger", self.peer)
        self.abort()

    def probe_due(self) -> None:
        """Ask a half-closed peer whether it is still there; a closed one answers with a reset."""
        if self._exchange is None or self._transport is None:
            return
        try:
            self._exchange.probe()
        except PeerGone:
            return
        look_for_reset(self.loop, self._transport)
        self.services.probe.set(self)

    def retire(self) -> None:
        """The server is draining: close as soon as nothing is under way."""
        if self.phase is Phase.IDLE and not self._reader.pending:
            self.close()
