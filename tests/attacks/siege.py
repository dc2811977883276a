"""An attack on a gateway, and what a healthy client and the process's memory say about it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from attacked import TOKEN
from attackers import chat, connect
from processes import Running

HERE = Path(__file__).parent
MIB = 1 << 20

# Shortened where a test would otherwise wait for long; the defaults are pinned in test_defaults.py.
SHORT: dict[str, float] = {
    "head_time": 1.0,
    "body_idle": 1.0,
    "keep_alive_idle": 1.0,
    "write_stall": 1.0,
    "linger": 0.5,
    "hang_up_probe": 0.3,
}


class Row(NamedTuple):
    """A line of the report.  Times in milliseconds but for `after`, which is in seconds; memory in MiB."""

    attack: str
    cut: str
    after: str
    before_mib: float
    peak_mib: float
    after_mib: float
    usual_p50: float
    p50: float
    p99: float


ROWS: list[Row] = []


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

    @property
    def port(self) -> int:
        return self.running.port

    def rss(self) -> int:
        """Resident memory in bytes."""
        found = re.search(r"Rss:\s+(\d+) kB", Path(f"/proc/{self.running.process.pid}/smaps_rollup").read_text("ascii"))
        assert found
        return int(found[1]) * 1024

    async def counts(self) -> Any:
        """What the agent `counts` tells."""
        peer = await connect(self.port)
        try:
            await peer.send(chat("counts", more=b"Connection: close\r\n"))
            got = (await peer.end()).answer
        finally:
            peer.close()
        return json.loads(json.loads(got.partition(b"\r\n\r\n")[2])["choices"][0]["message"]["content"])
