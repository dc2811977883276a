"""A gateway in the loop of the test, and the smallest client that can ask it anything and hides nothing."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway import Gateway

__all__ = ["CHAT", "TOKEN", "Answer", "ask", "chat", "parse", "say", "serving", "until"]

TOKEN = "s3cret-of-the-gateway"
CHAT = "/v1/chat/completions"

Headers = Mapping[str, str] | Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    """`headers` by name in lower case; `body` without its framing."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        document = self.json
        assert set(document) == {"error"}
        error: dict[str, Any] = document["error"]
        assert list(error) == ["message", "type", "param", "code"]
        return error

    @property
    def text(self) -> str:
        content: str = self.json["choices"][0]["message"]["content"]
        return content

    @property
    def events(self) -> list[Any]:
        """The events of a stream, read strictly: each is `data: <one line>` or a comment, and an empty line."""
        events: list[Any] = []
        *blocks, rest = self.body.decode().split("\n\n")
        assert rest == "", "the stream ends within an event"
        for block in blocks:
            if block.startswith(":"):
                continue
            assert block.startswith("data: "), block
            assert "\n" not in block, block
            data = block.removeprefix("data: ")
            events.append(data if data == "[DONE]" else json.loads(data))
        return events


class _Bytes:
    """What `http.client` takes for a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def parse(data: bytes, method: str = "POST") -> Answer:
    """One answer, out of all bytes of its connection."""
    response = http.client.HTTPResponse(_Bytes(data), method=method)  # type: ignore[arg-type]  # all that it uses
    response.begin()
    body = response.read()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, body)


def _lines(headers: Headers | None) -> list[tuple[str, str]]:
    return list(headers.items()) if isinstance(headers, Mapping) else list(headers or ())


async def ask(
    gateway: Gateway | str,
    path: str = CHAT,
    *,
    method: str = "POST",
    body: Any = b"",
    headers: Headers | None = None,
    token: str | None = TOKEN,
) -> Answer:
    """One request on a connection of its own.  A `body` that is not bytes is sent as JSON."""
    url = gateway if isinstance(gateway, str) else gateway.urls[0]
    data: bytes = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [("Host", "localhost"), ("Connection", "close"), *_lines(headers)]
    if token is not None:
        lines.append(("Authorization", f"Bearer {token}"))
    if data or method == "POST":
        lines.append(("Content-Length", str(len(data))))
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines) + "\r\n"
    if url.startswith("unix:"):
        reader, writer = await asyncio.open_unix_connection(url.removeprefix("unix:"))
    else:
        host, _, port = url.removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    try:
        writer.write(head.encode() + data)
        return parse(await asyncio.wait_for(reader.read(), 10), method)
    finally:
        writer.close()


def say(text: str = "hi", **members: Any) -> dict[str, Any]:
    """The body of a chat request."""
    return {"messages": [{"role": "user", "content": text}], **members}


async def chat(gateway: Gateway | str, text: str = "hi", headers: Headers | None = None, **members: Any) -> Answer:
    """A chat request and its answer."""
    return await ask(gateway, body=say(text, **members), headers=headers)


def serving(test: Callable[[Gateway], Awaitable[None]], **arguments: Any) -> None:
    """Run a test against a gateway in a loop of its own; nothing may be left running."""

    async def main() -> None:
        async with Gateway(**{"listen": "127.0.0.1:0", "token": TOKEN, **arguments}) as gateway:
            await test(gateway)
            assert gateway.runs.active == 0, "a run is still under way"

    asyncio.run(main())


async def until(condition: Callable[[], object], seconds: float = 5) -> None:
    """Wait until `condition()` is true."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)
