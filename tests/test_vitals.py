"""What the system knows of this process."""

from __future__ import annotations

import os
import sys
import time

import pytest

from gateway import vitals

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells")


def test_cpu_time_grows() -> None:
    before = vitals.cpu_seconds()
    while time.process_time() < before + 0.01:
        pass
    assert vitals.cpu_seconds() >= before + 0.01


@LINUX
def test_memory_is_counted() -> None:
    before = vitals.resident_bytes()
    held = bytearray(os.urandom(1) * (32 << 20))
    after = vitals.resident_bytes()
    assert before is not None
    assert after is not None
    assert after > before + len(held) // 2


@LINUX
def test_files_are_counted() -> None:
    before = vitals.open_files()
    ends = [os.pipe() for _ in range(10)]
    after = vitals.open_files()
    for end in ends:
        os.close(end[0])
        os.close(end[1])
    assert before is not None
    assert after == before + 20
    limit = vitals.most_files()
    assert limit is not None
    assert limit >= after


@LINUX
def test_the_start_was_before_now() -> None:
    started = vitals.started_at()
    assert started is not None
    assert time.time() - time.process_time() - 86_400 < started < time.time() + 1


def test_what_the_system_does_not_tell_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vitals, "_STATE", "/nowhere/stat")
    monkeypatch.setattr(vitals, "_FILES", "/nowhere/fd")
    assert (vitals.resident_bytes(), vitals.started_at(), vitals.open_files()) == (None, None, None)
