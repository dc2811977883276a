"""Clients that come, leave and come back in any order, while an answer comes into being or fails: what always holds."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.api.idempotency import KEY_HEADER, Idempotency, IdempotencyLimits
from gateway.api.recording import PIECE_BYTES
from gateway.errors import PeerGone, RequestError
from gateway.model.caller import OPERATOR, Caller
from gateway.model.http import Headers, Peer
from gateway.ports import Exchange, Link
from gateway.testing import ManualTimer
from gateway.wire.heads import read_request_head

LIMITS = IdempotencyLimits(answers=4, answer_bytes=2000, answers_bytes=5000, answer_kept=100.0, grace=10.0)
PATH = "/v1/chat/completions"


class Client:
    """An exchange, and what its client has got."""

    def __init__(self, key: str, *, slow: bool) -> None:
        raw = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nIdempotency-Key: {key}\r\n\r\n".encode()
        head = read_request_head(raw)
        assert not hasattr(head, "reason")
        self.head: Any = head
        self.peer = Peer("127.0.0.1", 1, local=True)
        self.request_id = "r"
        self.caller = OPERATOR
        self.key = key
        self.got = b""
        self.complete = False
        self.replayed = False
        self.full = False
        self._slow = slow
        self.reads = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.error: BaseException | None = None

    async def body(self, limit: int) -> bytes:
        return b"the same"

    def ready_body(self, limit: int) -> bytes | None:
        return b"the same"

    async def settle(self) -> None: ...

    def decorate(self, headers: Headers) -> None:
        self.replayed = headers == ((b"idempotent-replayed", b"true"),)

    def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        self.got, self.complete = body, True

    def stream(self, status: int, headers: Headers, encode: Any = None) -> Client:
        return self

    def fail(self) -> None:
        raise AssertionError("the handler tells the recording")

    def admit(self, caller: Caller) -> None: ...

    async def accept_websocket(self) -> Link:
        raise AssertionError

    def write(self, data: bytes) -> None:
        self.got += data
        self.full = self._slow

    def put(self, piece: str) -> bool:
        raise AssertionError

    def put_all(self, pieces: list[str]) -> bool:
        raise AssertionError

    def flush(self) -> None: ...

    async def drain(self) -> None:
        self.full = False
        self.reads.clear()
        await self.reads.wait()

    def fill_silence(self, data: bytes) -> None: ...

    async def end(self) -> None:
        self.complete = True


@dataclass
class Run:
    """What the handler of one run was told to do."""

    key: str
    steps: asyncio.Queue[bytes | str] = field(default_factory=asyncio.Queue)
    said: bytes = b""
    ended: str = ""


class World:
    """A gateway's answers, and everybody around them."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.timer = ManualTimer()
        self.answers = Idempotency(self.timer, LIMITS)
        self.runs: list[Run] = []
        self.clients: list[tuple[Client, Run]] = []
        self.latest: dict[str, Run] = {}

    async def handle(self, exchange: Exchange) -> None:
        run = Run(exchange.head.fields[KEY_HEADER].decode())
        self.runs.append(run)
        try:
            body = None
            while True:
                step = await run.steps.get()
                if isinstance(step, bytes):
                    body = body or exchange.stream(200, ())
                    run.said += step
                    body.write(step)
                    if body.full:
                        await body.drain()
                elif step == "end":
                    body = body or exchange.stream(200, ())
                    run.ended = "well"
                    await body.end()
                    return
                elif step == "spoil" and body is not None:
                    exchange.fail()
                    run.said += b"failed"
                    body.write(b"failed")
                    run.ended = "badly"
                    await body.end()
                    return
                elif step == "refuse" and body is None:
                    run.ended = "badly"
                    raise RequestError(429, "not now")
        except asyncio.CancelledError:
            run.ended = "cancelled"
            raise

    async def settle(self) -> None:
        for _ in range(30):
            await asyncio.sleep(0)

    async def come(self) -> None:
        key = f"key-{self.random.randrange(6)}"
        client = Client(key, slow=self.random.random() < 0.3)
        count = len(self.runs)

        async def serve() -> None:
            try:
                await self.answers.serve(self.handle, 1000, client)
            except (RequestError, PeerGone, asyncio.CancelledError) as error:
                client.error = error

        client.task = asyncio.create_task(serve())
        await self.settle()
        if len(self.runs) > count:
            assert len(self.runs) == count + 1
            self.latest[key] = self.runs[-1]
        self.clients.append((client, self.latest[key]))

    async def step(self) -> None:
        live = [run for run in self.runs if not run.ended]
        here = [client for client, _ in self.clients if client.task and not client.task.done()]
        match self.random.randrange(10):
            case 0 | 1 | 2:
                await self.come()
            case 3 if here:
                client = self.random.choice(here)
                assert client.task is not None
                client.task.cancel()
            case 4 | 5 | 6 if live:
                size = self.random.choice((1, 50, 900))
                self.random.choice(live).steps.put_nowait(self.random.randbytes(size))
            case 7 if live:
                self.random.choice(live).steps.put_nowait(self.random.choice(("end", "end", "spoil", "refuse")))
            case 8:
                self.timer.advance(self.random.choice((1.0, 9.0, 60.0)))
            case _:
                for client in here:
                    client.reads.set()
        await self.settle()
        self.check()

    def check(self) -> None:
        answers = self.answers
        kept = answers._answers.values()
        assert len(answers) <= LIMITS.answers
        assert answers.size == sum(recording.size for recording in kept) <= LIMITS.answers_bytes
        for recording in kept:
            assert recording.kept
            assert sum(len(piece) + PIECE_BYTES for piece in recording._pieces) == recording.size
            assert recording.size <= LIMITS.answer_bytes
        for client, run in self.clients:
            assert run.said.startswith(client.got), "never anything but the answer, from its beginning"
            if client.complete:
                assert client.got == run.said
                assert run.ended in {"well", "badly"}
            if client.replayed:
                assert client.complete or client.task is None or not client.task.done() or client.error
        for run in self.runs:
            readers = [c for c, r in self.clients if r is run and c.task and not c.task.done()]
            if run.ended == "cancelled":
                assert not readers, "a run lives while somebody waits for it"

    async def finish(self) -> None:
        """Let everybody come to an end."""
        for run in self.runs:
            run.steps.put_nowait("end")
        for _ in range(50):
            for client, _ in self.clients:
                client.reads.set()
            await self.settle()
        self.check()
        assert all(client.task is None or client.task.done() for client, _ in self.clients), "somebody hangs"
        self.timer.advance(LIMITS.grace)  # for what is too much to be kept, and waits for somebody to take it
        await self.settle()
        assert all(run.ended for run in self.runs)
        self.timer.advance(LIMITS.answer_kept)
        assert len(self.answers) == self.answers.size == 0
        assert not self.answers._tasks
        await self.answers.aclose()


@pytest.mark.parametrize("seed", range(60))
def test_whoever_comes_and_leaves(seed: int) -> None:
    async def main() -> None:
        world = World(seed)
        for _ in range(150):
            await world.step()
        await world.finish()

    asyncio.run(main())


def test_the_states_are_reached() -> None:
    """The walks above would show nothing if they never got anywhere."""
    ends: set[str] = set()
    replays = joined = unkept = 0

    async def main(seed: int) -> None:
        nonlocal replays, joined, unkept
        world = World(seed)
        for _ in range(150):
            await world.step()
            unkept += any(len(run.said) > LIMITS.answer_bytes for run in world.runs)
        await world.finish()
        ends.update(run.ended for run in world.runs)
        replays += sum(client.replayed for client, _ in world.clients)
        joined += len(world.clients) - len(world.runs)

    for seed in range(8):
        asyncio.run(main(seed))
    assert ends == {"well", "badly", "cancelled"}
    assert min(replays, joined - replays, unkept) > 5
