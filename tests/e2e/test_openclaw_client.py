"""OpenClaw's own client library, unmodified, against this gateway and its successor."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from openclaw_product import Product, talking
from processes import TOKEN, Launch, until

import gateway

pytestmark = [pytest.mark.openclaw, pytest.mark.timeout(200)]


def test_the_library(clients: Product, launch: Launch, tmp_path: Path) -> None:
    config = launch.file({**talking(), "session": {"store": str(tmp_path / "sessions.sqlite")}})
    first = launch(config)
    name = f"count-{uuid.uuid4().hex}"
    with clients.start("openclaw_client.mjs", f"ws://127.0.0.1:{first.port}", TOKEN, name) as process:
        try:
            assert process.stdout is not None
            seen: dict[str, list[Any]] = {}
            for line in process.stdout:
                what, *more = json.loads(line)
                seen[what] = more
                if what == "restart me":
                    assert first.end() == 0
                    launch(config, "--port", str(first.port))
            _, errors = process.communicate()
        finally:
            process.kill()
    assert process.returncode == 0, f"{errors}\nit saw {json.dumps(seen, indent=1)}"
    check_requests(seen)
    check_runs(seen)
    until("the agent was stopped", lambda: first.marked(name, "cancelled"))
    assert seen["device"] == [["operator.read"], 1, False]
    assert seen["device again"] == [["operator.read"]]
    assert seen["device reads"] == [True]
    code, message, details = seen["refused"]
    assert code == "INVALID_REQUEST"
    assert message.startswith("unauthorized: gateway token mismatch")
    assert details["code"] == "AUTH_TOKEN_MISMATCH"
    assert seen["closed"] == [1012, "service restart", ["gateway stopping"]]
    assert seen["hello again"] == [True]
    assert seen["history"][0][:4] == [
        ["user", "a request"],
        ["assistant", "Echo: a request"],
        ["user", "first words"],
        ["assistant", "Echo: first words"],
    ]
    assert seen["gaps"] == [[]]


def check_requests(seen: dict[str, list[Any]]) -> None:
    (hello,) = seen["hello"]
    assert hello["protocol"] == 4
    assert hello["server"]["version"] == gateway.__version__
    assert hello["auth"]["scopes"] == ["operator.read", "operator.write"]
    assert {"health", "agent", "chat.send", "sessions.list"} <= set(hello["features"]["methods"])
    assert {"chat", "agent", "tick", "shutdown"} <= set(hello["features"]["events"])
    assert seen["health"] == [True]
    needs_admin = {"code": "MISSING_SCOPE", "missingScope": "operator.admin", "requiredScopes": ["operator.admin"]}
    assert seen["unknown"] == ["FORBIDDEN", "missing scope: operator.admin", needs_admin]
    assert seen["wrong"][:2] == [
        "INVALID_REQUEST",
        "invalid sessions.list params: at root: unexpected property 'bogus'",
    ]
    assert seen["scope"][:1] == ["no failure"]
    assert seen["scope"][-3:] == ["FORBIDDEN", "missing scope: operator.admin", needs_admin]


def check_runs(seen: dict[str, list[Any]]) -> None:
    assert seen["agent"] == [["accepted"], "ok", ["Echo: a request"]]
    answer, run_id = seen["started"]
    assert answer["runId"] == run_id
    assert answer["status"] == "started"
    text, deltas, whole = seen["stream"]
    assert text == whole == "Echo: first words"
    assert deltas >= 1
    assert seen["order"] == [True]
    assert seen["phases"] == ["start", "end"]
    assert seen["rows"][0].count("assistant") == 1
    assert seen["rows"][0].count("user") == 1
    assert seen["abort"][0]["aborted"] is True
    reason, said = seen["aborted"]
    assert reason == "rpc"
    assert said.startswith("1 2 3 ")
    assert seen["waited"] == ["error", "aborted", "rpc"]
