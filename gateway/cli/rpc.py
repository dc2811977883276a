"""OpenClaw's gateway protocol as a client: one WebSocket, requests and their answers, events.

async with connected(place, READ, events={"chat"}) as rpc:
    health = await rpc.request("health")
    async for event in rpc.events():
        ...
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

from .. import __version__
from ..records import NamedTuple
from .console import FAILED, UNAVAILABLE, UnansweredError, legible
from .place import Place
from .websocket import ABNORMAL, WebSocketClient, dial

__all__ = ["ALL", "READ", "WRITE", "ClosedError", "Event", "FailedError", "Patience", "Rpc", "connected", "part"]

READ = ("operator.read",)
WRITE = ("operator.read", "operator.write")
ALL = ("operator.admin", "operator.read", "operator.write", "operator.approvals", "operator.pairing")
"""Scopes, as OpenClaw calls them: what a command needs, and no more than that."""

GREETING_TIME = 15.0
"""Seconds for the gateway's challenge, and as many for its hello, as in OpenClaw's client."""

MAX_EVENTS = 10_000
"""Of those a command wants, how many may wait for it: minutes of the busiest session.  One that falls farther behind
shows the past; it is better off with a new connection."""

MAX_EVENT_CHARACTERS = 50 * 1024 * 1024
"""The same, as a size: what a gateway lets wait for a client."""

TICK = 30.0
"""Seconds between signs of life, where the gateway does not say (`policy.tickIntervalMs`)."""

MAX_TICK = 3600.0
"""The longest that it may say."""

MAX_PAYLOAD = 25 * 1024 * 1024
"""Bytes of a request, where the gateway does not say (`policy.maxPayload`)."""

GRACE = 5.0
"""Seconds that two signs of life may be late."""

PAUSES = (0.5, 1.0, 2.0, 4.0, 5.0)
"""Seconds before each attempt to connect again; the last one again and again."""

TRIES = 24
"""Attempts: two minutes, in which a gateway that restarts has drained, and is back."""

_AWAY = {1012: "the gateway restarts", 1013: "the gateway is starting"}

LASTING = 5.0
"""Seconds after which a connection has been a good one: then a command has all its attempts again."""

_NO_SCOPES = (
    ". The gateway's token gives none to programs of other machines: give --token the secret of a key, or come over "
    "loopback, through a tunnel"
)

# Restart, start, going away, lost, and 1008 for one that read too slowly: a new connection may do better.
_PASSING = {1001, ABNORMAL, 1008, *_AWAY}


class FailedError(UnansweredError):
    """The gateway answered with an error: `code` and `details` are those of the protocol."""

    def __init__(self, code: str, message: str, details: object = None, exit_code: int = FAILED) -> None:
        super().__init__(message, exit_code)
        self.code = code
        self.details = details


class ClosedError(UnansweredError):
    """The connection is over.  `code` is the close code of the WebSocket, 1006 for one without."""

    def __init__(self, code: int, reason: str) -> None:
        if code in _AWAY:
            text = _AWAY[code]
        elif code == ABNORMAL:
            text = f"the connection to the gateway was lost{reason and ': '}{legible(reason)}"
        else:
            text = f"the gateway closed the connection: {code}{reason and ' '}{legible(reason)}"
        super().__init__(text, UNAVAILABLE if code in _AWAY else FAILED)
        self.code = code


class Event(NamedTuple):
    name: str
    payload: Mapping[str, Any]


class _Pending:
    """A request that has not been answered.  With `final`, `accepted` is no answer yet."""

    def __init__(self, final: bool) -> None:
        self.final = final
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


class Rpc:
    """One connection.  `hello` is what the gateway said of itself, `instance` our own id.  Made by `connected`."""

    def __init__(self, events: Collection[str]) -> None:
        self.hello: Mapping[str, Any] = {}
        self.instance = os.urandom(16).hex()
        self._wanted = frozenset(events)
        self._socket: WebSocketClient | None = None
        self._pending: dict[str, _Pending] = {}
        self._count = 0
        self._queue: deque[tuple[Event, int]] = deque()
        self._queued = 0
        self._news: asyncio.Future[None] | None = None
        self._over: ClosedError | None = None
        self._loop = asyncio.get_running_loop()
        self._challenge: asyncio.Future[None] = self._loop.create_future()
        self._heard_at = self._loop.time()
        self._watch: asyncio.TimerHandle | None = None
        self._max_payload = MAX_PAYLOAD

    async def greet(self, place: Place, scopes: Sequence[str]) -> None:
        """Connect, and be let in.  Raises UnansweredError."""
        self._socket = await dial(place, self._heard, self._closed)
        await self._within(self._challenge, "the gateway sent no challenge")
        params = {
            "minProtocol": 3,
            "maxProtocol": 4,
            "client": {
                "id": "cli",
                "version": __version__,
                "platform": sys.platform,
                "mode": "cli",
                "instanceId": self.instance,
            },
            "caps": [],
            "role": "operator",
            "scopes": list(scopes),
        }
        if place.secret is not None:
            params["auth"] = {"token": place.secret}
        try:
            self.hello = part(await self.request("connect", params, timeout=GREETING_TIME))
        except FailedError as error:
            code = UNAVAILABLE if error.code == "UNAVAILABLE" else FAILED
            raise FailedError(error.code, str(error), error.details, code) from None
        policy = part(self.hello.get("policy"))
        self._max_payload = _number(policy.get("maxPayload"), MAX_PAYLOAD)
        tick = min(_number(policy.get("tickIntervalMs"), 1000 * TICK) / 1000, MAX_TICK)
        self._watch_for(2 * tick + GRACE)

    async def request(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the limit of one request among several
        final: bool = False,
    ) -> Any:
        """The payload of the answer, of the second one with `final`.  `timeout` is in seconds; 0 or None for no limit.

        Raises FailedError for an answer that is an error, ClosedError, and UnansweredError when there is none in time.
        """
        self._count += 1
        number = str(self._count)
        frame: dict[str, Any] = {"type": "req", "id": number, "method": method}
        if params is not None:
            frame["params"] = params
        text = json.dumps(frame, separators=(",", ":"))
        if len(text) > self._max_payload:
            raise UnansweredError(f"the request has {len(text)} bytes; the gateway takes {self._max_payload}")
        if self._over is not None:
            raise self._over
        assert self._socket is not None
        pending = self._pending[number] = _Pending(final)
        self._socket.send(text)
        try:
            async with asyncio.timeout(timeout or None):
                return await pending.answer
        except TimeoutError:
            raise UnansweredError(f"{method} was not answered within {timeout:g} s") from None
        finally:
            del self._pending[number]

    async def events(self) -> AsyncIterator[Event]:
        """The events that were asked for, as they come.  Raises ClosedError after the last one."""
        while True:
            while self._queue:
                event, size = self._queue.popleft()
                self._queued -= size
                yield event
            if self._over is not None:
                raise self._over
            self._news = self._loop.create_future()
            await self._news

    async def close(self) -> None:
        """End the connection; does nothing where there is none."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._socket is not None:
            await self._socket.close()

    async def _within(self, awaited: asyncio.Future[None], complaint: str) -> None:
        try:
            async with asyncio.timeout(GREETING_TIME):
                await awaited
        except TimeoutError:
            raise UnansweredError(f"{complaint} within {GREETING_TIME:g} s") from None

    # What the socket calls

    def _heard(self, text: str) -> None:
        if self._over is not None:
            return
        self._heard_at = self._loop.time()
        try:
            frame = json.loads(text)
        except (ValueError, RecursionError):
            frame = None
        match frame:
            case {"type": "res", "id": str(number), "ok": bool(good)}:
                self._answered(number, good, frame)
            case {"type": "event", "event": "connect.challenge"}:
                if not self._challenge.done():
                    self._challenge.set_result(None)
            case {"type": "event", "event": str(name)} if name in self._wanted:
                self._enqueue(Event(name, part(frame.get("payload"))), len(text))
            case {"type": str()}:
                pass  # an event that nobody here wants, or a frame of a later protocol
            case _:
                self._give_up("what answers there is no gateway: it sent what is no frame of the protocol")

    def _answered(self, number: str, good: bool, frame: Mapping[str, Any]) -> None:
        pending = self._pending.get(number)
        if pending is None or pending.answer.done():
            return
        payload = frame.get("payload")
        if not good:
            error = part(frame.get("error"))
            code, message = str(error.get("code", "")), str(error.get("message", "the gateway gives no reason"))
            if part(error.get("details")).get("code") == "MISSING_SCOPE" and self._has_no_scopes():
                message += _NO_SCOPES
            pending.answer.set_exception(FailedError(code, message, error.get("details")))
        elif not (pending.final and part(payload).get("status") == "accepted"):
            pending.answer.set_result(payload)

    def _has_no_scopes(self) -> bool:
        return part(self.hello.get("auth")).get("scopes") == []

    def _enqueue(self, event: Event, size: int) -> None:
        self._queue.append((event, size))
        self._queued += size
        if len(self._queue) > MAX_EVENTS or self._queued > MAX_EVENT_CHARACTERS:
            self._give_up("more was told than could be read")
        self._wake()

    def _closed(self, code: int, reason: str) -> None:
        self._end(ClosedError(code, reason))

    def _give_up(self, why: str) -> None:
        """End the connection from this side."""
        self._end(ClosedError(ABNORMAL, why))
        if self._socket is not None:
            self._socket.abort()

    def _end(self, error: ClosedError) -> None:
        if self._over is not None:
            return
        self._over = error
        if self._watch is not None:
            self._watch.cancel()
        waiting = [pending.answer for pending in self._pending.values()]
        for future in (self._challenge, *waiting):
            if not future.done():
                future.set_exception(error)
                future.exception()  # nobody need be waiting
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def _watch_for(self, patience: float) -> None:
        """Give up once nothing has come for so long: the network, or the gateway, has gone without a word."""

        def look() -> None:
            left = self._heard_at + patience - self._loop.time()
            if left <= 0:
                self._give_up(f"it has been silent for {patience:g} s")
            else:
                self._watch = self._loop.call_later(left, look)

        look()


@asynccontextmanager
async def connected(place: Place, scopes: Sequence[str], events: Collection[str] = ()) -> AsyncIterator[Rpc]:
    """A connection to the gateway there, with these scopes; only these `events` are kept.  Raises UnansweredError."""
    rpc = Rpc(events)
    try:
        await rpc.greet(place, scopes)
        yield rpc
    finally:
        await rpc.close()


class Patience:
    """How often a command that stays tries to connect again, once its gateway has gone; the first time it says why."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._tries: int | None = None  # since it was last connected; None: never
        self._since: float | None = None

    def connected(self) -> None:
        """It is there, and may go again."""
        self._tries = self._tries or 0
        self._since = monotonic()

    async def pause(self, error: UnansweredError) -> None:
        """Wait for the next attempt.  Raises `error` where another would be of no use."""
        if self._since is not None and monotonic() - self._since >= LASTING:
            self._tries = 0
        self._since = None
        passes = error.code in _PASSING if isinstance(error, ClosedError) else error.exit_code == UNAVAILABLE
        if self._tries is None or not passes or self._tries >= TRIES:
            raise error
        if self._tries == 0:
            self._tell(f"[{error}; trying again]")
        self._tries += 1
        await asyncio.sleep(PAUSES[min(self._tries, len(PAUSES)) - 1])


def part(value: object) -> Mapping[str, Any]:
    """An object of the protocol; an empty one in place of whatever else a peer may have sent."""
    return value if isinstance(value, dict) else {}


def _number(value: object, default: float) -> int:
    return int(value if isinstance(value, int | float) and 0 < value < 2**53 else default)
