"""The AI SDK of Vercel, whose default is the Responses API, against a gateway process."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from node_packages import node_modules
from processes import TOKEN, Launch, configuration, python_agent

HERE = Path(__file__).parent


@pytest.mark.timeout(150)  # npm may have to fetch the packages first
def test_ai_sdk(launch: Launch) -> None:
    modules = node_modules("ai@6", "@ai-sdk/openai@3", "zod@4")
    gateway = launch(configuration(python_agent("assistant"), http={"endpoints": {"responses": {"enabled": True}}}))
    done = subprocess.run(
        ["node", str(HERE / "ai_sdk_client.mjs"), gateway.base_url, TOKEN, "openclaw/assistant"],
        env={**os.environ, "E2E_NODE_MODULES": str(modules)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["generated"] == "It is fine in Paris and fine in Rome."
    assert seen["streamed"] == "Let me see.It is fine in Paris and fine in Rome."
    assert seen["tokens"] > 0
    assert seen["second"] == "user: hello | assistant: user: hello | user: more"
    assert seen["kinds"] == ["user", "item_reference", "user"], "what it repeats its answers by"
