"""How the processes of one gateway talk with each other: messages over a socket pair of the supervisor and each worker.

A frame is a head (bytes of the body, address, form, number of the question), and a body: pickled values.  The address
is where it goes to on the way to the supervisor, and where it came from on the way to a worker.

Addresses: 0 is the supervisor.  1 to N are the workers, each by its number, whichever process serves there now.  What a
handler is given as `sender` is the address of one process, and of no other that takes its place: `number_of` it is the
number of the worker.
"""

from __future__ import annotations

import asyncio
import pickle
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from inspect import isawaitable
from itertools import count
from logging import getLogger
from struct import Struct
from typing import Any, cast

from ..errors import GatewayError, MisuseError
from ..records import Protocol

__all__ = [
    "ANSWER",
    "ASK",
    "CANCEL",
    "EVERYBODY",
    "FAILURE",
    "GENERATION",
    "LOST",
    "MAX_FRAME",
    "MAX_WAITING",
    "SUPERVISOR",
    "TELL",
    "Channel",
    "ChannelError",
    "Ends",
    "Pipe",
    "envelope",
    "frame",
    "number_of",
]

_logger = getLogger(__name__)

MAX_FRAME = 64 << 20
"""Bytes of one message: three times the largest request body by default.  What is longer was not meant for this way."""
MAX_WAITING = 128 << 20
"""Bytes that wait for a process which does not read; past it, it is given up.  More than one of the longest."""

SUPERVISOR = 0
EVERYBODY = 0xFFFF_FFFF
GENERATION = 256
"""The first process of worker 3 is 256 + 3, the next one 512 + 3 ..."""

TELL, ASK, ANSWER, FAILURE, CANCEL = range(5)
"""The forms of a message.  A question is cancelled where whoever asked has stopped waiting."""

LOST = "lost"
"""The kind of the message that a process is gone; its value is the address."""

_HEAD = Struct("!IIBI")


class ChannelError(GatewayError):
    """There was no answer: the other process is gone, or too slow, or has failed."""


def number_of(address: int) -> int:
    """The number of the worker at an address; 0 for the supervisor."""
    return address % GENERATION


def frame(address: int, form: int, number: int, *values: Any) -> bytes:
    """One message.  Raises ChannelError where it is too long, and as `pickle` does."""
    body = pickle.dumps(values, pickle.HIGHEST_PROTOCOL)
    if len(body) > MAX_FRAME:
        raise ChannelError(f"a message of {len(body)} bytes; the limit is {MAX_FRAME}")
    return envelope(address, form, number, body)


def envelope(address: int, form: int, number: int, body: bytes) -> bytes:
    """A message whose values are pickled already."""
    return _HEAD.pack(len(body), address, form, number) + body


class Ends(Protocol):
    """What is done with what comes out of a pipe."""

    def received(self, pipe: Pipe, address: int, form: int, number: int, body: bytes) -> None: ...

    def ended(self, pipe: Pipe) -> None: ...


class Pipe(asyncio.Protocol):
    """One socket of a pair.  `address` is that of the other end, as its owner knows it."""

    def __init__(self, owner: Ends, address: int) -> None:
        self.address = address
        self._owner = owner
        self._transport: asyncio.WriteTransport | None = None
        self._buffer = bytearray()

    async def open(self, sock: socket.socket) -> None:
        """Begin to read; `sock` is closed with the pipe."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=sock)

    def send(self, data: bytes) -> None:
        """Without waiting.  One that does not read is given up, and what is sent to one that is gone is lost."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(data)
        if transport.get_write_buffer_size() > MAX_WAITING:
            _logger.error("%s does not read what it is told: given up", _name(self.address))
            transport.abort()

    def close(self) -> None:
        """Once all is sent."""
        if self._transport is not None:
            self._transport.close()

    def end(self) -> None:
        """At once."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
            self._owner.ended(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.BaseProtocol."""
        self._transport = cast("asyncio.WriteTransport", transport)  # those of other loops are not derived from it

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= _HEAD.size:
            length, address, form, number = _HEAD.unpack_from(buffer, start)
            end = start + _HEAD.size + length
            if length > MAX_FRAME:
                _logger.error("%s has sent no message of ours: given up", _name(self.address))
                self.end()
                return
            if len(buffer) < end:
                break
            body = bytes(memoryview(buffer)[start + _HEAD.size : end])
            start = end
            self._owner.received(self, address, form, number, body)
        del buffer[:start]

    def connection_lost(self, _exc: Exception | None) -> None:
        """See asyncio.BaseProtocol."""
        self.end()


class Channel:
    """What one process says to the others and hears from them.

    `number` is that of the worker, 0 for the supervisor; `count` is how many workers there are.  To be used in the
    event loop only, from `open` on; handlers may be added before.
    """

    def __init__(self, number: int, workers: int) -> None:
        self.number = number
        self.count = workers
        self._pipe: Pipe | None = None
        self._open = False
        self._alone = False
        self._handlers: dict[str, Callable[..., Any]] = {LOST: lambda _, address: self._lost(address)}
        self._mourners: list[Callable[[int], None]] = []
        self._numbers = count(1)
        self._questions: dict[int, asyncio.Future[Any]] = {}
        self._answering: dict[tuple[int, int], asyncio.Task[None]] = {}
        self._working: set[asyncio.Task[None]] = set()

    async def open(self, sock: socket.socket) -> None:
        """Begin, at the worker's end of a socket pair."""
        self._open = True
        self._pipe = Pipe(self, SUPERVISOR)
        await self._pipe.open(sock)

    async def aclose(self) -> None:
        """End it; who is lost then is told to nobody.  What was told before is sent."""
        self._mourners.clear()
        if self._pipe is not None:
            self._pipe.close()
        for task in (*self._answering.values(), *self._working):
            task.cancel()

    # -- what the process does with it

    def tell(self, to: int | None, kind: str, *values: Any) -> None:
        """Send values that can be pickled to a worker, to the supervisor (0), or to all other workers (None).

        Never waits; what is told to a process that is gone is lost.  Messages arrive in the order in which they were
        told.  Raises ChannelError where they are too long.
        """
        self._send(EVERYBODY if to is None else to, TELL, 0, kind, *values)

    async def ask(self, to: int, kind: str, *values: Any, timeout: float | None) -> Any:  # noqa: ASYNC109 - part of the question
        """What the handler there returns.

        Where this is cancelled, or `timeout` seconds are over, the handler is cancelled as well, if it still runs: it
        may have answered by then.  Raises ChannelError where nobody answers, and the GatewayError that the handler
        raises.
        """
        if self._alone:
            raise ChannelError("the supervisor is gone")
        number = next(self._numbers) & 0xFFFF_FFFF
        answer = self._questions[number] = asyncio.get_running_loop().create_future()
        try:
            self._send(to, ASK, number, kind, *values)
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            raise ChannelError(f"{_name(to)} did not answer within {timeout:g} seconds") from None
        finally:
            del self._questions[number]
            if answer.cancelled():
                with suppress(ChannelError):
                    self._send(to, CANCEL, number)
            elif answer.done():
                answer.exception()  # looked at, also where whoever asked was cancelled at this moment

    def handle(self, kind: str, function: Callable[..., Any]) -> None:
        """Let `function(sender, *values)` be called for each message of this kind, in the order in which they come.

        What it returns is the answer, where one was asked for; or what it awaits, where it is awaitable: that goes on
        beside the messages that follow.
        """
        self._handlers[kind] = function

    def on_lost(self, function: Callable[[int], None]) -> None:
        """Let `function(address)` be called for each process that is gone: the address that handlers know it by."""
        self._mourners.append(function)

    # -- what comes out of the pipe

    def received(self, _pipe: Pipe, address: int, form: int, number: int, body: bytes) -> None:
        """One message; see `Ends`."""
        self._take(address, form, number, body)

    def ended(self, pipe: Pipe) -> None:
        """Without the supervisor nobody is left."""
        self._alone = True
        for question in self._questions.values():
            if not question.done():
                question.set_exception(ChannelError("the supervisor is gone"))
        self._lost(pipe.address)

    def _take(self, sender: int, form: int, number: int, body: bytes) -> None:
        if form == CANCEL:
            task = self._answering.get((sender, number))
            if task is not None:
                task.cancel()
            return
        try:
            values = pickle.loads(body)  # noqa: S301 - from our own processes, of one user; nobody else has the socket
        except Exception as error:  # another version of our code, in a reload: nobody else sends
            _logger.exception("a message of %s cannot be read", _name(sender))
            values, form = (f"an answer cannot be read: {error}",), FAILURE if form in {ANSWER, FAILURE} else form
            if form == ASK:
                self._send(sender, FAILURE, number, "the question cannot be read there")
            if form != FAILURE:
                return
        if form == TELL:
            self._call(sender, None, *values)
        elif form == ASK:
            self._call(sender, number, *values)
        else:
            self._answered(number, form, *values)

    def _answered(self, number: int, form: int, *values: Any) -> None:
        question = self._questions.get(number)
        if question is None or question.done():
            return
        if form == ANSWER:
            question.set_result(values[0])
        elif len(values) == 1:
            question.set_exception(ChannelError(values[0]))
        else:
            kind, arguments, members = values
            error = kind.__new__(kind, *arguments)  # not by its constructor, whose arguments are others
            error.__dict__.update(members)
            question.set_exception(error)

    def _call(self, sender: int, number: int | None, kind: str, *values: Any) -> None:
        handler = self._handlers.get(kind)
        if handler is None:
            if number is not None:
                self._send(sender, FAILURE, number, f"{_name(self.number)} does not know {kind!r}")
            return
        try:
            result = handler(sender, *values)
        except Exception as error:
            self._failed(sender, number, kind, error)
            return
        if not isawaitable(result):
            if number is not None:
                self._answer(sender, number, kind, result)
            return
        task = asyncio.get_running_loop().create_task(self._finish(sender, number, kind, result))
        if number is None:
            self._working.add(task)
            task.add_done_callback(self._working.discard)
        else:
            self._answering[sender, number] = task
            task.add_done_callback(lambda _: self._answering.pop((sender, number), None))

    async def _finish(self, sender: int, number: int | None, kind: str, work: Awaitable[Any]) -> None:
        try:
            result = await work
        except Exception as error:
            self._failed(sender, number, kind, error)
            return
        if number is not None:
            self._answer(sender, number, kind, result)

    def _answer(self, sender: int, number: int, kind: str, result: Any) -> None:
        try:
            self._send(sender, ANSWER, number, result)
        except Exception as error:  # it is too long, or cannot be pickled
            self._failed(sender, number, kind, error)

    def _failed(self, sender: int, number: int | None, kind: str, error: Exception) -> None:
        if number is not None and isinstance(error, GatewayError):
            with suppress(Exception):  # an embedder's own error may hold what cannot be pickled
                self._send(sender, FAILURE, number, type(error), error.args, error.__dict__)
                return
        _logger.error("%r of %s failed", kind, _name(sender), exc_info=error)
        if number is not None:
            self._send(sender, FAILURE, number, f"{_name(self.number)} failed at {kind!r}: {type(error).__name__}")

    def _lost(self, address: int) -> None:
        for (sender, _), task in list(self._answering.items()):
            if address in {sender, SUPERVISOR}:
                task.cancel()
        for mourner in self._mourners:
            mourner(address)

    def _send(self, to: int, form: int, number: int, *values: Any) -> None:
        if not self._open:
            raise MisuseError("the channel is not open yet")
        assert self._pipe is not None, "it is open"
        self._pipe.send(frame(to, form, number, *values))


def _name(address: int) -> str:
    return f"worker {number_of(address)}" if address else "the supervisor"
