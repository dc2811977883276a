"""The public tool for slow attacks, where it is installed: https://github.com/shekyan/slowhttptest."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest
from processes import until
from siege import FULL, SHORT, Aim

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(shutil.which("slowhttptest") is None, reason="the program slowhttptest is not installed"),
    pytest.mark.skipif(not FULL, reason="takes 15 s; ATTACKS=full runs it"),
]


@pytest.mark.parametrize(
    ("mode", "limit", "more"),
    [
        ("-H", "head_time", ["-i", "1"]),
        ("-B", "body_idle", ["-i", "1", "-t", "POST", "-s", "8192", "-x", "10"]),
        ("-X", "keep_alive_idle", ["-w", "1", "-y", "2", "-z", "8", "-n", "2", "-k", "3"]),
    ],
)
def test_no_connection_outlives_its_limit(aim: Aim, tmp_path: Path, mode: str, limit: str, more: list[str]) -> None:
    target = aim(SHORT, warm=False)
    report = tmp_path / "report"
    url = f"http://127.0.0.1:{target.port}/v1/chat/completions"
    with subprocess.Popen(
        ["slowhttptest", mode, *more, "-c", "300", "-r", "300", "-l", "6", "-p", "2", "-g", "-o", str(report), "-u", url],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as tool:  # fmt: skip
        until("most were cut", lambda: asyncio.run(target.counts())["cuts"].get(limit, 0) > 250)
        until("all were cut", lambda: asyncio.run(target.counts())["connections"] == 1, 4)
        output, _ = tool.communicate(timeout=30)
    print(mode, asyncio.run(target.counts())["cuts"])
    lines = report.with_suffix(".csv").read_text().splitlines()
    print(*lines, sep="\n")
    assert lines[0] == "Seconds,Closed,Pending,Connected,Service Available"
    assert all(line.split(",")[4] != "0" for line in lines[1:]), "the gateway was not there for others"
    # With -X the tool itself does not get to see the end for minutes: it stands behind an answer that it does not read.
    assert mode == "-X" or b"No open connections left" in output, output
