"""One WebSocket from its challenge to its close, over real sockets."""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
from asking import TOKEN, ask, serving, until
from dialogue import RefusedError, address, dial, params_of, talk
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from gateway import Gateway
from gateway.agents.function import echo
from gateway.config import Config
from gateway.config import Gateway as GatewayConfig
from gateway.config.schema import Ws
from gateway.control import connection

CONNECT = {"type": "req", "id": "c", "method": "connect", "params": params_of()}


@pytest.mark.parametrize("path", ["/", "/ws", "/anything?x=1", "/v1/models", "/healthz"])
def test_any_path_is_a_websocket(path: str) -> None:
    async def test(gateway: Gateway) -> None:
        async with dial(gateway, path) as client:
            assert set(client.challenge) == {"nonce", "ts"}
            hello = await client.request("connect", params_of())
            assert (hello["type"], hello["protocol"]) == ("hello-ok", 4)
            assert {"health", "agent"} <= set(hello["features"]["methods"])

    serving(test, agents={"main": echo})


def test_it_can_be_switched_off() -> None:
    async def test(gateway: Gateway) -> None:
        with pytest.raises(InvalidStatus) as caught:
            await connect(address(gateway), proxy=None)
        assert caught.value.response.status_code == 404

    serving(test, agents={"main": echo}, config=Config(gateway=GatewayConfig(ws=Ws(enabled=False))))


def test_a_large_message_does_not_stay_until_the_next_one_comes() -> None:
    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as client:
            await client.request("health")
            tracemalloc.start()
            try:
                with suppress(RefusedError):  # pytest.raises would keep it, and what was sent with it
                    await client.request("no.method", {"much": "x" * 4_000_000})
                await asyncio.sleep(0.05)
                gc.collect()
                held, _ = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert held < 2_000_000

    serving(test, agents={"main": echo})


def test_nothing_is_compressed() -> None:
    async def test(gateway: Gateway) -> None:
        async with connect(address(gateway), proxy=None, compression="deflate") as socket:
            assert socket.response is not None
            assert "Sec-WebSocket-Extensions" not in socket.response.headers

    serving(test, agents={"main": echo})


FIRST = [
    ("not json", 1000, "", None),
    (b"\xff\xfe", 1000, "", None),
    ('{"type":"req","id":"1","method":"connect","extra":1}', 1008, "invalid request frame", None),
    ("[1]", 1008, "invalid request frame", None),
    ('{"type":"event","event":"x"}', 1008, "invalid request frame", None),
    (
        '{"type":"req","id":"1","method":"health"}', 1008, "invalid handshake: first request must be connect",
        "invalid handshake: first request must be connect",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("frame", "code", "reason", "error"), FIRST)
def test_a_first_frame_that_is_no_connect(frame: str | bytes, code: int, reason: str, error: str | None) -> None:
    async def test(gateway: Gateway) -> None:
        async with dial(gateway) as client:
            await client.raw(frame)
            assert await client.over() == (code, reason)
            answers = client.answers.get("1", [])
            assert [answer["error"]["message"] for answer in answers] == ([error] if error else [])

    serving(test, agents={"main": echo})


def test_a_first_frame_in_binary_is_taken() -> None:
    async def test(gateway: Gateway) -> None:
        async with dial(gateway) as client:
            await client.raw(json.dumps(CONNECT).encode())
            assert (await client.answer("c"))["type"] == "hello-ok"

    serving(test, agents={"main": echo})


def test_a_stranger_may_not_send_much() -> None:
    async def test(gateway: Gateway) -> None:
        async with dial(gateway) as client:
            await client.raw("x" * (connection.PREAUTH_BYTES + 1))
            assert (await client.over())[0] == 1009
        async with talk(gateway) as known:
            with pytest.raises(RefusedError, match="unknown method"):
                await known.request("no.such", text="x" * 300_000)

    serving(test, agents={"main": echo})


def test_a_stranger_has_limited_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HANDSHAKE_SECONDS", 0.2)

    async def test(gateway: Gateway) -> None:
        async with dial(gateway) as client:
            assert await client.over() == (1000, "")
        async with talk(gateway) as known:
            await asyncio.sleep(0.4)
            assert (await known.request("health"))["ok"]

    serving(test, agents={"main": echo})


def test_strangers_of_one_address_are_counted() -> None:
    async def test(gateway: Gateway) -> None:
        async with AsyncExitStack() as stack:
            strangers = [await stack.enter_async_context(dial(gateway)) for _ in range(32)]
            with pytest.raises(InvalidStatus) as caught:
                await connect(address(gateway), proxy=None)
            response = caught.value.response
            assert (response.status_code, response.body) == (503, b"Too many unauthenticated sockets")
            await strangers[0].request("connect", params_of())  # who is known is none any more
            strangers.append(await stack.enter_async_context(dial(gateway)))
            await strangers[1].socket.close()
            await stack.enter_async_context(dial(gateway))

    serving(test, agents={"main": echo})


def test_frames_behind_connect_wait_for_it() -> None:
    async def test(gateway: Gateway) -> None:
        async with dial(gateway) as client:
            await client.raw(CONNECT)
            await client.raw({"type": "req", "id": "h", "method": "health"})
            assert (await client.answer("h"))["ok"]
        async with dial(gateway) as client:  # a wrong secret is told of late: meanwhile too much comes
            await client.raw({**CONNECT, "params": params_of("wrong")})
            for number in range(20):
                await client.raw({"type": "req", "id": str(number), "method": "health"})
            assert await client.over() == (1008, "too many pending handshake frames")

    serving(test, agents={"main": echo})


AFTER: list[tuple[Any, dict[str, Any]]] = [
    (CONNECT | {"id": "1"}, {"code": "INVALID_REQUEST", "message": "connect is only valid as the first request"}),
    (
        {"type": "req", "id": "1", "method": "no.such"},
        {"code": "INVALID_REQUEST", "message": "unknown method: no.such"},
    ),
    (
        {"type": "req", "id": "1", "method": "agent", "params": {"message": "hi"}},
        {
            "code": "INVALID_REQUEST",
            "message": "invalid agent params: must have required property 'idempotencyKey'",
        },
    ),
]


@pytest.mark.parametrize(("frame", "error"), AFTER)
def test_a_request_that_is_refused_leaves_the_connection(frame: Any, error: dict[str, Any]) -> None:
    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as client:
            client.answers.clear()
            await client.raw("not json: ignored")
            await client.raw(frame)
            with pytest.raises(RefusedError) as caught:
                await client.answer("1")
            assert caught.value.error == error
            await client.raw({"type": "req", "method": "health"})
            with pytest.raises(RefusedError, match="invalid request frame: "):
                await client.answer("invalid")
            assert (await client.request("health"))["ok"]

    serving(test, agents={"main": echo})


def test_a_scope_that_is_missing() -> None:
    async def test(gateway: Gateway) -> None:
        async with talk(gateway, scopes=("operator.read",)) as client:
            with pytest.raises(RefusedError) as caught:
                await client.request("agent", message="hi", idempotencyKey="k")
            details = {
                "code": "MISSING_SCOPE", "missingScope": "operator.write", "requiredScopes": ["operator.write"],
            }  # fmt: skip
            assert caught.value.error == {
                "code": "FORBIDDEN", "message": "missing scope: operator.write", "details": details,
            }  # fmt: skip

    serving(test, agents={"main": echo})


def test_requests_under_way_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "REQUESTS", 4)

    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as client:
            run = await client.send("agent", message="go", idempotencyKey="slow")
            await client.answer(run)
            waits = [await client.send("agent.wait", runId="slow", timeoutMs=60_000) for _ in range(4)]
            with pytest.raises(RefusedError) as caught:
                await client.answer(waits[-1])
            assert (caught.value.code, caught.value.error["retryable"]) == ("UNAVAILABLE", True)
            gateway.runs.abort("slow")
            assert (await client.answer(waits[0]))["status"] == "error"
            assert (await client.request("health"))["ok"]

    async def slow(run: Any) -> Any:
        yield "a"
        await asyncio.sleep(60)

    serving(test, agents={"main": slow})


def test_a_drain_says_goodbye_and_waits_for_runs() -> None:
    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as client, talk(gateway) as other:
            run = await client.send("agent", message="go", idempotencyKey="run")
            await client.answer(run)
            await gateway.drain(5)
            assert (await client.answer(run, 2))["result"]["payloads"][0]["text"] == "ab"
            assert client.seen("shutdown") == [{"reason": "gateway stopping"}]
            assert other.seen("shutdown") == [{"reason": "gateway stopping"}]
            assert await client.over() == await other.over() == (1012, "service restart")

    async def slow(run: Any) -> Any:
        yield "a"
        await asyncio.sleep(0.3)
        yield "b"

    serving(test, agents={"main": slow})


def test_a_gateway_that_starts_says_so() -> None:
    async def test(gateway: Gateway) -> None:
        gateway._state = "starting"  # one of its listeners is open, the next is not
        async with dial(gateway) as client:
            with pytest.raises(RefusedError) as caught:
                await client.request("connect", params_of())
            assert caught.value.error == {
                "code": "UNAVAILABLE", "message": "gateway starting; retry shortly", "retryable": True,
                "retryAfterMs": 500, "details": {"reason": "startup-sidecars"},
            }  # fmt: skip
            assert await client.over() == (1013, "gateway starting")
        gateway._state = "started"
        async with talk(gateway) as client:
            assert (await client.request("health"))["ok"]

    serving(test, agents={"main": echo})


def test_numbers_of_events_go_up_by_one() -> None:
    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as early:
            for number in range(5):
                await early.request("agent", message="x", idempotencyKey=str(number), final=True)
            async with talk(gateway) as late:
                await late.request("agent", message="x", idempotencyKey="late", final=True)
                await until(lambda: late.seen("chat") and early.seen("chat")[-1]["runId"] == "late")
                for client in (early, late):
                    numbers = [event["seq"] for event in client.events]
                    assert numbers == list(range(1, len(numbers) + 1))

    serving(test, agents={"main": echo})


def test_a_client_that_leaves_leaves_nothing() -> None:
    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as client:
            await client.send("agent.wait", runId="nobody", timeoutMs=60_000)
        await until(lambda: gateway.connections == 0)
        async with talk(gateway) as client:
            assert len(await client.request("system-presence")) == 2
        assert (await ask(gateway, "/v1/models", method="GET", token=TOKEN)).status == 200

    serving(test, agents={"main": echo})
