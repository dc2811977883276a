"""The official Node SDK against a gateway whose upstream is another server.  Needs node and npm, and npm its registry."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from pathlib import Path

import pytest
from node_packages import node_modules
from processes import TOKEN, Chain, until

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def modules() -> Path:
    return node_modules("openai@6")


@pytest.mark.timeout(150)  # npm may have to fetch the SDK first
def test_node_sdk(chain: Chain, modules: Path) -> None:
    name = uuid.uuid4().hex
    done = subprocess.run(
        ["node", str(HERE / "node_client.mjs"), chain.front.base_url, TOKEN, name],
        env={**os.environ, "E2E_NODE_MODULES": str(modules)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["create"] == ["chat.completion", "openclaw/relay-words", "one two ", 3]
    assert seen["stream"] == {"text": "a b c ", "role": "assistant", "finish": ["stop"], "usage": 4}
    assert seen["helper"] == "d e "
    assert {"openclaw", "openclaw/default", "openclaw/main", "openclaw/relay-words"} <= set(seen["models"])
    assert seen["retrieved"] == "openclaw/main"
    assert seen["errors"] == [
        ["AuthenticationError", 401, "invalid_api_key"],
        ["NotFoundError", 404, "model_not_found"],
        ["InternalServerError", 502, "broken"],
    ]
    assert seen["late"] is not None, "a run that fails within its stream must raise in the SDK"
    assert seen["late"][0] == "APIError"
    assert seen["aborted"] >= 5
    until("the agent sees its run cancelled", lambda: chain.back.marked(name, "cancelled"))
