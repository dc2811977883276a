"""The measurement of growth works, and its picture shows what was measured."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from .growth.chart import Line, Panel, svg

ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.skipif(sys.platform != "linux", reason="the costs of a process are read from /proc")
@pytest.mark.timeout(180)
def test_it_measures(tmp_path: Path) -> None:
    picture = tmp_path / "growth.svg"
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.growth", "--quick", "--svg", str(picture), "--disk", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()]
    numbers = [row for row in rows if re.fullmatch(r"[\d,]+", row[0])]
    assert [row[0] for row in numbers] == ["1", "20", "10", "50", "10", "200"]
    for row in numbers[:2]:
        assert float(row[1]) > 0
        assert float(row[3]) > 0
        assert int(row[4].replace(",", "")) > 100, "tokens a second"
    for row in numbers[2:4]:
        assert int(row[2].replace(",", "")) > 1, "a connection that is accepted costs something"
    for row in numbers[4:]:
        assert int(row[1].replace(",", "")) > 1
        assert int(row[2].replace(",", "")) > 1
    assert len(ET.parse(picture).getroot().findall(f".//{SVG}polyline")) >= 5
    assert not list(tmp_path.glob("gateway-growth-*")), "the stores are gone"


def test_the_picture_is_drawn_to_scale() -> None:
    one = Panel("A", "number", "us", [Line("x", [(1, 10), (10, 10), (100, 1_000)]), Line("none", [(1, 0), (10, -1)])])
    root = ET.fromstring(svg([one], "what it shows & more"))
    assert root.get("aria-label") == "what it shows & more"
    lines = [line.get("points", "") for line in root.findall(f".//{SVG}polyline")]
    (a, b, c), nothing = ([tuple(map(float, point.split(","))) for point in line.split()] for line in lines)
    assert nothing == [], "what is not above zero has no place"
    assert a[1] == b[1] == pytest.approx(c[1] + 200), "ten is at the bottom, a thousand at the top"
    assert b[0] - a[0] == c[0] - b[0] == 150, "each power of ten is as far from the next"
    texts = [text.text for text in root.findall(f".//{SVG}text")]
    assert {"1", "10", "100", "1,000", "number", "us", "A", "x"} <= set(texts)
    assert "prefers-color-scheme: dark" in (root.findtext(f"{SVG}style") or "")
