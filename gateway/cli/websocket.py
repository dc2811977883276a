"""A WebSocket to a gateway: `wire.websocket` in the role of a client, on a socket."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import Callable
from functools import partial
from typing import cast

from ..model.http import Malformed
from ..providers.origin import parse_url
from ..server.listeners import UnixAddress
from ..wire.upgrade_client import Outcome, Refused, Switched, UpgradeClient
from ..wire.websocket import Binary, Closed, State, Text, WebSocket
from .console import FAILED, UNAVAILABLE, WRONG_USAGE, UnansweredError, legible
from .place import Place

__all__ = ["ABNORMAL", "WebSocketClient", "dial"]

CONNECT_TIME = 10.0
"""Seconds for the connection, TLS included; a gateway that takes longer is down."""

UPGRADE_TIME = 15.0
"""Seconds for the answer to the handshake, as in OpenClaw's client."""

CLOSE_TIME = 2.0
"""Seconds that the gateway has for its close frame, before the connection is cut: somebody waits for the prompt."""

MAX_MESSAGE = 25 * 1024 * 1024
"""Bytes of one message, as in OpenClaw's client: a history with its pictures."""

ABNORMAL = 1006  # RFC 6455, 7.4.1: the connection ended without a close frame

_NOT_NOW = {502, 503, 504}  # a proxy whose gateway is down, or a gateway that takes no more


class WebSocketClient(asyncio.Protocol):
    """One connection.  `on_message` gets each text, `on_close`, once and last, a close code and a reason.

    Both are called by the event loop and must not raise.
    """

    def __init__(self, on_message: Callable[[str], None], on_close: Callable[[int, str], None]) -> None:
        self._on_message = on_message
        self._on_close = on_close
        self._ws = WebSocket(MAX_MESSAGE, partial(os.urandom, 4))
        self._handshake: UpgradeClient | None = UpgradeClient(os.urandom(16))
        self._request = b""
        self._transport: asyncio.Transport | None = None
        self._closed = False
        loop = asyncio.get_running_loop()
        self._outcome: asyncio.Future[Outcome] = loop.create_future()
        self._lost: asyncio.Future[None] = loop.create_future()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not Transport by class: the TLS transport of asyncio and those of other loops are not derived from it.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._handshake is not None:
            outcome = self._handshake.receive(data)
            if outcome is None:
                return
            self._decide(outcome)
            data = outcome.rest if isinstance(outcome, Switched) else b""
        if self._closed:
            return
        for event in self._ws.receive(data):
            match event:
                case Text(text):
                    self._on_message(text)
                case Binary(content):
                    self._on_message(content.decode("utf-8", "replace"))
                case Closed(code, reason):
                    if self._ws.state is State.FAILING:
                        code, reason = ABNORMAL, f"it broke the protocol: {reason}"
                    self._end(code, reason)
                case _:
                    pass
        if back := self._ws.outgoing():
            self._write(back)
        if self._ws.state is State.CLOSED and self._transport is not None:
            self._transport.close()

    def eof_received(self) -> None:
        if self._handshake is not None:
            self._decide(self._handshake.eof())

    def connection_lost(self, exc: Exception | None) -> None:
        if self._handshake is not None:
            self._decide(Malformed(502, f"the connection was lost: {exc}" if exc else "the connection was closed"))
        self._end(ABNORMAL, str(exc or ""))
        if not self._lost.done():
            self._lost.set_result(None)

    # What its owner calls

    def prepare(self, host: bytes, target: str) -> None:
        """What to ask for, before there is a connection.  Raises ValueError for what cannot be sent."""
        assert self._handshake is not None
        self._request = self._handshake.request(host, target)

    async def opened(self) -> Outcome:
        """How the gateway takes the handshake."""
        return await self._outcome

    def send(self, text: str) -> None:
        """Send a text message; does nothing once the connection is over."""
        if self._ws.state is State.OPEN:
            self._write(self._ws.send_text(text))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close, and wait until the connection is gone; within CLOSE_TIME."""
        if self._transport is None:
            return
        if self._handshake is None and not self._closed and self._ws.state is State.OPEN:
            self._write(self._ws.close(code, reason))
        else:
            self._transport.close()
        try:
            async with asyncio.timeout(CLOSE_TIME):
                await asyncio.shield(self._lost)
        except TimeoutError:
            self._transport.abort()
            await self._lost

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _decide(self, outcome: Outcome) -> None:
        self._handshake = None
        self._closed = not isinstance(outcome, Switched)
        if not self._outcome.done():
            self._outcome.set_result(outcome)

    def _end(self, code: int, reason: str) -> None:
        if not self._closed:
            self._closed = True
            self._on_close(code, reason)


async def dial(
    place: Place, on_message: Callable[[str], None], on_close: Callable[[int, str], None]
) -> WebSocketClient:
    """Connect to the gateway.  Raises UnansweredError, which says what is there instead."""
    client = WebSocketClient(on_message, on_close)
    await _connect(client, place)
    try:
        _judge(await _outcome(client, place), place)
    except BaseException:  # also a cancellation
        await client.close()
        raise
    return client


async def _outcome(client: WebSocketClient, place: Place) -> Outcome:
    try:
        async with asyncio.timeout(UPGRADE_TIME):
            return await client.opened()
    except TimeoutError:
        message = f"{place.url} did not answer the handshake within {UPGRADE_TIME:g} s"
        raise UnansweredError(message, UNAVAILABLE) from None


def _judge(outcome: Outcome, place: Place) -> None:
    match outcome:
        case Switched():
            pass
        case Refused(status, body):
            code = UNAVAILABLE if status in _NOT_NOW else FAILED
            raise UnansweredError(f"the WebSocket is refused (HTTP {status}): {_said(body)}", code)
        case Malformed(_, reason):
            raise UnansweredError(f"what answers at {place.url} is no gateway: {reason}")


async def _connect(client: WebSocketClient, place: Place) -> None:
    """Raises UnansweredError."""
    loop = asyncio.get_running_loop()
    path = place.url.removeprefix("unix:") if place.url.startswith("unix:") else None
    try:
        origin, host, target = parse_url(_as_http(place.url) if path is None else "http://localhost")
        client.prepare(host, target)
    except ValueError as error:
        message = f"--url: {place.url!r} is not ws://HOST:PORT, wss://HOST:PORT or unix:PATH: {error}"
        raise UnansweredError(message, WRONG_USAGE) from error
    tls = place.tls or (ssl.create_default_context() if origin.tls else None)
    name = None if tls is None else origin.host
    try:
        async with asyncio.timeout(CONNECT_TIME):
            if path is None:
                await loop.create_connection(lambda: client, origin.host, origin.port, ssl=tls, server_hostname=name)
            else:
                where = UnixAddress(path).name
                await loop.create_unix_connection(lambda: client, where, ssl=tls, server_hostname=name)
    except TimeoutError:
        raise _unreachable(place, f"no connection within {CONNECT_TIME:g} s") from None
    except ssl.SSLError as error:
        told = getattr(error, "verify_message", "") or error.reason or error
        raise _unreachable(place, f"no TLS connection: {told}") from error
    except (OSError, UnicodeError, NotImplementedError) as error:  # UnicodeError: a name that cannot be one
        raise _unreachable(place, str(error)) from error


def _as_http(url: str) -> str:
    """`ws:` is `http:` in another word, and `wss:` `https:` (RFC 6455, section 3)."""
    scheme, colon, rest = url.partition(":")
    return f"{ {'ws': 'http', 'wss': 'https'}.get(scheme.lower(), scheme) }{colon}{rest}"


def _unreachable(place: Place, why: str) -> UnansweredError:
    remedy = "Start it with `gateway run`, or name another with --url"
    return UnansweredError(f"{place.url} cannot be reached: {why}. {remedy}", UNAVAILABLE)


def _said(body: bytes) -> str:
    """What a refusal says, on one line."""
    text = body.decode("utf-8", "replace").strip()
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    match document:
        case {"error": {"message": str(message)}}:
            text = message
        case _:
            pass
    return legible(text) or "without a word"
