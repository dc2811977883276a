"""System events, and who is there: `wake`, `system-event`, `system-presence`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asking import TOKEN
from dialogue import Client, RefusedError
from dialogue import talk as connected
from results import conforms
from test_system import talk

import gateway
from gateway.config import Config
from gateway.control.presence import LISTED, TEXT_CHARACTERS, WORDS
from gateway.control.wakes import EVENTS
from gateway.model.caller import Key

heard: list[list[tuple[str, str]]] = []


async def listener(run: gateway.RunInput) -> str:
    heard.append([(message.role, message.text) for message in run.request.messages])
    return "yes"


async def fails(run: gateway.RunInput) -> str:
    raise gateway.AgentError("no credit", code="no_credit", status=402)


AGENTS = {"main": listener, "poor": fails}


@pytest.fixture(autouse=True)
def nothing_heard() -> None:
    heard.clear()


def test_an_event_waits_for_the_next_run() -> None:
    async def ask(client: Client, gw: gateway.Gateway) -> None:
        for text in ("the door opened", "the door opened", " it rains "):
            assert await client.request("wake", mode="next-heartbeat", text=text) == {"ok": True}
        assert await client.request("system-event", text="tea is ready") == {"ok": True}
        assert await client.request("last-heartbeat") is None
        status = await client.request("status")
        assert status["queuedSystemEvents"] == ["the door opened", "it rains", "tea is ready"]
        await client.request("agent", message="other", sessionKey="other", idempotencyKey="1", final=True)
        await client.request("agent", message="hi", sessionKey="main", idempotencyKey="2", final=True)
        await client.request("agent", message="again", sessionKey="main", idempotencyKey="3", final=True)
        told = "System: the door opened\nSystem: it rains\nSystem: tea is ready"
        assert heard == [[("user", "other")], [("system", told), ("user", "hi")], [("user", "again")]]
        assert (await client.request("status"))["queuedSystemEvents"] == []

    talk(ask, agents=AGENTS)


def test_only_so_many_events_wait() -> None:
    async def ask(client: Client, gw: gateway.Gateway) -> None:
        for number in range(EVENTS + 5):
            await client.request("wake", mode="next-heartbeat", text=f"event {number}")
        waiting = (await client.request("status"))["queuedSystemEvents"]
        assert waiting == [f"event {number}" for number in range(5, EVENTS + 5)]

    talk(ask, agents=AGENTS)


def test_an_event_is_not_lost_with_a_run_that_may_not_begin() -> None:
    one = Config()
    one = one.replace(agents=one.agents.replace(max_concurrent_runs=1))
    go = asyncio.Event()

    async def slow(run: gateway.RunInput) -> str:
        await go.wait()
        return "at last"

    async def ask(client: Client, gw: gateway.Gateway) -> None:
        first = await client.send("agent", message="hi", agentId="slow", sessionKey="other", idempotencyKey="1")
        await client.answer(first)
        await client.request("wake", mode="next-heartbeat", text="the door opened")
        with pytest.raises(RefusedError, match="1 runs are under way"):
            await client.request("agent", message="hi", sessionKey="main", idempotencyKey="2")
        go.set()
        await client.answer(first, 2)
        await client.request("agent", message="hi", sessionKey="main", idempotencyKey="3", final=True)
        assert heard == [[("system", "System: the door opened"), ("user", "hi")]]

    talk(ask, agents={**AGENTS, "slow": slow}, config=one)


def test_wake_begins_a_run() -> None:
    async def ask(client: Client, gw: gateway.Gateway) -> None:
        assert await client.request("wake", mode="now", text="hello") == {"ok": True}
        beat = await client.event("heartbeat")
        assert heard == [[("user", "System: hello")]]
        assert (beat["status"], beat["sessionKey"], beat["preview"]) == ("sent", "agent:main:main", "yes")
        assert await client.request("last-heartbeat") == beat
        await client.request("wake", mode="now", text="hello", agentId="poor")
        assert (await client.event("heartbeat"))["status"] == "failed"
        await client.request("system-event", text="look", wake=True, sessionKey="agent:main:door")
        assert (await client.event("heartbeat"))["sessionKey"] == "agent:main:door"

    talk(ask, agents=AGENTS)


def test_wakes_can_be_switched_off() -> None:
    async def ask(client: Client, gw: gateway.Gateway) -> None:
        assert await client.request("set-heartbeats", enabled=False) == {"ok": True, "enabled": False}
        assert await client.request("wake", mode="now", text="hello") == {"ok": True}
        await asyncio.sleep(0.05)
        assert heard == []
        assert (await client.request("status"))["queuedSystemEvents"] == ["hello"]
        assert await client.request("set-heartbeats", enabled=True) == {"ok": True, "enabled": True}
        await client.request("wake", mode="now", text="now")
        await client.event("heartbeat")
        assert heard == [[("system", "System: hello"), ("user", "System: now")]]

    talk(ask, agents=AGENTS)


REFUSED = [
    ("wake", {"mode": "later", "text": "x"}, "invalid wake params: at /mode"),
    ("wake", {"mode": "now"}, "must have required property 'text'"),
    ("wake", {"mode": "now", "text": "x", "agentId": "nope"}, 'unknown agent id "nope"'),
    (
        "wake",
        {"mode": "now", "text": "x", "agentId": "main", "sessionKey": "agent:poor:x"},
        "session key agent does not match agentId",
    ),
    ("wake", {"mode": "now", "text": "x", "sessionKey": "agent:main:subagent:x"}, "reserved internal session"),
    ("wake", {"mode": "next-heartbeat", "text": "x" * 8_001}, "at /text: must NOT have more than 8000 characters"),
    ("system-event", {"text": "x" * 8_001}, "at /text: must NOT have more than 8000 characters"),
    ("system-event", {"text": " "}, "text required"),
    ("system-event", {"text": "Node: x", "wake": True}, "not supported for node presence events"),
    ("set-heartbeats", {"enabled": 1}, r"enabled \(boolean\) required"),
]


@pytest.mark.parametrize(("method", "params", "message"), REFUSED)
def test_refused(method: str, params: dict[str, Any], message: str) -> None:
    async def ask(client: Client, gw: gateway.Gateway) -> None:
        with pytest.raises(RefusedError, match=message):
            await client.request(method, params)

    talk(ask, agents=AGENTS)


def test_machines_are_listed_with_those_connected() -> None:
    async def ask(client: Client, gw: gateway.Gateway) -> None:
        line = "Node: attic (10.0.0.7) · app 1.2 · last input 12s ago · mode ui · reason connect"
        await client.request("system-event", text=line, instanceId="i-1", roles=["node", "node", ""], tags=[])
        rows = await client.request("system-presence")
        for row in rows:
            conforms("PresenceEntry", row)
        assert [row["mode"] for row in rows] == ["gateway", "ui", "cli"]
        assert rows[1].items() >= {
            "host": "attic", "ip": "10.0.0.7", "version": "1.2", "lastInputSeconds": 12, "reason": "connect",
            "instanceId": "i-1", "text": line, "roles": ["node"],
        }.items()  # fmt: skip
        assert (await client.request("status"))["queuedSystemEvents"] == []
        await client.request("system-event", text="x" * 7_000, instanceId="I-1", host="cellar", lastInputSeconds=1e300)
        await client.request("system-event", text="y", deviceId="d" * 999, scopes=[f"s{one}" for one in range(99)])
        rows = await client.request("system-presence")
        by_id = {row.get("instanceId") or row.get("deviceId"): row for row in rows}
        assert by_id["I-1"].items() >= {"ip": "10.0.0.7", "host": "cellar"}.items()
        assert len(by_id["d" * TEXT_CHARACTERS]["scopes"]) == WORDS
        for row in rows:
            conforms("PresenceEntry", row)
        for number in range(LISTED + 20):
            await client.send("system-event", text=f"machine {number}", instanceId=f"m{number}")
        await client.request("health")
        assert len(await client.request("system-presence")) == LISTED

    talk(ask, agents=AGENTS)


def test_a_machine_is_listed_for_five_minutes() -> None:
    now = [1_000_000.0]

    async def ask(client: Client, gw: gateway.Gateway) -> None:
        await client.request("system-event", text="Node: attic", instanceId="i-1")
        for later, listed in ((0, 3), (299, 3), (2, 2)):
            now[0] += later
            assert len(await client.request("system-presence")) == listed

    talk(ask, agents=AGENTS, clock=lambda: now[0])


def test_a_key_sees_its_own_clients_only() -> None:
    caller = gateway.Caller("bob", frozenset({"main"}), frozenset({"operator", "operator.read", "operator.write"}))
    admin = gateway.Caller("adm", frozenset({"main"}), frozenset({"operator", "operator.admin"}))

    async def ask(client: Client, gw: gateway.Gateway) -> None:
        await client.request("system-event", text="Node: attic", instanceId="i-1")
        async with (
            connected(gw, "k3y", scopes=("operator.read", "operator.write")) as other,
            connected(gw, "adm1n") as chief,
        ):
            rows = await other.request("system-presence")
            assert [row["mode"] for row in rows] == ["gateway", "cli"]
            assert len(other.hello["snapshot"]["presence"]) == 1
            told = await other.event("presence", lambda payload: len(payload["presence"]) > 1)
            assert [row["mode"] for row in told["presence"]] == ["gateway", "cli"]
            assert len((await client.event("presence", lambda payload: len(payload["presence"]) == 5))["presence"]) == 5
            await other.request("wake", mode="now", text="mine")
            assert (await other.event("heartbeat"))["sessionKey"] == "agent:main:main"
            assert await client.request("last-heartbeat") is None
            with pytest.raises(RefusedError, match="all agents"):
                await chief.request("set-heartbeats", enabled=False)
            with pytest.raises(RefusedError, match="may not use the agent `poor`"):
                await other.request("wake", mode="now", text="x", sessionKey="agent:poor:x")

    talk(ask, agents=AGENTS, keys={"k3y": Key(caller), "adm1n": Key(admin)}, token=TOKEN)
