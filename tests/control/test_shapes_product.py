"""The product's own validators, asked again: the recorded cases, and thousands made from them.

Opt in: `OPENCLAW_CLIENTS` names a folder where `openclaw` is installed, see tests/e2e/README.md.
"""

from __future__ import annotations

import copy
import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from test_shapes import CASES, SHAPES, rows

from gateway.control.frames import LONGEST_ID
from gateway.control.params import PARAMS
from gateway.control.shapes import check

pytestmark = pytest.mark.openclaw

MADE = 20_000
HERE = Path(__file__).parent
JUNK: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2.5, 3.0, 1001, 1e10, "", "a", "all", "x" * 600, "2026-01-02", [], {}, ["a"], ["a", "a"], [7],
    {"a": 1}, {"kind": "x"},
)  # fmt: skip


@pytest.fixture(scope="module")
def modules() -> Path:
    folder = os.environ.get("OPENCLAW_CLIENTS")
    if folder is None:
        pytest.skip("OPENCLAW_CLIENTS does not name the folder of OpenClaw's clients, see tests/e2e/README.md")
    return Path(folder).resolve() / "node_modules"


def ask(modules: Path, cases: list[tuple[str, Any]]) -> list[str | None]:
    """What the product says of each value."""
    asked = "\n".join(json.dumps({"method": method, "params": params}) for method, params in cases)
    command = [str(modules / ".bin" / "node"), str(HERE / "product_shapes.mjs"), str(modules / "openclaw" / "dist")]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(said) == len(cases)
    return said


def changed(value: Any, dice: random.Random) -> Any:
    """The value with one thing other than it was, somewhere."""
    if isinstance(value, dict) and value and dice.random() < 0.6:
        name = dice.choice(sorted(value))
        return {**value, name: changed(value[name], dice)}
    if isinstance(value, dict):
        name = dice.choice(["bogus", "agentId", "key", "limit", " ", *value])
        if name in value and dice.random() < 0.5:
            return {other: item for other, item in value.items() if other != name}
        return {**value, name: copy.deepcopy(dice.choice(JUNK))}
    if isinstance(value, list) and dice.random() < 0.7:
        return [*value, *(copy.deepcopy(dice.choice(JUNK)) for _ in range(dice.randrange(1, 4)))]
    return copy.deepcopy(dice.choice(JUNK))


def stricter(method: str, said: str | None, found: str | None, params: Any) -> bool:
    """Whether we differ as we mean to: see the docstring of `shapes`, LONGEST_ID, and CONNECT."""
    both = said is not None and found is not None
    return (
        (both and "schema is false" in str(said))
        or (method == "(request)" and f"not have more than {LONGEST_ID} characters" in str(found))
        or (both and "duplicate items" in str(said))
        or ("'nonce'" in str(said) and isinstance(params, dict) and params.get("maxProtocol") in {1, 2, 3})
    )


def test_the_recorded_cases_still_hold(modules: Path) -> None:
    said = ask(modules, [(case["method"], case["params"]) for case in CASES])
    assert said == [case["error"] for case in CASES]


def test_values_made_from_them(modules: Path) -> None:
    dice = random.Random(os.environ.get("SEED", "product"))
    made = []
    for _ in range(MADE):
        case = dice.choice(CASES)
        params = case["params"]
        for _ in range(dice.randrange(1, 5)):
            params = changed(params, dice)
        made.append((case["method"], params))
    different = [
        (method, params, said, found)
        for (method, params), said in zip(made, ask(modules, made), strict=True)
        if (found := check(SHAPES[method], params)) != said and not stricter(method, said, found, params)
    ]
    assert not different[:3]


def test_scopes(modules: Path) -> None:
    cases = [row for row in rows("scopes.jsonl") if row["method"] in PARAMS and row["method"] != "health"]
    asked = json.dumps([[row["method"], row["params"]] for row in cases])
    command = [str(modules / ".bin" / "node"), str(HERE / "product_scopes.mjs"), str(modules / "openclaw" / "dist")]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[row["scope"]] for row in cases]
