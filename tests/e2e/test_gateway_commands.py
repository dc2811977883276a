"""The commands that speak the gateway protocol, with real gateways, each a process of its own."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from processes import ROOT, TOKEN, Launch, Running, configuration, python_agent, until

import gateway

CERTIFICATE = ROOT / "tests" / "data" / "tls" / "localhost.pem"
TLS = {"certPath": str(CERTIFICATE), "keyPath": str(CERTIFICATE)}


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = Launch(tmp_path_factory.mktemp("commands"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def running(launcher: Launch) -> Running:
    return launcher(configuration(*(python_agent(name) for name in ("words", "fail", "silent"))))


def ask(launcher: Launch, running: Running, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    url = running.origin.replace("http", "ws", 1)
    return launcher.command(command, "--url", url, "--token", TOKEN, *arguments)


def params(**values: object) -> tuple[str, str]:
    return "--params", json.dumps(values)


def test_health(launcher: Launch, running: Running) -> None:
    done = ask(launcher, running, "health")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("ok: answered in ")
    assert json.loads(ask(launcher, running, "health", "--json").stdout)["ok"] is True
    assert json.loads(ask(launcher, running, "call", "health", "--json").stdout)["ok"] is True
    assert "\nok: true\n" in "\n" + ask(launcher, running, "call", "health").stdout


def test_an_agent_in_two_stages(launcher: Launch, running: Running) -> None:
    said = params(message="two words", agentId="words", idempotencyKey="k1")
    done = ask(launcher, running, "call", "agent", "--expect-final", "--json", *said)
    answer = json.loads(done.stdout)
    assert (answer["runId"], answer["status"], answer["summary"]) == ("k1", "ok", "completed")
    assert [payload["text"] for payload in answer["result"]["payloads"]] == ["two words "]
    said = params(message="x", agentId="words", idempotencyKey="k2")
    done = ask(launcher, running, "call", "agent", *said)
    assert "runId: k2\n" in done.stdout
    assert "status: accepted\n" in done.stdout
    done = ask(launcher, running, "call", "agent.wait", *params(runId="k2"))
    assert "status: ok\n" in done.stdout
    said = params(message="503", agentId="fail", idempotencyKey="k3")
    done = ask(launcher, running, "call", "agent", "--expect-final", *said)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("gateway: ")


def test_refusals(launcher: Launch, running: Running) -> None:
    done = ask(launcher, running, "call", "no.such.method")
    assert (done.returncode, done.stderr) == (1, "gateway: unknown method: no.such.method\n")
    done = ask(launcher, running, "call", "agent", *params(bogus=1))
    assert done.returncode == 1
    assert done.stderr.startswith("gateway: invalid agent params: ")
    for command in (["call", "health"], ["health"], ["status"], ["logs"], ["chat"]):
        done = launcher.command(*command, "--url", running.origin, "--token", "wrong")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("gateway: unauthorized: gateway token mismatch")


def test_a_gateway_without_websockets(launcher: Launch) -> None:
    off = launcher(configuration(ws={"enabled": False}))
    done = ask(launcher, off, "health")
    assert done.returncode == 1
    assert "the WebSocket is refused (HTTP " in done.stderr


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("unix", [False, True], ids=["port", "unix"])
def test_it_is_found_by_its_configuration(launcher: Launch, tmp_path: Path, unix: bool, tls: bool) -> None:
    if unix and not hasattr(socket, "AF_UNIX"):
        pytest.skip("no unix sockets here")
    config = configuration(
        **({"bind": f"unix:{tmp_path}/s"} if unix else {"port": free_port()}), **({"tls": TLS} if tls else {})
    )
    path = launcher.file(config)
    assert launcher.command("health", "--config", str(path)).returncode == 69
    running = launcher(path)
    try:
        done = launcher.command("health", "--config", str(path))
        assert (done.returncode, done.stderr) == (0, "")
    finally:
        running.end()


def test_a_certificate_of_nobody_known(launcher: Launch) -> None:
    running = launcher(configuration(tls=TLS))
    done = launcher.command("health", "--url", f"wss://127.0.0.1:{running.port}", "--token", TOKEN)
    assert done.returncode == 69
    assert "no TLS connection" in done.stderr


def test_status(launcher: Launch, running: Running, tmp_path: Path) -> None:
    with following(launcher, tmp_path, "--url", running.origin, "--token", TOKEN):
        done = ask(launcher, running, "status")
        assert (done.returncode, done.stderr) == (0, "")
        lines = done.stdout.splitlines()
        assert lines[0] == f"gateway   ws://127.0.0.1:{running.port}"
        assert lines[1] == f"version   {gateway.__version__}, protocol 4"
        assert re.fullmatch(r"uptime    \d.*", lines[2])
        assert lines[3].startswith("agents    main (default)")
        assert "words" in lines[3]
        assert re.fullmatch(r"sessions  \d+", lines[4])
        assert lines[5] == "clients   1"
        assert re.fullmatch(rf"  \S+ {re.escape(gateway.__version__)} cli, 2\d\d\d-.*", lines[6])
        document = json.loads(ask(launcher, running, "status", "--json").stdout)
        assert document["problems"] == []
        assert [agent["id"] for agent in document["agents"]] == ["main", "words", "fail", "silent"]
        assert [client["mode"] for client in document["clients"]] == ["cli"]


@contextmanager
def following(launcher: Launch, folder: Path, *where: str) -> Iterator[tuple[subprocess.Popen[bytes], Path, Path]]:
    """`gateway logs --follow`, once it has printed something; (process, standard output, standard error)."""
    out, err = folder / "out", folder / "err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = launcher.spawn("logs", "--follow", *where, stdout=stdout, stderr=stderr)
    try:
        until("the log is printed", lambda: "listening on " in out.read_text() or process.poll() is not None, 20)
        yield process, out, err
    finally:
        process.kill()
        process.wait()


def test_a_log_is_followed_through_a_restart(launch: Launch, tmp_path: Path) -> None:
    path = launch.file(configuration(port=free_port()))
    running = launch(path)
    done = launch.command("logs", "--config", str(path))
    assert re.fullmatch(r"\S+Z INFO gateway: listening on \S+\n", done.stdout)
    done = launch.command("logs", "--config", str(path), "--json", "--lines", "1")
    assert json.loads(done.stdout)["_meta"]["logLevelName"] == "INFO"
    with following(launch, tmp_path, "--config", str(path)) as (process, out, err):
        assert running.end() == 0
        again = launch(path)
        until("the new gateway's log is printed", lambda: out.read_text().count("listening on ") == 2, 30)
        assert err.read_text().splitlines() == ["[the gateway restarts; trying again]", "[the log begins anew]"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM
        assert again.end() == 0


def test_as_far_as_a_key_goes(launcher: Launch) -> None:
    secret = "key-of-a-reader-0123456789abcdef"
    keys = [{"id": "reader", "secret": secret, "scopes": ["operator.read"]}]
    running = launcher(configuration(auth={"mode": "token", "token": TOKEN, "keys": keys}))
    where = ("--url", running.origin, "--token", secret)
    done = launcher.command("status", *where)
    assert (done.returncode, done.stderr) == (0, "")
    said = params(message="x", idempotencyKey="k")
    done = launcher.command("call", "agent", *where, *said)
    assert (done.returncode, done.stderr) == (1, "gateway: missing scope: operator.write\n")
    talked = launcher.command("chat", *where)
    assert (talked.returncode, talked.stdout) == (0, ""), "reading is allowed, and nothing was said"
