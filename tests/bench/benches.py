"""The micro-benchmarks: each runs code of the gateway as it stands, on what clients and upstreams send."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import cycle
from pathlib import Path
from re import finditer
from typing import Any, NamedTuple, TypeAlias

from gateway.api.chat_bytes import ChunkEncoder, completion
from gateway.api.guard import Guard
from gateway.api.hosts import Hosts
from gateway.api.origins import Origins
from gateway.api.parse import chat_request
from gateway.api.router import Route, Router
from gateway.config import json5
from gateway.model.chat import Message
from gateway.model.http import RequestHead
from gateway.model.run import NO_USAGE, Answer, RunDone
from gateway.model.session import Turn
from gateway.ports import Exchange, SessionStore
from gateway.providers.openai_stream import CompletionReader
from gateway.providers.settings import provider
from gateway.sessions.sqlite import SqliteStore
from gateway.sessions.store import MemoryStore
from gateway.throttle import Throttle, ThrottleLimits
from gateway.wire.http1 import Http1, Http1Limits
from gateway.wire.response import ResponseWriter
from gateway.wire.sse import SseDecoder
from gateway.wire.websocket import WebSocket

from .scene import CLOCK, scene
from .traffic import TOKEN, TOKENS, UPSTREAM_EVENT, body, frame, request, unique_requests

__all__ = ["BENCHES", "HOT", "REFERENCE", "Bench"]

Run: TypeAlias = Callable[[int], None]
"""Does so many rounds."""

SAID = "Hello, please echo this text back to me."
UNIQUE = 2_048
"""Requests that are made beforehand; none of them comes again before all the others have."""
CLIENTS = 64
STREAMS = 16
KEPT_TURNS = 20
LESSONS = 4
"""Requests of a connection until it knows what repeats in their heads, with one to spare."""


class Bench(NamedTuple):
    """`make` prepares what `Run` needs; a round has `operations`.  `explains` are rows of the big benchmark."""

    name: str
    explains: str
    make: Callable[[], AbstractContextManager[Run]]
    operations: int = 1
    rounds: tuple[int, int] = (50, 150)
    """How many are counted, the short and the long run."""


BENCHES: list[Bench] = []


def bench(
    name: str, explains: str, operations: int = 1, rounds: tuple[int, int] = (50, 150)
) -> Callable[[Callable[[], Iterator[Run]]], Callable[[], AbstractContextManager[Run]]]:
    """Decorator: a generator that prepares, yields its `Run` once, and tidies up."""

    def register(make: Callable[[], Iterator[Run]]) -> Callable[[], AbstractContextManager[Run]]:
        managed = contextmanager(make)
        BENCHES.append(Bench(name, explains, managed, operations, rounds))
        return managed

    return register


def repeated(work: Callable[[], object]) -> Run:
    """A round is one call."""

    def run(rounds: int) -> None:
        for _ in range(rounds):
            work()

    return run


# -- the way in


@bench("head and body, the head repeats", "W1 W2 W5")
def head_repeated() -> Iterator[Run]:
    reader, data = Http1(Http1Limits()), request(SAID)

    def read() -> None:
        assert reader.receive(data)
        reader.restart()

    for _ in range(LESSONS):
        read()
    yield repeated(read)


@bench("head and body, two values are new", "W1u")
def head_unique() -> Iterator[Run]:
    reader, data = Http1(Http1Limits()), cycle(unique_requests(UNIQUE, SAID))

    def read() -> None:
        assert reader.receive(next(data))
        reader.restart()

    for _ in range(LESSONS):
        read()
    yield repeated(read)


@bench("head and body, of a new connection", "W3 cold")
def head_cold() -> Iterator[Run]:
    limits, data = Http1Limits(), request(SAID)
    yield repeated(lambda: Http1(limits).receive(data))


@bench("body to ChatRequest", "W1 W2 W5")
def request_body() -> Iterator[Run]:
    data = body(SAID)
    yield repeated(lambda: chat_request(data))


@bench("guard and routing", "W1 W2 W5")
def routing() -> Iterator[Run]:
    hosts = Hosts([])
    guard = Guard(TOKEN, Throttle(ThrottleLimits(), lambda: 0.0), hosts, Origins([], hosts))

    async def handler(exchange: Exchange) -> None:
        pass

    router = Router(guard, {"/v1/chat/completions": Route({"POST": handler}, scope="chat")}, {})
    head = Http1(Http1Limits()).receive(request(SAID))[0]
    assert isinstance(head, RequestHead)
    exchange: Any = _Visit(head)
    yield repeated(lambda: finish(router.route(exchange)))


class _Visit:
    """As much of an exchange as is asked for a request that may come in."""

    def __init__(self, head: RequestHead) -> None:
        self.head = head

    def admit(self, caller: object) -> None: ...


def finish(work: Any) -> None:
    """Run a coroutine that does not wait."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits")


# -- the way out


@bench("response head, chunk and end", "W2 W5")
def chunks() -> Iterator[Run]:
    common = b"date: Tue, 14 Nov 2023 22:13:20 GMT\r\nx-request-id: " + b"0" * 32 + b"\r\n"
    headers = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache, no-transform"))
    data = b"x" * 230

    def write() -> None:
        writer = ResponseWriter("POST", "1.1", keep_alive=True)
        writer.head(200, common, headers, None)
        writer.data(data)
        writer.end()

    yield repeated(write)


@bench("chunk", "W2 W5")
def chunk() -> Iterator[Run]:
    writer = ResponseWriter("POST", "1.1", keep_alive=True)
    writer.head(200, b"", (), None)
    data = b"x" * 230
    yield repeated(lambda: writer.data(data))


@bench("SSE event of a token, one", "W2s W2p W5 paced")
def sse_one() -> Iterator[Run]:
    encoder, texts = ChunkEncoder("chatcmpl-" + "0" * 32, int(CLOCK), "openclaw", include_usage=False), TOKENS[:1]
    yield repeated(lambda: encoder.texts(texts))


@bench("SSE event of a token, 64 together", "W2 W5 burst", operations=64)
def sse_many() -> Iterator[Run]:
    encoder, texts = ChunkEncoder("chatcmpl-" + "0" * 32, int(CLOCK), "openclaw", include_usage=False), TOKENS[:64]
    yield repeated(lambda: encoder.texts(texts))


@bench("completion object", "W1")
def completion_object() -> Iterator[Run]:
    answer = Answer((f"echo: {SAID} " * 3)[:100], NO_USAGE, RunDone())
    yield repeated(lambda: completion("0" * 32, int(CLOCK), "openclaw", answer, "stop"))


# -- configuration

SMALL = """
// The smallest that makes sense.
{
  gateway: { port: 18789, auth: { mode: "token", token: "${GATEWAY_TOKEN}" } },
  agents: { list: [{ id: "main", model: "openai/gpt-4o", name: 'The "main" one' }] }, // with a comma
}
"""


def large() -> str:
    """A configuration of 160 agents: 40 KB of JSON5, with comments, both kinds of quotes, and commas at ends."""
    agents = [
        f"""      {{
        id: "agent-{number}", // of many
        name: 'Agent "{number}"', model: "openai/gpt-4o-mini",
        runtime: {{ type: "command", argv: ["./run.sh", "--number", "{number}"], timeoutMs: {number + 1_000} }},
        env: {{ LEVEL: "{number % 7}", ratio: {number / 8}, on: {"true" if number % 2 else "false"}, more: null }},
      }},"""
        for number in range(160)
    ]
    return "{\n  agents: {\n    list: [\n" + "\n".join(agents) + "\n    ],\n  },\n}\n"


@bench("JSON5, a configuration of 0.2 KB", "cold")
def json5_small() -> Iterator[Run]:
    yield repeated(lambda: json5.parse(SMALL))


@bench("JSON5, a configuration of 40 KB", "cold", rounds=(1, 2))
def json5_large() -> Iterator[Run]:
    text = large()
    yield repeated(lambda: json5.parse(text))


# -- WebSocket


def decoding(size: int) -> Callable[[], Iterator[Run]]:
    def make() -> Iterator[Run]:
        socket, data = WebSocket(1 << 20), frame(size)
        assert len(socket.receive(data)) == 1
        yield repeated(lambda: socket.receive(data))

    return make


def encoding(size: int) -> Callable[[], Iterator[Run]]:
    def make() -> Iterator[Run]:
        socket, text = WebSocket(1 << 20), "abcdefgh" * (size // 8)
        yield repeated(lambda: socket.send_text(text))

    return make


for size, shown in ((64, "64 B"), (4_096, "4 KiB"), (65_536, "64 KiB")):
    often = (50, 150) if size < 65_536 else (5, 15)
    bench(f"WebSocket frame, read, {shown}", "W4", rounds=often)(decoding(size))
    bench(f"WebSocket frame, write, {shown}", "W4", rounds=often)(encoding(size))


# -- upstreams


@bench("SSE of an upstream, 64 tokens at once, per token", "W5 burst", operations=64, rounds=(5, 15))
def sse_read() -> Iterator[Run]:
    data = b"".join(UPSTREAM_EVENT % number for number in range(64))
    yield repeated(lambda: SseDecoder().receive(data))


def relayed(at_once: int) -> Callable[[], Iterator[Run]]:
    def make() -> Iterator[Run]:
        reader = CompletionReader(provider("up", base_url="http://127.0.0.1:1/v1"), "m")
        data = b"".join(UPSTREAM_EVENT % number for number in range(at_once))
        assert len(reader.receive(data)) == at_once
        yield repeated(lambda: reader.receive(data))

    return make


bench("token of an upstream, one", "W5 paced")(relayed(1))
bench("token of an upstream, 64 at once", "W5 burst", operations=64, rounds=(5, 15))(relayed(64))


# -- sessions


def turns(store: Callable[[Path], SessionStore]) -> Callable[[], Iterator[Run]]:
    """A session of 20 turns: it is read, a turn is added, and the oldest goes."""

    def make() -> Iterator[Run]:
        loop = asyncio.new_event_loop()
        with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder:
            kept = store(Path(folder))
            turn = Turn("0" * 32, (Message("user", SAID),), (Message("assistant", SAID),), CLOCK, CLOCK, agent="bench")

            async def some(rounds: int) -> None:
                for _ in range(rounds):
                    session = await kept.load("agent:bench:one")
                    await kept.commit("agent:bench:one", turn, drop=max(0, len(session.turns) + 1 - KEPT_TURNS))

            loop.run_until_complete(some(KEPT_TURNS + 1))
            yield lambda rounds: loop.run_until_complete(some(rounds))
            loop.run_until_complete(kept.aclose())
        loop.close()

    return make


bench("session turn in memory", "turns")(turns(lambda _: MemoryStore()))
bench("session turn in SQLite, kept on disk", "turns", rounds=(10, 30))(
    turns(lambda folder: SqliteStore(str(folder / "sessions.db")))
)


# -- all of it


@bench("completion", "W1", operations=CLIENTS, rounds=(1, 4))
def whole() -> Iterator[Run]:
    with scene(CLIENTS) as stage:
        data = request(SAID)
        run = repeated(lambda: stage.ask(lambda: data))
        run(LESSONS)
        yield run
        assert json.loads(stage.last.partition(b"\r\n\r\n")[2])["choices"][0]["message"]["content"].startswith("echo")


@bench("completion, no two heads alike", "W1u", operations=CLIENTS, rounds=(1, 4))
def whole_unique() -> Iterator[Run]:
    with scene(CLIENTS) as stage:
        data = cycle(unique_requests(UNIQUE, SAID))
        run = repeated(lambda: stage.ask(lambda: next(data)))
        run(LESSONS)
        yield run
        assert b"200 OK" in stage.last


@bench("streamed token, a turn of the loop before each", "W2s W2p", operations=STREAMS * len(TOKENS), rounds=(1, 2))
def token() -> Iterator[Run]:
    with scene(STREAMS) as stage:
        data = request("stream", stream=True)
        short = request("hello")
        repeated(lambda: stage.ask(lambda: short))(LESSONS)
        yield repeated(lambda: stage.ask(lambda: data, b"0\r\n\r\n"))
        assert b"data: [DONE]\n\n" in stage.last


@contextmanager
def interpreter() -> Iterator[Run]:
    """What does not change with the gateway: text, patterns, dicts, JSON, a task and its loop."""
    pattern, text = r"([a-z-]+): ?([^\r]*)\r\n", request(SAID).decode()
    loop = asyncio.new_event_loop()

    async def piece(number: int) -> dict[str, str]:
        await asyncio.sleep(0)
        fields = {found[1].lower(): found[2].strip() for found in finditer(pattern, text)}
        fields["number"] = str(number)
        copied: dict[str, str] = json.loads(json.dumps(fields))
        return copied

    async def some(rounds: int) -> None:
        for number in range(rounds):
            await asyncio.gather(loop.create_task(piece(number)), loop.create_task(piece(number + 1)))

    yield lambda rounds: loop.run_until_complete(some(rounds))
    loop.close()


HOT = ("completion", "completion, no two heads alike", "streamed token, a turn of the loop before each")
"""The three whose instructions are held to what was accepted."""
REFERENCE = Bench("the interpreter itself", "", interpreter)
