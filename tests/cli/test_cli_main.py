"""The command line as such: help, usage, exit codes, what is printed where."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import gateway
from gateway.cli import _COMMANDS, console, main
from gateway.cli.console import FAILED, INTERRUPTED, WRONG_CONFIG, WRONG_USAGE

ROOT = Path(__file__).parents[2]
ECHO = {
    "gateway": {"port": 0, "auth": {"token": "hidden-token"}},
    "agents": {"list": [{"id": "main", "runtime": {"type": "echo"}}]},
}


@pytest.fixture
def echo_file(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.json5"
    path.write_text(json.dumps(ECHO), encoding="utf-8")
    return path


def test_no_command_prints_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(f"    {name} " in out for name in _COMMANDS)
    assert "78   the configuration is wrong" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"gateway {gateway.__version__}\n"


@pytest.mark.parametrize("command", _COMMANDS)
def test_help_of_a_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"usage: gateway {command} " in out
    assert "exit codes:" in out
    assert callable(import_module(f"gateway.cli.{command}").execute)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dance"], "dance"),
        (["run", "--nope"], "--nope"),
        (["run", "--verb"], "--verb"),  # no abbreviations: a flag that comes later must not change what they mean
        (["run", "--port", "x"], "'x' is not a port"),
        (["demo", "--port", "65536"], "'65536' is not a port"),
        (["agent"], "--message"),
        (["agent", "--message", "x", "--timeout", "-1"], "'-1' is not a number of seconds"),
        (["agent", "--message", "x", "--timeout", "nan"], "'nan' is not a number of seconds"),
        (["agent", "--message", "x", "--local", "--url", "http://h"], "not allowed with"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == WRONG_USAGE
    captured = capsys.readouterr()
    assert said in captured.err
    assert "usage: gateway" in captured.err
    assert captured.out == ""


def test_a_flag_that_the_option_table_refuses(capsys: pytest.CaptureFixture[str], echo_file: Path) -> None:
    assert main(["run", "--config", str(echo_file), "--bind", "host:80"]) == WRONG_CONFIG
    assert "gateway: the command line: gateway.bind: " in capsys.readouterr().err


def test_every_problem_has_its_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "bad.json5"
    path.write_text('{\n gateway: {prot: 1, auth: {mode: "x"}},\n agents: {list: [{}]}\n}', encoding="utf-8")
    assert main(["check", "--config", str(path)]) == WRONG_CONFIG
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"gateway: {path}:") for line in lines), lines
    assert captured.out == ""


def test_an_interrupt_is_130(monkeypatch: pytest.MonkeyPatch, echo_file: Path) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("gateway.cli.check.execute", interrupted)
    assert main(["check", "--config", str(echo_file)]) == INTERRUPTED


def python(*arguments: str, **more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_reader_that_leaves(echo_file: Path) -> None:
    with python("-m", "gateway", "check", "--config", str(echo_file)) as process:
        assert process.stdout is not None
        process.stdout.close()
        _, err = process.communicate(timeout=20)
    assert process.returncode == FAILED
    assert err == b"", "neither a traceback nor the interpreter's complaint about its last flush"


def test_only_what_the_command_needs_is_loaded(echo_file: Path) -> None:
    code = "import sys, gateway.cli\ncode = gateway.cli.main(sys.argv[1:])\nprint(*sys.modules, file=sys.stderr)"
    with python("-c", code, "check", "--config", str(echo_file)) as process:
        _, err = process.communicate(timeout=20)
    loaded = set(err.decode().split())
    assert "gateway.cli.check" in loaded
    unwanted = {
        "gateway.cli.agent",
        "gateway.cli.run",
        "gateway.providers.upstream",
        "wsproto",
        "http.client",
        "shutil",
    }
    assert not loaded & unwanted


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_no_control_characters() -> None:
    text = "a\tb\n\x1b[31mred\x07\x9b2J\x7f\r\u00e9\U0001f600"
    terminal, pipe = Terminal(), io.StringIO()
    console.write(text, terminal)
    console.write(text, pipe)
    assert terminal.getvalue() == "a\tb\n[31mred2J\u00e9\U0001f600"
    assert pipe.getvalue() == text


def test_text_that_the_output_cannot_show(echo_file: Path) -> None:
    arguments = ["-m", "gateway", "agent", "--local", "--config", str(echo_file), "--message", "caf\u00e9"]
    with python(*arguments, PYTHONIOENCODING="ascii", PYTHONUTF8="0") as process:
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, b"")
    assert out.endswith(b"caf?\n")
