"""The figures: a server and a client for each, and what the kernel has counted of the server.  Linux only."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from gateway.model.chat import Message
from gateway.model.session import Turn
from gateway.sessions.sqlite import SqliteStore

from ..traffic import TOKEN

__all__ = ["Idle", "Streams", "Turns", "fill", "idle", "streams", "turns"]

ROOT = Path(__file__).resolve().parents[3]
BATCH = 2_000
"""Turns that are stored in one transaction."""
SETTLING = 0.5
"""Seconds, for what a start leaves behind."""
PATIENCE = 60.0
TURN_CLIENTS = 8
MOST = 50_000
"""Connections and runs."""
SESSIONS = 1_000_000


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
    """A Python module, which writes lines on one of its outputs.  `on_last`: on the last processor, else on the others."""

    def __init__(self, module: str, *arguments: object, on_last: bool) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-m", module, *map(str, arguments)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1,
        )  # fmt: skip
        processors = os.sched_getaffinity(0)
        if len(processors) > 1:
            last = {max(processors)}
            os.sched_setaffinity(self._process.pid, last if on_last else processors - last)

    def line(self) -> str:
        """What it writes next.  Raises RuntimeError where it has ended, or has something to complain of."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line or line.startswith("Traceback"):
            raise RuntimeError(f"{line}\n{self._process.communicate()[0]}")
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
def served(store: Path | None = None) -> Iterator[tuple[Process, int]]:
    """A gateway, as `gateway run` starts it, and its port."""
    config = {
        "gateway": {
            "auth": {"mode": "token", "token": TOKEN},
            "http": {"endpoints": {"chatCompletions": {"enabled": True}}, "limits": {"connections": MOST}},
        },
        "agents": {
            "maxConcurrentRuns": MOST,
            "list": [{"id": "bench", "runtime": {"type": "python", "target": "tests.bench.growth.agent:agent"}}],
        },
        # Of one turn each, so that sessions do not get longer while turns in them are measured.
        "session": {"store": "memory" if store is None else str(store), "maxSessions": SESSIONS, "maxTurns": 1},
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json5") as file:
        json.dump(config, file)
        file.flush()
        server = Process("gateway", "run", "--config", file.name, "--port", 0, on_last=True)
        try:
            told = server.line()
            port = re.search(r"http://127\.0\.0\.1:(\d+)", told)
            if port is None:
                raise RuntimeError(told)
            yield server, int(port[1])
        finally:
            server.end()


@contextmanager
def asking(kind: str, port: int, number: int, *more: object) -> Iterator[Process]:
    """A client that is ready."""
    client = Process("tests.bench.growth.client", kind, port, number, *more, on_last=False)
    try:
        if (told := client.line()) != "ready":
            raise RuntimeError(told)
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
    """So many at a time; `text` tells how fast they go (`agent`)."""
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
        kept = SqliteStore(str(store), SESSIONS)
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
