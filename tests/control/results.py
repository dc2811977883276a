"""What the gateway sends over WebSocket, against the schemas of what OpenClaw sends.

    conforms("HelloOk", payload)
    conforms("ChatEvent", event["payload"])

`results.json` has the schemas as they are in protocol 4, of frames, events and of the answers that have one.  Only
AgentEvent is wider than there: the product itself sends `agentId`, `sessionKey`, `sessionId` and `lane` with it.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it has no types, and comes with the extra `mcp`

__all__ = ["conforms", "faults"]

_SCHEMAS = json.loads((Path(__file__).parents[1] / "data" / "control" / "results.json").read_text(encoding="utf-8"))


def faults(name: str, payload: Any) -> list[str]:
    """What a payload has that its schema does not allow, or lacks, each with its place."""
    found = {
        f"at /{'/'.join(map(str, error.absolute_path))}: {error.message}"
        for error in _validator(name).iter_errors(payload)
    }
    return sorted(found)


def conforms(name: str, payload: Any) -> None:
    """Fails the test that calls it unless the payload is what the name promises."""
    found = faults(name, payload)
    assert not found, "\n".join([f"no {name}:", *found, json.dumps(payload, indent=1)[:4000]])


@cache
def _validator(name: str) -> Any:
    if name not in _SCHEMAS["$defs"]:
        raise KeyError(f"no schema {name!r}; there are {', '.join(sorted(_SCHEMAS['$defs']))}")
    return jsonschema.Draft202012Validator({**_SCHEMAS, "$ref": f"#/$defs/{name}"})
