"""Every input in every situation of a connection, on the shipped doubles: what it does stands in data/server/connection_states.txt.

The table has a line for each input and a column for each situation.  An entry tells the phase after the input, the
statuses of the answers that were written, and how the connection was ended, if it was (`close` sends what is pending,
`abort` does not); `.` is an input that cannot come then.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import RequestError
from gateway.ports import BodyWriter, Exchange, Link
from gateway.server import connection
from gateway.server.connection import Connection
from gateway.server.limits import Limits
from gateway.server.phase import NEXT, Phase, move
from gateway.server.services import Services
from gateway.testing import ManualTimer, MemoryTransport, echo_options

TABLE = Path(__file__).parent.parent / "data" / "server" / "connection_states.txt"
LIMITS = Limits(drain_bytes=100, unread_bytes=1000, linger_bytes=1000)

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20\r\n\r\n"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
PING = b"\x89\x80\0\0\0\0"
CLOSE = b"\x88\x82\0\0\0\0\x03\xe8"


class Loop(asyncio.SelectorEventLoop):
    """Whose time passes when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.timer = ManualTimer()
        self.errors: list[object] = []
        self.set_exception_handler(lambda _, context: self.errors.append(context))

    def time(self) -> float:
        return self.timer.now

    # The parameters of both are typed less closely than asyncio's.
    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, **_: Any) -> Any:  # type: ignore[override]
        return self.timer.call_at(when, callback, *args)

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any, **_: Any) -> Any:  # type: ignore[override]
        return self.call_at(self.time() + delay, callback, *args)


class Scene:
    """One connection, and a handler that does what it is told."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        options = echo_options(LIMITS)._replace(handler=self.handle)
        self.services = Services(loop, options)
        self.connection = Connection(self.services)
        self.transport = MemoryTransport(self.connection)
        self.orders: asyncio.Queue[str] | None = None
        self.stream: BodyWriter | None = None
        self.link: Link | None = None
        self.lost = False
        self.busy = False
        self.ended = False

    async def handle(self, exchange: Exchange) -> None:
        self.orders = asyncio.Queue()
        self.busy = False
        self.stream = self.link = None
        try:
            while (order := await self.next_order(self.orders)) and await self.obey(exchange, order):
                pass
        finally:
            self.orders = None

    async def next_order(self, orders: asyncio.Queue[str]) -> str | None:
        """None once there is a WebSocket, and it is over."""
        if self.link is None:
            return await orders.get()
        order = asyncio.ensure_future(orders.get())
        over = asyncio.ensure_future(self.read_to_the_end(self.link))
        try:
            await asyncio.wait({order, over}, return_when=asyncio.FIRST_COMPLETED)
            return order.result() if order.done() else None
        finally:
            order.cancel()
            over.cancel()

    async def read_to_the_end(self, link: Link) -> None:
        async for _ in link:
            pass

    async def obey(self, exchange: Exchange, order: str) -> bool:
        """Whether to go on."""
        match order:
            case "answer":
                exchange.respond(200, (), b"answered")
            case "body":
                self.busy = True
                await exchange.body(1000)
                self.busy = False
            case "stream":
                self.stream = exchange.stream(200, ())
                self.stream.write(b"x")
                self.stream.flush()
            case "write" if self.stream:
                self.stream.write(b"y")
                if self.stream.full:
                    await self.stream.drain()
            case "end" if self.stream:
                await self.stream.end()
            case "fail":
                raise ValueError("a bug of the handler")
            case "refuse":
                raise RequestError(403, "no")
            case "upgrade":
                self.link = await exchange.accept_websocket()
            case "hang up" if self.link:
                await self.link.close(1000)
        return order in {"body", "stream", "write", "upgrade"}

    @property
    def phase(self) -> Phase:
        return self.connection.phase

    async def settle(self) -> None:
        for _ in range(12):
            await asyncio.sleep(0)

    async def feed(self, data: bytes) -> None:
        if self.transport.closed is None and self.transport.reading and not self.ended:
            self.transport.feed(data)
        await self.settle()

    async def order(self, *orders: str) -> None:
        for order in orders:
            if self.orders is not None:
                self.orders.put_nowait(order)
            await self.settle()

    def lose(self, error: Exception | None = None) -> None:
        self.transport.closed = self.transport.closed or "lost"
        self.connection.connection_lost(error)


# -- situations


async def fresh(scene: Scene) -> None:
    """Connected, and silent."""


async def begun(scene: Scene) -> None:
    """A part of a first head."""
    await scene.feed(GET[:10])


async def idle(scene: Scene) -> None:
    """Between two requests."""
    await scene.feed(GET)
    await scene.order("answer")


async def again(scene: Scene) -> None:
    """A part of a second head."""
    await idle(scene)
    await scene.feed(GET[:10])


async def working(scene: Scene) -> None:
    """A handler at work on a complete request, which might become a WebSocket."""
    await scene.feed(UPGRADE)


async def unread(scene: Scene) -> None:
    """A handler at work that has not asked for a body that is not complete."""
    await scene.feed(POST + b"12345")


async def wanting(scene: Scene) -> None:
    """A handler that waits for the body."""
    await unread(scene)
    await scene.order("body")


async def streaming(scene: Scene) -> None:
    """A streaming answer."""
    await scene.feed(GET)
    await scene.order("stream")


async def drain(scene: Scene) -> None:
    """Answered, the rest of the body to come."""
    await unread(scene)
    await scene.order("answer")


async def link(scene: Scene) -> None:
    """A WebSocket."""
    await working(scene)
    await scene.order("upgrade")


async def linger(scene: Scene) -> None:
    """Refused, and waiting for the peer to close."""
    await scene.feed(b"\0\0\0\0")


async def closed(scene: Scene) -> None:
    """Lost."""
    scene.transport.close()
    scene.lost = True
    await scene.settle()


Step = Callable[[Scene], Awaitable[None]]
SITUATIONS: dict[str, tuple[Step, Phase]] = {
    "fresh": (fresh, Phase.IDLE),
    "begun": (begun, Phase.IDLE),
    "idle": (idle, Phase.IDLE),
    "again": (again, Phase.IDLE),
    "working": (working, Phase.EXCHANGE),
    "unread": (unread, Phase.EXCHANGE),
    "wanting": (wanting, Phase.EXCHANGE),
    "streaming": (streaming, Phase.EXCHANGE),
    "drain": (drain, Phase.DRAIN),
    "link": (link, Phase.LINK),
    "linger": (linger, Phase.LINGER),
    "closed": (closed, Phase.CLOSED),
}

# -- inputs


def feeds(data: bytes) -> Step:
    return lambda scene: scene.feed(data)


def orders(*names: str) -> Step:
    return lambda scene: scene.order(*names)


def calls(name: str, *arguments: Any) -> Step:
    async def step(scene: Scene) -> None:
        getattr(scene.connection, name)(*arguments)
        await scene.settle()

    return step


def passes(seconds: float) -> Step:
    async def step(scene: Scene) -> None:
        for _ in range(8):
            scene.loop.timer.advance(seconds / 8)
            await scene.settle()

    return step


async def eof(scene: Scene) -> None:
    if scene.transport.closed is None and not scene.ended:
        scene.ended = True
        if not scene.connection.eof_received():
            scene.transport.close()
    await scene.settle()


async def lose(scene: Scene) -> None:
    if scene.transport.closed is None:
        scene.lose(ConnectionResetError())
        scene.lost = True
    await scene.settle()


async def shut(scene: Scene) -> None:
    if not scene.lost:
        scene.connection.pause_writing()
    await scene.settle()


async def shut_then_answer(scene: Scene) -> None:
    await shut(scene)
    await scene.order("answer")


async def shut_and_open(scene: Scene) -> None:
    await shut_then_answer(scene)
    if not scene.lost:
        scene.connection.resume_writing()
    await scene.settle()


async def draining(scene: Scene) -> None:
    scene.services.draining = scene.services.shut = True
    scene.connection.retire()
    await scene.settle()


async def draining_then_answer(scene: Scene) -> None:
    await draining(scene)
    await scene.order("answer")


async def closing(scene: Scene) -> None:
    scene.services.draining = scene.services.shut = True
    task = scene.connection.task
    scene.connection.abort()
    if task is not None:
        task.cancel()
    await scene.settle()


INPUTS: dict[str, Step] = {
    "a request": feeds(GET),
    "two requests": feeds(GET + GET),
    "part of a head": feeds(GET[10:-2]),
    "the rest of a head": feeds(GET[10:]),
    "some of a body": feeds(b"67890"),
    "the rest of a body": feeds(b"678901234567890"),
    "the rest, and a request": feeds(b"678901234567890" + GET),
    "garbage": feeds(b"\xff\0\r\n\r\n"),
    "a lot": feeds(b"x" * 5000),
    "a ping": feeds(PING),
    "a close frame": feeds(CLOSE),
    "EOF": eof,
    "loss": lose,
    "gate shut": shut,
    "gate shut, answer": shut_then_answer,
    "gate shut, answer, open": shut_and_open,
    "gate shut, an hour": lambda scene: _then(scene, shut, passes(3600)),
    "gate shut, answer, request": lambda scene: _then(scene, shut_then_answer, feeds(GET), orders("answer")),
    "EOF, answer": lambda scene: _then(scene, eof, orders("answer")),
    "EOF, stream, end": lambda scene: _then(scene, eof, orders("stream", "end")),
    "EOF, upgrade": lambda scene: _then(scene, eof, orders("upgrade")),
    "EOF, an hour": lambda scene: _then(scene, eof, passes(3600)),
    "head limit": calls("head_expired"),
    "idle soon": calls("idle_soon"),
    "idle limit": calls("idle_expired"),
    "idle soon and limit": lambda scene: _then(scene, calls("idle_soon"), calls("idle_expired")),
    "body limit": calls("body_expired"),
    "stall limit": calls("cut_off", "write_stall", "the peer does not read"),
    "probe": calls("probe_due"),
    "an hour": passes(3600),
    "answer": orders("answer"),
    "stream, end": orders("stream", "end"),
    "write, end": orders("write", "end"),
    "read, answer": orders("body", "answer"),
    "failure": orders("fail"),
    "refusal": orders("refuse"),
    "no answer": orders("return"),
    "failure in a stream": orders("stream", "fail"),
    "upgrade": orders("upgrade"),
    "upgrade, a ping": lambda scene: _then(scene, orders("upgrade"), feeds(PING)),
    "link closed by us": orders("hang up"),
    "link closed, then by them": lambda scene: _then(scene, orders("hang up"), feeds(CLOSE)),
    "drain": draining,
    "drain, answer": draining_then_answer,
    "drain, the rest of a body": lambda scene: _then(scene, draining, feeds(b"678901234567890")),
    "drain, an hour": lambda scene: _then(scene, draining, passes(3600)),
    "close": closing,
}
OF_HANDLERS = {
    "answer", "stream, end", "write, end", "read, answer", "failure", "refusal", "no answer", "failure in a stream",
    "upgrade", "upgrade, a ping", "link closed by us", "link closed, then by them",
}  # fmt: skip


async def _then(scene: Scene, *steps: Step) -> None:
    for step in steps:
        await step(scene)


def entry(scene: Scene, before: int) -> str:
    """What became of the scene."""
    written = bytes(scene.transport.written[before:])
    statuses = re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", written)
    told = [scene.phase.name.lower(), *(status.decode() for status in statuses)]
    if b"\x8a\x00" in written:
        told.append("pong")
    if b"\x88" in written:
        told.append("close-frame")
    if scene.transport.closed is not None and not scene.lost:
        told.append(scene.transport.closed)
    if not scene.transport.reading:
        told.append("paused")
    return " ".join(told)


async def begin(scene: Scene, situation: str) -> None:
    reach, phase = SITUATIONS[situation]
    scene.transport.connect()
    await scene.settle()
    await reach(scene)
    assert scene.phase is phase


def possible(scene: Scene, name: str) -> bool:
    """Whether there is a handler for what handlers do."""
    if name not in OF_HANDLERS:
        return True
    if scene.orders is None or scene.busy:
        return False
    if name == "write, end":
        return scene.stream is not None
    return scene.link is not None or not name.startswith("link closed")


async def play(scene: Scene, situation: str, name: str) -> str:
    await begin(scene, situation)
    if not possible(scene, name):
        return "."
    before = len(scene.transport.written)
    await INPUTS[name](scene)
    return entry(scene, before)


async def finish(scene: Scene) -> None:
    """Whatever happened: once the transport is gone, nothing of the connection is left."""
    if scene.transport.closed is None:
        scene.lose()
    await scene.settle()
    scene.loop.timer.advance(10_000)
    await scene.settle()
    services = scene.services
    assert scene.phase is Phase.CLOSED
    assert not services.connections
    assert services.admission.total == 0
    assert not services.orphans
    assert scene.connection.task is None
    assert scene.orders is None, "the handler was not told"
    for limit in (services.head, services.soon, services.idle, services.body, services.stall, services.linger):
        assert len(limit) == 0
    assert len(services.probe) == len(services.silence) == 0
    assert scene.loop.errors == []
    well_formed(bytes(scene.transport.written))


def well_formed(written: bytes) -> None:
    """One answer after another, as far as they go."""
    while written and not written.startswith(b"HTTP/1.1 101 "):
        head, end, rest = written.partition(b"\r\n\r\n")
        assert re.match(rb"HTTP/1\.1 [1-5][0-9][0-9] [ -~]+(\r\n[a-z-]+: [ -~]*)*\Z", head), written
        assert end
        if b"transfer-encoding" in head:
            body = re.match(rb"(?:[1-9a-f][0-9a-f]*\r\n[xy]+\r\n)*(?:0\r\n\r\n|\Z)", rest)
            assert body, written
            written = rest[body.end() :]
        else:
            length = re.search(rb"content-length: ([0-9]+)", head)
            size = int(length[1]) if length else 0
            assert len(rest) >= size, written
            written = rest[size:]


def perform(main: Callable[[Scene], Coroutine[Any, Any, str]]) -> str:
    loop = Loop()
    try:

        async def whole() -> str:
            scene = Scene(loop)
            told = await main(scene)
            await finish(scene)
            return told

        return loop.run_until_complete(whole())
    finally:
        loop.close()


def table() -> dict[tuple[str, str], str]:
    lines = [[cell.strip() for cell in line.split("|")] for line in TABLE.read_text("ascii").splitlines()]
    _, *situations = lines[0]
    return {
        (name, situation): cell for name, *cells in lines[1:] for situation, cell in zip(situations, cells, strict=True)
    }


@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_input_in_every_situation(situation: str) -> None:
    wanted = {name: cell for (name, column), cell in table().items() if column == situation}
    assert {name: perform(partial(play, situation=situation, name=name)) for name in INPUTS} == wanted


def test_every_phase_has_a_situation() -> None:
    assert {phase for _, phase in SITUATIONS.values()} == set(Phase)
    assert {cell.split()[0] for cell in table().values()} == {".", *(phase.name.lower() for phase in Phase)}


def test_every_move_that_is_allowed_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made: set[tuple[Phase, Phase]] = set()

    def noting(current: Phase, following: Phase) -> Phase:
        made.add((current, following))
        return move(current, following)

    monkeypatch.setattr(connection, "move", noting)
    for name in INPUTS:
        for situation in SITUATIONS:
            perform(partial(play, situation=situation, name=name))
    assert made == {(current, following) for current, allowed in NEXT.items() for following in allowed}


class Narrow(MemoryTransport):
    """Holds one write, until somebody reads."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        super().write(data)
        self._protocol.pause_writing()

    def read(self) -> None:
        self._protocol.resume_writing()


def test_a_pipeline_goes_on_as_its_answers_are_read() -> None:
    """However many requests have come, one answer at most is made that the peer has no room for."""
    made = 0

    async def main(scene: Scene) -> str:
        nonlocal made

        async def count(exchange: Exchange) -> None:
            nonlocal made
            made += 1
            exchange.respond(200, (), b"x" * 100_000)

        scene.services.options = scene.services.options._replace(handler=count)
        narrow = Narrow(scene.connection)
        scene.transport = narrow
        narrow.connect()
        await scene.feed(GET * 10)
        for turn in range(1, 11):
            assert made == turn
            assert narrow.written.count(b"HTTP/1.1 200 OK") == turn
            narrow.read()
            await scene.settle()
        return ""

    perform(main)
    assert made == 10


OURS = re.compile(r"a bug of the handler|called in state|without a complete answer|the request has been answered")


class Faults(logging.Handler):
    """What is logged as an error, but for what our handler is to blame for."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if not OURS.search(str(error)):
            self.found.append(f"{record.getMessage()}: {error!r}")


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(list(SITUATIONS)), st.lists(st.sampled_from(list(INPUTS)), min_size=1, max_size=8))
def test_any_order_of_inputs_ends_in_order(situation: str, names: list[str]) -> None:
    """No move that the table of phases forbids, nothing raised, nothing left, whatever comes after whatever."""

    async def main(scene: Scene) -> str:
        await begin(scene, situation)
        for name in names:
            if possible(scene, name):
                await INPUTS[name](scene)
            if scene.transport.closed is not None:
                assert scene.phase is Phase.CLOSED
        return ""

    faults = Faults()
    logging.getLogger("gateway").addHandler(faults)
    try:
        perform(main)
    finally:
        logging.getLogger("gateway").removeHandler(faults)
    assert faults.found == []
