"""What starts a worker: this program again, as it was started itself."""

from __future__ import annotations

import sys

import pytest

from gateway.cli.supervise import _command

RUN = ["run", "--config", "x", "--workers", "2"]


@pytest.mark.parametrize(
    ("started", "argv"),
    [
        (["-m", "gateway"], ["/somewhere/gateway/__main__.py"]),
        (["-u", "-X", "dev", "-m", "acme._vendor.gw"], ["/somewhere/gw/__main__.py"]),
        (["/opt/gateway/bin/gateway"], ["/opt/gateway/bin/gateway"]),
        (["-sP", "/opt/gateway/bin/gateway"], ["/opt/gateway/bin/gateway"]),
    ],
)
def test_as_it_was_started(started: list[str], argv: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python3", *started, *RUN])
    monkeypatch.setattr(sys, "argv", [*argv, *RUN])
    assert _command(RUN) == [sys.executable, *started, *RUN]


def test_by_another_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that calls `main` with arguments of its own."""
    monkeypatch.setattr(sys, "orig_argv", ["python3", "their.py", "serve"])
    monkeypatch.setattr(sys, "argv", ["their.py", "serve"])
    assert _command(RUN) == [sys.executable, "-m", "gateway", *RUN]
