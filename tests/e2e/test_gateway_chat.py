"""gateway chat with real gateways: through a pipe, on a pseudo-terminal, and through restarts."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from processes import TOKEN, Launch, Running, configuration, environment, python_agent, until
from screen import on_terminal

HELP = "/help tells the commands]"


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    made = Launch(tmp_path_factory.mktemp("chat"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def running(launcher: Launch) -> Running:
    return launcher(configuration(*(python_agent(name) for name in ("words", "forever", "fail", "pause"))))


def flags(running: Running, *more: str) -> list[str]:
    return ["chat", "--url", f"ws://127.0.0.1:{running.port}", "--token", TOKEN, *more]


def chat(launcher: Launch, running: Running, text: str, *more: str) -> tuple[int, str, str]:
    """(exit code, standard output, standard error)."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *flags(running, *more)],
        input=text,
        capture_output=True,
        encoding="utf-8",
        timeout=50,
        check=False,
        cwd=launcher.folder,
        env=environment(launcher.folder, {}),
    )
    return done.returncode, done.stdout, done.stderr


def post(running: Running, text: str, session: str) -> str:
    """Ask over HTTP; the answer."""
    body = {"model": "openclaw", "messages": [{"role": "user", "content": text}]}
    headers = {"Authorization": f"Bearer {TOKEN}", "x-openclaw-session-key": session}
    request = urllib.request.Request(f"{running.base_url}/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        content: str = json.load(answer)["choices"][0]["message"]["content"]
    return content


def test_a_conversation(launcher: Launch, running: Running) -> None:
    key = "agent:main:conversation"
    code, out, err = chat(launcher, running, "hello there\nand?", "--session-key", key)
    assert (code, out, err) == (0, "Echo: hello there\nEcho: and?\n", f"[session {key}; {HELP}\n")
    assert post(running, "over HTTP", key) == "Echo: over HTTP"
    code, out, _ = chat(launcher, running, "", "--session-key", key, "--history", "5")
    assert (code, out) == (0, "Echo: hello there\n> and?\nEcho: and?\n> over HTTP\nEcho: over HTTP\n")
    code, out, err = chat(launcher, running, "/new\nanew\n", "--session-key", key, "--history", "0")
    assert (code, out) == (0, "Echo: anew\n")
    new = err.partition("[new session ")[2].partition("]")[0]
    assert new.startswith("agent:main:chat-")
    assert chat(launcher, running, "", "--session-key", new)[1] == "> anew\nEcho: anew\n"


def test_agents_and_bare_keys(launcher: Launch, running: Running) -> None:
    assert chat(launcher, running, "a b\n", "--agent", "words")[1:] == (
        "a b \n",
        f"[session agent:words:main; {HELP}\n",
    )
    code, _, err = chat(launcher, running, "x\n", "--agent", "words", "--session-key", "trip")
    assert (code, err) == (0, f"[session agent:words:trip; {HELP}\n")
    code, out, err = chat(launcher, running, "x\n", "--agent", "nobody")
    assert (code, out) == (1, "")
    assert 'unknown agent id "nobody"' in err


def test_a_run_that_fails(launcher: Launch, running: Running) -> None:
    code, out, err = chat(launcher, running, "503\n", "--agent", "fail")
    assert (code, out) == (1, "")
    assert "out of order" in err


def test_a_terminal(launcher: Launch, running: Running, tmp_path: Path) -> None:
    with on_terminal(tmp_path, *flags(running, "--agent", "forever")) as screen:
        screen.until(lambda seen: seen.endswith(b"\r\n> "))
        screen.type(b"go on\n")
        screen.until(lambda seen: seen.count(b"on and on") > 2)
        screen.type(b"\x03")
        screen.until(lambda seen: seen.endswith(b"[aborted]\r\n> "))
        screen.type(b"again\n")
        screen.until(lambda seen: b"again\r\non and on" in seen)
        screen.type(b"/abort\n")
        screen.until(lambda seen: seen.count(b"[aborted]\r\n> ") == 2)
        screen.type(b"/new\n")
        screen.until(lambda seen: b"[new session agent:forever:chat-" in seen and seen.endswith(b"\r\n> "))
        screen.type(b"/exit\n")
        assert screen.end() == 0
        assert b"\x1b" not in screen.seen


def test_what_others_say_is_seen_as_it_comes(launcher: Launch, running: Running, tmp_path: Path) -> None:
    key = "agent:main:shared"
    with on_terminal(tmp_path, *flags(running, "--session-key", key)) as screen:
        screen.until(lambda seen: seen.endswith(b"\r\n> "))
        assert post(running, "from a page", key) == "Echo: from a page"
        screen.until(lambda seen: seen.endswith(b"\r\n> from a page\r\nEcho: from a page\r\n> "))
        assert chat(launcher, running, "from a pipe\n", "--session-key", key)[0] == 0
        screen.until(lambda seen: seen.endswith(b"\r\n> from a pipe\r\nEcho: from a pipe\r\n> "))
        screen.type(b"mine\n")
        screen.until(lambda seen: seen.endswith(b"\r\n> mine\r\nEcho: mine\r\n> "))
        screen.type(b"\x04")
        assert screen.end() == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def talking(
    launcher: Launch, path: Path, folder: Path, *more: str
) -> Iterator[tuple[subprocess.Popen[bytes], Path, Path]]:
    """`gateway chat` through a pipe; (process, standard output, standard error)."""
    out, err = folder / "out", folder / "err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "chat", "--config", str(path), *more],
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            cwd=launcher.folder,
            env=environment(launcher.folder, {}),
        )
    try:
        yield process, out, err
    finally:
        process.kill()
        process.communicate()


def say(process: subprocess.Popen[bytes], text: str) -> None:
    assert process.stdin is not None
    process.stdin.write(text.encode())
    process.stdin.flush()


def test_a_restart(launch: Launch, tmp_path: Path) -> None:
    """The gateway lets the answer end before it goes, and is talked with again when it is back."""
    path = launch.file(configuration(python_agent("pause"), port=free_port()))
    running = launch(path)
    with talking(launch, path, tmp_path, "--agent", "pause") as (process, out, err):
        say(process, "first\n")
        until("the answer begins", out.read_text, 20)
        assert running.end() == 0
        again = launch(path)
        say(process, "second\n")
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0
        first, second = out.read_text().splitlines()
        assert first == second
        notes = err.read_text().splitlines()
        assert notes[1] == "[gateway stopping]"
        assert notes[-1] == "[the gateway restarts; trying again]"
        assert again.end() == 0


def test_a_gateway_that_is_killed(launch: Launch, tmp_path: Path) -> None:
    path = launch.file(configuration(python_agent("forever"), port=free_port()))
    running = launch(path)
    with talking(launch, path, tmp_path, "--agent", "forever") as (process, out, err):
        say(process, "first\n")
        until("the answer begins", out.read_text, 20)
        running.process.kill()
        running.process.wait()
        again = launch(path)
        until(
            "it tells",
            lambda: "[the gateway restarted before the answer was there; say it again]" in err.read_text(),
            30,
        )
        say(process, "second\n")
        until("the answer begins", lambda: out.read_text().count("\non and on"), 20)
        say(process, "/abort\n/exit\n")
        assert process.wait(30) == 1, "not everything that was said was answered"
        assert err.read_text().endswith("[aborted]\n")
        assert again.end() == 0
