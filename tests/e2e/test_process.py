"""The gateway as a process: how it starts, where it listens, how it stops, and its commands."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import ssl
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from processes import TOKEN, Launch, Running, configuration, python_agent, refused, until

import gateway

CERTIFICATE = Path(__file__).parents[1] / "data" / "tls" / "localhost.pem"
"""With its key; for localhost and 127.0.0.1."""


def body(model: str, text: str, **more: object) -> bytes:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": text}], **more}).encode()


def post(running: Running, model: str, text: str, **more: object) -> http.client.HTTPConnection:
    client = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    client.request("POST", "/v1/chat/completions", body(model, text, **more), {"Authorization": f"Bearer {TOKEN}"})
    return client


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


# Stopping.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_gateway_stops_at_once(launch: Launch, number: signal.Signals) -> None:
    running = launch(configuration())
    idle = post(running, "openclaw", "hi")
    assert idle.getresponse().read()
    started = time.monotonic()
    running.process.send_signal(number)
    assert running.process.wait(10) == 0
    assert time.monotonic() - started < 3, "nothing is under way, so there is nothing to wait for"
    idle.close()


def test_draining_lets_a_run_end(launch: Launch) -> None:
    running = launch(configuration(python_agent("pause")))
    name = uuid.uuid4().hex
    probe = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    probe.request("GET", "/readyz")
    assert probe.getresponse().read() is not None
    streaming = post(running, "openclaw/pause", name, stream=True)
    plain = post(running, "openclaw/pause", f"{name}-plain")
    response = streaming.getresponse()
    until("the runs start", lambda: running.marked(name, "started") and running.marked(f"{name}-plain", "started"))
    running.process.send_signal(signal.SIGTERM)
    until("new connections are refused", lambda: refused(running))
    try:
        probe.request("GET", "/readyz")
        assert probe.getresponse().status == 503
    except (ConnectionError, http.client.RemoteDisconnected):
        pass  # an idle connection may be closed by the drain as well
    assert b'"after"' in response.read()
    answer = plain.getresponse()
    assert answer.status == 200
    assert json.loads(answer.read())["choices"][0]["message"]["content"] == "before after"
    assert running.process.wait(10) == 0
    assert running.marked(name, "finished")
    for client in (probe, streaming, plain):
        client.close()


def test_readyz_turns_while_a_run_holds_the_drain(launch: Launch) -> None:
    """Asked on a connection that was busy when the signal came, the only kind that is still there."""
    running = launch(configuration(python_agent("pause")))
    name = uuid.uuid4().hex
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as connection:
        sent = body("openclaw/pause", name)
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b"
            b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n" % (TOKEN.encode(), len(sent), sent)
        )
        until("the run starts", lambda: running.marked(name, "started"))
        running.process.send_signal(signal.SIGTERM)
        got = b""
        while piece := connection.recv(65536):
            got += piece
    statuses = re.findall(rb"HTTP/1\.1 (\d+)", got)
    assert statuses in ([b"200"], [b"200", b"503"]), got
    if statuses == [b"200"]:
        assert b"connection: close" in got.lower(), "the request that follows is not answered: the answer must say so"
    assert running.process.wait(10) == 0


def test_the_deadline_cancels_what_is_left(launch: Launch) -> None:
    running = launch(configuration(python_agent("forever"), python_agent("silent"), shutdown={"drainMs": 1000}))
    streaming = post(running, "openclaw/forever", "endless", stream=True)
    plain = post(running, "openclaw/silent", "mute")
    response = streaming.getresponse()
    until("the runs start", lambda: running.marked("endless", "started") and running.marked("mute", "started"))
    running.process.send_signal(signal.SIGTERM)
    text = response.read().decode()
    events = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    assert "error" in json.loads(events[-2])
    assert '"finish_reason":"stop"' not in text.replace(" ", "")
    answer = plain.getresponse()
    assert answer.status == 503
    assert set(json.loads(answer.read())["error"]) == {"message", "type", "param", "code"}
    assert running.process.wait(10) == 0
    assert running.marked("endless", "cancelled")
    assert running.marked("mute", "cancelled")
    streaming.close()
    plain.close()


def test_a_second_signal_ends_at_once(launch: Launch) -> None:
    running = launch(configuration(python_agent("silent")))
    client = post(running, "openclaw/silent", "mute")
    until("the run starts", lambda: running.marked("mute", "started"))
    running.process.send_signal(signal.SIGTERM)
    until("it drains", lambda: refused(running))
    assert running.process.poll() is None
    started = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    running.process.wait(10)
    assert time.monotonic() - started < 2
    assert running.process.returncode == 128 + signal.SIGTERM
    client.close()


# Listening.


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no unix sockets here")
def test_unix_socket(launch: Launch, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("s") / "gw"
    config = configuration(bind=f"unix:{path}", auth={"mode": "none"})
    for _ in range(2):  # the second start finds the file that the first one left behind
        running = launch(config)
        assert running.path == str(path)
        client = UnixConnection(str(path))
        client.request("POST", "/v1/chat/completions", body("openclaw", "hi"))
        answer = client.getresponse()
        assert answer.status == 200
        assert json.loads(answer.read())["choices"][0]["message"]["content"] == "Echo: hi"
        client.close()
        running.process.kill()
        running.process.wait()
    running = launch(config)
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(10) == 0
    assert not path.exists(), "a gateway that stops well removes its socket"


def test_a_unix_socket_in_use_is_left_alone(launch: Launch, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("s") / "gw"
    config = configuration(bind=f"unix:{path}", auth={"mode": "none"})
    launch(config)
    second = launch.command("run", "--config", str(launch.file(config)))
    assert second.returncode not in (0, None)
    assert str(path) in second.stderr
    client = UnixConnection(str(path))
    client.request("GET", "/healthz")
    assert client.getresponse().status == 200
    client.close()


def test_tls(launch: Launch) -> None:
    running = launch(
        configuration(
            python_agent("words"),
            tls={"certPath": str(CERTIFICATE), "keyPath": str(CERTIFICATE)},
        )
    )
    assert running.scheme == "https"
    context = ssl.create_default_context(cafile=str(CERTIFICATE))
    client = http.client.HTTPSConnection("localhost", running.port, timeout=20, context=context)
    for stream in (False, True):
        headers = {"Authorization": f"Bearer {TOKEN}"}
        client.request("POST", "/v1/chat/completions", body("openclaw/words", "a b", stream=stream), headers)
        answer = client.getresponse()
        assert answer.status == 200
        assert b"a " in answer.read()
    client.close()
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" not in plain.recv(1000), "plain HTTP on the TLS port is not served"


def test_a_port_in_use(launch: Launch) -> None:
    running = launch(configuration())
    second = launch.command("run", "--config", str(launch.file(configuration())), "--port", str(running.port))
    assert second.returncode not in (0, 78)
    assert str(running.port) in second.stderr
    assert "Traceback" not in second.stderr


# Starting.


def test_demo(launch: Launch) -> None:
    running = launch.start("demo")
    until("the curl line is printed", lambda: "curl " in running.text())
    command = running.text()[running.text().index("curl ") :]
    token = re.search(r"Bearer ([\w.-]+)", command)
    assert token, command
    assert len(token[1]) >= 32
    assert running.origin in command
    with OpenAI(base_url=running.base_url, api_key=token[1]) as client:
        made = client.chat.completions.create(model="openclaw", messages=[{"role": "user", "content": "hi"}])
        assert made.choices[0].message.content == "Echo: hi"


def without_secret() -> dict[str, Any]:
    config = configuration()
    del config["gateway"]["auth"]
    return config


@pytest.mark.parametrize("name", ["OPENCLAW_GATEWAY_TOKEN", "CLAWDBOT_GATEWAY_TOKEN", "GATEWAY_PASSWORD"])
def test_secrets_of_the_environment(launch: Launch, name: str) -> None:
    running = launch(without_secret(), env={name: TOKEN})
    client = post(running, "openclaw", "hi")
    assert client.getresponse().status == 200
    client.close()
    assert TOKEN not in running.text(), "a secret stands in the log"


def test_no_secret_no_start(launch: Launch) -> None:
    for config in (without_secret(), configuration(auth={"mode": "none"}, bind="lan")):
        done = launch.command("run", "--config", str(launch.file(config)))
        assert done.returncode == 78
        assert "gateway.auth" in done.stderr
        assert "Traceback" not in done.stderr


def test_the_flag_is_a_secret_too(launch: Launch) -> None:
    running = launch(without_secret(), "--token", TOKEN)
    client = post(running, "openclaw", "hi")
    assert client.getresponse().status == 200
    client.close()


@pytest.mark.parametrize("command", ["run", "check"])
def test_all_faults_of_a_configuration_at_once(launch: Launch, command: str) -> None:
    path = launch.file('{\n  gateway: {\n    prot: 1,\n    auth: { mode: "tokn" },\n  },\n  channels: {},\n}\n')
    done = launch.command(command, "--config", str(path))
    assert done.returncode == 78
    assert f"{path}:3:5" in done.stderr, done.stderr
    assert re.search(r"[Dd]id you mean .?(gateway\.)?port", done.stderr), done.stderr
    assert f"{path}:4:" in done.stderr
    assert "gateway.auth.mode" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_configuration_that_is_not_there(launch: Launch) -> None:
    done = launch.command("run", "--config", "nowhere.json5")
    assert done.returncode == 78
    assert "nowhere.json5" in done.stderr


def test_check_hides_secrets(launch: Launch) -> None:
    config = configuration(python_agent("words"))
    config["models"] = {"providers": {"up": {"baseUrl": "http://127.0.0.1:1/v1", "apiKey": "sk-hidden"}}}
    done = launch.command("check", "--config", str(launch.file(config)))
    assert done.returncode == 0, done.stderr
    assert "e2e_agents:words" in done.stdout
    assert TOKEN not in done.stdout + done.stderr
    assert "sk-hidden" not in done.stdout + done.stderr


def test_version(launch: Launch) -> None:
    done = launch.command("--version")
    assert done.returncode == 0
    assert gateway.__version__ in done.stdout


def test_wrong_usage(launch: Launch) -> None:
    done = launch.command("dance")
    assert done.returncode == 2
    assert "dance" in done.stderr


# gateway agent.


def agent_configuration() -> dict[str, Any]:
    return configuration(python_agent("words"), python_agent("tell_key"), python_agent("fail_late"), port=free_port())


@pytest.mark.parametrize("local", [False, True])
def test_agent_command(launch: Launch, local: bool) -> None:
    path = launch.file(agent_configuration())
    if not local:
        launch(path)
    base = ["agent", "--config", str(path), *(["--local"] if local else [])]

    plain = launch.command(*base, "--message", "hello there")
    assert (plain.returncode, plain.stdout) == (0, "Echo: hello there\n"), plain.stderr
    streamed = launch.command(*base, "--message", "a b c", "--agent", "words", "--stream")
    assert (streamed.returncode, streamed.stdout) == (0, "a b c \n"), streamed.stderr
    keyed = launch.command(*base, "--message", "?", "--agent", "tell-key", "--session-key", "My:Key")
    assert keyed.stdout == "My:Key\n"
    parsed = json.loads(launch.command(*base, "--message", "hi", "--json").stdout)
    assert parsed["object"] == "chat.completion"
    assert parsed["choices"][0]["message"]["content"] == "Echo: hi"

    failed = launch.command(*base, "--message", "x", "--agent", "fail-late")
    assert failed.returncode == 1
    assert "out of order" in failed.stderr
    assert "Traceback" not in failed.stderr
    unknown = launch.command(*base, "--message", "x", "--agent", "nobody")
    assert unknown.returncode == 1
    assert "nobody" in unknown.stderr


def test_agent_command_without_a_gateway(launch: Launch) -> None:
    path = launch.file(agent_configuration())
    done = launch.command("agent", "--config", str(path), "--message", "x")
    assert done.returncode == 69
    assert "--local" in done.stderr, "the error names the remedy"
    assert "Traceback" not in done.stderr


def test_agent_command_ends_with_its_reader(launch: Launch) -> None:
    """SIGINT while it streams: the run of the gateway is cancelled with it."""
    config = configuration(python_agent("forever"), port=free_port())
    path = launch.file(config)
    running = launch(path)
    arguments = ["agent", "--config", str(path), "--agent", "forever", "--message", "mine", "--stream"]
    with launch.spawn(*arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as command:
        assert command.stdout is not None
        assert command.stdout.read(10) == b"on and on "
        command.send_signal(signal.SIGINT)
        command.stdout.close()
    assert command.returncode != 0
    until("the run is cancelled", lambda: running.marked("mine", "cancelled"))
