"""A small client of the protocol, over a real WebSocket, for tests.

async with talk(gateway) as client:
payload = await client.request("health")
event = await client.event("chat", lambda payload: payload["state"] == "final")
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from asking import TOKEN
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from gateway import Gateway

ADMIN = ("operator.admin",)
SECONDS = 10
"""How long a test waits for what has to come."""


class RefusedError(Exception):
    """An answer that is no success; `error` is its member of that name."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.error = error
        self.code = error["code"]


class Client:
    """A connection.  What comes is sorted into `answers`, by request id, and `events`, in their order."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.hello: dict[str, Any] = {}
        self.challenge: dict[str, Any] = {}
        self.events: list[dict[str, Any]] = []
        self.answers: dict[str, list[dict[str, Any]]] = {}
        self._ids = itertools.count(1)
        self._news = asyncio.Event()
        self._at: dict[str, int] = {}
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for message in self.socket:
                frame = json.loads(message)
                if frame["type"] == "res":
                    self.answers.setdefault(frame["id"], []).append(frame)
                else:
                    self.events.append(frame)
                self._news.set()
        except ConnectionClosed:
            pass
        finally:
            self._news.set()

    @property
    def closed(self) -> tuple[int | None, str | None]:
        """Code and reason of the close."""
        return self.socket.close_code, self.socket.close_reason

    async def until(self, condition: Callable[[], Any], seconds: float = SECONDS) -> Any:
        """Wait until `condition()` is true, and give what it gave; AssertionError where it never will be."""
        try:
            async with asyncio.timeout(seconds):
                while not (found := condition()):
                    assert not self._reader.done(), f"the connection is over: {self.closed}"
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"it did not come within {seconds} s") from None
        return found

    async def over(self, seconds: float = SECONDS) -> tuple[int | None, str | None]:
        """Wait for the close; its code and reason."""
        await asyncio.wait_for(asyncio.shield(self._reader), seconds)
        return self.closed

    async def send(self, method: str, params: Any = None, **members: Any) -> str:
        """Send a request; its id."""
        request_id = str(next(self._ids))
        given = {**(params or {}), **members}
        await self.raw({"type": "req", "id": request_id, "method": method, "params": given})
        return request_id

    async def raw(self, frame: Any) -> None:
        """Send a message: a str or bytes as they are, anything else as JSON."""
        await self.socket.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))

    async def answer(self, request_id: str, number: int = 1) -> Any:
        """The payload of the answer with this number to a request.  Raises RefusedError."""
        await self.until(lambda: len(self.answers.get(request_id, ())) >= number)
        frame = self.answers[request_id][number - 1]
        if not frame["ok"]:
            raise RefusedError(frame["error"])
        return frame["payload"]

    async def request(self, method: str, params: Any = None, *, final: bool = False, **members: Any) -> Any:
        """Ask, and give the payload of the answer; of the second one with `final`.  Raises RefusedError."""
        return await self.answer(await self.send(method, params, **members), 2 if final else 1)

    async def event(self, name: str, wanted: Callable[[Any], Any] = bool) -> Any:
        """The payload of the next event of this name that is wanted: each is given once."""

        def find() -> dict[str, Any] | None:
            for number in range(self._at.get(name, 0), len(self.events)):
                event = self.events[number]
                if event["event"] == name and wanted(event["payload"]):
                    self._at[name] = number + 1
                    return event
            return None

        return (await self.until(find))["payload"]

    def seen(self, name: str) -> list[Any]:
        """The payloads of the events of this name that came so far."""
        return [event["payload"] for event in self.events if event["event"] == name]


def params_of(token: str | None = TOKEN, scopes: tuple[str, ...] = ADMIN, **members: Any) -> dict[str, Any]:
    """The parameters of a `connect` by which the CLI says who it is."""
    client = {"id": "cli", "version": "1.0", "platform": "linux", "mode": "cli"}
    auth = {} if token is None else {"auth": {"token": token}}
    ours = {"minProtocol": 4, "maxProtocol": 4, "client": client, "role": "operator", "scopes": list(scopes)}
    return {**ours, **auth, **members}


def address(gateway: Gateway, path: str = "/") -> str:
    """Where its WebSockets are."""
    return gateway.urls[0].replace("http", "ws", 1) + path


@asynccontextmanager
async def dial(gateway: Gateway | str, path: str = "/", **arguments: Any) -> AsyncIterator[Client]:
    """A connection that was challenged, and has said nothing yet."""
    url = gateway if isinstance(gateway, str) else address(gateway, path)
    async with connect(url, proxy=None, max_size=None, close_timeout=1, **arguments) as socket:
        client = Client(socket)
        try:
            await client.until(lambda: client.events)
            client.challenge = client.events.pop(0)["payload"]
            yield client
        finally:
            client._reader.cancel()


@asynccontextmanager
async def talk(gateway: Gateway | str, token: str | None = TOKEN, **members: Any) -> AsyncIterator[Client]:
    """A client that was let in; `members` are those of its `connect` that differ."""
    async with dial(gateway) as client:
        client.hello = await client.request("connect", params_of(token, **members))
        yield client
