"""README's table of other servers, from both things that a benchmark writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .peers import Cell, from_json, from_text, main, rendered

NOTE = "Some CPU, 2 cores, Linux 6.1, Python 3.11.7; 2 round(s); other work on the servers' core: 0%"
TEXT = f"""round 1/2: w1 20:07:10
granian, w3: failed: held 4,096 of 5,000 connections
{NOTE}

### W1: JSON completion, 64 connections, heads repeat

| server | CPU us/request | one core/s | vs gateway (min-max) | errors |
| --- | --- | --- | --- | --- |
| **gateway** | 25.00 | 40,000 | 1.00x (1.00-1.00) | 0 |
| aiohttp | 1,100.50 | 909 | 44.00x (40.00-48.04) | 0 |

Not served by nginx.

### W3: 5,000 idle keep-alive connections

| server | KiB/connection | vs gateway (min-max) | errors |
| --- | --- | --- | --- |
| **gateway** | 2.30 | 1.00x (1.00-1.00) | 0 |
| granian | failed: held 4,096 of 5,000 connections |  |  |
"""


def samples(*primary: float) -> dict[str, object]:
    return {"failure": None, "samples": [{"primary": one} for one in primary]}


JSON = json.dumps(
    {
        "machine": NOTE,
        "loads": {
            "w1": {"gateway": samples(20.0, 30.0), "aiohttp": samples(900.0, 1_200.0), "nginx": samples()},
            "w5-burst": {"gateway": samples(2.0, 4.0), "direct": samples(1.0, 1.0)},
        },
    }
)


def test_the_text() -> None:
    report = from_text(TEXT)
    assert report.note == NOTE
    assert report.cells == {
        "w1": {"gateway": Cell(25.0, "1.00x (1.00-1.00)"), "aiohttp": Cell(1_100.5, "44.00x (40.00-48.04)")},
        "w3": {"gateway": Cell(2.3, "1.00x (1.00-1.00)")},
    }


def test_the_samples() -> None:
    report = from_json(JSON)
    assert report.cells == {
        "w1": {"gateway": Cell(25.0, "1.00x (1.00-1.00)"), "aiohttp": Cell(1_050.0, "42.50x (40.00-45.00)")},
        "w5-burst": {"gateway": Cell(3.0, "1.00x (1.00-1.00)")},
    }


def test_what_comes_of_it() -> None:
    text = rendered(from_text(TEXT), "2026-01-02", "bench.py --rounds 2")
    first, _, head, _, *rows = text.splitlines()
    assert first == f"{NOTE}; 2026-01-02, `bench.py --rounds 2`."
    assert head == "| | **gateway** | aiohttp |"
    assert rows[0].endswith("| **25.00** | 1,100.50, 44.00x (40.00-48.04) |")
    assert rows[1].endswith("| **2.30** |  |")
    assert "**W1: JSON completion, 64 connections, heads repeat**" in rows
    assert "| granian | failed: held 4,096 of 5,000 connections |  |  |" in rows


def test_both_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "out.json").write_text(JSON, encoding="utf-8")
    assert main([str(tmp_path / "out.txt"), str(tmp_path / "out.json")]) == 0
    printed = capsys.readouterr().out
    assert "42.50x (40.00-45.00)" in printed, "the samples' figures come first"
    assert "one core/s" in printed, "the tables of the text are there"


def test_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out.txt").write_text("nothing of the kind\n", encoding="utf-8")
    assert main([str(tmp_path / "out.txt")]) == 2
    assert "this is not what the benchmark prints" in capsys.readouterr().err
