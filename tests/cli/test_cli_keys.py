"""`gateway keys`, and keys of a gateway process."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import Launch, Running, configuration, until

from gateway.cli import main

if sys.platform == "win32":
    pytest.skip("there is no SIGHUP", allow_module_level=True)


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    started = Launch(tmp_path)
    yield started
    started.close()


def status(gateway: Running, secret: str) -> int:
    request = urllib.request.Request(f"{gateway.base_url}/models", headers={"authorization": f"Bearer {secret}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            code: int = answer.status
            return code
    except urllib.error.HTTPError as error:
        return error.code


def test_a_new_key_works(launch: Launch) -> None:
    made = [launch.command("keys", "new", "--id", name) for name in ("web", "phone")]
    secrets = [one.stdout.splitlines()[0] for one in made]
    lines = [one.stdout.splitlines()[1] for one in made]
    assert len(set(secrets)) == 2
    assert all(re.fullmatch("gw-[0-9a-f]{64}", secret) for secret in secrets)
    assert all(secret not in line for secret, line in zip(secrets, lines, strict=True))
    config = """{
        gateway: { port: 0, auth: { keys: [%s] }, http: { endpoints: { chatCompletions: { enabled: true } } } },
        agents: { list: [{ id: "main", runtime: { type: "echo" } }] },
    }"""
    path = launch.file(config % lines[0])
    checked = launch.command("check", "--config", str(path))
    assert "clients show: a key (1 configured)" in checked.stdout
    assert '"hash": "***"' in checked.stdout
    gateway = launch(path, "--verbose")
    assert [status(gateway, secret) for secret in (*secrets, "nothing")] == [200, 401, 401]
    path.write_text(config % lines[1], encoding="utf-8")
    os.kill(gateway.process.pid, signal.SIGHUP)
    until("the keys are read anew", lambda: "read anew: keys" in gateway.text())
    assert [status(gateway, secret) for secret in (*secrets, "nothing")] == [401, 200, 401]
    path.write_text(config % '{ id: "broken" }', encoding="utf-8")
    os.kill(gateway.process.pid, signal.SIGHUP)
    until("the fault is told", lambda: "; what is in use stays" in gateway.text())
    assert "gateway.auth.keys[0]: one of secret, hash and env has to be there" in gateway.text()
    assert [status(gateway, secret) for secret in (*secrets, "nothing")] == [401, 200, 401]
    text = gateway.text()
    assert "key=web" in text
    assert "key=phone" in text
    assert not any(secret in text for secret in secrets)
    assert "without authentication" not in text


def test_a_key_beside_the_token(launch: Launch) -> None:
    config = configuration()
    config["gateway"]["auth"]["keys"] = [{"id": "a", "env": "A_KEY", "scopes": ["chat"]}]
    gateway = launch(config, env={"A_KEY": "from-the-environment"})
    assert status(gateway, "from-the-environment") == 403
    assert status(gateway, config["gateway"]["auth"]["token"]) == 200
    checked = launch.command("check", "--json", "--config", str(launch.file(config)), env={"A_KEY": "x"})
    assert json.loads(checked.stdout)["config"]["gateway"]["auth"]["keys"] == [
        {"id": "a", "env": "A_KEY", "scopes": ["chat"]}
    ]
    refused = launch.command("check", "--config", str(launch.file(config)))
    assert refused.returncode == 78
    assert "gateway.auth.keys[0].env: the environment has no value for A_KEY" in refused.stderr


def test_the_agent_command_needs_one_of_them(launch: Launch) -> None:
    config = configuration()
    config["gateway"]["auth"] = {"keys": [{"id": "a", "secret": "the-secret-of-a"}]}
    gateway = launch(config)
    config["gateway"]["port"] = gateway.port
    path = str(launch.file(config))
    asked = launch.command("agent", "--config", path, "--message", "hi", "--token", "the-secret-of-a")
    assert asked.stdout == "Echo: hi\n"
    without = launch.command("agent", "--config", path, "--message", "hi")
    assert without.returncode == 78
    assert "Give the secret of one with --token" in without.stderr


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_hash(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], end: str) -> None:
    secret = "a-secret-of-my-own-0123456789"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{secret}{end}".encode())))
    assert main(["keys", "hash"]) == 0
    assert capsys.readouterr().out == f"sha256:{hashlib.sha256(secret.encode()).hexdigest()}\n"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (b"", "one secret"),
        (b"\n", "one secret"),
        (b"one-line-that-is-long-enough\nand another", "one secret"),
        (b"x" * 5000, "one secret"),
        (b"password", "fewer than 22 characters"),
    ],
)
def test_what_is_not_hashed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: bytes, says: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given)))
    assert main(["keys", "hash"]) == 2
    out, err = capsys.readouterr()
    assert (out, says in err) == ("", True)
    if given.strip():
        assert given.decode() not in err


def test_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "new", "--id", "a b"]) == 2
    assert main(["keys"]) == 2
    assert main(["keys", "old"]) == 2
    assert not capsys.readouterr().out
