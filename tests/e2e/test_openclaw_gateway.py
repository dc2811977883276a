"""Our commands with OpenClaw's own gateway, whose model is an agent of ours."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from openclaw_product import PATIENCE, Product
from processes import TOKEN, Launch, Running, configuration, environment, python_agent

pytestmark = [pytest.mark.openclaw, pytest.mark.timeout(240)]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    made = Launch(tmp_path_factory.mktemp("upstream"))
    yield made
    made.close()


def settings(upstream: Running, port: int, workspace: str) -> dict[str, object]:
    model = {
        "id": "gateway/tide", "name": "Tide", "reasoning": False, "input": ["text"], "contextWindow": 128_000,
        "maxTokens": 4096, "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0},
    }  # fmt: skip
    provider = {"baseUrl": upstream.base_url, "apiKey": TOKEN, "api": "openai-completions", "models": [model]}
    return {
        "gateway": {
            "mode": "local", "port": port, "bind": "loopback", "auth": {"mode": "token", "token": TOKEN},
        },
        "agents": {"defaults": {"workspace": workspace, "model": {"primary": "up/gateway/tide"}}},
        "models": {"mode": "merge", "providers": {"up": provider}},
    }  # fmt: skip


@pytest.fixture(scope="module")
def port(clients: Product, launcher: Launch) -> Iterator[int]:
    """OpenClaw's gateway listens there."""
    chosen = free_port()
    upstream = launcher(configuration(python_agent("tide")))
    env = clients.environment(settings(upstream, chosen, str(clients.home / "workspace")))
    log = clients.home / "gateway.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            clients.command("gateway", "run", "--port", str(chosen)),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        end = time.monotonic() + PATIENCE
        while launcher.command("health", *place(chosen)).returncode != 0:
            assert process.poll() is None, log.read_text("utf-8")
            assert time.monotonic() < end, log.read_text("utf-8")
            time.sleep(0.5)
        yield chosen
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def place(port: int) -> tuple[str, ...]:
    return "--url", f"ws://127.0.0.1:{port}", "--token", TOKEN


def test_what_it_is(launcher: Launch, port: int) -> None:
    assert launcher.command("health", *place(port)).stdout.startswith("ok: answered in ")
    status = launcher.command("status", *place(port))
    assert (status.returncode, status.stderr) == (0, "")
    assert "\nversion   2026." in status.stdout
    assert "\nagents    main (default) (up/gateway/tide)\n" in status.stdout
    assert json.loads(launcher.command("call", "health", "--json", *place(port)).stdout)["ok"] is True
    assert launcher.command("call", "no.such", *place(port)).stderr == "gateway: unknown method: no.such\n"
    wrong = launcher.command("health", "--url", f"ws://127.0.0.1:{port}", "--token", "wrong")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("gateway: unauthorized: gateway token mismatch")


def test_its_log(launcher: Launch, port: int) -> None:
    done = launcher.command("logs", *place(port), "--lines", "20")
    assert done.returncode == 0
    assert 0 < len(done.stdout.splitlines()) <= 20
    assert any(" INFO " in line for line in done.stdout.splitlines())


def test_an_agent(launcher: Launch, port: int) -> None:
    params = {"message": "hi", "sessionKey": "agent:main:called", "idempotencyKey": "called-1"}
    said = ("--json", "--params", json.dumps(params), "--timeout", "100")
    done = launcher.command("call", "agent", "--expect-final", *said, *place(port), patience=110)
    answer = json.loads(done.stdout)
    assert answer["status"] == "ok", done.stderr
    assert answer["result"]["payloads"][0]["text"].startswith("rising rising")


def test_a_chat(launcher: Launch, port: int) -> None:
    """An answer whole, one that is aborted, and the history of both."""

    def chat(*more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-u", "-m", "gateway", "chat", *place(port), "--session-key", "agent:main:chatted", *more],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env=environment(launcher.folder, {}),
        )

    with chat() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("first\n")
        process.stdin.flush()
        assert process.stdout.readline().split() == ["rising"] * 60
        process.stdin.write("second\n")
        process.stdin.flush()
        assert process.stdout.read(6) == "rising"
        process.stdin.write("/abort\n")
        out, err = process.communicate(timeout=100)
        assert process.returncode == 0
        assert 0 < len(out) < len("rising " * 60)
        assert err.endswith("[aborted]\n")
    with chat() as process:
        out, _ = process.communicate("", timeout=100)
        assert out.startswith("> first\nrising rising")
        assert "\n> second\n" in out
