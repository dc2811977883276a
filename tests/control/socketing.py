"""Frames to a gateway and back, over a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from judging import BASE, KEYS, NOW, TOKEN
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from gateway import Gateway, Key
from gateway.agents.function import echo
from gateway.config import load

__all__ = ["Talk", "gateway_of"]


def gateway_of(row: Mapping[str, Any], state: Path, **more: Any) -> Gateway:
    """A gateway that is set up as a row says (see `judging`), on a clock that stands still."""
    auth = row.get("auth", "token")
    settings: dict[str, Any] = {"http": {"cors": {"allowedOrigins": list(row.get("allowed", ()))}}}
    if row.get("peer", "local") != "local":
        settings["trustedProxies"] = ["127.0.0.1"]
    if auth == "password":
        settings["auth"] = {"password": TOKEN}
    file = state / "gateway.json5"
    file.write_text(json.dumps({"gateway": settings}), encoding="utf-8")
    config = load(str(file), environ={}).config
    keys = {secret: Key(caller) for secret, caller in KEYS.items()}
    return Gateway(
        **{
            "config": config,
            "agents": {"main": echo},
            "listen": "127.0.0.1:0",
            "token": TOKEN if auth in {"token", "password"} else None,
            "keys": None if auth == "open" else keys,
            "environ": {"GATEWAY_STATE_DIR": str(state)},
            "clock": lambda: NOW / 1000,
            **more,
        }
    )


class Talk:
    """A connection of the library `websockets`, after its challenge."""

    def __init__(self, link: ClientConnection, nonce: str, ts: int) -> None:
        self.link = link
        self.nonce = nonce
        self.ts = ts
        self._events: list[Any] = []

    @classmethod
    async def begin(cls, gateway: Gateway, row: Mapping[str, Any] | None = None) -> Talk:
        """Connect as the client of a row."""
        row = row or {}
        headers = dict(row.get("headers", {}))
        peer = row.get("peer", "local")
        if peer != "local":
            headers["x-forwarded-for"] = "192.0.2.9" if peer == "remote" else peer
        address = gateway.urls[0].removeprefix("http://")
        name, _, port = address.rpartition(":")
        link = await connect(
            f"ws://{headers.pop('host', address)}/", additional_headers=headers, host=name, port=int(port),
            compression=None, proxy=None, open_timeout=10, ping_interval=None,
        )  # fmt: skip
        challenge = json.loads(await asyncio.wait_for(link.recv(), 10))
        assert challenge["type"] == "event"
        assert challenge["event"] == "connect.challenge"
        assert "seq" not in challenge
        payload = challenge["payload"]
        return cls(link, payload["nonce"], payload["ts"])

    async def send(self, frame: Any) -> None:
        """A frame; text and bytes as they stand."""
        await self.link.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))

    async def next(self) -> Any:
        """The next frame that is no event; None where the connection ended instead."""
        try:
            while True:
                frame = json.loads(await asyncio.wait_for(self.link.recv(), 10))
                if frame["type"] != "event":
                    return frame
                self._events.append(frame)
        except ConnectionClosed:
            return None

    def events(self, name: str) -> list[Any]:
        """The payloads of the events of a name that came before the answers so far."""
        return [frame["payload"] for frame in self._events if frame["event"] == name]

    async def end(self) -> tuple[int | None, str | None]:
        """Code and reason of the close that comes."""
        assert await self.next() is None
        return self.link.close_code, self.link.close_reason

    async def call(self, method: str, params: Any = None, request_id: str = "c") -> Any:
        """The answer to a request."""
        frame = {"type": "req", "id": request_id, "method": method}
        await self.send(frame if params is None else {**frame, "params": params})
        answer = await self.next()
        assert answer is not None, (self.link.close_code, self.link.close_reason)
        assert answer["id"] == request_id
        return answer

    async def greet(self, params: Mapping[str, Any] | None = None) -> Any:
        """`connect`, and its answer."""
        return await self.call("connect", BASE if params is None else params, "1")

    async def close(self) -> None:
        await self.link.close()
