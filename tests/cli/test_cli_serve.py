"""gateway run and gateway demo as processes: how they start, what they say, how they end."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from processes import Launch, Running, configuration, python_agent, until

from gateway.cli import main
from gateway.cli.console import FAILED

HERE = Path(__file__).parent
TOKEN = "hidden-token"


def config(*agents: str, **gateway: Any) -> dict[str, Any]:
    """A configuration with the endpoint on, a free port, and these agents of `cli_agents`."""
    return {
        "gateway": {
            "port": 0,
            "auth": {"token": TOKEN},
            "http": {"endpoints": {"chatCompletions": {"enabled": True}}},
            **gateway,
        },
        "agents": {
            "list": [
                {"id": "main", "runtime": {"type": "echo"}},
                *({"id": one, "runtime": {"type": "python", "target": f"cli_agents:{one}"}} for one in agents),
            ]
        },
    }


@pytest.fixture
def agents_here(launch: Launch) -> Path:
    """The working folder of the processes, with the agents in it."""
    return Path(shutil.copy(HERE / "cli_agents.py", launch.folder)).parent


def ask(origin: str, token: str, model: str = "openclaw", *, stream: bool = False) -> Any:
    """The response of a completion."""
    body = json.dumps({"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi there"}]})
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    return urllib.request.urlopen(
        urllib.request.Request(f"{origin}/v1/chat/completions", body.encode(), headers), timeout=20
    )


@contextmanager
def taken(port: int = 0) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", port)) as holder:
        yield holder.getsockname()[1]


# Starting.


def test_run_says_where_it_listens(launch: Launch) -> None:
    with launch.spawn(
        "run", "--config", str(launch.file(config())), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        line = process.stderr.readline().decode()
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=10)
    assert re.fullmatch(r"listening on http://127\.0\.0\.1:\d+\n", line)
    assert out == b"", "standard output is for answers"
    assert process.returncode == 0


def test_the_token_flag_wins_over_a_password(launch: Launch) -> None:
    running = launch(config(auth={"mode": "password", "password": "of-the-file"}), "--token", "of-the-flag")
    with ask(running.origin, "of-the-flag") as answer:
        assert answer.status == 200
    assert "of-the-f" not in running.text()


@pytest.mark.parametrize("given", [("--loop", "uvloop"), ()])
def test_uvloop(launch: Launch, given: tuple[str, ...]) -> None:
    """By the flag, or by the option; the process has loaded it, and answers."""
    running = launch(config(**({} if given else {"loop": "uvloop"}), auth={"token": "t"}), *given)
    with ask(running.origin, "t") as answer:
        assert answer.status == 200
    if sys.platform == "linux":
        assert "uvloop" in Path(f"/proc/{running.process.pid}/maps").read_text(encoding="utf-8")


def test_uvloop_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    file = tmp_path / "gateway.json5"
    file.write_text(json.dumps(config(loop="uvloop")), encoding="utf-8")
    assert main(["run", "--config", str(file), "--token", "t"]) == 1
    told = capsys.readouterr().err
    assert "gateway.loop: uvloop cannot be loaded" in told
    assert "pip install 'gateway[uvloop]'" in told


def test_no_other_loop(launch: Launch) -> None:
    done = launch.command("check", "--config", str(launch.file(config(loop="trio"))))
    assert done.returncode == 78
    assert 'gateway.loop: expected "asyncio" or "uvloop"' in done.stderr


def test_the_bind_flag(launch: Launch, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("s") / "gw"
    running = launch(config(), "--bind", f"unix:{path}")
    assert running.path == str(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")


def test_an_endpoint_that_is_off_is_told(launch: Launch) -> None:
    path = launch.file(config(http={}))
    running = launch(path)
    until("it is told", lambda: "chat endpoint is off" in running.text())
    assert f"chatCompletions.enabled: true in {path}" in running.text()


def test_no_authentication_is_told(launch: Launch) -> None:
    running = launch(config(auth={"mode": "none"}))
    until("it is told", lambda: "without authentication" in running.text())


def test_agents_are_found_in_the_working_folder(launch: Launch, agents_here: Path) -> None:
    assert (agents_here / "cli_agents.py").exists()
    # As an installed `gateway` is started: Python itself does not look into the working folder then.
    running = launch(config("say"), env={"PYTHONSAFEPATH": "1", "PYTHONPATH": str(HERE.parents[1])})
    with ask(running.origin, TOKEN, "openclaw/say") as answer:
        assert json.loads(answer.read())["choices"][0]["message"]["content"] == "hi there"


def test_verbose_logs_requests(launch: Launch) -> None:
    quiet, verbose = launch(config()), launch(config(), "--verbose")
    for running in (quiet, verbose):
        with ask(running.origin, TOKEN) as answer:
            answer.read()
    until("the request is logged", lambda: '"POST /v1/chat/completions" 200' in verbose.text())
    assert re.search(
        r"^\d{4}-\d\d-\d\d \S+ INFO gateway\.server\.accesslog: 127\.0\.0\.1 ", verbose.text(), re.MULTILINE
    )
    assert "POST" not in quiet.text()


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="read from /proc")
def test_the_limit_of_open_files_is_raised(launch: Launch) -> None:
    running = launch(config())
    limits = Path(f"/proc/{running.process.pid}/limits").read_text(encoding="ascii")
    soft, hard = re.findall(r"Max open files\s+(\w+)\s+(\w+)", limits)[0]
    assert soft == hard


def test_run_on_a_taken_port(launch: Launch) -> None:
    with taken() as port:
        done = launch.command("run", "--config", str(launch.file(config())), "--port", str(port))
    assert done.returncode == FAILED, "not 78: the next try may succeed, and supervisors must know"
    assert done.stderr.startswith(f"gateway: cannot listen at 127.0.0.1:{port}")
    assert "Traceback" not in done.stderr


# The demo.


def demo_token(running: Running) -> str:
    found = re.search(r"Bearer ([0-9a-f]+)'", running.text())
    assert found, running.text()
    return found[1]


def test_demo_serves_what_it_prints(launch: Launch) -> None:
    running = launch.start("demo", "--port", "0")
    lines = [line for line in running.text().splitlines() if line.startswith("curl ")]
    assert len(lines) == 2
    answers = []
    for line in lines:
        if shutil.which("curl") is None:
            pytest.skip("curl is not installed")
        done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, timeout=20, check=True)
        answers.append(done.stdout)
    assert "hi there" in json.loads(answers[0])["choices"][0]["message"]["content"]
    assert answers[1].endswith("data: [DONE]\n\n")
    other = launch.start("demo", "--port", "0")
    assert demo_token(other) != demo_token(running)
    assert len(demo_token(other)) == 48


def test_demo_takes_a_free_port_where_the_usual_one_is_taken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with taken() as port:
        monkeypatch.setattr("gateway.cli.demo._USUAL_PORT", port)
        assert demo_in_this_process() == 0
    captured = capsys.readouterr()
    assert f"port {port} is taken" in captured.err
    assert "--port" in captured.err
    found = re.search(r"listens on http://127\.0\.0\.1:(\d+)", captured.out)
    assert found
    assert int(found[1]) != port


def test_demo_insists_on_a_port_that_was_asked_for(launch: Launch) -> None:
    with taken() as port:
        done = launch.command("demo", "--port", str(port))
    assert done.returncode == FAILED
    assert str(port) in done.stderr
    assert "--port" in done.stderr
    assert done.stdout == ""


# Ending.


def test_the_wait_is_told(launch: Launch) -> None:
    running = launch(configuration(python_agent("silent"), auth={"token": TOKEN}, shutdown={"drainMs": 300}))

    def stop() -> None:
        until("the run starts", lambda: running.marked("hi there", "started"))
        running.process.send_signal(signal.SIGTERM)

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(HTTPError) as refused:
        ask(running.origin, TOKEN, "openclaw/silent")
    refused.value.close()
    stopper.join()
    assert refused.value.status == 503
    assert running.process.wait(10) == 0
    assert "runs under way: 1; they have up to 0.3 s" in running.text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_a_process_whose_loop_is_stuck(
    launch: Launch, agents_here: Path, number: signal.Signals
) -> None:
    assert agents_here.exists()
    running = launch(config("deaf"))
    with ask(running.origin, TOKEN, "openclaw/deaf", stream=True) as answer:
        assert answer.readline().startswith(b"data: ")
        time.sleep(0.2)  # into the agent's loop
        running.process.send_signal(number)
        time.sleep(0.3)
        assert running.process.poll() is None, "the first one waits for the run"
        started = time.monotonic()
        running.process.send_signal(number)
        assert running.process.wait(5) == 128 + number
        assert time.monotonic() - started < 2


def demo_in_this_process(*arguments: str) -> int:
    """Run the demo and end it by a signal once it listens; its exit code."""
    printed = threading.Event()
    stream, write = sys.stdout, sys.stdout.write

    def watch(text: str) -> int:
        if "Ctrl-C" in text:
            printed.set()
        return write(text)

    def stop() -> None:
        if printed.wait(20):
            os.kill(os.getpid(), signal.SIGTERM)

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "write", watch)
        code = main(["demo", *arguments])
    stopper.join()
    return code


def test_main_leaves_the_process_as_it_was() -> None:
    """A program may call `main` itself: afterwards signals mean what they meant before."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert demo_in_this_process("--port", "0") == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
