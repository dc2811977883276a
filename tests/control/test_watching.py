"""One run and those who watch it, over real sockets."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from asking import ask, chat, say, serving, until
from dialogue import RefusedError, talk

from gateway import Gateway
from gateway.agents.function import echo
from gateway.control.client import Client
from gateway.control.clients import ClientInfo
from gateway.control.connect import Welcome
from gateway.control.hub import Hub
from gateway.errors import AgentError
from gateway.model.caller import OPERATOR, Caller, Key
from gateway.ports import Link

SCOPES = frozenset({"chat", "operator.read", "operator.write"})
KEYS = {f"secret-of-{name}": Key(Caller(name, None, SCOPES)) for name in ("alice", "bob")}


async def counting(run: Any) -> Any:
    for number in range(20):
        yield f"{number} "
        await asyncio.sleep(0.02)


async def endless(run: Any) -> Any:
    while True:
        yield "again "
        await asyncio.sleep(0.02)


TEXT = "".join(f"{number} " for number in range(20))


def test_a_run_over_http_is_seen_as_it_happens() -> None:
    async def test(gateway: Gateway) -> None:
        reader = talk(gateway, scopes=("operator.read",))
        async with talk(gateway) as one, reader as two, talk(gateway, scopes=()) as nobody:
            answer = await chat(gateway)
            assert answer.json["choices"][0]["message"]["content"] == TEXT
            for client in (one, two):
                final = await client.event("chat", lambda payload: payload["state"] == "final")
                assert final["message"]["content"] == [{"type": "text", "text": TEXT}]
                deltas = [payload for payload in client.seen("chat") if payload["state"] == "delta"]
                assert "".join(payload["deltaText"] for payload in deltas) == TEXT
                assert 2 <= len(deltas) <= 8, "they are told together, some times a second"
                shown = [payload["message"]["content"][0]["text"] for payload in deltas]
                assert all(TEXT.startswith(text) for text in shown)
                phases = [p["data"]["phase"] for p in client.seen("agent") if p["stream"] == "lifecycle"]
                assert phases == ["start", "end"]
                numbers = [payload["seq"] for payload in client.seen("agent")]
                assert numbers == sorted(set(numbers))
            assert not nobody.seen("chat")
            assert not nobody.seen("agent")

    serving(test, agents={"main": counting})


def test_a_run_survives_its_socket() -> None:
    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as client:
            await client.answer(await client.send("agent", message="go", idempotencyKey="k"))
        async with talk(gateway) as client:
            again = await client.request("agent", message="go", idempotencyKey="k")
            assert again["status"] == "in_flight"
            ended = await client.request("agent.wait", runId="k", timeoutMs=5000)
            assert ended["status"] == "ok"
            final = await client.request("agent", message="go", idempotencyKey="k")
            assert final["result"]["payloads"] == [{"text": TEXT, "mediaUrl": None}]
            assert (await client.request("agent.wait", runId="nobody", timeoutMs=10))["status"] == "timeout"

    serving(test, agents={"main": counting})


def test_a_run_that_fails_is_told_twice() -> None:
    async def failing(run: Any) -> Any:
        yield "so far"
        raise AgentError("LLM request failed: no", code="upstream_timeout", status=504)

    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as client:
            run = await client.send("agent", message="go", idempotencyKey="k")
            assert (await client.answer(run))["status"] == "accepted"
            with pytest.raises(RefusedError) as caught:
                await client.answer(run, 2)
            assert (caught.value.code, str(caught.value)) == ("UNAVAILABLE", "LLM request failed: no")
            error = await client.event("chat", lambda payload: payload["state"] == "error")
            assert (error["errorMessage"], error["errorKind"]) == ("LLM request failed: no", "timeout")
            waited = await client.request("agent.wait", runId="k")
            assert (waited["status"], waited["error"]) == ("error", "LLM request failed: no")

    serving(test, agents={"main": failing})


def test_an_http_run_ends_with_its_caller_and_is_seen_to() -> None:
    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as client:
            asking = asyncio.create_task(ask(gateway, body=say(stream=True)))
            run = await client.event("chat", lambda payload: payload["state"] == "delta")
            asking.cancel()
            aborted = await client.event("chat", lambda payload: payload["state"] == "aborted")
            assert aborted["runId"] == run["runId"]
            assert aborted["message"]["content"][0]["text"].startswith("again ")
            waited = await client.request("agent.wait", runId=run["runId"])
            assert (waited["status"], waited["error"]) == ("error", "aborted")

    serving(test, agents={"main": endless})


def test_unknown_agents_and_taken_names() -> None:
    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as client:
            with pytest.raises(RefusedError) as caught:
                await client.request("agent", message="x", idempotencyKey="k", agentId="nope")
            assert str(caught.value) == 'invalid agent params: unknown agent id "nope"'
            with pytest.raises(RefusedError, match="must not have more than 256 characters"):
                await client.request("agent", message="x", idempotencyKey="k" * 300)

    serving(test, agents={"main": echo})


def test_a_client_that_does_not_read_misses_deltas_only() -> None:
    async def loud(run: Any) -> Any:
        for number in range(60):
            yield f"{number}:" + "x" * 20_000
            await asyncio.sleep(0.03)

    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as deaf, talk(gateway) as reader:
            deaf.socket.transport.pause_reading()
            deaf._reader.cancel()
            await reader.answer(await reader.send("agent", message="go", idempotencyKey="k"), 2)
            hub = gateway._control._services.hub
            slow = next(iter(hub.clients))
            assert slow.seq > 0
            assert slow.buffered < 3_000_000, "only what must not be lost waits for it"
            final = await reader.event("chat", lambda payload: payload["state"] == "final")
            assert len(final["message"]["content"][0]["text"]) == 400_000
            assert [event["seq"] for event in reader.events] == list(range(1, len(reader.events) + 1))

    serving(test, agents={"main": loud})


def test_the_slowest_has_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway.control import hub

    monkeypatch.setattr(hub, "MAX_BUFFERED_BYTES", 3_000_000)

    async def loud(run: Any) -> str:
        return "x" * 300_000

    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as deaf, talk(gateway) as reader:
            deaf.socket.transport.pause_reading()
            deaf._reader.cancel()
            for number in range(80):
                await reader.request("agent", message="go", idempotencyKey=str(number), final=True)
                if len(gateway._control._services.hub.clients) == 1:
                    break
            await until(lambda: len(gateway._control._services.hub.clients) == 1, 15)
            assert (await reader.request("health"))["ok"]

    serving(test, agents={"main": loud})


def test_a_key_sees_its_own_runs_only() -> None:
    async def test(gateway: Gateway) -> None:
        scopes = ("operator.read", "operator.write")
        alice = talk(gateway, "secret-of-alice", scopes=scopes)
        bob = talk(gateway, "secret-of-bob", scopes=scopes)
        async with alice as alice_, bob as bob_, talk(gateway) as operator:
            run = {"message": "hi", "sessionKey": "agent:main:mine", "idempotencyKey": "k"}
            accepted = await alice_.answer(request := await alice_.send("agent", run))
            assert accepted["sessionKey"] == "agent:main:mine"
            await alice_.answer(request, 2)
            shown = await alice_.event("chat", lambda payload: payload["state"] == "final")
            assert shown["sessionKey"] == "agent:main:mine", "it knows its sessions without its id"
            seen = await operator.event("chat", lambda payload: payload["state"] == "final")
            assert seen["sessionKey"] == "key:alice:agent:main:mine"
            assert (await bob_.request("agent.wait", runId="k", timeoutMs=0))["status"] == "timeout"
            await bob_.request("agent", run | {"idempotencyKey": "other"}, final=True)
            assert {payload["runId"] for payload in bob_.seen("chat")} == {"other"}
            assert {payload["runId"] for payload in alice_.seen("chat")} == {"k"}

    serving(test, agents={"main": echo}, keys=KEYS)


def test_an_event_that_cannot_be_told_keeps_no_other_back(caplog: pytest.LogCaptureFixture) -> None:
    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as one, talk(gateway) as two:
            hub = gateway._control._services.hub
            hub.broadcast("odd", {"what": object()})
            hub.broadcast("odd", lambda caller: 1 / 0)
            hub.broadcast("good", {"n": 1})
            for client in (one, two):
                assert await client.event("good") == {"n": 1}
                assert not client.seen("odd")
                assert [event["seq"] for event in client.events] == list(range(1, len(client.events) + 1))

    serving(test, agents={"main": echo})
    assert [record.getMessage() for record in caplog.records] == ["the event odd cannot be told"] * 2


def test_telling_a_thousand_holds_up_nobody() -> None:
    class Ear:
        """A link that takes everything."""

        full = False
        taken = 0

        def write(self, frames: bytes) -> None:
            self.taken += len(frames)

    async def test() -> None:
        loop = asyncio.get_running_loop()
        hub = Hub(loop)
        info = ClientInfo("cli", "cli", "1", "linux")
        welcome = Welcome(OPERATOR, "operator", ("operator.read",), 4, info, (), None, {})
        ears = [Ear() for _ in range(3000)]
        for number, ear in enumerate(ears):
            hub.add(Client(cast("Link", ear), welcome, str(number), hub, since=0.0))
        for number in range(300):
            hub.broadcast("chat", {"number": number, "text": "x" * 500}, scope="operator.read", about="agent:main:main")
        turns = 0
        while hub.busy:
            turns += 1
            await asyncio.sleep(0)
        assert turns > 20, "it was done in slices"
        assert len({ear.taken for ear in ears}) == 1
        assert ears[0].taken > 300 * 500
        assert {client.seq for client in hub.clients} == {300}

    asyncio.run(test())
