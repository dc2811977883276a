"""The tokens that were used, how runs ended, and the models that providers say they have."""

from __future__ import annotations

import asyncio
import json
from contextlib import nullcontext
from typing import Any

import pytest
from dialogue import Client, RefusedError
from dialogue import talk as connected
from results import conforms
from test_system import config, talk

import gateway
from gateway.config import Config
from gateway.model.caller import Key

DAY = 86_400.0
NOON = 1_900_000_000 // 86_400 * 86_400 + 43_200.0
"""Of 2030-03-17, in UTC."""


async def counts(run: gateway.RunInput) -> Any:
    if run.request.messages[-1].text == "fail":
        raise gateway.AgentError("no credit", code="no_credit", status=402)
    yield "yes"
    yield gateway.Usage(10, 3, 4)


async def silent(run: gateway.RunInput) -> str:
    return "yes"


AGENTS = {"main": counts, "other": counts, "silent": silent}
KEYS = {"k3y": Key(gateway.Caller("bob", None, frozenset({"operator", "operator.read", "operator.write"})))}


def test_tokens_are_counted_by_days_and_agents() -> None:
    now = [NOON - DAY]

    async def run(client: Client, agent_id: str, text: str = "hi") -> None:
        key = f"{agent_id}-{text}-{now[0]}"
        await client.request("agent", message=text, sessionKey=f"agent:{agent_id}:x", idempotencyKey=key, final=True)

    async def ask(client: Client, gw: gateway.Gateway) -> None:
        await run(client, "main")
        now[0] = NOON
        await run(client, "main")
        await run(client, "other")
        await run(client, "silent")
        one = {"input": 6, "output": 3, "cacheRead": 4, "cacheWrite": 0, "totalTokens": 13, "missingCostEntries": 1}
        summary = await client.request("usage.cost", days=30)
        assert [day["date"] for day in summary["daily"]] == ["2030-03-16", "2030-03-17"]
        for day in summary["daily"]:
            assert day.items() >= one.items()
        assert (summary["totals"]["totalTokens"], summary["totals"]["totalCost"], summary["days"]) == (26, 0, 30)
        for params, tokens in (
            ({}, 26),
            ({"agentScope": "all"}, 39),
            ({"agentId": "other"}, 13),
            ({"agentId": "silent"}, 0),
            ({"days": 1}, 13),
            ({"days": "2"}, 26),
            ({"days": "x"}, 26),
            ({"days": 1e300}, 26),
            ({"range": "7d"}, 26),
            ({"range": "all"}, 26),
            ({"startDate": "2030-03-16", "endDate": "2030-03-16"}, 13),
            ({"startDate": "0001-01-01", "endDate": "2030-03-16"}, 13),
        ):
            assert (await client.request("usage.cost", params))["totals"]["totalTokens"] == tokens, params
        async with connected(gw, "k3y", scopes=("operator.read", "operator.write")) as other:
            assert (await other.request("usage.cost"))["totals"]["totalTokens"] == 0
            await run(other, "main", "mine")
            assert (await other.request("usage.cost"))["totals"]["totalTokens"] == 13
        assert (await client.request("usage.cost"))["totals"]["totalTokens"] == 39
        assert await client.request("usage.status") == {"updatedAt": NOON * 1000, "providers": []}

    talk(ask, agents=AGENTS, clock=lambda: now[0], keys=KEYS)


def test_tokens_cost_what_the_configuration_says() -> None:
    """A provider of our own answers, with the tokens that it says it used."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        usage = {"prompt_tokens": 1000, "completion_tokens": 200, "prompt_tokens_details": {"cached_tokens": 400}}
        chunks = [
            {"choices": [{"index": 0, "delta": {"content": "yes"}}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {"choices": [], "usage": usage},
        ]
        body = "".join(f"data: {json.dumps(one)}\n\n" for one in chunks) + "data: [DONE]\n\n"
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream\r\n\r\n" + body.encode())
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        text = """{agents: {list: [{id: "main", default: true, model: "near/dear"}, {id: "free", model: "near/free"}]},
            models: {providers: {near: {baseUrl: "http://127.0.0.1:%d/v1", models: [
                {id: "dear", cost: {input: 3, output: 15, cacheRead: 0.5}}, {id: "free"}]}}}}"""
        settings = config(text % server.sockets[0].getsockname()[1])
        async with (
            asyncio.timeout(30),
            server,
            gateway.Gateway(settings, listen="127.0.0.1:0", token="t") as gw,
            connected(gw, "t") as client,
        ):
            for number, agent_id in enumerate(("main", "main", "free")):
                key = f"agent:{agent_id}:x"
                await client.request("agent", message="hi", sessionKey=key, idempotencyKey=str(number), final=True)
            totals = (await client.request("usage.cost"))["totals"]
            assert (totals["totalTokens"], totals["missingCostEntries"]) == (2400, 0)
            costs = [totals[name] for name in ("inputCost", "outputCost", "cacheReadCost", "totalCost")]
            assert costs == pytest.approx([2 * 0.0018, 2 * 0.003, 2 * 0.0002, 2 * 0.005])
            totals = (await client.request("usage.cost", agentScope="all"))["totals"]
            assert (totals["totalTokens"], totals["missingCostEntries"]) == (3600, 1)
            by_session = await client.request("sessions.usage", agentScope="all")
            assert [one["usage"]["totalCost"] for one in by_session["sessions"]] == pytest.approx([0.01, 0])

    asyncio.run(main())


REFUSED = [
    ({"startDate": "2030-03-16"}, "startDate and endDate must be provided together"),
    ({"startDate": "2030-03-17", "endDate": "2030-03-16"}, "startDate must not be after endDate"),
    ({"startDate": "2030-W11-1", "endDate": "2030-03-16"}, "invalid startDate: expected a valid YYYY-MM-DD"),
    ({"startDate": "2030-02-30", "endDate": "2030-03-16"}, "invalid startDate: expected a valid YYYY-MM-DD"),
    ({"agentId": "nope"}, 'unknown agent id "nope"'),
    ({"agentId": 1}, "at /agentId: must be string"),
    ({"agentId": "main", "agentScope": "all"}, "cannot be combined"),
]


@pytest.mark.parametrize(("params", "message"), REFUSED)
def test_what_cannot_be_counted_is_refused(params: dict[str, Any], message: str) -> None:
    async def ask(client: Client, gw: gateway.Gateway) -> None:
        with pytest.raises(RefusedError, match=message):
            await client.request("usage.cost", params)

    talk(ask, agents=AGENTS)


def test_how_the_last_runs_ended() -> None:
    async def ask(client: Client, gw: gateway.Gateway) -> None:
        for number, text in enumerate(("hi", "fail", "hi")):
            with nullcontext() if text == "hi" else pytest.raises(RefusedError, match="no credit"):
                await client.request("agent", message=text, idempotencyKey=f"k{number}", final=True)
        told = await client.request("diagnostics.stability", limit="2")
        assert (told["count"], told["dropped"], told["firstSeq"], told["lastSeq"]) == (3, 0, 1, 3)
        assert [event["outcome"] for event in told["events"]] == ["error", "completed"]
        assert told["events"][0]["reason"] == "no_credit"
        assert told["summary"] == {"byType": {"message.processed": 3}}
        assert (await client.request("diagnostics.stability", sinceSeq=2))["count"] == 1
        assert (await client.request("diagnostics.stability", type="payload.large"))["events"] == []
        for params, message in (
            ({"limit": 0}, "limit must be between 1 and 1000"),
            ({"limit": -1}, "limit must be a non-negative integer"),
            ({"type": 1}, "type must be a non-empty string"),
            ({"sinceSeq": True}, "sinceSeq must be a non-negative integer"),
        ):
            with pytest.raises(RefusedError, match=message):
                await client.request("diagnostics.stability", params)
        async with connected(gw, "k3y", scopes=("operator.read",)) as other:
            with pytest.raises(RefusedError, match="about the runs of all"):
                await other.request("diagnostics.stability")

    talk(ask, agents=AGENTS, keys=KEYS)


def test_commands_are_listed_where_they_are_on() -> None:
    on = Config()
    on = on.replace(session=on.session.replace(slash_commands=True))

    async def ask(client: Client, gw: gateway.Gateway) -> None:
        listed = await client.request("commands.list", scope="text", agentId="main")
        conforms("CommandsListResult", listed)
        assert [one["name"] for one in listed["commands"]] == ["status", "new", "reset", "stop", "model"]
        assert listed["commands"][-1]["args"][0]["name"] == "model"
        plain = await client.request("commands.list", includeArgs=False)
        assert not any("args" in one for one in plain["commands"])
        assert await client.request("commands.list", scope="native") == {"commands": []}

    talk(ask, agents=AGENTS, config=on)


def test_commands_may_be_off() -> None:
    off = Config()
    off = off.replace(session=off.session.replace(slash_commands=False))

    async def ask(client: Client, gw: gateway.Gateway) -> None:
        assert await client.request("commands.list") == {"commands": []}

    talk(ask, agents=AGENTS, config=off)


def test_providers_say_which_models_they_have() -> None:
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode())
        body = json.dumps({"data": [{"id": "small"}, {"id": "surprise"}]}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()

    async def ask(client: Client, gw: gateway.Gateway) -> None:
        assert [one["id"] for one in (await client.request("models.list"))["models"]] == ["small"]
        for _ in range(2):
            told = await client.request("models.list", view="all")
            assert [one["id"] for one in told["models"]] == ["small", "surprise"]
            assert told["providerOutcomes"] == [
                {"provider": "near", "status": "ready"}, {"provider": "far", "status": "unavailable"},
            ]  # fmt: skip
        assert len(asked) == 1
        await client.request("models.list", view="all", refresh=True)
        assert asked == ["/v1/models", "/v1/models"]
        only = await client.request("models.list", view="all", provider="near", preparedOnly=True)
        assert [one["id"] for one in only["models"]] == ["small"]
        assert "providerOutcomes" not in only
        assert (await client.request("models.list", view="all", provider="no such"))["models"] == []

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        text = """{agents: {list: [{id: "main", model: "near/small"}]}, models: {providers: {
            near: {baseUrl: "http://127.0.0.1:%d/v1"}, far: {baseUrl: "http://127.0.0.1:1/v1", maxRetries: 0}}}}"""
        async with (
            asyncio.timeout(30),
            server,
            gateway.Gateway(config(text % port), listen="127.0.0.1:0", token="t") as gw,
            connected(gw, "t") as client,
        ):
            await ask(client, gw)

    asyncio.run(main())
