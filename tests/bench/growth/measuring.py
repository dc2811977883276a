"""The figures: a server and a client for each, and what the kernel has counted of the server.  Linux only."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from gateway.model.chat import Message
from gateway.model.session import Turn
from gateway.sessions.sqlite import SqliteStore

__all__ = ["Idle", "Streams", "Turns", "fill", "idle", "streams", "turns"]

ROOT = Path(__file__).resolve().parents[3]
BATCH = 2_000
"""Turns that are stored in one transaction."""
SETTLING = 0.5
"""Seconds, for what a start leaves behind."""
PATIENCE = 60.0
TURN_CLIENTS = 8


class Streams(NamedTuple):
    number: int
    cpu_us: float
    """For each token."""
    tokens: float
    """In a second, all streams together."""
    use: float
    """Part of a processor that the server had."""


class Idle(NamedTuple):
    number: int
    kib: float
    """For each connection."""
    accept_us: float
    """For each: to accept it, and to answer its one request."""
    idle_us: float
    """For each, in a second without a request."""


class Turns(NamedTuple):
    number: int
    cpu_us: float
    """For each turn."""
    turns: float
    """In a second; each is on the disk before it is answered."""
    file_mib: float


class Process:
    """One of ours, which writes lines."""

    def __init__(self, module: str, *arguments: object) -> None:
        command = [sys.executable, "-m", f"tests.bench.growth.{module}", *map(str, arguments)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def line(self) -> str:
        """What it writes next.  Raises RuntimeError where it has ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"{' '.join(map(str, self._process.args))} has ended")  # type: ignore[arg-type]  # a list
        return line

    def asked(self) -> int:
        """The number that it answers."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        return int(self.line())

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.terminate()
        self._process.wait(PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def cpu(self) -> float:
        """Seconds that all its threads have had."""
        tasks = Path(f"/proc/{self._process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9

    @property
    def memory(self) -> int:
        """Bytes that it has taken, without the files that it has mapped: those it shares with whoever runs besides."""
        told = Path(f"/proc/{self._process.pid}/smaps_rollup").read_text(encoding="ascii")
        return sum(int(size) for size in re.findall(r"^Anonymous:\s+(\d+) kB", told, re.MULTILINE)) * 1_024


@contextmanager
def served(*store: Path) -> Iterator[tuple[Process, int]]:
    """A server and its port."""
    server = Process("server", *store)
    try:
        yield server, int(server.line())
    finally:
        server.end()


@contextmanager
def asking(kind: str, port: int, number: int, *more: object) -> Iterator[Process]:
    """A client that is ready."""
    client = Process("client", kind, port, number, *more)
    try:
        assert client.line() == "ready"
        yield client
    finally:
        client.end()


def _measured(server: Process, client: Process, seconds: float) -> tuple[int, float, float]:
    """What the client counts in some seconds, and how long that and the server's processor took."""
    time.sleep(SETTLING)
    client.asked()
    cpu, began = server.cpu, time.perf_counter()
    time.sleep(seconds)
    counted = client.asked()
    if not counted:
        raise RuntimeError("the server has done nothing in the meantime")
    return counted, server.cpu - cpu, time.perf_counter() - began


def streams(number: int, text: str, seconds: float) -> Streams:
    """So many at a time; `text` tells how fast they go (`server.agent`)."""
    with served() as (server, port), asking("stream", port, number, text) as client:
        tokens, cpu, wall = _measured(server, client, seconds)
    return Streams(number, cpu / tokens * 1e6, tokens / wall, cpu / wall)


def idle(number: int, seconds: float) -> Idle:
    """So many connections."""
    with served() as (server, port):
        with asking("idle", port, 1):  # what the first request loads is not the others' doing
            time.sleep(SETTLING)
        memory, cpu = server.memory, server.cpu
        with asking("idle", port, number):
            accepting = server.cpu - cpu
            time.sleep(SETTLING)
            cpu = server.cpu
            time.sleep(seconds)
            resting, grown = server.cpu - cpu, server.memory - memory
    return Idle(number, grown / number / 1_024, accepting / number * 1e6, resting / seconds / number * 1e6)


def turns(number: int, store: Path, seconds: float) -> Turns:
    """In sessions that are drawn from so many in a store."""
    with served(store) as (server, port), asking("turns", port, number, TURN_CLIENTS) as client:
        counted, cpu, wall = _measured(server, client, seconds)
    size = sum(file.stat().st_size for file in store.parent.glob(f"{store.name}*"))
    return Turns(number, cpu / counted * 1e6, counted / wall, size / 2**20)


def fill(store: Path, sessions: int) -> None:
    """Make a store with so many sessions, of one turn each, as a gateway would."""

    async def main() -> None:
        kept = SqliteStore(str(store), sessions)
        turn = Turn("", (Message("user", "hello"),), (Message("assistant", "hello, " * 14),), agent="bench")
        for first in range(0, sessions, BATCH):
            now = time.time()
            await asyncio.gather(
                *(
                    kept.commit(f"agent:bench:s{at}", turn._replace(run_id=f"{at:032x}", at=now, began=now))
                    for at in range(first, min(first + BATCH, sessions))
                )
            )
        await kept.aclose()

    asyncio.run(main())
