"""Requests on a running gateway: who may call what, and what is said of parameters, as OpenClaw does both."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from results import conforms
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from gateway import Gateway, RunInput

DATA = Path(__file__).parents[1] / "data" / "control"
TOKEN = "a token for tests"
CLIENT = {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"}


async def shout(run: RunInput) -> str:
    return str(run.request.messages[-1].text).upper()


class Caller:
    """A client without any help: frames in, frames out."""

    def __init__(self, link: ClientConnection) -> None:
        self.link = link

    async def frame(self, **frame: Any) -> Any:
        """The answer to a frame; events in between are passed over."""
        await self.link.send(json.dumps(frame))
        async for message in self.link:
            answer = json.loads(message)
            if answer["type"] == "res":
                conforms("ResponseFrame", answer)
                return answer
            conforms("EventFrame", answer)
        raise AssertionError("closed without an answer")

    async def request(self, method: str, params: Any = None, **more: Any) -> Any:
        return await self.frame(
            type="req", id="1", method=method, **({} if params is None else {"params": params}), **more
        )

    async def hello(self, *scopes: str) -> Any:
        params = {
            "minProtocol": 4, "maxProtocol": 4, "client": CLIENT, "auth": {"token": TOKEN}, "role": "operator",
            "scopes": list(scopes),
        }  # fmt: skip
        return await self.request("connect", params)

    async def end(self) -> tuple[int, str]:
        """The close frame that comes next."""
        with suppress(ConnectionClosed):
            async for _ in self.link:
                pass
        close = self.link.protocol.close_rcvd
        assert close is not None
        return close.code, close.reason


def calling(test: Callable[[Caller], Coroutine[Any, Any, None]]) -> None:
    """Runs a test against a gateway of its own."""

    async def main() -> None:
        async with Gateway(agents={"main": shout}, listen="127.0.0.1:0", token=TOKEN) as gateway:
            url = gateway.urls[0].replace("http", "ws", 1)
            async with connect(url) as link, asyncio.timeout(20):
                await test(Caller(link))

    asyncio.run(main())


@pytest.mark.parametrize(
    ("params", "wrong"),
    [
        (None, "must be object"),
        ({}, "must have required property 'minProtocol'"),
        ({"minProtocol": 4, "maxProtocol": 4}, "must have required property 'client'"),
        ({"minProtocol": 4, "maxProtocol": 4, "client": CLIENT, "zzz": 1}, "at root: unexpected property 'zzz'"),
        (
            {"minProtocol": 4, "maxProtocol": 4, "client": {**CLIENT, "id": "no-such"}},
            "at /client/id: must be equal to one of the allowed values",
        ),
        (
            {"minProtocol": 0, "maxProtocol": "4", "client": {**CLIENT, "mode": ""}, "a\ud800": 1},
            (
                "at root: unexpected property 'a?'; at /minProtocol: must be >= 1; at /maxProtocol: must be integer; "
                "at /client/mode: must be equal to one of the allowed values"
            ),
        ),
    ],
)  # fmt: skip
def test_parameters_of_connect(params: Any, wrong: str) -> None:
    async def test(caller: Caller) -> None:
        answer = await caller.request("connect", params)
        message = f"invalid connect params: {wrong}"
        assert answer["error"] == {"code": "INVALID_REQUEST", "message": message}
        assert await caller.end() == (1008, message[:120])

    calling(test)


def test_parameters_of_methods() -> None:
    cases = [json.loads(line) for line in (DATA / "params.jsonl").read_text(encoding="utf-8").splitlines()]

    async def test(caller: Caller) -> None:
        hello = await caller.hello("operator.admin")
        conforms("HelloOk", hello["payload"])
        known = set(hello["payload"]["features"]["methods"])
        wrong = [
            case
            for case in cases
            if case["method"] in known and case["error"] is not None and case["params"] is not None
        ]
        assert wrong
        for case in wrong:
            answer = await caller.request(case["method"], case["params"])
            message = f"invalid {case['method']} params: {case['error']}"
            assert answer["error"] == {"code": "INVALID_REQUEST", "message": message}, case

    calling(test)


def test_null_is_no_parameters() -> None:
    async def test(caller: Caller) -> None:
        await caller.hello("operator.admin")
        given: tuple[dict[str, Any], ...] = ({"params": None}, {"params": {}}, {})
        for frame in given:
            assert (await caller.frame(type="req", id="1", method="health", **frame))["ok"]
        answer = await caller.frame(type="req", id="1", method="health", params="all")
        assert answer["error"]["message"] == "invalid health params: must be object"

    calling(test)


@pytest.mark.parametrize(
    ("method", "params", "granted", "needed"),
    [
        ("agent", {"message": "hi"}, "operator.read", "operator.write"),
        ("agent", {"message": "/reset and greet me"}, "operator.write", "operator.admin"),
        ("agent.wait", {"runId": "r"}, "operator.read", "operator.write"),
        ("system-presence", {}, "operator.pairing", "operator.read"),
    ],
)
def test_scopes(method: str, params: dict[str, Any], granted: str, needed: str) -> None:
    async def test(caller: Caller) -> None:
        await caller.hello(granted)
        answer = await caller.request(method, params)
        conforms("ErrorShape", answer["error"])
        assert answer["error"] == {
            "code": "FORBIDDEN",
            "message": f"missing scope: {needed}",
            "details": {"code": "MISSING_SCOPE", "missingScope": needed, "requiredScopes": [needed]},
        }

    calling(test)


def test_health_needs_no_scope() -> None:
    async def test(caller: Caller) -> None:
        await caller.hello()
        assert (await caller.request("health"))["ok"]

    calling(test)


@pytest.mark.parametrize(
    ("frame", "request_id", "wrong"),
    [
        ({"type": "req", "id": "7", "method": "health", "zzz": 1}, "7", "at root: unexpected property 'zzz'"),
        ({"type": "req", "id": "7"}, "7", "must have required property 'method'"),
        ({"type": "req", "id": "", "method": ""}, "invalid",
         "at /id: must not have fewer than 1 characters; at /method: must not have fewer than 1 characters"),
        ({"type": "event", "id": "7", "method": "m"}, "7", "at /type: must be equal to constant"),
        ({"type": "req", "id": "7", "method": "m", "traceparent": "0" * 129}, "7",
         "at /traceparent: must not have more than 128 characters"),
        ({"type": "req", "id": "7", "method": "m", "expectedProfileId": ""}, "7",
         "at /expectedProfileId: must not have fewer than 1 characters"),
    ],
)  # fmt: skip
def test_frames_that_are_no_requests(frame: dict[str, Any], request_id: str, wrong: str) -> None:
    async def test(caller: Caller) -> None:
        await caller.hello("operator.admin")
        answer = await caller.frame(**frame)
        assert answer["id"] == request_id
        assert answer["error"] == {"code": "INVALID_REQUEST", "message": f"invalid request frame: {wrong}"}
        assert (await caller.request("health", traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))[
            "ok"
        ]

    calling(test)


def test_a_request_for_one_account_is_not_done_for_another() -> None:
    async def test(caller: Caller) -> None:
        await caller.hello("operator.admin")
        answer = await caller.request("health", expectedProfileId="somebody")
        assert answer["error"] == {
            "code": "INVALID_REQUEST",
            "message": "Selected account changed or is unavailable. Select the account again before retrying.",
            "details": {"reason": "EXPECTED_PROFILE_MISMATCH", "execution": "not_started"},
        }

    calling(test)


def test_what_a_run_sends() -> None:
    async def test(caller: Caller) -> None:
        await caller.hello("operator.read", "operator.write")
        params = {"message": "hi there", "agentId": "main", "idempotencyKey": "run-1"}
        await caller.link.send(json.dumps({"type": "req", "id": "2", "method": "agent", "params": params}))
        answers: list[Any] = []
        events: list[Any] = []
        async for message in caller.link:
            frame = json.loads(message)
            (answers if frame["type"] == "res" else events).append(frame)
            if len(answers) == 2:
                break
        for answer in answers:
            conforms("ResponseFrame", answer)
        assert [answer["payload"]["status"] for answer in answers] == ["accepted", "ok"]
        for event in events:
            conforms("EventFrame", event)
            if event["event"] in {"agent", "chat"}:
                conforms("AgentEvent" if event["event"] == "agent" else "ChatEvent", event["payload"])
        seen = {event["event"] for event in events}
        assert {"agent", "chat"} <= seen
        finals = [event["payload"] for event in events if event["payload"].get("state") == "final"]
        assert [final["message"]["content"][0]["text"] for final in finals] == ["HI THERE"]

    calling(test)


def test_what_is_told_of_those_who_are_there() -> None:
    async def test(caller: Caller) -> None:
        conforms("Snapshot", (await caller.hello("operator.read"))["payload"]["snapshot"])
        present = (await caller.request("system-presence"))["payload"]
        assert present
        for entry in present:
            conforms("PresenceEntry", entry)

    calling(test)


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("agent.identity.get", "AgentIdentityResult"),
        ("config.schema", "ConfigSchemaResponse"),
        ("logs.tail", "LogsTailResult"),
    ],
)
def test_answers_that_have_a_schema(method: str, name: str) -> None:
    async def test(caller: Caller) -> None:
        await caller.hello("operator.read")
        conforms(name, (await caller.request(method, {}))["payload"])

    calling(test)
