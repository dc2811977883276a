"""A client that talks in sessions over a kept connection, and takes no answer for one that is not whole."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any, Self

from processes import TOKEN

__all__ = ["BrokenError", "Talk"]


class BrokenError(Exception):
    """The connection ended before the answer did."""


class Talk:
    """One connection to a gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, port: int) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 24))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    async def say(self, key: str | None, text: str, *, model: str = "openclaw", stream: bool = False) -> str:
        """The answer, once all of it has come.  Raises BrokenError."""
        status, answer = await self.post(key, text, model=model, stream=stream)
        assert status == 200, answer
        if not stream:
            content: str = json.loads(answer)["choices"][0]["message"]["content"]
            return content
        events = [line.removeprefix(b"data: ") for line in answer.split(b"\n\n") if line]
        assert events.pop() == b"[DONE]"
        choices = [json.loads(event)["choices"][0] for event in events]
        assert choices[-1]["finish_reason"] == "stop"
        return "".join(choice["delta"].get("content") or "" for choice in choices)

    async def post(
        self, key: str | None, text: str, *, model: str = "openclaw", stream: bool = False, **more: Any
    ) -> tuple[int, bytes]:
        """The status and the body of the answer.  Raises BrokenError."""
        body = json.dumps(
            {"model": model, "stream": stream, "messages": [{"role": "user", "content": text}], **more}
        ).encode()
        session = f"x-openclaw-session-key: {key}\r\n" if key is not None else ""
        self._writer.write(
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n{session}"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            if b"\r\ntransfer-encoding: chunked\r\n" in head.lower():
                answer = await self._chunks()
            else:
                length = head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]
                answer = await self._reader.readexactly(int(length))
        except (OSError, asyncio.IncompleteReadError) as error:
            raise BrokenError from error
        return int(head.split(b" ", 2)[1]), answer

    async def _chunks(self) -> bytes:
        found = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            found += (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readexactly(2)
        return found
