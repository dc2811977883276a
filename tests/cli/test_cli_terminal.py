"""gateway agent on a real pseudo-terminal: a sign of life, nothing that moves the cursor, and a clean end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from processes import alive
from screen import Screen, on_terminal

from gateway.cli.console import FAILED, INTERRUPTED
from gateway.cli.terminal import Spinner, View

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
AGENTS = ("say", "words", "colours", "fail_late", "silent", "slow", "nasty")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    agents: list[dict[str, Any]] = [
        {"id": name.replace("_", "-"), "runtime": {"type": "python", "target": f"cli_agents:{name}"}} for name in AGENTS
    ]
    script = "echo $$ > pid; echo begun; sleep 60"
    agents.append({"id": "program", "runtime": {"type": "command", "argv": ["/bin/sh", "-c", script], "cwd": "."}})
    path = tmp_path / "gateway.json5"
    path.write_text(json.dumps({"agents": {"list": agents}}), encoding="utf-8")
    return path


@contextmanager
def terminal(
    config: Path, *arguments: str, env: Mapping[str, str] | None = None, stdout: int | None = None
) -> Iterator[Screen]:
    """`gateway agent --local`."""
    words = ("agent", "--local", "--config", str(config), *arguments)
    with on_terminal(config.parent, *words, env=env, stdout=stdout) as screen:
        yield screen


SPINNER = re.compile(rb"\r(?:[\xe2][\xa0-\xa3].|[|/\\-]) \d+ s\x1b\[K")


def shown(seen: bytes) -> str:
    """What stays on the screen: without spinners and their end."""
    return SPINNER.sub(b"", seen).replace(b"\r\x1b[K", b"").decode().replace("\r\n", "\n")


def test_a_spinner_while_the_agent_thinks(config: Path) -> None:
    with terminal(config, "--agent", "slow", "--message", "x") as screen:
        screen.until(lambda seen: len(SPINNER.findall(seen)) >= 2)
        assert b"first" not in screen.seen, "it turns before there is anything to show"
        assert screen.end() == 0
        assert shown(screen.seen) == "first\nsecond\n"
        assert screen.seen.index(b"\r\x1b[K") < screen.seen.index(b"first"), "it is gone before the text comes"
        assert not SPINNER.search(screen.seen[screen.seen.rindex(b"second") :])


def test_the_answer_comes_as_it_is_said(config: Path) -> None:
    with terminal(config, "--agent", "slow", "--message", "x") as screen:
        screen.until(lambda seen: b"first" in seen)
        assert b"second" not in screen.seen, "also without --stream"
        assert screen.end() == 0


@pytest.mark.parametrize("more", [(), ("--stream",), ("--json",), ("--json", "--stream")])
def test_nothing_that_an_answer_holds_moves_the_cursor(config: Path, more: tuple[str, ...]) -> None:
    with terminal(config, "--agent", "nasty", "--message", "x", *more) as screen:
        assert screen.end() == 0
        text = shown(screen.seen)
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text), text
        if not more:
            assert text == "[2J[31mred]0;titlecr\ttab\nline [0mfdp.exe\n"


def test_a_pipe_gets_the_answer_as_it_is(config: Path) -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as pipe:
        with terminal(config, "--agent", "nasty", "--message", "x", stdout=write) as screen:
            os.close(write)
            data = pipe.read()
            assert screen.end() == 0
        assert data == "\x1b[2J\x1b[31mred\x1b]0;title\x07\rcr\ttab\nline \x9b[0m\u202efdp.exe\n".encode()
        assert shown(screen.seen) == ""


def test_a_pipe_and_a_spinner(config: Path) -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as pipe, terminal(config, "--agent", "slow", "--message", "x", stdout=write) as screen:
        os.close(write)
        screen.until(lambda seen: len(SPINNER.findall(seen)) >= 2)
        assert screen.end() == 0
        assert pipe.read() == b"first\nsecond\n"
        assert shown(screen.seen) == ""


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"TERM": ""}])
def test_a_terminal_that_can_do_nothing(config: Path, variables: dict[str, str]) -> None:
    with terminal(config, "--agent", "slow", "--message", "x", env=variables) as screen:
        assert screen.end() == 0
        assert screen.seen == b"first\r\nsecond\r\n"


def test_a_terminal_without_such_letters(config: Path) -> None:
    with terminal(config, "--agent", "slow", "--message", "x", env={"PYTHONIOENCODING": "ascii"}) as screen:
        screen.until(lambda seen: b"\r| 0 s" in seen)
        assert screen.end() == 0
        assert shown(screen.seen) == "first\nsecond\n"


def test_a_failure(config: Path) -> None:
    with terminal(config, "--agent", "fail-late", "--message", "x") as screen:
        assert screen.end() == FAILED
        assert shown(screen.seen) == "so far\ngateway: out of order\n"


@pytest.mark.parametrize("agent", ["silent", "program"])
def test_an_interrupt(config: Path, agent: str) -> None:
    with terminal(config, "--agent", agent, "--message", "x") as screen:
        screen.until(lambda seen: b"begun" in seen if agent == "program" else SPINNER.search(seen))
        screen.type(b"\x03")
        assert screen.end() == INTERRUPTED
        assert "Traceback" not in shown(screen.seen)
        assert screen.seen.endswith((b"\n", b"\r\x1b[K")), "the shell's prompt comes on a line of its own"
    if agent == "program":
        pid = int((config.parent / "pid").read_text(encoding="ascii"))
        end = time.monotonic() + 10
        while alive(pid):
            assert time.monotonic() < end, "what the agent has started goes on"
            time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals(config: Path, number: signal.Signals) -> None:
    with terminal(config, "--agent", "program", "--message", "x") as screen:
        screen.until(lambda seen: b"begun" in seen)
        screen.process.send_signal(number)
        assert screen.end() == 128 + number
        assert "Traceback" not in shown(screen.seen)
    pid = int((config.parent / "pid").read_text(encoding="ascii"))
    end = time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < end, "what the agent has started goes on"
        time.sleep(0.02)


def chunk(**delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


CHUNKS: list[dict[str, Any]] = [
    chunk(role="assistant", content=""),
    chunk(reasoning_content="let me \x1b[2Jsee"),
    chunk(reasoning_content=" ..."),
    chunk(content="so"),
    chunk(tool_calls=[{"index": 0, "id": "c", "function": {"name": "lo\x07ok", "arguments": ""}}]),
    chunk(tool_calls=[{"index": 0, "function": {"arguments": "{}"}}]),
    chunk(content="done"),
    {"choices": [], "usage": {}},
    {"error": {"message": "m"}},
]


@pytest.mark.parametrize(
    ("terminals", "out", "err"),
    [
        ((), "sodone\n", ""),
        (("out",), "sodone\n", ""),
        (("err",), "sodone\n", "\x1b[2mlet me [2Jsee ...\x1b[22m\n\x1b[2m[calls look]\x1b[22m\n"),
        (("out", "err"), "sodone\n", "\x1b[2mlet me [2Jsee ...\x1b[22m\n\n\x1b[2m[calls look]\x1b[22m\n"),
    ],
)
def test_thoughts_and_tools_are_for_people(
    terminals: tuple[str, ...],
    out: str,
    err: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for name in terminals:
        monkeypatch.setattr(getattr(sys, f"std{name}"), "isatty", lambda: True)

    async def main() -> None:
        async with Spinner() as spinner:
            view = View(spinner)
            for one in CHUNKS:
                view.show(one)
            view.end()
            view.end()

    asyncio.run(main())
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == (out, err)
