"""A command as an agent of a gateway process: asked over HTTP, left by its client, ended with its gateway."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import sys
from typing import Any

import pytest
from processes import TOKEN, Launch, Running, alive, configuration, until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="these programs are POSIX shell")


def start(launch: Launch, **runtime: Any) -> Running:
    agent = {"id": "program", "default": True, "runtime": {"type": "command", **runtime}}
    settings = configuration(agent, shutdown={"drainMs": 300})
    return launch(settings, env={"SECRET_KEY": "hidden", "GREETING": "hello"})


def ask(running: Running, text: str, **more: Any) -> tuple[int, Any]:
    client = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    body = json.dumps({"messages": [{"role": "user", "content": text}], **more})
    client.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {TOKEN}"})
    answer = client.getresponse()
    data = answer.read()
    client.close()
    return answer.status, data.decode() if more.get("stream") else json.loads(data)


def test_a_conversation(launch: Launch) -> None:
    running = start(launch, argv=["/bin/sh", "-c", "cat; echo; env"], input="conversation", inheritEnv=["GREETING"])
    status, first = ask(running, "one", user="ann")
    assert status == 200
    content: str = first["choices"][0]["message"]["content"]
    assert content.startswith("one\n")
    assert "GREETING=hello" in content
    assert "hidden" not in content
    assert TOKEN not in content
    _, second = ask(running, "two", user="ann")
    assert second["choices"][0]["message"]["content"].startswith("User: one\n\nAssistant: one\n")


def test_a_failure(launch: Launch) -> None:
    running = start(launch, argv=["/bin/sh", "-c", "echo half; echo no luck >&2; exit 7"])
    status, failed = ask(running, "hi")
    assert (status, failed["error"]["code"]) == (502, "command_failed")
    assert failed["error"]["message"] == "the command ended with exit code 7: no luck"
    status, text = ask(running, "hi", stream=True)
    assert status == 200
    events = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert "half" in events[1]
    assert json.loads(events[-2])["error"]["code"] == "command_failed"
    assert events[-1] == "[DONE]"


FOREVER = "echo $$ > leader; sh -c 'echo $$ > child; sleep 60' & while :; do echo on; sleep 0.1; done"


def pids(launch: Launch) -> list[int]:
    files = [launch.folder / name for name in ("leader", "child")]
    until("it runs", lambda: all(file.exists() and file.read_text(encoding="ascii").strip() for file in files))
    return [int(file.read_text(encoding="ascii")) for file in files]


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_it_with_its_children(launch: Launch, stream: bool) -> None:
    running = start(launch, argv=["/bin/sh", "-c", FOREVER], cwd=str(launch.folder))
    body = json.dumps({"messages": [{"role": "user", "content": "hi"}], "stream": stream}).encode()
    with socket.create_connection(("127.0.0.1", running.port)) as client:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        found = pids(launch)
        assert all(map(alive, found))
    until("they are gone", lambda: not any(map(alive, found)), 20)


def test_it_ends_with_its_gateway(launch: Launch) -> None:
    running = start(launch, argv=["/bin/sh", "-c", FOREVER], cwd=str(launch.folder))
    client = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    body = json.dumps({"messages": [{"role": "user", "content": "hi"}]})
    client.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {TOKEN}"})
    found = pids(launch)
    running.process.send_signal(signal.SIGTERM)
    answer = client.getresponse()
    assert (answer.status, json.loads(answer.read())["error"]["code"]) == (503, "shutting_down")
    assert running.process.wait(20) == 0
    until("they are gone", lambda: not any(map(alive, found)))
