"""Programs that the gateway starts: each leads a process group of its own, and is ended with all it has started."""

from __future__ import annotations

import os
import signal
import sys
from asyncio import (
    AbstractEventLoop,
    BaseProtocol,
    BaseTransport,
    CancelledError,
    Future,
    ReadTransport,
    SubprocessProtocol,
    SubprocessTransport,
    WriteTransport,
    get_running_loop,
    shield,
    wait,
)
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from subprocess import DEVNULL, PIPE
from typing import Any, cast

from .records import NamedTuple

__all__ = ["INHERITED", "Child", "ChildError", "ChildLimits", "bare_environment", "start"]

INHERITED = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"),
    *("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"),
    *("SYSTEMROOT", "SYSTEMDRIVE", "PATHEXT", "COMSPEC", "APPDATA", "LOCALAPPDATA", "USERPROFILE", "TEMP", "TMP"),
)
"""Variables that a program gets without being named: where things are, and the language.  No secret is among them."""

UNREAD_BYTES = 256 << 10
"""Of output that nobody has asked for yet, before reading pauses: one read of a pipe.  The program waits then."""

TAIL_BYTES = 8 << 10
"""Of standard error, the last: what a program says before it fails."""

TERM_TIME = 3.0
"""Seconds from SIGTERM to SIGKILL: to write a session file and to end children of its own."""

KILL_TIME = 5.0
"""Seconds that a killed program may take to be gone; only one that hangs in the kernel takes longer."""

LINGER_TIME = 2.0
"""Seconds that output may go on after the program has ended: others whom it started may hold the pipe for ever."""

_POSIX = sys.platform != "win32"


class ChildLimits(NamedTuple):
    """`seconds` for all of it, 0 for no limit; `output` in bytes.  With `errors` standard error counts as output."""

    seconds: float
    output: int
    errors: bool = True


class ChildError(Exception):
    """A program took or said more than it may.  `limit` is the name of the limit: seconds or output."""

    def __init__(self, limit: str) -> None:
        super().__init__(limit)
        self.limit = limit


def bare_environment(environ: Mapping[str, str], added: Mapping[str, str]) -> dict[str, str]:
    """What a program gets of `environ`, and what is `added` to it."""
    inherited = {name: environ[name] for name in INHERITED if name in environ}
    return {"PATH": os.defpath, **inherited, **added}


async def start(
    argv: Sequence[str], environment: Mapping[str, str], folder: str | None, said: bytes, limits: ChildLimits
) -> Child:
    """Start a program, without a shell, and write `said` to its standard input.

    Raises OSError, and ValueError for a NUL in an argument.
    """
    if any("\0" in text for text in (*argv, *environment, *environment.values())):
        raise ValueError("embedded null byte")  # uvloop would cut it off there
    starting = get_running_loop().create_task(_launch(argv, environment, folder, said, limits))
    try:
        return await shield(starting)
    except CancelledError:
        # It may run already, and have begun something: the loop would kill the program, and nothing of what it started.
        with suppress(OSError, ValueError):
            child = await starting
            await child.end()
        raise


async def _launch(
    argv: Sequence[str], environment: Mapping[str, str], folder: str | None, said: bytes, limits: ChildLimits
) -> Child:
    """Not to be cancelled: a loop may have closed by then, or not, what it was given."""
    loop = get_running_loop()
    pipe, stdin = await _input_pipe(loop) if said and _POSIX else (None, PIPE if said else DEVNULL)
    try:
        _, child = await loop.subprocess_exec(
            lambda: Child(loop, limits, pipe),
            *argv,
            stdin=stdin,
            stdout=PIPE,
            stderr=PIPE,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
        )
    except (OSError, ValueError):
        if pipe is not None:
            pipe.close()
        raise
    finally:
        if pipe is not None:
            os.close(stdin)
    if pipe is not None:
        pipe.write(said)
    elif said:
        child.feed(said)
    return child


class _Input(BaseProtocol):
    """Our end of a program's standard input."""

    def __init__(self) -> None:
        self._transport: WriteTransport | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        self._transport = cast("WriteTransport", transport)  # this end is for writing

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None

    def write(self, data: bytes) -> None:
        """And nothing after it.  A program that does not read it is welcome to."""
        if self._transport is not None:
            self._transport.write(data)
            self._transport.write_eof()

    def close(self) -> None:
        """At once, whether it was read or not."""
        pipe, self._transport = self._transport, None
        # One that is closing, with nothing left to write, is closed already; asyncio would close it a second time.
        if pipe is not None and (pipe.get_write_buffer_size() or not pipe.is_closing()):
            pipe.abort()


async def _input_pipe(loop: AbstractEventLoop) -> tuple[_Input, int]:
    """A pipe of our own, and the end of it for the program: asyncio would take a socket, which is no /dev/stdin."""
    reader, writer = os.pipe()
    file = os.fdopen(writer, "wb", 0)
    try:
        _, stdin = await loop.connect_write_pipe(_Input, file)
    except BaseException:
        file.close()
        os.close(reader)
        raise
    return stdin, reader


class Child(SubprocessProtocol):
    """Made by `start`; to be ended by `end` whatever happens."""

    def __init__(self, loop: AbstractEventLoop, limits: ChildLimits, stdin: _Input | None) -> None:
        self.complaint = bytearray()
        """The end of what it wrote to standard error."""
        self._loop = loop
        self._limits = limits
        self._transport: SubprocessTransport | None = None
        self._input = stdin
        self._exit: Future[int] = loop.create_future()
        self._news: Future[None] | None = None
        self._pieces: list[bytes] = []
        self._unread = 0
        self._paused = False
        self._written = 0
        self._at_end = False
        self._unwanted = False
        self._failure: ChildError | None = None
        self._timer = loop.call_later(limits.seconds, self._too_long) if limits.seconds > 0 else None
        self._linger: Any = None

    def feed(self, said: bytes) -> None:
        """Write to its standard input, and nothing after it, where that is no pipe of our own."""
        assert self._transport is not None, "it was started"
        pipe = cast("WriteTransport", self._transport.get_pipe_transport(0))
        pipe.write(said)
        pipe.write_eof()

    async def read(self) -> bytes:
        """Some of its output; empty at the end.

        Raises ChildError where it said or took too much, after what came before that.
        """
        while True:
            if self._pieces:
                data = b"".join(self._pieces)
                self._pieces.clear()
                self._unread = 0
                if self._failure is None:
                    self._resume()
                return data
            if self._failure is not None:
                raise self._failure
            if self._at_end:
                return b""
            await self._wait()

    async def exit_code(self) -> int:
        """Negative for the number of a signal.  Raises ChildError where it takes too long."""
        while not self._exit.done():
            if self._failure is not None:
                raise self._failure
            await self._wait()
        return self._exit.result()

    async def end(self, patience: float = 0.0) -> None:
        """End it, and what it has started and is still in its group.  It has `patience` seconds to end by itself."""
        for timer in (self._timer, self._linger):
            if timer is not None:
                timer.cancel()
        self._unwanted = True  # but read: it may have to write something before it can end
        self._resume()
        try:
            if patience and not self._exit.done():
                await wait({self._exit}, timeout=patience)
            if not self._exit.done():
                self._signal("SIGTERM")
                await wait({self._exit}, timeout=TERM_TIME)
        finally:  # also when nobody waits for it any more
            self._signal("SIGKILL")
            try:
                if not self._exit.done():
                    await wait({self._exit}, timeout=KILL_TIME)
            finally:
                if self._input is not None:
                    self._input.close()
                if self._transport is not None:
                    self._transport.close()

    def _signal(self, name: str) -> None:
        assert self._transport is not None, "it was started"
        with suppress(ProcessLookupError, PermissionError):  # it is gone, or has become another user's
            if _POSIX:
                os.killpg(self._transport.get_pid(), getattr(signal, name))
            elif name == "SIGKILL":
                self._transport.kill()
            else:
                self._transport.terminate()

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            for pipe in self._outputs():
                pipe.pause_reading()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            for pipe in self._outputs():
                pipe.resume_reading()

    def _outputs(self) -> Iterator[ReadTransport]:
        assert self._transport is not None, "it was started"
        for fd in (1, 2):
            pipe = cast("ReadTransport | None", self._transport.get_pipe_transport(fd))
            if pipe is not None and not pipe.is_closing():
                yield pipe

    async def _wait(self) -> None:
        self._news = self._loop.create_future()
        await self._news

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def _fail(self, failure: ChildError) -> None:
        if self._failure is None:
            self._failure = failure
            self._pause()
            self._wake()

    def _too_long(self) -> None:
        self._fail(ChildError("seconds"))

    def _stop_lingering(self) -> None:
        if self._paused:  # what it said before its end stands in the pipe still
            self._linger = self._loop.call_later(LINGER_TIME, self._stop_lingering)
        else:
            self._at_end = True
            self._wake()

    # -- asyncio's part

    def connection_made(self, transport: BaseTransport) -> None:
        """See asyncio.BaseProtocol."""
        # Of the interface, but not of its class: uvloop's are no subclasses.
        self._transport = cast("SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """See asyncio.SubprocessProtocol."""
        if fd == 2:
            self.complaint += data
            del self.complaint[:-TAIL_BYTES]
        if self._unwanted or self._failure is not None:
            return
        room = self._limits.output - self._written
        if fd == 1 and (piece := data[:room]):
            self._pieces.append(piece)
            self._unread += len(piece)
            if self._unread >= UNREAD_BYTES:
                self._pause()
            self._wake()
        if fd == 1 or self._limits.errors:
            self._written += len(data)
        if self._written > self._limits.output:
            self._fail(ChildError("output"))

    def pipe_connection_lost(self, fd: int, _exc: Exception | None) -> None:
        """See asyncio.SubprocessProtocol."""
        if fd == 1:
            self._at_end = True
            self._wake()

    def process_exited(self) -> None:
        """See asyncio.SubprocessProtocol."""
        assert self._transport is not None, "it was started"
        if not self._exit.done():
            self._exit.set_result(self._transport.get_returncode() or 0)
        if not self._at_end:
            self._linger = self._loop.call_later(LINGER_TIME, self._stop_lingering)
        self._wake()
