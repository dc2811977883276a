"""One request and its answer, as a handler sees it (`ports.Exchange`)."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future
from typing import Protocol

from ..errors import MisuseError, PeerGone, RequestError
from ..model.caller import OPERATOR, Caller
from ..model.http import BodyChunk, BodyEnd, Headers, Malformed, Peer, RequestHead
from ..ports import Encode, Link
from ..wire.response import ResponseState, ResponseWriter, encode_headers
from .services import LinkCarrier, Services, Tenant
from .stream import StreamBody, StreamHost

__all__ = ["ExchangeHost", "HttpExchange"]


_END = BodyEnd()
_NEW = ResponseState.NEW


class ExchangeHost(StreamHost, LinkCarrier, Protocol):
    """What an exchange needs of the connection that carries it."""

    peer: Peer
    loop: AbstractEventLoop
    services: Services
    is_authenticated: bool

    def may_keep_alive(self) -> bool:
        """Whether another request can follow, as things stand."""

    def body_wanted(self) -> None:
        """The handler waits for the body."""

    def body_over(self) -> None:
        """The handler waits no longer."""

    def authenticated(self) -> None: ...

    def become_link(self, answer: bytes, link: Tenant) -> None:
        """Send `answer`, and hand the connection over."""

    # For who goes on with it in another process:

    @property
    def descriptor(self) -> int | None:
        """That of the socket; None for a connection whose socket does not carry what handlers see (TLS)."""

    @property
    def following(self) -> bytes:
        """What has been read behind the request."""

    async def cleared(self) -> None:
        """Wait until the kernel has all that was sent.  Raises PeerGone."""


class HttpExchange:
    """See `ports.Exchange`.  `take` and `lost` are the connection's side of it."""

    __slots__ = (
        "_body", "_decoration", "_end", "_host", "_kept", "_limit", "_size", "_waiter", "began", "body_stream",
        "caller", "head", "peer", "request_id", "writer",
    )  # fmt: skip

    def __init__(self, host: ExchangeHost, head: RequestHead, request_id: str, body: bytes | None) -> None:
        self._host = host
        self.head = head
        self.peer = host.peer
        self.request_id = request_id
        self.began: float | None = None  # for who is told of answers, where there is somebody
        self.caller = OPERATOR
        self.writer = ResponseWriter(head.method, head.version, keep_alive=head.keep_alive)
        self.body_stream: StreamBody | None = None
        self._decoration = b""
        # Not a list of its chunks: each weighs 40 bytes more than it holds, and a peer may make each hold one.
        self._body: bytes | bytearray = body or b""
        self._size = len(self._body)
        self._kept = True
        self._limit: int | None = None
        self._end: BodyEnd | Malformed | None = None if body is None else _END
        self._waiter: Future[None] | None = None

    @property
    def host(self) -> ExchangeHost:
        """The connection that carries it."""
        return self._host

    @property
    def unread(self) -> int:
        """Bytes of body that wait for the handler; 0 once it waits for them."""
        return self._size if self._waiter is None else 0

    @property
    def started(self) -> bool:
        """The head of the final answer was sent."""
        return self.writer.state is not _NEW

    def take(self, event: BodyChunk | BodyEnd | Malformed) -> None:
        """A body event off the wire."""
        if isinstance(event, BodyChunk):
            if self.writer.state is not _NEW:  # answered: nobody will read it
                return
            before, self._size = self._size, self._size + len(event.data)
            if self._kept:
                self._keep(event.data)
            pace = self._host.services.limits.pace
            if self._waiter is not None and before // pace != self._size // pace:
                self._host.body_wanted()
            if self._limit is None or self._size <= self._limit:
                return
            event = _too_large(self._limit)
        self._end = self._end or event
        self._wake()

    def _keep(self, data: bytes) -> None:
        if not self._body:
            self._body = data
            return
        if isinstance(self._body, bytes):
            self._body = bytearray(self._body)
        self._body += data

    def lost(self) -> None:
        """The peer is gone."""
        self._body = b""
        if self.body_stream is not None:
            self.body_stream.close()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def body(self, limit: int) -> bytes:
        """See `ports.Exchange.body`."""
        body = self.ready_body(limit)
        if body is None:
            length = self.head.content_length
            if length is not None and length > limit:
                self._end = _too_large(limit)
            await self._complete(limit)
            body = self._given()
        return body

    def ready_body(self, limit: int) -> bytes | None:
        """See `ports.Exchange.ready_body`."""
        if self._end.__class__ is not BodyEnd or self._size > limit:
            return None
        return self._given()

    def _given(self) -> bytes:
        body, self._body = self._body, b""  # a run may take minutes: who wants the body for so long keeps it
        return bytes(body)

    async def _complete(self, limit: int) -> None:
        """Wait for the end of the body."""
        if self._size > limit:
            self._end = _too_large(limit)
        if self._end is None:
            self._limit = limit
            if self.head.expects_continue and not self._size:
                self._host.send(self.writer.interim(100))
            self._waiter = self._host.loop.create_future()
            self._host.body_wanted()
            try:
                await self._waiter
            finally:
                self._waiter = None
                self._host.body_over()
        if isinstance(self._end, Malformed):
            self._body = b""
            self.writer.keep_alive = False
            raise RequestError(self._end.status, self._end.reason)
        if self._end is None:
            raise PeerGone("the peer left before its request was complete")

    async def settle(self) -> None:
        """See `ports.Exchange.settle`."""
        if self._end is None and self.head.expects_continue:
            return
        self._kept = False
        self._body = b""
        try:
            await self._complete(self._host.services.limits.drain_bytes)
        except RequestError as error:
            if error.status != 413:
                raise

    def decorate(self, headers: Headers) -> None:
        """See `ports.Exchange.decorate`."""
        self._decoration += encode_headers(headers)

    def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        """See `ports.Exchange.respond`."""
        writer, host = self.writer, self._host
        writer.keep_alive = writer.keep_alive and host.may_keep_alive()
        common = host.services.common_headers(self.request_id) + self._decoration
        host.send(writer.whole(status, common, headers, body))

    def stream(self, status: int, headers: Headers, encode: Encode | None = None) -> StreamBody:
        """See `ports.Exchange.stream`."""
        writer, host = self.writer, self._host
        writer.keep_alive = writer.keep_alive and host.may_keep_alive()
        common = host.services.common_headers(self.request_id) + self._decoration
        host.send(writer.head(status, common, headers, None))
        services = host.services
        self.head.fold()
        self.body_stream = StreamBody(host, writer, host.loop, services.pulse, services.silence, encode=encode)
        return self.body_stream

    def fail(self) -> None:
        """See `ports.Exchange.fail`.  Nothing is kept here."""

    def admit(self, caller: Caller) -> None:
        """See `ports.Exchange.admit`."""
        self.caller = caller
        if not self._host.is_authenticated:
            self._host.authenticated()

    async def accept_websocket(self) -> Link:
        """See `ports.Exchange.accept_websocket`."""
        if self.started:
            raise MisuseError("the request has been answered")
        host = self._host
        answer, link = host.services.open_link(host, self.head, self.peer)
        line, end, rest = answer.partition(b"\r\n")
        common = host.services.common_headers(self.request_id) + self._decoration
        host.become_link(self.writer.upgrade(line + end + common + rest), link)
        return link

    def probe(self) -> None:
        """Send what every client has to skip: a peer that is gone will say so.

        HTTP/1.0 knows no interim answers, so such a peer is found out when its answer is written.
        """
        if self.body_stream is not None:
            self.body_stream.probe()
        elif not self.started and self.head.version == "1.1":
            self._host.send(self.writer.interim(100))


def _too_large(limit: int) -> Malformed:
    return Malformed(413, f"the request body is larger than {limit} bytes")
