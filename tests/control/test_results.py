"""The schemas of what is sent: OpenClaw's own frames fit them, and what a client would stumble over does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it has no types, and comes with the extra `mcp`
import pytest
from results import conforms, faults

DATA = Path(__file__).parents[1] / "data" / "control"
RECORDED = [json.loads(line) for line in (DATA / "results.jsonl").read_text(encoding="utf-8").splitlines()]
SCHEMAS = json.loads((DATA / "results.json").read_text(encoding="utf-8"))["$defs"]


def test_schemas_are_schemas() -> None:
    for schema in SCHEMAS.values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: row["name"])
def test_recorded(row: dict[str, Any]) -> None:
    conforms(row["name"], row["payload"])


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("ResponseFrame", {"type": "res", "id": "1", "ok": True, "payload": {}, "error": None}),
        ("ResponseFrame", {"type": "res", "id": "", "ok": True}),
        ("ResponseFrame", {"type": "res", "id": "1", "ok": False, "error": {"code": "FORBIDDEN"}}),
        ("EventFrame", {"type": "event", "event": "tick", "payload": {}, "seq": -1}),
        ("EventFrame", {"type": "event", "event": "tick", "extra": 1}),
        ("ErrorShape", {"code": "UNAVAILABLE", "message": ""}),
        ("TickEvent", {"ts": 1.5}),
        ("ShutdownEvent", {"reason": ""}),
        ("ChatEvent", {"runId": "r", "sessionKey": "k", "seq": 1, "state": "delta"}),
        ("ChatEvent", {"runId": "r", "sessionKey": "k", "seq": 1, "state": "done"}),
        ("StateVersion", {"presence": 1}),
        ("PresenceEntry", {"host": "h"}),
    ],
)
def test_what_does_not_fit(name: str, payload: Any) -> None:
    assert faults(name, payload)
    with pytest.raises(AssertionError, match=f"no {name}:"):
        conforms(name, payload)


def test_names_that_are_none() -> None:
    with pytest.raises(KeyError, match="there are AgentEvent"):
        conforms("NoSuch", {})
