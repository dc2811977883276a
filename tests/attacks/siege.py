"""An attack on a gateway, and what a healthy client and the process's memory say about it.

Each `besiege` adds a line to the table that is printed at the end of the run:

    pytest tests/attacks
    ATTACKS=full pytest tests/attacks      # with the default limits too, and a minute of connects
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pytest
from attacked import TOKEN
from attackers import Attack, End, chat, connect, crowd, stay
from processes import Launch, Running

__all__ = ["FULL", "MIB", "NEEDS_PROC", "SHORT", "Siege", "Target", "aim", "siege", "target"]

HERE = Path(__file__).parent
MIB = 1 << 20
FULL = os.environ.get("ATTACKS") == "full"
NEEDS_PROC = pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="memory is read from /proc, which Linux has"
)
GROWTH = 4.0
"""MiB that no attack may add to the process."""
SLOWDOWN = 2.0
"""Times its usual time, which a healthy client's answer may take in the middle of an attack."""

Settings: TypeAlias = Mapping[str, float]
DEFAULT: Settings = {}

# So that no test waits for long.  The defaults are pinned in test_defaults.py, and attacked as they are by ATTACKS=full.
SHORT: Settings = {
    "head_time": 0.7,
    "body_idle": 0.7,
    "keep_alive_idle": 0.7,
    "write_stall": 0.7,
    "linger": 0.5,
    "hang_up_probe": 0.3,
}


class Healthy:
    """See healthy.py."""

    def __init__(self, port: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "healthy.py"), str(port), TOKEN],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, times: int) -> list[float]:
        """The seconds that so many answers took."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{times}\n")
        process.stdin.flush()
        line = process.stdout.readline()
        assert line, "the healthy client got no answer"
        found: list[float] = json.loads(line)
        return found

    def close(self) -> None:
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(10)


@dataclass
class Target:
    """A gateway under attack."""

    running: Running
    healthy: Healthy
    usual: list[float] = field(default_factory=list)
    """Seconds of the healthy client's answers without any attack."""

    @property
    def port(self) -> int:
        return self.running.port

    def waited(self) -> float:
        """Seconds for which the process was ready to run and the machine was busy with others (Linux)."""
        try:
            return int(Path(f"/proc/{self.running.process.pid}/schedstat").read_text("ascii").split()[1]) / 1e9
        except OSError:
            return 0.0

    def rss(self) -> float:
        """Resident memory in MiB."""
        rollup = Path(f"/proc/{self.running.process.pid}/smaps_rollup").read_text("ascii")
        found = re.search(r"Rss:\s+(\d+) kB", rollup)
        assert found
        return int(found[1]) / 1024

    async def counts(self) -> Any:
        """What the agent `counts` tells: `cuts` by the name of the limit, `connections`, `runs`."""
        peer = await connect(self.port)
        try:
            await peer.send(chat("counts", more=b"Connection: close\r\n"))
            got = (await peer.end()).answer
        finally:
            peer.close()
        return json.loads(json.loads(got.partition(b"\r\n\r\n")[2])["choices"][0]["message"]["content"])

    async def quiet(self, patience: float = 10.0) -> Any:
        """`counts`, once nobody is there any more but who asks."""
        end = time.monotonic() + patience
        while True:
            found = await self.counts()
            if found["connections"] == found["runs"] == 1:
                return found
            assert time.monotonic() < end, f"connections are left: {found}"
            await asyncio.sleep(0.02)


class Row(NamedTuple):
    """A line of the table.  `seconds` until the first and the last connection was cut; answers in ms, memory in MiB."""

    attack: str
    cut: str
    seconds: str
    before: float
    peak: float
    after: float
    usual: float
    p50: float
    p99: float
    busy: float
    """The share of the time for which the gateway waited for a processor that others had: not its fault."""

    @property
    def faults(self) -> list[str]:
        found = []
        if self.p50 * (1 - self.busy) > SLOWDOWN * self.usual:
            found.append(f"a healthy client's answer took {self.p50:.1f} ms instead of {self.usual:.1f}")
        if self.peak - self.before > GROWTH:
            found.append(f"the process grew by {self.peak - self.before:.1f} MiB")
        return found


def _quantile(values: list[float], share: float) -> float:
    """In ms."""
    return 1000 * sorted(values)[min(len(values) - 1, int(share * len(values)))]


@dataclass
class Siege:
    """Attacks, and the table they make."""

    rows: list[Row] = field(default_factory=list)

    def __call__(
        self, target: Target, name: str, attack: Attack, least: float = 0.4
    ) -> tuple[list[End], dict[str, int]]:
        """How the attacker's connections ended, and how often which limit struck.

        Fails where the attack slows others down or makes the process grow; a machine that was busy with something
        else gets a second chance.  Measures for `least` seconds, also when the attack is over before.
        """
        ends, cuts, row = _attack(target, name, attack, least)
        if row.faults:
            ends, cuts, row = _attack(target, name, attack, least)
        self.rows.append(row)
        assert not row.faults, row.faults
        return ends, cuts

    def table(self) -> list[str]:
        heads = ("attack", "cut by", "after s", "RSS MiB", "peak", "then", "usual ms", "p50", "p99", "busy")
        lines = [heads] + [
            (
                *row[:3],
                *(f"{number:.1f}" for number in row[3:6]),
                *(f"{number:.0f}" for number in row[6:9]),
                f"{row.busy:.0%}",
            )
            for row in self.rows
        ]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]


def _behind(attack: Attack, port: int) -> list[End]:
    """Run the attack with less priority than what it attacks: it is the gateway that is measured, not the machine."""
    if hasattr(os, "setpriority"):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)  # for Linux, a thread is a process here
    return asyncio.run(attack(port))


def _attack(target: Target, name: str, attack: Attack, least: float) -> tuple[list[End], dict[str, int], Row]:
    counted = asyncio.run(target.quiet())["cuts"]
    target.usual = [*target.usual, *target.healthy.ask(5)][-20:]
    before = peak = target.rss()
    times: list[float] = []
    began, waited = time.monotonic(), target.waited()
    end = began + least
    with ThreadPoolExecutor(2) as pool:
        attacking = pool.submit(_behind, attack, target.port)
        while not attacking.done() or time.monotonic() < end:
            asking = pool.submit(target.healthy.ask, 4)
            while not wait([asking], timeout=0.02).done:
                peak = max(peak, target.rss())
            times += asking.result()
        ends = attacking.result()
    busy = (target.waited() - waited) / (time.monotonic() - began)
    left = asyncio.run(target.quiet())
    cuts = {limit: count - counted.get(limit, 0) for limit, count in left["cuts"].items()}
    cuts = {limit: count for limit, count in cuts.items() if count}
    statuses = ", ".join(sorted({one.answer[9:12].decode() for one in ends if one.how != "open"}))
    seconds = [one.seconds for one in ends if one.how != "open"]
    row = Row(
        name,
        ", ".join(f"{limit} x{count}" for limit, count in cuts.items()) or statuses or "-",
        f"{min(seconds):.1f} - {max(seconds):.1f}" if seconds else "-",
        before,
        peak,
        target.rss(),
        _quantile(target.usual, 0.5),
        _quantile(times, 0.5),
        _quantile(times, 0.99),
        busy,
    )
    return ends, cuts, row


SIEGE = Siege()


@pytest.fixture(scope="session")
def siege() -> Siege:
    return SIEGE


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if SIEGE.rows:
        terminalreporter.section("attacks")
        for line in SIEGE.table():
            terminalreporter.write_line(line)


@dataclass
class Aim:
    """Starts targets.  `target = aim({"head_time": 1.0})`; `files` is how many of them it may have open."""

    launch: Launch

    def __call__(self, limits: Settings = DEFAULT, *, warm: bool = True, files: int = 0) -> Target:
        path = f"{HERE}{os.pathsep}{HERE.parent / 'e2e'}{os.pathsep}{HERE.parents[1]}"
        env = {"ATTACK_LIMITS": json.dumps(dict(limits)), "ATTACK_FILES": str(files), "PYTHONPATH": path}
        running = self.launch.start(module="attacked", env=env)
        found = Target(running, Healthy(running.port))
        if not warm:
            return found
        found.usual = found.healthy.ask(20)[10:]

        async def warm_up() -> None:  # what the first crowd needs, the process keeps for the next one
            await crowd(running.port, stay(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0.1))
            await crowd(running.port, stay(chat("usual", stream=True), 0.1))
            await found.quiet()

        asyncio.run(warm_up())
        return found


@pytest.fixture(scope="session")
def aim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aim]:
    launch = Launch(tmp_path_factory.mktemp("attacked"))
    targets: list[Target] = []

    class Kept(Aim):
        def __call__(self, limits: Settings = DEFAULT, *, warm: bool = True, files: int = 0) -> Target:
            targets.append(super().__call__(limits, warm=warm, files=files))
            return targets[-1]

    try:
        yield Kept(launch)
    finally:
        for one in targets:
            one.healthy.close()
        launch.close()


@pytest.fixture(scope="session")
def target(aim: Aim) -> Target:
    """A gateway with the limits of SHORT."""
    return aim(SHORT)
