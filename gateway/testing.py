"""What tests of the gateway, and of programs around it, need: doubles, and a server to aim protocol tests at.

    python -m gateway.testing echo --port 8080

serves, on the real connection class, without authentication: `GET /` the text OK, `POST /` the request body, `/echo`
the request's header lines, `/cookie` its cookies, one `name=value` a line, and on any path a WebSocket echo.  Other
methods are answered with 405.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from .model.caller import OPERATOR
from .model.http import Headers
from .model.run import RunEvent, RunInput
from .ports import Exchange, TimerHandle
from .server.limits import Limits
from .server.link import LinkLimits, Links
from .server.server import Server
from .server.services import LinkOpener, Options
from .wire.extensions import Compression
from .wire.upgrade import is_websocket

__all__ = ["ManualTimer", "MemoryTransport", "ScriptedAgent", "counting_ids", "echo", "echo_options", "main"]

_TEXT: Headers = ((b"content-type", b"text/plain; charset=utf-8"),)
_METHODS = b"GET, HEAD, POST, OPTIONS"
ECHO_BODY_BYTES = 2**30  # whatever a suite sends is to be read, not refused


def counting_ids(start: int = 1) -> Callable[[int], str]:
    """Ids that count, for answers that can be compared: `ids(8)` gives 00000001, 00000002 ..."""
    counter = itertools.count(start)
    return lambda digits: format(next(counter), f"0{digits}x")[-digits:]


class ManualTimer:
    """`ports.Timer` whose time passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self._calls: dict[int, tuple[float, Callable[..., Any], tuple[Any, ...]]] = {}
        self._number = itertools.count()

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., Any], /, *args: Any) -> TimerHandle:
        number = next(self._number)
        self._calls[number] = (when, callback, args)
        return _ManualHandle(self._calls, number)

    def advance(self, seconds: float) -> None:
        """Let time pass, and run what falls due, in order."""
        end = self.now + seconds
        while due := sorted((when, number) for number, (when, _, _) in self._calls.items() if when <= end):
            when, number = due[0]
            self.now = max(self.now, when)
            _, callback, args = self._calls.pop(number)
            callback(*args)
        self.now = end


class _ManualHandle:
    def __init__(self, calls: dict[int, tuple[float, Callable[..., Any], tuple[Any, ...]]], number: int) -> None:
        self._calls = calls
        self._number = number

    def cancel(self) -> None:
        self._calls.pop(self._number, None)


class MemoryTransport(asyncio.Transport):
    """A transport without a socket: what is written stands in `written`; `closed` tells how it ended."""

    def __init__(self, protocol: asyncio.Protocol, peer: tuple[str, int] = ("127.0.0.1", 50_000)) -> None:
        super().__init__({"peername": peer})
        self._protocol = protocol
        self.written = bytearray()
        self.closed: str | None = None
        self.eof_written = False
        self.reading = True

    def connect(self) -> None:
        """Begin the connection."""
        self._protocol.connection_made(self)

    def feed(self, data: bytes) -> None:
        """Bytes from the peer."""
        self._protocol.data_received(data)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.closed is None:
            self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof_written = True

    def is_closing(self) -> bool:
        return self.closed is not None

    def close(self) -> None:
        self._end("close")

    def abort(self) -> None:
        self._end("abort")

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing: all that is written is taken."""

    def _end(self, how: str) -> None:
        if self.closed is None:
            self.closed = how
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)


class ScriptedAgent:
    """An agent that yields what it was given, raises what is an exception, and remembers what it was asked.

    A number in the script is a pause in seconds.  `cancelled` counts the runs that were cancelled.
    """

    def __init__(self, *script: RunEvent | float | Exception) -> None:
        self.script = script
        self.runs: list[RunInput] = []
        self.cancelled = 0

    async def __call__(self, run: RunInput) -> AsyncIterator[RunEvent]:
        self.runs.append(run)
        try:
            for step in self.script:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, int | float):
                    await asyncio.sleep(step)
                else:
                    yield step
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise


async def echo(exchange: Exchange) -> None:
    """The handler of the echo server."""
    head = exchange.head
    exchange.admit(OPERATOR)
    if is_websocket(head):
        link = await exchange.accept_websocket()
        async for message in link:
            await link.send(message)
        return
    if head.method == "OPTIONS":
        exchange.respond(204, ((b"allow", _METHODS),))
        return
    body = await exchange.body(ECHO_BODY_BYTES)
    if head.method not in {"GET", "HEAD", "POST"}:
        exchange.respond(405, (*_TEXT, (b"allow", _METHODS)), b"Method Not Allowed")
        return
    if head.path == "/echo":
        body = b"".join(b"%b: %b\n" % header for header in head.headers)
    elif head.path == "/cookie":
        body = b"".join(pair.strip() + b"\n" for pair in head.fields.get(b"cookie", b"").split(b";") if pair.strip())
    elif head.method != "POST":
        body = b"OK"
    exchange.respond(200, _TEXT, body)


def echo_options(limits: Limits | None = None, compression: Compression | None = None) -> Options:
    """What a server of `echo` is made of."""

    def links(loop: asyncio.AbstractEventLoop) -> LinkOpener:
        return Links(LinkLimits(), loop, compression).open

    def refusal(status: int, reason: str) -> tuple[Headers, bytes]:
        return _TEXT, f"{status} {reason}\n".encode()

    return Options(echo, refusal, links, counting_ids(), time.time, limits or Limits())


async def _serve(host: str, port: int, compression: Compression | None) -> None:
    loop = asyncio.get_running_loop()
    server = Server(loop, echo_options(compression=compression))
    listener = await loop.create_server(server.protocol, host, port, backlog=1024)
    print(f"echo on http://{host}:{listener.sockets[0].getsockname()[1]}", flush=True)  # noqa: T201 - a command
    await listener.serve_forever()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m gateway.testing", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    server = commands.add_parser("echo", help="serve the echo target for conformance suites")
    server.add_argument("--host", default="127.0.0.1")
    server.add_argument("--port", type=int, default=8080, help="0 takes a free one; the address is printed")
    server.add_argument("--compression", action="store_true", help="take permessage-deflate where a client offers it")
    options = parser.parse_args(arguments)
    try:
        asyncio.run(_serve(options.host, options.port, Compression() if options.compression else None))
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
