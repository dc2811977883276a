"""`config.*` and `logs.tail`, asked over real WebSockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from results import faults
from websockets.asyncio.client import ClientConnection, connect

from gateway import Gateway
from gateway.agents.function import echo
from gateway.config import ConfigSource, Loaded, load
from gateway.logring import LogRing
from gateway.model.caller import Caller, Key
from gateway.model.names import REDACTED

TOKEN = "the-token"
TEXT = """\
// mine
{
  gateway: {
    auth: { token: 'the-token', keys: [{ id: 'a', secret: 'key-of-a' }] }, // the-token is the old one
  },
  agents: {
    list: [
      { id: 'main', runtime: { type: 'echo' } }, // answers
    ],
  },
  channels: { telegram: { botToken: '123:abc' } },
}
"""

Events = list[dict[str, Any]]


class Peer:
    """A client that was let in."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._asked = 0
        self.events: Events = []

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer as a whole: `ok`, and `payload` or `error`."""
        self._asked += 1
        frame = {"type": "req", "id": str(self._asked), "method": method, "params": params}
        await self._socket.send(json.dumps(frame))
        while True:
            found: dict[str, Any] = json.loads(await self._socket.recv())
            if found["type"] == "event":
                self.events.append(found)
            elif found["id"] == str(self._asked):
                return found

    async def get(self, method: str, **params: Any) -> dict[str, Any]:
        answer = await self.ask(method, **params)
        assert answer["ok"], answer
        payload: dict[str, Any] = answer["payload"]
        return payload

    async def refused(self, method: str, **params: Any) -> tuple[str, str]:
        answer = await self.ask(method, **params)
        assert not answer["ok"], answer
        return answer["error"]["code"], answer["error"]["message"]


@asynccontextmanager
async def peer(
    gateway: Gateway, secret: str = TOKEN, scopes: tuple[str, ...] = ("operator.admin",)
) -> AsyncIterator[Peer]:
    async with connect(gateway.urls[0].replace("http", "ws")) as socket:
        await socket.recv()  # the challenge
        found = Peer(socket)
        client = {"id": "cli", "version": "1", "platform": "test", "mode": "cli"}
        await found.get(
            "connect", minProtocol=4, maxProtocol=4, client=client, role="operator", scopes=list(scopes),
            auth={"token": secret},
        )  # fmt: skip
        yield found


def reader(path: Path) -> Callable[[str], Loaded]:
    return lambda text: load(str(path), environ={}, text=text)


def with_file(path: Path, ask: Callable[[Peer, Gateway], Awaitable[None]], text: str = TEXT) -> None:
    """Ask the gateway of a configuration file."""
    path.write_text(text, encoding="utf-8")
    loaded = load(str(path), environ={})

    async def main() -> None:
        source = ConfigSource(str(path), reader(path))
        async with (
            Gateway(loaded.config, listen="127.0.0.1:0", token=TOKEN, source=lambda: source) as gateway,
            peer(gateway) as client,
        ):
            await ask(client, gateway)

    asyncio.run(main())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.json5"


def test_get_tells_no_secret(path: Path) -> None:
    async def ask(client: Peer, _: Gateway) -> None:
        found = await client.get("config.get")
        told = json.dumps(found)
        assert "the-token" not in told
        assert "key-of-a" not in told
        assert "123:abc" not in told
        assert found["path"] == str(path)
        assert found["exists"]
        assert found["valid"]
        assert found["raw"] == TEXT.replace("the-token", REDACTED).replace("key-of-a", REDACTED).replace(
            "123:abc", REDACTED
        )
        assert found["config"] == found["parsed"] == found["sourceConfig"]
        assert found["config"]["gateway"]["auth"]["keys"] == [{"id": "a", "secret": REDACTED}]
        assert found["issues"] == []
        assert found["hash"] == found["appliedConfigHash"] == found["configRevisionHash"]
        assert "channels" in found["warnings"][0]["message"]

    with_file(path, ask)


def test_a_patch_keeps_everything_else(path: Path) -> None:
    async def ask(client: Peer, _: Gateway) -> None:
        before = await client.get("config.get")
        patch = {"agents": {"list": [{"id": "main", "name": "M"}]}, "gateway": {"port": 1234}}
        answer = await client.get("config.patch", raw=json.dumps(patch), baseHash=before["hash"], note="why")
        assert path.read_text(encoding="utf-8") == TEXT.replace(
            "{ type: 'echo' } }, // answers", "{ type: 'echo' }, name: 'M' }, // answers"
        ).replace("// the-token is the old one\n", "// the-token is the old one\n    port: 1234,\n")
        assert answer["ok"]
        assert answer["path"] == str(path)
        assert answer["changedPaths"] == ["gateway.port", "agents.list"]
        assert answer["restart"]["required"]
        assert answer["restart"]["paths"] == ["gateway.port", "agents.list"]
        assert answer["config"]["gateway"]["auth"]["token"] == REDACTED
        after = await client.get("config.get")
        assert after["hash"] == answer["hash"] != before["hash"]
        assert after["appliedConfigHash"] is None
        assert [event["payload"]["hash"] for event in client.events if event["event"] == "config.changed"] == [
            answer["hash"]
        ]

    with_file(path, ask)


def test_a_whole_document_of_a_program_goes_into_the_text_that_is_there(path: Path) -> None:
    async def ask(client: Peer, _: Gateway) -> None:
        found = await client.get("config.get")
        wanted = {**found["config"], "session": {"maxTurns": 7}}
        answer = await client.get("config.set", raw=json.dumps(wanted, indent=2), baseHash=found["hash"])
        assert answer["config"] == wanted
        text = path.read_text(encoding="utf-8")
        assert text == TEXT.removesuffix("}\n") + "  session: {\n    maxTurns: 7,\n  },\n}\n"

    with_file(path, ask)


def test_a_text_of_a_person_is_the_new_text(path: Path) -> None:
    async def ask(client: Peer, _: Gateway) -> None:
        found = await client.get("config.get")
        raw = found["raw"].replace("// mine", "// still mine").replace("  channels:", "  // told: nobody\n  channels:")
        answer = await client.get("config.apply", raw=raw, baseHash=found["hash"])
        assert "restart" not in answer
        assert answer["changedPaths"] == []
        text = path.read_text(encoding="utf-8")
        assert text == TEXT.replace("// mine", "// still mine").replace("  channels:", "  // told: nobody\n  channels:")

    with_file(path, ask)


def test_nothing_to_change(path: Path) -> None:
    async def ask(client: Peer, _: Gateway) -> None:
        found = await client.get("config.get")
        for method, raw in (
            ("config.set", json.dumps(found["config"])),
            ("config.set", found["raw"]),
            ("config.apply", json.dumps(found["config"])),
            ("config.patch", "{}"),
            ("config.patch", "{gateway: {bind: null}}"),
        ):
            answer = await client.get(method, raw=raw, baseHash=found["hash"])
            assert answer["noop"]
            assert answer["hash"] == found["hash"]
        assert path.read_text(encoding="utf-8") == TEXT
        assert not [event for event in client.events if event["event"] == "config.changed"]

    with_file(path, ask)


async def status_of(gateway: Gateway, key: str) -> int:
    """What a request with this key is answered: 401 where it is none."""
    host, _, port = gateway.urls[0].removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n".encode()
    )
    answer = await reader.read()
    writer.close()
    return int(answer.split()[1])


def test_keys_are_taken_over_at_once(path: Path) -> None:
    async def ask(client: Peer, gateway: Gateway) -> None:
        found = await client.get("config.get")
        patch = {"gateway": {"auth": {"keys": [{"id": "b", "secret": "key-of-b"}]}}}
        assert await status_of(gateway, "key-of-b") == 401
        answer = await client.get("config.patch", raw=json.dumps(patch), baseHash=found["hash"])
        assert answer["applied"] == ["keys"]
        assert "restart" not in answer
        assert await status_of(gateway, "key-of-b") == 200
        again = await client.get("config.get")
        assert again["appliedConfigHash"] == again["hash"] == answer["hash"]

    enabled = "http: { endpoints: { chatCompletions: { enabled: true } } },"
    with_file(path, ask, TEXT.replace("gateway: {", f"gateway: {{ {enabled}", 1))


def test_keys_of_agents_that_are_to_come_need_a_restart(path: Path) -> None:
    async def ask(client: Peer, _: Gateway) -> None:
        found = await client.get("config.get")
        patch = {
            "agents": {"list": [{"id": "new", "runtime": {"type": "echo"}}]},
            "gateway": {"auth": {"keys": [{"id": "b", "secret": "key-of-b", "agents": ["new"]}]}},
        }
        answer = await client.get("config.patch", raw=json.dumps(patch), baseHash=found["hash"])
        assert "applied" not in answer
        assert answer["restart"]["paths"] == ["gateway.auth.keys", "agents.list"]
        assert "there is no agent new" in answer["restart"]["message"]

    with_file(path, ask)


REFUSALS: list[tuple[str, dict[str, Any], str]] = [
    ("config.patch", {"raw": "{gateway: {port: 'x', prt: 2}}"}, "invalid config: "),
    ("config.patch", {"raw": "[]"}, "config.patch raw must be an object"),
    ("config.set", {"raw": "1"}, "raw must be an object"),
    ("config.set", {"raw": "{a:\n ?}"}, "invalid config: raw:2:2: expected a value but found '?'"),
    ("config.set", {"raw": "{}"}, "config.set would remove existing agent entries: main. Use config.apply to remove"),
    ("config.patch", {"raw": "{agents: {list: null}}"}, "config.patch would remove entries from array path(s): agents.list"),
    ("config.patch", {"raw": f"{{gateway: {{auth: {{password: '{REDACTED}'}}}}}}"}, "Reserved redaction sentinel"),
    ("config.apply", {"raw": f"{{gateway: {{bind: '{REDACTED}'}}}}"}, "Reserved redaction sentinel"),
    ("config.apply", {"raw": "{gateway: {}, agents: {list: [{id: 'a'}]}}"}, "nothing to answer with"),
    ("config.apply", {"raw": "{", "baseHash": ""}, "invalid config.apply params: at /baseHash"),
    ("config.set", {"raw": "{}", "x": 1}, "invalid config.set params: at root: unexpected property 'x'"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "params", "message"), REFUSALS)
def test_refusals_change_nothing(path: Path, method: str, params: dict[str, Any], message: str) -> None:
    async def ask(client: Peer, _: Gateway) -> None:
        found = await client.get("config.get")
        code, told = await client.refused(method, **{"baseHash": found["hash"], **params})
        assert code == "INVALID_REQUEST"
        assert message in told
        assert path.read_text(encoding="utf-8") == TEXT

    with_file(path, ask)


def test_all_faults_are_told_with_their_places(path: Path) -> None:
    async def ask(client: Peer, _: Gateway) -> None:
        found = await client.get("config.get")
        raw = "{gateway: {port: 'x', prt: 2}}"
        error = (await client.ask("config.patch", raw=raw, baseHash=found["hash"]))["error"]
        issues = error["details"]["issues"]
        assert [issue["path"] for issue in issues] == ["gateway.port", "gateway.prt"]
        assert issues[1]["message"].endswith("Did you mean 'port'?")
        assert issues[0]["place"].startswith(f"{path}:5:")
        assert all(issue["place"] in error["message"] for issue in issues)

    with_file(path, ask)


def test_a_hash_is_asked_for(path: Path) -> None:
    async def ask(client: Peer, _: Gateway) -> None:
        for params, message in (
            ({}, "config base hash required; re-run config.get and retry"),
            ({"baseHash": "0" * 64}, "config changed since last load; re-run config.get and retry"),
        ):
            for method in ("config.set", "config.patch", "config.apply"):
                assert await client.refused(method, raw="{}", **params) == ("INVALID_REQUEST", message)

    with_file(path, ask)


def test_of_two_who_change_it_one_is_told_to_look_again(path: Path) -> None:
    async def ask(client: Peer, gateway: Gateway) -> None:
        found = await client.get("config.get")
        async with peer(gateway) as other:
            answers = await asyncio.gather(
                client.ask("config.patch", raw="{gateway: {port: 1}}", baseHash=found["hash"]),
                other.ask("config.patch", raw="{gateway: {port: 2}}", baseHash=found["hash"]),
            )
        assert sorted(answer["ok"] for answer in answers) == [False, True]
        refused = next(answer for answer in answers if not answer["ok"])
        assert "config changed since last load" in refused["error"]["message"]

    with_file(path, ask)


def test_a_file_that_somebody_broke(path: Path) -> None:
    async def ask(client: Peer, _: Gateway) -> None:
        path.write_text("{gateway: {auth: {token: 'the-token'}, prt: 1}}", encoding="utf-8")
        found = await client.get("config.get")
        assert not found["valid"]
        assert found["raw"] == f"{{gateway: {{auth: {{token: '{REDACTED}'}}, prt: \"{REDACTED}\"}}}}"
        assert found["issues"][0]["path"] == "gateway.prt"
        assert found["appliedConfigHash"] is None
        code, message = await client.refused("config.patch", raw="{}", baseHash=found["hash"])
        assert code == "INVALID_REQUEST"
        assert message.endswith("Did you mean 'port'?; fix the file before patching")
        raw = found["raw"].replace(f'prt: "{REDACTED}"', "port: 1")
        await client.get("config.apply", raw=raw, baseHash=found["hash"])
        assert path.read_text(encoding="utf-8") == "{gateway: {auth: {token: 'the-token'}, port: 1}}"
        path.write_text("{gateway: ", encoding="utf-8")
        found = await client.get("config.get")
        assert (found["raw"], found["parsed"], found["config"]) == (None, None, {})
        assert found["issues"][0]["message"].startswith("expected a value")
        hidden = json.dumps({"gateway": {"auth": {"token": REDACTED}}})
        code, message = await client.refused("config.apply", raw=hidden, baseHash=found["hash"])
        assert "no secret is stored there" in message, "there was one, which nobody can read any more"
        await client.get("config.apply", raw=TEXT, baseHash=found["hash"])
        assert path.read_text(encoding="utf-8") == TEXT

    with_file(path, ask)


def test_references_and_includes_stay(path: Path) -> None:
    (path.parent / "base.json5").write_text("{session: {maxTurns: 5}}", encoding="utf-8")
    text = TEXT.replace("{\n  gateway", "{\n  $include: 'base.json5',\n  gateway", 1).replace(
        "'the-token', keys", "'${T:-the-token}', keys"
    )

    async def ask(client: Peer, _: Gateway) -> None:
        found = await client.get("config.get")
        assert found["config"]["$include"] == "base.json5"
        wanted = {**found["config"], "models": {}}
        await client.get("config.set", raw=json.dumps(wanted), baseHash=found["hash"])
        assert path.read_text(encoding="utf-8") == text.removesuffix("}\n") + "  models: {},\n}\n"

    with_file(path, ask, text)


def test_scopes(path: Path) -> None:
    async def ask(_: Peer, gateway: Gateway) -> None:
        async with peer(gateway, scopes=("operator.read",)) as client:
            await client.get("config.get")
            await client.get("config.schema")
            for method in ("config.set", "config.patch", "config.apply"):
                assert await client.refused(method, raw="{}") == ("FORBIDDEN", "missing scope: operator.admin")
        async with peer(gateway, scopes=()) as client:
            for method in ("config.get", "config.schema", "logs.tail"):
                assert await client.refused(method) == ("FORBIDDEN", "missing scope: operator.read")

    with_file(path, ask)


def test_keys_for_single_agents_see_neither_configuration_nor_log() -> None:
    async def main() -> None:
        key = Key(Caller("a", frozenset({"main"}), frozenset({"operator.admin"})))
        async with (
            Gateway(agents={"main": echo}, listen="127.0.0.1:0", keys={"secret-of-a": key}, logs=LogRing()) as gateway,
            peer(gateway, "secret-of-a") as client,
        ):
            for method, params in (("config.get", {}), ("config.set", {"raw": "{}"}), ("logs.tail", {})):
                code, message = await client.refused(method, **params)
                assert code == "FORBIDDEN"
                assert "single agents" in message

    asyncio.run(main())


def test_a_gateway_without_a_file_says_so() -> None:
    async def main() -> None:
        async with (
            Gateway(agents={"main": echo}, listen="127.0.0.1:0", token=TOKEN) as gateway,
            peer(gateway) as client,
        ):
            found = await client.get("config.get")
            assert (found["path"], found["exists"], found["raw"]) == ("", False, None)
            assert found["config"]["gateway"]["port"] == 18789
            assert "was not given a configuration file" in found["warnings"][0]["message"]
            code, message = await client.refused("config.patch", raw="{}")
            assert code == "INVALID_REQUEST"
            assert "start it with `gateway run --config FILE`" in message

    asyncio.run(main())


def test_the_schema(path: Path) -> None:
    async def ask(client: Peer, _: Gateway) -> None:
        found = await client.get("config.schema")
        assert found["schema"]["properties"]["gateway"]["properties"]["port"]["maximum"] == 65535
        assert found["uiHints"]["gateway.auth.token"]["sensitive"]
        assert faults("ConfigSchemaResponse", found) == []

    with_file(path, ask)


def test_the_log() -> None:
    async def main() -> None:
        logs = LogRing()
        async with (
            Gateway(agents={"main": echo}, listen="127.0.0.1:0", token=TOKEN, logs=logs) as gateway,
            peer(gateway) as client,
        ):
            logs.note("one", "two", "three")
            found = await client.get("logs.tail", limit=2)
            assert faults("LogsTailResult", found) == []
            assert [json.loads(line)["0"] for line in found["lines"]] == ["two", "three"]
            logs.note("four")
            later = await client.get("logs.tail", cursor=found["cursor"], maxBytes=1000)
            assert [json.loads(line)["0"] for line in later["lines"]] == ["four"]
            assert not later["reset"]

    asyncio.run(main())


def test_a_gateway_without_a_log_says_so() -> None:
    async def main() -> None:
        async with (
            Gateway(agents={"main": echo}, listen="127.0.0.1:0", token=TOKEN) as gateway,
            peer(gateway) as client,
        ):
            found = await client.get("logs.tail")
            assert faults("LogsTailResult", found) == []
            assert found["lines"] == []
            assert "keeps no log" in found["file"]

    asyncio.run(main())
