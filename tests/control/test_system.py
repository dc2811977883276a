"""What the gateway tells of itself: `health`, `status`, the agents, the models, and what there is none of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asking import TOKEN
from dialogue import Client, RefusedError
from dialogue import talk as connected
from results import conforms

import gateway
from gateway.agents.function import echo
from gateway.config import Config, load
from gateway.model.caller import Key

ALL = ("operator.admin",)

Talk = Callable[[Client, gateway.Gateway], Awaitable[None]]


def talk(test: Talk, *, scopes: tuple[str, ...] | None = None, token: str = TOKEN, **options: Any) -> None:
    """Run `test` with a client of a gateway of its own."""

    async def main() -> None:
        arguments = {"token": TOKEN, "agents": {"main": echo}, "listen": "127.0.0.1:0"} | options
        async with (
            asyncio.timeout(30),
            gateway.Gateway(**arguments) as gw,
            connected(gw, token, scopes=ALL if scopes is None else scopes) as client,
        ):
            await test(client, gw)

    asyncio.run(main())


def config(text: str) -> Config:
    return load("gateway.json5", environ={}, text=text).config


TWO = config("""{
    agents: {list: [
        {id: "main", name: "The first", default: true, model: {primary: "local/small", fallbacks: ["local/large"]}},
        {id: "shout", runtime: {type: "echo"}},
    ]},
    models: {providers: {local: {baseUrl: "http://127.0.0.1:9/v1", apiKey: "k3y", models: [
        {id: "small", name: "Small", contextWindow: 32768, input: ["text"], reasoning: false},
        {id: "large"}, {id: "spare"},
    ]}}},
}""")


def test_hello_is_what_the_product_says() -> None:
    async def ask(client: Client, gw: gateway.Gateway) -> None:
        conforms("HelloOk", client.hello)
        hello = client.hello
        assert {"health", "status", "agents.list", "models.list", "agent"} <= set(hello["features"]["methods"])
        assert "published-model-catalog" in hello["features"]["capabilities"]
        assert hello["snapshot"]["sessionDefaults"]["mainSessionKey"] == "agent:main:main"
        assert hello["snapshot"]["health"]["agents"][0]["agentId"] == "main"
        assert (hello["snapshot"]["authMode"], hello["snapshot"]["stateDir"]) == ("token", "/somewhere")
        async with connected(gw, scopes=("operator.read",)) as reader:
            assert len(reader.hello["snapshot"]["presence"]) == 2
            assert "stateDir" not in reader.hello["snapshot"]
        async with connected(gw, scopes=()) as stranger:
            conforms("HelloOk", stranger.hello)
            assert stranger.hello["snapshot"]["presence"] == []

    talk(ask, environ={"GATEWAY_STATE_DIR": "/somewhere"})


def test_hello_where_no_agent_is_the_default_one() -> None:
    async def ask(client: Client, gw: gateway.Gateway) -> None:
        conforms("HelloOk", client.hello)
        assert "sessionDefaults" not in client.hello["snapshot"]
        listed = await client.request("agents.list")
        assert (listed["selectionRequired"], listed["defaultId"]) == (True, "one")
        with pytest.raises(RefusedError, match="there is no default agent: name one with agentId"):
            await client.request("tools.catalog")
        assert (await client.request("status"))["heartbeat"]["defaultAgentId"] == ""

    talk(ask, agents={"one": echo, "two": echo})


def test_health_counts_the_sessions_there_are() -> None:
    async def ask(client: Client, gw: gateway.Gateway) -> None:
        before = await client.request("health")
        conforms(
            "Snapshot", {"presence": [], "health": before, "uptimeMs": 0, "stateVersion": {"presence": 1, "health": 1}}
        )
        assert before["agents"][0]["sessions"] == {"path": "memory", "count": 0, "recent": []}
        await client.request("agent", message="hi", sessionKey="one", idempotencyKey="k", final=True)
        after = await client.request("health", probe=True)
        assert after["sessions"]["count"] == 1
        (recent,) = after["agents"][0]["sessions"]["recent"]
        assert recent["key"] == "agent:main:one"
        assert 0 <= recent["age"] < 30_000
        assert after["ts"] >= before["ts"]

    talk(ask)


def test_a_key_sees_its_own_sessions_and_agents() -> None:
    keys = {"k3y": Key(gateway.Caller("bob", frozenset({"shout"}), frozenset({"operator", "operator.read"})))}

    async def ask(client: Client, gw: gateway.Gateway) -> None:
        await client.request("agent", message="hi", sessionKey="one", idempotencyKey="k", final=True)
        async with connected(gw, "k3y", scopes=("operator.read",)) as other:
            seen = await other.request("health")
            assert [one["agentId"] for one in seen["agents"]] == ["shout"]
            assert seen["sessions"]["count"] == 0
            assert seen["defaultAgentId"] == "shout"
            listed = await other.request("agents.list")
            assert [one["id"] for one in listed["agents"]] == ["shout"]

    talk(ask, agents={"main": echo, "shout": echo}, keys=keys)


def test_status_names_places_to_administrators_only() -> None:
    async def ask(client: Client, gw: gateway.Gateway) -> None:
        await client.request("agent", message="hi", sessionKey="agent:shout:one", idempotencyKey="k", final=True)
        status = await client.request("status", includeChannelSummary=False, includeCliProjection=True)
        assert status["runtimeVersion"] == gateway.__version__
        assert status["sessions"]["paths"] == ["memory"]
        assert status["sessions"]["defaults"] == {"model": "small", "contextTokens": 32768}
        (row,) = status["sessions"]["recent"]
        assert (row["key"], row["agentId"], row["selectedModel"]) == ("agent:shout:one", "shout", "gateway/shout")
        assert [one["count"] for one in status["sessions"]["byAgent"]] == [0, 1]
        assert status["cliProjection"]["agents"]["rows"] == [{"id": "main", "name": "The first"}, {"id": "shout"}]
        async with connected(gw, scopes=("operator.read",)) as reader:
            status = await reader.request("status")
            assert status["sessions"]["count"] == 1
            assert status["sessions"]["recent"] == status["sessions"]["paths"] == []
            assert {one["path"] for one in status["sessions"]["byAgent"]} == {"[redacted]"}

    talk(ask, config=TWO, agents={})


def test_agents_have_a_model_whatever_they_are() -> None:
    async def ask(client: Client, gw: gateway.Gateway) -> None:
        listed = await client.request("agents.list")
        assert listed["agents"] == [
            {
                "id": "main", "name": "The first", "kind": "agent",
                "model": {"primary": "local/small", "fallbacks": ["local/large"]},
            },
            {"id": "shout", "kind": "agent", "model": {"primary": "gateway/shout"}},
        ]  # fmt: skip
        assert (listed["defaultId"], listed["mainKey"], listed["selectionRequired"]) == ("main", "main", False)
        for params, name in (
            ({}, "The first"),
            ({"agentId": "shout"}, "shout"),
            ({"sessionKey": "agent:shout:x"}, "shout"),
        ):
            identity = await client.request("agent.identity.get", params)
            conforms("AgentIdentityResult", identity)
            assert identity["name"] == name
        with pytest.raises(RefusedError, match='unknown agent id "nope"'):
            await client.request("agent.identity.get", agentId="nope")

    talk(ask, config=TWO, agents={})


def test_models_are_those_of_the_configuration() -> None:
    async def ask(client: Client, gw: gateway.Gateway) -> None:
        models = (await client.request("models.list", view="default", includeDetails=True))["models"]
        assert models == [
            {
                "id": "small", "name": "Small", "provider": "local", "contextWindow": 32768, "available": True,
                "local": True, "input": ["text"], "reasoning": False, "tags": ["default", "configured"],
            },
            {
                "id": "large", "name": "large", "provider": "local", "available": True, "local": True,
                "tags": ["fallback", "configured"],
            },
            {
                "id": "shout", "name": "shout", "provider": "gateway", "local": True, "available": True,
                "input": ["text"], "tags": ["configured"],
            },
            {"id": "spare", "name": "spare", "provider": "local", "available": True, "local": True, "tags": ["configured"]},
        ]  # fmt: skip
        only = await client.request("models.list", provider="gateway")
        assert [one["id"] for one in only["models"]] == ["shout"]
        of_one = await client.request("models.list", agentId="shout")
        assert [one["id"] for one in of_one["models"]] == ["shout"]
        providers = (await client.request("models.authStatus"))["providers"]
        assert [(one["provider"], one["status"], one.get("apiKey")) for one in providers] == [
            ("local", "static", {"source": "config"}), ("gateway", "static", None),
        ]  # fmt: skip

    talk(ask, config=TWO, agents={})


NONE = {
    "channels.status": ("channels", {}),
    "cron.list": ("jobs", []),
    "cron.status": ("enabled", False),
    "node.list": ("nodes", []),
    "question.list": ("questions", []),
    "taskSuggestions.list": ("suggestions", []),
    "update.status": ("updateAvailable", None),
}


def test_what_there_is_none_of_is_said_to_be_none() -> None:
    async def ask(client: Client, gw: gateway.Gateway) -> None:
        for method, (member, value) in NONE.items():
            assert (await client.request(method))[member] == value, method
        assert await client.request("plugin.approval.list") == await client.request("exec.approval.list") == []
        page = await client.request("cron.list", limit=5, offset=0)
        assert (page["limit"], page["offset"], page["total"], page["hasMore"]) == (5, 0, 0, False)
        assert page["snapshotRevision"], "`openclaw cron list` takes no page without one"
        with pytest.raises(RefusedError, match=r"invalid cron\.list params: at root: unexpected property 'bogus'"):
            await client.request("cron.list", bogus=1)

    talk(ask)


def test_who_may_not_read_is_told_what_is_missing() -> None:
    async def ask(client: Client, gw: gateway.Gateway) -> None:
        assert (await client.request("health"))["ok"] is True
        for method in ("status", "agents.list", "models.list", "node.list", "system-presence"):
            with pytest.raises(RefusedError, match=r"missing scope: operator\.read"):
                await client.request(method)
        for method in ("question.list", "exec.approval.list", "update.status"):
            with pytest.raises(RefusedError, match="missing scope: operator"):
                await client.request(method)

    talk(ask, scopes=())
