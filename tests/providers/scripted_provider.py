"""Providers of the tests: they give scripted answers over a real socket, and keep what they were asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from gateway.errors import AgentError
from gateway.model.chat import AnyTool, ChatRequest, Message, Tool, ToolChoice
from gateway.model.run import RunInput
from gateway.providers.dialect import Dialect
from gateway.providers.model import Model
from gateway.providers.openai import Completions
from gateway.providers.settings import ModelSettings, Provider
from gateway.providers.upstream import Upstream

KEY = "sk-a-very-secret-key"
NOW = 1_700_000_000.0


def answer(body: bytes, kind: str = "application/json", status: str = "200 OK", extra: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


def refusal(status: int, message: str = "no", extra: str = "", **members: object) -> bytes:
    body = json.dumps({"error": {"message": message, **members}}).encode()
    return answer(body, status=f"{status} Refused", extra=extra)


def chunk(text: str | None = None, finish: str | None = None, **members: object) -> bytes:
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return (
        b"data: "
        + json.dumps({"id": "c1", "object": "chat.completion.chunk", "choices": [choice], **members}).encode()
        + b"\n\n"
    )


def stream(*events: bytes) -> bytes:
    return answer(b"".join(events), "text/event-stream; charset=utf-8")


DONE = b"data: [DONE]\n\n"
GOOD = stream(chunk(""), chunk("Hel"), chunk("lo"), chunk(finish="stop"), DONE)


@dataclass
class Recorder:
    """A provider that gives one scripted answer after another, the last one for ever, and keeps what it was asked."""

    url: str
    answers: list[bytes]
    heads: list[bytes] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
                self.heads.append(head)
                self.bodies.append(json.loads(await reader.readexactly(length)))
                said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                writer.write(said)
                await writer.drain()
                if b"\r\nContent-Length" not in said:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left.set()
        finally:
            writer.close()


@asynccontextmanager
async def recorder(*answers: bytes) -> AsyncIterator[Recorder]:
    made = Recorder("", list(answers))
    tasks: set[asyncio.Task[None]] = set()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(cast("asyncio.Task[None]", asyncio.current_task()))
        await made.serve(reader, writer)

    server = await asyncio.start_server(connection, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield made
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def asked(
    *messages: Message,
    history: tuple[Message, ...] = (),
    tools: tuple[Tool, ...] = (),
    choice: ToolChoice = AnyTool,
    **parameters: object,
) -> RunInput:
    request = ChatRequest(messages or (Message("user", "hi"),), parameters=parameters, tools=tools, tool_choice=choice)
    return RunInput("r1", "main", "key", request, history=history)


@dataclass
class Trial:
    events: list[object] = field(default_factory=list)
    error: AgentError | None = None
    pauses: list[float] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(event for event in self.events if isinstance(event, str))


def trial(
    *answers: bytes,
    run: RunInput | None = None,
    retries: int = 2,
    headers: dict[str, str] | None = None,
    system: str | None = None,
    dialect: Dialect | None = None,
    settings: ModelSettings | None = None,
) -> Trial:
    """One run against a provider that gives these answers; by default it speaks OpenAI's chat completions."""
    seen = Trial()

    async def sleep(seconds: float) -> None:
        seen.pauses.append(seconds)

    async def main() -> None:
        async with recorder(*answers) as server:
            provider = Provider(
                "acme",
                server.url,
                KEY,
                headers or {},
                max_retries=retries,
                key_hint="models.providers.acme.apiKey",
                models={"m-1": settings} if settings else {},
            )
            upstream = Upstream(provider.timeouts)
            model = Model(
                dialect or Completions(),
                provider,
                "m-1",
                upstream,
                system_prompt=system,
                sleep=sleep,
                chance=lambda: 0.0,
                clock=lambda: NOW,
            )
            try:
                async for event in model(run or asked()):
                    seen.events += event if isinstance(event, list) else [event]
            except AgentError as error:
                seen.error = error
            await upstream.aclose()
            seen.heads, seen.bodies = server.heads, server.bodies

    asyncio.run(asyncio.wait_for(main(), 20))
    return seen


def failed(*answers: bytes, retries: int = 0) -> AgentError:
    error = trial(*answers, retries=retries).error
    assert error is not None
    return error
