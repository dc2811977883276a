"""Public conformance suites against the echo target and a whole gateway, where their folder is at hand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUITES = Path(os.environ.get("GATEWAY_CONFORMANCE", ROOT.parent / "shared" / "conformance")) / "http"

pytestmark = pytest.mark.skipif(
    not (SUITES / "run_cases.py").exists(),
    reason="no conformance suites: set GATEWAY_CONFORMANCE to the folder that holds http/run_cases.py",
)


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, "-m", "gateway.testing", "echo", "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            yield line.strip().rpartition("//")[2]
        finally:
            process.terminate()


@pytest.mark.parametrize("runner", ["run_cases.py", "run_probe.py"])
def test_suite(target: str, runner: str) -> None:
    done = subprocess.run(
        [sys.executable, str(SUITES / runner), target], capture_output=True, text=True, timeout=50, check=False
    )
    print(done.stdout[-3000:])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert re.search(r"[1-9][0-9]{2}", done.stdout), "the runner tells no score"


def test_raw_cases_against_a_gateway() -> None:
    """Whose application answers 404 for `/`: but first it has to refuse what is not well-formed."""
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "demo", "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            found = re.search(r"http://([0-9.]+:[0-9]+)", process.stdout.readline())
            assert found
            done = subprocess.run(
                [sys.executable, str(SUITES / "run_cases.py"), found[1], "--accept", "200-299,401,404,405,415"],
                capture_output=True, text=True, timeout=50, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
        finally:
            process.terminate()
