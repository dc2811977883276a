"""The official Node SDK against a gateway whose upstream is another server.  Needs node and npm, and npm its registry."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from pathlib import Path

import pytest
from processes import TOKEN, Chain, until

SDK = "openai@6"
OLDEST_NODE = 18
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def modules() -> Path:
    """The folder that holds the SDK; it is kept from one run of the tests to the next."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    if int(version.removeprefix("v").split(".", maxsplit=1)[0]) < OLDEST_NODE:
        pytest.skip(f"the SDK needs node {OLDEST_NODE}, and this is {version.strip()}")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "gateway-tests", SDK.replace("@", "-"))
    if not (cache / "node_modules" / "openai" / "package.json").exists():
        cache.mkdir(parents=True, exist_ok=True)
        try:
            installed = subprocess.run(
                [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(cache), SDK],
                capture_output=True,
                text=True,
                timeout=45,
                check=False,
            )
        except subprocess.TimeoutExpired:
            pytest.skip("npm did not install the SDK in time")
        if installed.returncode:
            pytest.skip(f"npm could not install the SDK: {installed.stderr.strip()[-300:]}")
    return cache / "node_modules"


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
