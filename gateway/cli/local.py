"""A gateway in this process, asked without a socket: the endpoint's own handler, with an exchange made of memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from ..agents.conversation import failed
from ..api.chat import Chat
from ..api.problem import render, run_error
from ..app import Gateway
from ..errors import AgentError, MisuseError, RequestError
from ..model.caller import OPERATOR, Caller
from ..model.http import Headers, Peer, RequestHead
from ..ports import Encode, Link
from .ask import CHAT_PATH, Post

__all__ = ["local"]


def local(gateway: Gateway) -> Post:
    """Asks `gateway`, which need not be started."""
    limit = gateway.config.gateway.http.endpoints.chat_completions.max_body_bytes
    chat = Chat(gateway.planner, gateway.runs, time.time, limit)

    @asynccontextmanager
    async def post(headers: Headers, body: bytes) -> AsyncIterator[_Exchange]:
        exchange = _Exchange(headers, body)
        task = asyncio.create_task(exchange.serve(chat))
        try:
            await exchange.begun.wait()
            yield exchange
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await gateway.aclose()

    return post


class _Exchange:
    """`ports.Exchange` and `ports.BodyWriter` to the handler, `ask.Reply` to the reader."""

    def __init__(self, headers: Headers, body: bytes) -> None:
        self.head = RequestHead(
            method="POST",
            target=CHAT_PATH,
            path=CHAT_PATH,
            query="",
            version="1.1",
            headers=headers,
            fields={name: value.strip() for name, value in headers},
            content_length=len(body),
            chunked=False,
            keep_alive=False,
            expects_continue=False,
        )
        self.peer = Peer("", 0, local=True)
        self.request_id = ""
        self.caller = OPERATOR
        self.status = 500
        self.begun = asyncio.Event()
        self.full = False  # true while a piece waits to be read: each is shown before the next is made
        self._body = body
        self._encode: Encode | None = None
        self._pieces: list[bytes] = []
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._ended = False

    def decorate(self, headers: Headers) -> None:
        """There is nobody to read them."""

    async def serve(self, chat: Chat) -> None:
        try:
            await chat.create(self)
        except (RequestError, AgentError) as error:
            self.respond(*render(error if isinstance(error, RequestError) else run_error(failed(error))))
        finally:
            self._ended = True
            self.begun.set()
            self._news.set()

    async def read(self) -> bytes:
        while not self._pieces and not self._ended:
            self._news.clear()
            await self._news.wait()
        data = b"".join(self._pieces)
        self._pieces.clear()
        self.full = False
        self._room.set()
        return data

    # -- for the handler

    async def body(self, limit: int) -> bytes:
        if len(self._body) > limit:
            raise RequestError(413, f"The message is longer than the {limit} bytes that a request may have.")
        return self._body

    def ready_body(self, limit: int) -> bytes | None:
        return None if len(self._body) > limit else self._body

    async def settle(self) -> None:
        """A message that was given whole cannot be broken off."""

    def respond(self, status: int, _headers: Headers, body: bytes = b"") -> None:
        self.status = status
        self.write(body)

    def stream(self, status: int, _headers: Headers, encode: Encode | None = None) -> _Exchange:
        self.status = status
        self._encode = encode
        return self

    def fail(self) -> None:
        """Nothing is kept here."""

    def admit(self, caller: Caller) -> None:
        """Whoever runs this command is let in."""

    async def accept_websocket(self) -> Link:
        raise MisuseError("there is no socket")

    def write(self, data: bytes) -> None:
        self._pieces.append(data)
        self.full = True
        self.begun.set()
        self._news.set()

    def put(self, piece: str) -> bool:
        return self.put_all([piece])

    def put_all(self, pieces: list[str]) -> bool:
        if self._encode is None:
            raise MisuseError("pieces were put into a stream that cannot encode them")
        self.write(self._encode(pieces))
        return self.full

    def flush(self) -> None:
        """Nothing is held back here."""

    async def drain(self) -> None:
        while self.full:
            self._room.clear()
            await self._room.wait()

    def fill_silence(self, data: bytes) -> None:
        """There is no proxy between us that could take silence amiss."""

    async def end(self) -> None:
        """`serve` tells the end."""
