"""One WebSocket, from its challenge to its close.

challenge sent  >  `connect` is judged (what comes meanwhile waits)  >  hello  >  requests, each a task of its own
"""

from __future__ import annotations

from asyncio import CancelledError, Task, get_running_loop
from collections.abc import Callable, Coroutine, Mapping
from logging import getLogger
from typing import Any

from ..errors import AgentError, PeerGone, RequestError
from ..ports import Exchange, Link
from ..records import Protocol
from .client import Client
from .connect import ConnectRefusedError, Connects, Visit, Welcome
from .frames import NotARequestError, NotJsonError, Request, event, failure, framed, read, result
from .method import Call, Method, unknown_method
from .problem import INVALID_REQUEST, UNAVAILABLE, RpcError, rpc_error

__all__ = ["HANDSHAKE_SECONDS", "MAX_PAYLOAD_BYTES", "Connection", "House"]

_logger = getLogger(__name__)

PREAUTH_BYTES = 65_536
"""Of one message, of a client that has not said who it is."""
MAX_PAYLOAD_BYTES = 25 * 1024 * 1024
"""Of one message, afterwards: `policy.maxPayload` of the product."""
HANDSHAKE_SECONDS = 15.0
"""What a client has for its `connect`, and the gateway to judge it."""
PENDING_FRAMES = 15
"""What a client may send while its `connect` is judged, which a wrong secret delays."""
REQUESTS = 256
REQUEST_BYTES = 50 * 1024 * 1024
"""Requests of one client under way, as a number and in bytes: each holds a task and its message."""
BUSY_RETRY_MS = 500

NO_PROFILE = "Selected account changed or is unavailable. Select the account again before retrying."
"""A request meant for one account of several must not be done for another; this gateway knows none by these names."""
_NOT_STARTED = {"reason": "EXPECTED_PROFILE_MISMATCH", "execution": "not_started"}


class House(Protocol):
    """What a connection needs of the gateway."""

    @property
    def connects(self) -> Connects: ...

    @property
    def methods(self) -> Mapping[str, Method]: ...

    def require_ready(self) -> None:
        """Raises ConnectRefusedError (UNAVAILABLE) while the gateway starts."""

    def challenge(self) -> tuple[str, int]:
        """A nonce, and the time in milliseconds since the epoch."""

    def admit(self, exchange: Exchange, link: Link, welcome: Welcome) -> Client:
        """The client that somebody is from now on."""

    async def hello(self, client: Client) -> Mapping[str, Any]:
        """The payload that answers its `connect`."""

    def entered(self, client: Client) -> None:
        """It has been greeted."""

    def dismiss(self, client: Client) -> None:
        """It is gone."""


class Connection:
    """Serves one link.  `run` returns when it is over."""

    def __init__(self, house: House, exchange: Exchange, link: Link) -> None:
        self._house = house
        self._exchange = exchange
        self._link = link
        self._nonce, self._challenged_at = house.challenge()
        self._client: Client | None = None
        self._known = False
        self._judging: Task[None] | None = None
        self._pending: list[str | bytes] = []
        self._tasks: set[Task[None]] = set()
        self._bytes = 0  # of the requests under way

    @property
    def known(self) -> bool:
        """Whether its client was let in."""
        return self._known

    @property
    def answers(self) -> list[Task[None]]:
        """What is at work on answers."""
        return list(self._tasks)

    async def run(self) -> None:
        """Serve it.  Raises PeerGone where it ends before its challenge."""
        link = self._link
        link.limit(PREAUTH_BYTES)
        challenge = {"nonce": self._nonce, "ts": self._challenged_at}
        await link.send(event("connect.challenge", challenge).decode())
        timer = get_running_loop().call_later(HANDSHAKE_SECONDS, self._too_late)
        try:
            async for message in link:
                client = self._client
                if client is not None:
                    self._take(client, message)
                    if client.slow:  # who does not read its answers is not asked for more
                        await client.drained()
                elif self._judging is None:
                    self._judging = self._start(self._judge(message))
                elif len(self._pending) < PENDING_FRAMES:
                    self._pending.append(message)
                else:
                    await self._close(1008, "too many pending handshake frames")
                del message  # it may be large, and the next one far away
        finally:
            timer.cancel()
            if self._client is not None:
                self._house.dismiss(self._client)
            for task in list(self._tasks):
                task.cancel()

    # -- until hello

    def _too_late(self) -> None:
        if self._client is None:
            self._start(self._close(1000, ""))

    async def _judge(self, message: str | bytes) -> None:
        """Answer the first frame."""
        try:
            request = read(message)
        except NotJsonError:
            await self._close(1000, "")
            return
        except NotARequestError:
            await self._close(1008, "invalid request frame")
            return
        house = self._house
        try:
            if request.method != "connect":
                raise RpcError(INVALID_REQUEST, "invalid handshake: first request must be connect")
            house.require_ready()
            head, peer = self._exchange.head, self._exchange.peer
            welcome = await house.connects.judge(request.params, Visit(head, peer, self._nonce))
        except RpcError as error:
            await self._refuse(request.id, error)
            return
        except RequestError as error:
            await self._refuse(request.id, rpc_error(error))
            return
        self._link.limit(MAX_PAYLOAD_BYTES)
        client = house.admit(self._exchange, self._link, welcome)
        self._known = True
        hello = await house.hello(client)
        self._client = client
        house.entered(client)
        client.send(result(request.id, hello))
        pending, self._pending = self._pending, []
        for waiting in pending:
            self._take(client, waiting)

    async def _refuse(self, request_id: str, error: RpcError) -> None:
        protocol = error.protocol if isinstance(error, ConnectRefusedError) else 4
        try:
            self._link.write(framed(failure(request_id, error.shape(protocol))))
        except PeerGone:
            return
        if isinstance(error, ConnectRefusedError):
            await self._close(error.close_code, error.close_reason)
        else:
            await self._close(1008, error.message)

    async def _close(self, code: int, reason: str) -> None:
        await self._link.close(code, reason.encode()[:120].decode("utf-8", "ignore"))

    # -- after it

    def _take(self, client: Client, message: str | bytes) -> None:
        """One message of a client that was let in."""
        try:
            request = read(message)
        except NotJsonError:
            return  # as the product does: a client would not know what an answer belongs to
        except NotARequestError as error:
            self._fail(client, error.id, RpcError(INVALID_REQUEST, f"invalid request frame: {error.message}"))
            return
        size = len(message)
        try:
            if request.method == "connect":
                raise RpcError(INVALID_REQUEST, "connect is only valid as the first request")
            if request.profile is not None:
                raise RpcError(INVALID_REQUEST, NO_PROFILE, details=_NOT_STARTED)
            method = self._house.methods.get(request.method)
            if method is None:
                raise unknown_method(client, request.method)
            params = {} if request.params is None else request.params
            method.require(client, params)
            wrong = _no_object(params) if method.check is None else method.check(params)
            if wrong is not None:
                raise RpcError(INVALID_REQUEST, f"invalid {method.name} params: {wrong}")
            if len(self._tasks) >= REQUESTS or self._bytes + size > REQUEST_BYTES:
                message_ = f"this connection has {len(self._tasks)} requests under way; wait for their answers"
                raise RpcError(UNAVAILABLE, message_, retryable=True, retry_after_ms=BUSY_RETRY_MS)
        except RpcError as error:
            self._fail(client, request.id, error)
            return
        self._bytes += size
        self._start(self._answer(client, request, method, params), lambda: self._answered(size))

    def _answered(self, size: int) -> None:
        self._bytes -= size

    async def _answer(self, client: Client, request: Request, method: Method, params: Any) -> None:
        call = Call(client, request.id, params, lambda payload: client.send(result(request.id, payload)))
        try:
            payload = await method.handler(call)
        except RpcError as error:
            self._fail(client, request.id, error)
        except (AgentError, RequestError) as error:
            self._fail(client, request.id, rpc_error(error))
        except Exception:
            _logger.exception("the method %s failed", method.name)
            self._fail(client, request.id, RpcError(UNAVAILABLE, f"{method.name} failed: internal error"))
        else:
            client.send(result(request.id, payload))

    def _fail(self, client: Client, request_id: str, error: RpcError) -> None:
        client.send(failure(request_id, error.shape(client.welcome.protocol)))

    def _start(self, work: Coroutine[Any, Any, None], then: Callable[[], None] | None = None) -> Task[None]:
        task = get_running_loop().create_task(work, name="request")
        self._tasks.add(task)

        def over(task: Task[None]) -> None:
            self._tasks.discard(task)
            if then is not None:
                then()
            try:
                task.result()
            except (CancelledError, PeerGone):
                pass
            except Exception:
                _logger.exception("a WebSocket client could not be served")
                self._start(self._close(1011, "internal error"))

        task.add_done_callback(over)
        return task


def _no_object(params: Any) -> str | None:
    return None if isinstance(params, dict) else "must be object"
