"""A client for tests of methods: it connects, asks, and collects what it is told unasked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect

import gateway

__all__ = ["ALL_SCOPES", "Inquirer", "RefusedError", "inquirer"]

ALL_SCOPES = (
    "operator.admin", "operator.read", "operator.write", "operator.approvals", "operator.pairing", "operator.questions",
)  # fmt: skip

PATIENCE = 10.0


class RefusedError(Exception):
    """An answer that is an error.  `shape` is its `error`."""

    def __init__(self, shape: dict[str, Any]) -> None:
        super().__init__(f"{shape['code']}: {shape['message']}")
        self.shape = shape


class Inquirer:
    """One connection.  `hello` is what answered its `connect`; `events` is what it was told."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0
        self.hello: dict[str, Any] = {}
        self.events: list[dict[str, Any]] = []

    async def ask(self, method: str, **params: Any) -> Any:
        """The payload of the answer.  Raises RefusedError."""
        return await self.request(method, params)

    async def request(self, method: str, params: Any) -> Any:
        """`ask`, with params of any kind; None sends none."""
        self._number += 1
        frame = {"type": "req", "id": str(self._number), "method": method}
        await self._socket.send(json.dumps(frame if params is None else {**frame, "params": params}))
        async with asyncio.timeout(PATIENCE):
            while True:
                answer = await self._next()
                if answer.get("id") == frame["id"]:
                    if answer["ok"]:
                        return answer["payload"]
                    raise RefusedError(answer["error"])

    async def final(self) -> Any:
        """The second answer to what was asked last."""
        async with asyncio.timeout(PATIENCE):
            while True:
                answer = await self._next()
                if answer.get("id") == str(self._number):
                    return answer["payload"]

    async def told(self, name: str) -> dict[str, Any]:
        """The next event of a name that was not given yet."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for event in self.events:
                    if event["event"] == name:
                        self.events.remove(event)
                        return event
                await self._next()

    async def enter(self, token: str, scopes: tuple[str, ...], **client: Any) -> Self:
        await self.told("connect.challenge")
        info = {"id": "cli", "version": "1.0.0", "platform": "linux", "mode": "cli"} | client
        self.hello = await self.ask(
            "connect", minProtocol=4, maxProtocol=4, client=info, auth={"token": token}, role="operator",
            scopes=list(scopes),
        )  # fmt: skip
        return self

    async def _next(self) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(await self._socket.recv())
        if frame["type"] == "event":
            self.events.append(frame)
        return frame


@asynccontextmanager
async def inquirer(
    gw: gateway.Gateway, token: str = "s3cret", scopes: tuple[str, ...] = ALL_SCOPES, **client: Any
) -> AsyncIterator[Inquirer]:
    """A client that was let in."""
    async with connect(f"ws{gw.urls[0].removeprefix('http')}", compression=None) as socket:
        yield await Inquirer(socket).enter(token, scopes, **client)
