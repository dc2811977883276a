"""The gateway's tools over WebSocket: `tools.catalog`, `tools.effective`, `tools.invoke`."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from dialogue import Client, RefusedError
from dialogue import talk as connected
from test_system import config, talk

import gateway
from gateway.errors import AgentError, ToolError
from gateway.model.caller import Key

SERVER = str(Path(__file__).parents[1] / "tools" / "mcp_server.py")


async def weather(city: str, days: int = 1) -> dict[str, Any]:
    """The weather."""
    return {"city": city, "days": days}


async def fails(how: str) -> str:
    raise {"tool": ToolError("no such place"), "run": AgentError("no credit", code="no_credit", status=402)}.get(
        how, ValueError("a secret")
    )


TOOLS = (weather, fails)
WITH_MODEL = """{
    agents: {list: [
        {id: "main", default: true, model: "local/small", tools: %s},
        {id: "other", model: "local/small", tools: []},
    ]},
    models: {providers: {local: {baseUrl: "http://127.0.0.1:9/v1"}}},
    %s
}"""


def test_the_catalog_and_what_an_agent_has() -> None:
    async def ask(client: Client, gw: gateway.Gateway) -> None:
        catalog = await client.request("tools.catalog")
        assert (catalog["agentId"], catalog["profiles"]) == ("main", [])
        (group,) = catalog["groups"]
        assert (group["id"], group["source"]) == ("core", "core")
        assert [tool["id"] for tool in group["tools"]] == ["fails", "weather"]
        assert group["tools"][1] == {
            "id": "weather", "label": "weather", "description": "The weather.", "fullDescription": "The weather.",
            "source": "core", "defaultProfiles": [],
        }  # fmt: skip
        effective = await client.request("tools.effective", sessionKey="agent:main:x")
        assert (effective["agentId"], effective["profile"]) == ("main", "full")
        assert [[tool["id"] for tool in one["tools"]] for one in effective["groups"]] == [["weather"]]
        assert (await client.request("tools.effective", sessionKey="x", agentId="other"))["groups"] == []
        for params, message in (
            ({}, "must have required property 'sessionKey'"),
            ({"sessionKey": "x", "agentId": "nope"}, 'unknown agent id "nope"'),
            ({"sessionKey": "agent:main:x", "agentId": "other"}, "session key agent does not match agentId"),
        ):
            with pytest.raises(RefusedError, match=message):
                await client.request("tools.effective", params)

    talk(ask, config=config(WITH_MODEL % ('["weather"]', "")), tools=TOOLS, agents={})


def test_a_tool_is_called() -> None:
    async def ask(client: Client, gw: gateway.Gateway) -> None:
        answer = await client.request("tools.invoke", {"name": " weather ", "args": {"city": "Rome"}})
        result = {"city": "Rome", "days": 1}
        output = {"content": [{"type": "text", "text": json.dumps(result)}], "details": result}
        assert answer == {"ok": True, "toolName": "weather", "output": output, "source": "core"}
        for params, code, message in (
            ({"name": "exec"}, "not_found", "Tool not available: exec"),
            ({"name": "weather"}, "internal_error", "`city` is missing"),
            ({"name": "fails", "args": {"how": "tool"}}, "internal_error", "no such place"),
            ({"name": "fails", "args": {"how": "run"}}, "no_credit", "no credit"),
            ({"name": "fails", "args": {"how": "x"}}, "internal_error", "the gateway's log tells why"),
            ({"name": "fails", "args": {"how": "tool"}, "agentId": "main"}, "not_found", "Tool not available: fails"),
            ({"name": "weather", "sessionKey": "agent:other:x"}, "not_found", "Tool not available: weather"),
        ):
            answer = await client.request("tools.invoke", params)
            assert (answer["ok"], answer["error"]["code"]) == (False, code)
            assert message in answer["error"]["message"]

    talk(ask, config=config(WITH_MODEL % ('["weather"]', "")), tools=TOOLS, agents={})


def test_calls_are_counted_with_those_over_http_and_limited_in_time() -> None:
    settings = config(WITH_MODEL % ('["weather"]', ""))
    settings = settings.replace(tools=settings.tools.replace(max_invocations=1, timeout_ms=300))

    async def slow() -> str:
        await asyncio.sleep(30)
        return "never"

    async def ask(client: Client, gw: gateway.Gateway) -> None:
        first = await client.send("tools.invoke", {"name": "slow"})
        second = await client.request("tools.invoke", {"name": "weather", "args": {"city": "Rome"}})
        assert second["error"] == {"code": "rate_limited", "message": "1 calls are under way; try again later"}
        answer = await client.answer(first)
        assert answer["error"] == {"code": "timeout", "message": "The tool took longer than 0.3 s."}

    talk(ask, config=settings, tools=(*TOOLS, slow), agents={})


def test_without_tools() -> None:
    async def ask(client: Client, gw: gateway.Gateway) -> None:
        assert (await client.request("tools.catalog"))["groups"] == []
        assert (await client.request("tools.effective", sessionKey="x"))["groups"] == []
        assert (await client.request("tools.invoke", {"name": "weather"}))["error"]["code"] == "not_found"

    talk(ask)


def test_a_key_needs_the_scope_and_its_agents_tools() -> None:
    def key(*scopes: str) -> Key:
        return Key(gateway.Caller("bob", frozenset({"main"}), frozenset({"operator", "operator.write", *scopes})))

    call = {"name": "weather", "args": {"city": "Rome"}}

    async def ask(client: Client, gw: gateway.Gateway) -> None:
        async with connected(gw, "without", scopes=("operator.write",)) as other:
            with pytest.raises(RefusedError, match="lacks the scope `tools`"):
                await other.request("tools.invoke", call)
        async with connected(gw, "with", scopes=("operator.write",)) as other:
            assert (await other.request("tools.invoke", call))["ok"] is True
            failed = await other.request("tools.invoke", {"name": "fails", "args": {"how": "tool"}})
            assert failed["error"]["code"] == "not_found"
            (group,) = (await other.request("tools.catalog"))["groups"]
            assert [tool["id"] for tool in group["tools"]] == ["weather"]

    keys = {"without": key(), "with": key("tools")}
    talk(ask, config=config(WITH_MODEL % ('["weather"]', "")), tools=TOOLS, agents={}, keys=keys)


def test_tools_of_servers_stand_apart() -> None:
    pytest.importorskip("mcp", reason="pip install 'gateway[mcp]'")
    servers = json.dumps({"servers": {"far": {"command": sys.executable, "args": [SERVER]}}})

    async def ask(client: Client, gw: gateway.Gateway) -> None:
        groups = {one["id"]: one for one in (await client.request("tools.catalog"))["groups"]}
        assert groups.keys() == {"core", "plugin:far"}
        assert {one["pluginId"] for one in groups["plugin:far"]["tools"]} == {"far"}
        assert [one["id"] for one in (await client.request("tools.catalog", includePlugins=False))["groups"]] == [
            "core"
        ]
        (group,) = (await client.request("tools.effective", sessionKey="main"))["groups"]
        assert (group["id"], group["source"]) == ("mcp", "mcp")
        names = {tool["mcpToolName"]: tool["id"] for tool in group["tools"]}
        assert names["add"] == "far__add"
        answer = await client.request("tools.invoke", {"name": "far__add", "args": {"a": 2, "b": 3}})
        assert (answer["ok"], answer["source"]) == (True, "mcp")
        assert answer["output"]["content"][0]["text"] == "5"

    talk(ask, config=config(WITH_MODEL % ('["mcp:far"]', f"mcp: {servers}")), tools=TOOLS, agents={})
