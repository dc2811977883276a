"""The commands of the published OpenClaw client, unmodified, against this gateway."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from openclaw_product import Product
from processes import TOKEN, Running

import gateway

pytestmark = [pytest.mark.openclaw, pytest.mark.timeout(150)]

CASES = json.loads((Path(__file__).parents[1] / "data/control/openclaw_commands.json").read_text("utf-8"))
ROWS = [(case, how) for case in CASES for how in case["how"]]


def name(row: tuple[dict[str, Any], str]) -> str:
    return " ".join([*row[0]["command"], row[1]])


@pytest.mark.parametrize("row", ROWS, ids=map(name, ROWS))
def test_command(row: tuple[dict[str, Any], str], clients: Product, opposite: Running) -> None:
    case, how = row
    places = {
        "{url}": f"ws://127.0.0.1:{opposite.port}",
        "{port}": str(opposite.port),
        "{token}": TOKEN,
        "{version}": gateway.__version__,
    }

    def filled(text: str) -> str:
        for place, value in places.items():
            text = text.replace(place, value)
        return text

    done = clients.run(opposite, *map(filled, case["command"]), how=how)
    said = f"rc {done.returncode}\n{done.stdout}\n--- stderr\n{done.stderr}"
    assert done.returncode == case.get("rc", 0), said
    if "is" in case:
        assert done.stdout.strip() == case["is"], said
    if "json" in case:
        assert json.loads(done.stdout).keys() >= set(case["json"]), said
    for text in map(filled, case.get("contains", ())):
        assert text in done.stdout, said
    for text in map(filled, case.get("fails", ())):
        assert text in done.stdout + done.stderr, said
    for pattern in case.get("matches", ()):
        assert re.search(pattern, done.stdout, re.MULTILINE), said
