"""gateway check."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from gateway.cli import main
from gateway.cli.console import WRONG_CONFIG

Write: TypeAlias = Callable[..., Path]

ECHO = {"id": "main", "runtime": {"type": "echo"}}


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration of whoever runs the tests."""
    for family in ("OPENCLAW", "CLAWDBOT", "MOLTBOT", "GATEWAY"):
        for suffix in ("CONFIG_PATH", "GATEWAY_TOKEN", "GATEWAY_PASSWORD", "TOKEN", "PASSWORD"):
            monkeypatch.delenv(f"{family}_{suffix}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def config(tmp_path: Path) -> Write:
    def write(*agents: dict[str, Any], **gateway: Any) -> Path:
        path = tmp_path / "c.json5"
        document = {"gateway": {"auth": {"token": "hidden-token"}, **gateway}, "agents": {"list": agents or (ECHO,)}}
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    return write


def test_what_it_prints(config: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = config(
        {"id": "first", "runtime": {"type": "echo"}}, {"id": "b", "default": True, "runtime": {"type": "echo"}}
    )
    document = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**document, "channels": {}}), encoding="utf-8")
    assert main(["check", "--config", str(path)]) == 0
    captured = capsys.readouterr()
    head, _, tail = captured.out.partition("\n{")
    assert head.splitlines() == [
        f"configuration: {path}",
        "clients show: a token",
        "agents: first, b",
        "default agent: b",
    ]
    shown = json.loads("{" + tail)
    assert shown["gateway"]["port"] == 18789
    assert shown["gateway"]["auth"]["token"] == "***"
    assert "hidden-token" not in captured.out + captured.err
    assert captured.err.startswith("warning: ")
    assert "channels" in captured.err


def test_for_programs(config: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = config({"id": "a", "runtime": {"type": "echo"}}, {"id": "b", "runtime": {"type": "echo"}})
    assert main(["check", "--json", "--config", str(path)]) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert {**report, "config": None} == {
        "path": str(path),
        "warnings": [],
        "auth": "token",
        "agents": ["a", "b"],
        "default": None,
        "config": None,
    }
    assert report["config"]["agents"]["list"][0]["id"] == "a"
    assert "hidden-token" not in captured.out
    assert captured.err == ""


def test_the_environment_names_the_file(
    config: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLAWDBOT_CONFIG_PATH", str(config()))
    assert main(["check"]) == 0
    assert f"configuration: {config()}" in capsys.readouterr().out


def test_the_secret_beside_the_file(config: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".env").write_text("GATEWAY_PASSWORD=hidden-password\n", encoding="utf-8")
    assert main(["check", "--config", str(config(auth={}))]) == 0
    captured = capsys.readouterr()
    assert "clients show: a password" in captured.out
    assert "hidden-password" not in captured.out + captured.err


def test_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == WRONG_CONFIG
    err = capsys.readouterr().err
    assert "gateway.auth" in err
    assert "agents" in err
    assert "gateway demo" in err


def test_faults_of_secret_and_agents_at_once(config: Write, capsys: pytest.CaptureFixture[str]) -> None:
    agent = {"id": "x", "runtime": {"type": "python", "target": "no_such_module_here:f"}}
    assert main(["check", "--config", str(config(agent, auth={}))]) == WRONG_CONFIG
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "no token is set" in lines[0]
    assert "no_such_module_here" in lines[1]


def test_open_to_all(config: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", str(config(auth={"mode": "none"}))]) == 0
    assert "clients show: nothing" in capsys.readouterr().out
    assert main(["check", "--config", str(config(auth={"mode": "none"}, bind="lan"))]) == WRONG_CONFIG


def test_tls_files_are_read(config: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cert.pem").write_text("no certificate", encoding="utf-8")
    (tmp_path / "key.pem").write_text("no key", encoding="utf-8")
    path = config(tls={"certPath": "cert.pem", "keyPath": "key.pem"})
    assert main(["check", "--config", str(path)]) == WRONG_CONFIG
    assert "gateway.tls" in capsys.readouterr().err
