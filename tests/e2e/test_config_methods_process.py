"""The configuration file of a gateway process, changed over its WebSocket; and its log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from processes import Launch, Running
from websockets.sync.client import ClientConnection, connect

TOKEN = "the-token-of-this"
TEXT = """\
{
  // free
  gateway: { port: 0, auth: { token: "${E2E_TOKEN}" } },
  agents: { list: [{ id: "main", runtime: { type: "echo" } }] },
}
"""


class Client:
    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._socket.send(json.dumps({"type": "req", "id": method, "method": method, "params": params}))
        while True:
            found: dict[str, Any] = json.loads(self._socket.recv(20))
            if found["type"] == "res":
                return found


@contextmanager
def client(gateway: Running) -> Iterator[Client]:
    with connect(f"ws://127.0.0.1:{gateway.port}") as socket:
        socket.recv(20)
        found = Client(socket)
        who = {"id": "cli", "version": "1", "platform": "test", "mode": "cli"}
        answer = found.ask(
            "connect", minProtocol=4, maxProtocol=4, client=who, role="operator", scopes=["operator.admin"],
            auth={"token": TOKEN},
        )  # fmt: skip
        assert answer["ok"], answer
        yield found


def test_a_change_and_a_restart(launch: Launch) -> None:
    path = launch.file(TEXT)
    gateway = launch(path, env={"E2E_TOKEN": TOKEN})
    with client(gateway) as one:
        found = one.ask("config.get")["payload"]
        assert found["raw"] == TEXT, "a reference is no secret"
        patch = '{agents: {list: [{id: "main", aliases: ["echo"]}]}}'
        answer = one.ask("config.patch", raw=patch, baseHash=found["hash"], note="an alias")["payload"]
        assert answer["restart"]["paths"] == ["agents.list"]
        log = one.ask("logs.tail")["payload"]["lines"]
    assert path.read_text(encoding="utf-8") == TEXT.replace(
        '{ type: "echo" } }', '{ type: "echo" }, aliases: ["echo"] }'
    )
    told = [json.loads(line)["0"] for line in log]
    assert told[0] == f"listening on http://127.0.0.1:{gateway.port}"
    assert any("config.patch of connection" in line and "agents.list" in line for line in told)
    assert "config.patch of connection" in gateway.text()
    gateway.end()
    with client(launch(path, env={"E2E_TOKEN": TOKEN})) as one:
        found = one.ask("config.get")["payload"]
        assert found["appliedConfigHash"] == found["hash"]
        assert found["config"]["agents"]["list"][0]["aliases"] == ["echo"]


def test_what_would_not_start_is_not_written(launch: Launch) -> None:
    path = launch.file(TEXT)
    with client(launch(path, env={"E2E_TOKEN": TOKEN})) as one:
        found = one.ask("config.get")["payload"]
        for patch, message in (
            ('{agents: {list: [{id: "x", runtime: {type: "python", target: "nowhere:f"}}]}}', "cannot be imported"),
            ('{gateway: {tls: {certPath: "no.pem", keyPath: "no.pem"}}}', "no.pem"),
            ('{gateway: {auth: {token: "${NOT_SET}"}}}', "no value for NOT_SET"),
        ):
            answer = one.ask("config.patch", raw=patch, baseHash=found["hash"])
            assert not answer["ok"]
            assert message in answer["error"]["message"]
    assert path.read_text(encoding="utf-8") == TEXT


def test_flags_are_not_written_into_the_file(launch: Launch) -> None:
    path = launch.file(TEXT)
    with client(launch(path, "--token", TOKEN, env={"E2E_TOKEN": "another"})) as one:
        found = one.ask("config.get")["payload"]
        assert found["appliedConfigHash"] == found["hash"], "flags win over the file, and are no change"
        answer = one.ask("config.patch", raw="{session: {maxTurns: 3}}", baseHash=found["hash"])["payload"]
        assert answer["restart"]["paths"] == ["session.maxTurns"]
    assert path.read_text(encoding="utf-8") == TEXT.removesuffix("}\n") + "  session: {\n    maxTurns: 3,\n  },\n}\n"


def test_the_demo_keeps_its_log(launch: Launch) -> None:
    gateway = launch.start("demo", "--port", "0")
    token = gateway.text().partition("Token, for this run only: ")[2].split()[0]
    with connect(f"ws://127.0.0.1:{gateway.port}") as socket:
        socket.recv(20)
        one = Client(socket)
        who = {"id": "cli", "version": "1", "platform": "test", "mode": "cli"}
        one.ask(
            "connect", minProtocol=4, maxProtocol=4, client=who, role="operator", scopes=["operator.read"],
            auth={"token": token},
        )  # fmt: skip
        found = one.ask("logs.tail", limit=1)["payload"]
        assert "listening on" in found["lines"][0]
        assert one.ask("config.get")["payload"]["path"] == ""
