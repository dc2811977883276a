"""A gateway that says what a test wants it to, by an independent implementation of WebSocket (websockets)."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

__all__ = ["HELLO", "Scripted", "Wire", "scripted"]

HELLO: Mapping[str, Any] = {
    "type": "hello-ok",
    "protocol": 4,
    "server": {"version": "9.9.9", "connId": "c1"},
    "features": {"methods": [], "events": []},
    "snapshot": {
        "uptimeMs": 3_725_000,
        "sessionDefaults": {"defaultAgentId": "main", "mainKey": "main", "mainSessionKey": "agent:main:main"},
    },
    "auth": {"role": "operator", "scopes": []},
    "policy": {"maxPayload": 26_214_400, "tickIntervalMs": 30_000},
}


@dataclass
class Wire:
    """One connection to the scripted gateway."""

    connection: ServerConnection
    seen: list[dict[str, Any]]
    seq: int = 0

    def send(self, frame: object) -> None:
        self.connection.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))

    def answer(self, request: Mapping[str, Any], payload: object = None) -> None:
        self.send({"type": "res", "id": request["id"], "ok": True, "payload": payload})

    def refuse(self, request: Mapping[str, Any], code: str, message: str, **more: object) -> None:
        error = {"code": code, "message": message, **more}
        self.send({"type": "res", "id": request["id"], "ok": False, "error": error})

    def event(self, name: str, **payload: object) -> None:
        self.seq += 1
        self.send({"type": "event", "event": name, "payload": payload, "seq": self.seq})

    def request(self, method: str | None = None) -> dict[str, Any]:
        """The next request, which has to be of this method."""
        frame: dict[str, Any] = json.loads(self.connection.recv(20))
        self.seen.append(frame)
        assert method is None or frame["method"] == method, frame
        return frame

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.connection.close(code, reason)

    def challenge(self) -> dict[str, Any]:
        """Up to the request `connect`."""
        self.send({"type": "event", "event": "connect.challenge", "payload": {"nonce": "n", "ts": 1}})
        return self.request("connect")

    def greet(self, **hello: object) -> dict[str, Any]:
        """Let the client in; its parameters."""
        connect = self.challenge()
        self.answer(connect, {**HELLO, **hello})
        params: dict[str, Any] = connect["params"]
        return params

    def serve(self, **answers: object) -> None:
        """Answer by method, `_` for a dot, until the client leaves; what can be called is given the request."""
        while True:
            request = self.request()
            name = request["method"].replace(".", "_").replace("-", "_")
            if name not in answers:
                self.refuse(request, "INVALID_REQUEST", f"unknown method: {request['method']}")
            elif callable(answer := answers[name]):
                answer(request)
            else:
                self.answer(request, answer)


@dataclass
class Scripted:
    port: int
    seen: list[dict[str, Any]] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def flags(self) -> list[str]:
        return ["--url", self.url, "--token", "t0ken"]

    def methods(self) -> list[str]:
        return [frame["method"] for frame in self.seen]


@contextmanager
def scripted(*scripts: Callable[[Wire], object], **options: Any) -> Iterator[Scripted]:
    """A gateway whose connections play these scripts, one after the other, and the last one again and again."""
    made = Scripted(0)
    count = iter(range(1_000_000))

    def handle(connection: ServerConnection) -> None:
        script = scripts[min(next(count), len(scripts) - 1)]
        try:
            with suppress(ConnectionClosed):
                script(Wire(connection, made.seen))
        except BaseException as error:
            made.errors.append(error)
            raise

    with serve(handle, "127.0.0.1", 0, max_size=None, **options) as server:
        made.port = server.socket.getsockname()[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()
    assert not made.errors, made.errors
