"""A stream of a provider through the whole gateway: with text that flows past the run, what a client gets is the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from asking import TOKEN, Answer, ask, chat, say, until

from gateway import Gateway
from gateway.agents.fallbacks import Fallbacks
from gateway.config import Config, load
from gateway.providers.flow import ModelFlow

TEXTS = ["Hel", "lo ", "wörld", ' "quoted"\n', "🦀", *(f"t{n} " for n in range(30))]


def event(delta: dict[str, Any], finish: str | None = None, **members: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    document = {"id": "c", "object": "chat.completion.chunk", "choices": [choice], **members}
    return f"data: {json.dumps(document)}\n\n".encode()


def texts(*said: str) -> list[bytes]:
    return [event({"content": text}) for text in said]


CALL = {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]}
USAGE = event({}, None, usage={"prompt_tokens": 3, "completion_tokens": 4})
DONE = b"data: [DONE]\n\n"
STREAMS = {
    "text": [*texts(*TEXTS), event({}, "stop"), USAGE, DONE],
    "too long": [*texts(*TEXTS), event({}, "length"), DONE],
    "a call behind text": [*texts(*TEXTS[:5]), event(CALL), event({}, "tool_calls"), DONE],
    "thoughts between": [*texts("a", "b"), event({"reasoning": "hm"}), *texts("c", "d"), event({}, "stop"), DONE],
    "a comment": [*texts("a", "b"), b": keep-alive\n\n", *texts("c"), event({}, "stop"), DONE],
    "a failure": [*texts("a", "b"), b'data: {"error": {"message": "no more", "code": 500}}\n\n'],
    "cut off": texts("a", "b", "c"),
    "not JSON": [*texts("a", "b"), b"data: nonsense\n\n"],
}


class Provider:
    """Says a stream chunk by chunk, each when the one before has had time to arrive."""

    def __init__(self, pieces: Sequence[bytes], *, hangs: bool = False) -> None:
        self.pieces = pieces
        self.hangs = hangs
        self.left = False
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                for piece in self.pieces:
                    writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    await asyncio.sleep(0.003)
                if self.hangs:
                    await reader.read()
                    break
                writer.write(b"0\r\n\r\n")
        self.left = True
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        self.connections -= 1


def config(folder: Path, port: int) -> Config:
    path = folder / "relay.json5"
    provider = {"baseUrl": f"http://127.0.0.1:{port}/v1", "apiKey": "k", "models": ["m"], "maxRetries": 0}
    settings = {
        "gateway": {"http": {"endpoints": {"chatCompletions": {"enabled": True}}}},
        "agents": {"list": [{"id": "main", "model": "up/m", "showReasoning": True}]},
        "models": {"providers": {"up": {"api": "openai-completions", **provider}}},
    }
    path.write_text(json.dumps(settings), encoding="utf-8")
    return load(str(path), environ={}).config


def answers(folder: Path, pieces: Sequence[bytes], **members: Any) -> list[Answer]:
    """The answers to the same request, streamed and whole, and what a session has of it."""

    async def main() -> list[Answer]:
        provider = Provider(pieces)
        server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
        settings = config(folder, server.sockets[0].getsockname()[1])
        async with Gateway(settings, listen="127.0.0.1:0", token=TOKEN) as gateway:
            given = [await chat(gateway, stream=True, **members), await chat(gateway, **members)]
            given.append(
                await chat(gateway, "and then?", stream=True, stream_options={"include_usage": True}, **members)
            )
            await until(lambda: gateway.runs.active == 0)
        server.close()
        await until(lambda: not provider.connections)
        return given

    return asyncio.run(main())


def shown(answer: Answer) -> Any:
    """Without what no two answers have in common."""

    def known(document: Any) -> Any:
        if isinstance(document, dict):
            return {name: known(value) for name, value in document.items() if name not in {"id", "created"}}
        return [known(value) for value in document] if isinstance(document, list) else document

    if answer.headers["content-type"].startswith("text/event-stream"):
        return answer.status, known(answer.events)
    return answer.status, known(answer.json)


@pytest.mark.parametrize("session", [{}, {"user": "ann"}], ids=["stateless", "in a session"])
@pytest.mark.parametrize("stream", STREAMS)
def test_a_client_gets_the_same(
    stream: str, session: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = 0
    take = ModelFlow._take

    def counting(flow: ModelFlow, data: bytes) -> bool:
        nonlocal used
        used += 1
        return take(flow, data)

    monkeypatch.setattr(ModelFlow, "_take", counting)
    tools = [{"type": "function", "function": {"name": "f"}}]
    members = {**session, **({"tools": tools} if "call" in stream else {})}
    flowing = [shown(answer) for answer in answers(tmp_path, STREAMS[stream], **members)]
    assert used >= 3, "each answer, at least once"
    monkeypatch.setattr(Fallbacks, "with_flow", Fallbacks.__call__)
    used = 0
    assert flowing == [shown(answer) for answer in answers(tmp_path, STREAMS[stream], **members)]
    assert used == 0


def test_a_client_that_leaves_ends_the_call_of_its_provider(tmp_path: Path) -> None:
    async def main() -> None:
        provider = Provider(texts("a", "b", "c"), hangs=True)
        server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
        settings = config(tmp_path, server.sockets[0].getsockname()[1])
        async with Gateway(settings, listen="127.0.0.1:0", token=TOKEN) as gateway:
            asking = asyncio.create_task(ask(gateway, body=say(stream=True)))
            await until(lambda: gateway.runs.active)
            await asyncio.sleep(0.1)
            asking.cancel()
            await until(lambda: provider.left)
            await until(lambda: not gateway.runs.active)
        server.close()
        await until(lambda: not provider.connections)

    asyncio.run(main())


def test_a_stop_ends_what_flows(tmp_path: Path) -> None:
    async def main() -> None:
        provider = Provider(texts("a", "b", "c"), hangs=True)
        server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
        settings = config(tmp_path, server.sockets[0].getsockname()[1])
        async with Gateway(settings, listen="127.0.0.1:0", token=TOKEN) as gateway:
            asking = asyncio.create_task(ask(gateway, body=say(stream=True)))
            await until(lambda: gateway.runs.active)
            await asyncio.sleep(0.1)
            gateway.runs.stop_all()
            answer = await asking
            assert [part["choices"][0]["delta"].get("content") for part in answer.events[1:-2]] == ["a", "b", "c"]
            assert answer.events[-2]["error"]["code"] == "shutting_down"
            await until(lambda: provider.left)
        server.close()
        await until(lambda: not provider.connections)

    asyncio.run(main())
