"""The published clients of OpenClaw, for tests that point them at a gateway.  README.md here tells how to install them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from processes import TOKEN, Launch, Running, python_agent

__all__ = ["PATIENCE", "Product", "clients", "opposite", "talking"]

VARIABLE = "OPENCLAW_CLIENTS"
PATIENCE = 120.0  # seconds; a cold start of the client takes 1 to 4 s of a free core, and some commands look around


@dataclass(frozen=True)
class Product:
    """The clients, with a home of their own: no state, no device, no configuration but what a test gives them."""

    folder: Path
    home: Path

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)

    @property
    def modules(self) -> Path:
        return self.folder / "node_modules"

    @property
    def node(self) -> str:
        return str(self.modules / ".bin" / "node")

    def command(self, *arguments: str) -> list[str]:
        return [self.node, str(self.modules / "openclaw" / "openclaw.mjs"), *arguments]

    def environment(
        self, config: Mapping[str, Any] | None = None, more: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """What its processes see: their home, and nothing of ours."""
        path = self.home / "openclaw.json"
        path.write_text(json.dumps(config or {}), encoding="utf-8")
        return {
            "PATH": os.pathsep.join([str(self.modules / ".bin"), os.environ.get("PATH", os.defpath)]),
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            "TMPDIR": str(self.home),
            "OPENCLAW_STATE_DIR": str(self.home / "state"),
            "OPENCLAW_CONFIG_PATH": str(path),
            "OPENCLAW_DISABLE_BONJOUR": "1",
            "OPENCLAW_NO_AUTO_UPDATE": "1",
            "NO_COLOR": "1",
            **(more or {}),
        }

    def run(self, gateway: Running, *arguments: str, how: str = "flags") -> subprocess.CompletedProcess[str]:
        """One command to its end, pointed at the gateway by flags, by its configuration, by its environment, or by
        what is said in `arguments` alone.
        """
        config: dict[str, Any] = {}
        env: dict[str, str] = {}
        url = f"ws://127.0.0.1:{gateway.port}"
        match how:
            case "flags":
                arguments = (*arguments, "--url", url, "--token", TOKEN)
            case "config":
                config = {"gateway": {"mode": "remote", "remote": {"url": url, "token": TOKEN}}}
            case "env":
                env = {"OPENCLAW_GATEWAY_URL": url, "OPENCLAW_GATEWAY_TOKEN": TOKEN}
            case _:
                assert how == "alone", f"nobody can be pointed at a gateway by {how}"
        return subprocess.run(
            self.command(*arguments),
            env=self.environment(config, env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=PATIENCE,
            check=False,
        )

    def start(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        """A script of this folder, with their Node and their packages."""
        return subprocess.Popen(
            [self.node, str(Path(__file__).with_name(name)), *arguments],
            env=self.environment(more={"E2E_NODE_MODULES": str(self.modules)}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )


def talking(**gateway: Any) -> dict[str, Any]:
    """A configuration whose agent `main` streams what it is told, and counts; and a model to list, which nobody asks."""
    model = {"id": "stub-1", "name": "Stub One", "contextWindow": 32_000, "input": ["text"]}
    return {
        "gateway": {
            "port": 0,
            "auth": {"mode": "token", "token": TOKEN},
            "http": {"endpoints": {"chatCompletions": {"enabled": True}}},
            **gateway,
        },
        "agents": {
            "list": [
                {**python_agent("talker", default=True), "id": "main"},
                {"id": "modelled", "model": "stub/stub-1"},
            ]
        },
        "models": {"providers": {"stub": {"baseUrl": "http://127.0.0.1:9/v1", "apiKey": "none", "models": [model]}}},
    }


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Product:
    folder = os.environ.get(VARIABLE)
    if folder is None:
        pytest.skip(f"{VARIABLE} does not name the folder of OpenClaw's clients, see tests/e2e/README.md")
    return Product(Path(folder).resolve(), tmp_path_factory.mktemp("clients"))


@pytest.fixture(scope="module")
def opposite(clients: Product, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The gateway that the clients talk to: `talking`, for all tests of a module."""
    assert clients.folder.is_dir(), f"{VARIABLE} names {clients.folder}, which is no folder"
    launcher = Launch(tmp_path_factory.mktemp("opposite"))
    try:
        yield launcher(talking())
    finally:
        launcher.close()
