"""POST /v1/responses, through a gateway on a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asking import TOKEN, Answer, ask, serving, until
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from gateway import AgentError, Gateway, Limits, RunDone, RunInput, Usage
from gateway.agents.conversation import ANSWER_CHARACTERS
from gateway.agents.function import echo
from gateway.config import Config, Endpoints, Http, Responses
from gateway.config import Gateway as GatewayConfig
from gateway.model.run import ToolCallDelta
from gateway.testing import ScriptedAgent
from gateway.wire.sse import SseDecoder, SseEvent

PATH = "/v1/responses"
CONFIG = Config(gateway=GatewayConfig(http=Http(endpoints=Endpoints(responses=Responses(enabled=True)))))
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


async def respond(gateway: Gateway, value: Any = "hi", headers: dict[str, str] | None = None, **members: Any) -> Answer:
    return await ask(gateway, PATH, body={"input": value, **members}, headers=headers)


def whole(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer.body
    value: dict[str, Any] = answer.json
    Response.model_validate(value, strict=True)
    return value


def text_of(answer: Answer) -> str:
    text: str = whole(answer)["output"][0]["content"][0]["text"]
    return text


def events_of(answer: Answer) -> list[dict[str, Any]]:
    """The events of a stream, read strictly, and without its comments."""
    assert answer.status == 200, answer.body
    events = [event for event in SseDecoder().receive(answer.body) if isinstance(event, SseEvent)]
    assert events[-1].data == "[DONE]"
    found = [json.loads(event.data) for event in events[:-1]]
    assert [event["type"] for event in found] == [event.type for event in events[:-1]]
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    for event in found:
        EVENT.validate_python(event, strict=True)
    return found


async def tell(run: RunInput) -> str:
    """Everything about the run, as JSON."""
    request = run.request
    return json.dumps(
        {
            "agent": run.agent_id,
            "key": run.session_key,
            "stateless": run.stateless,
            "history": [message.text for message in run.history],
            "messages": [list(message[:5]) for message in request.messages],
            "parameters": dict(request.parameters),
            "tools": request.tools,
            "tool_choice": request.tool_choice,
            "after": run.after,
        }
    )


async def told(gateway: Gateway, value: Any = "hi", headers: dict[str, str] | None = None, **members: Any) -> Any:
    return json.loads(text_of(await respond(gateway, value, headers, **members)))


def serve(test: Any, **arguments: Any) -> None:
    serving(test, **{"agents": {"main": tell}, "config": CONFIG, **arguments})


# Where it is served.


def test_it_is_off_by_default() -> None:
    async def test(gateway: Gateway) -> None:
        assert (await respond(gateway)).status == 404

    serving(test, agents={"main": echo})


def test_it_does_not_need_the_chat_endpoint() -> None:
    async def test(gateway: Gateway) -> None:
        assert (await respond(gateway)).status == 200
        assert (await ask(gateway, body={"messages": []})).status == 404
        assert (await ask(gateway, PATH, body={"input": "hi"}, token=None)).status == 401
        assert (await ask(gateway, PATH, method="GET")).headers["allow"] == "POST"

    serve(test)


def test_the_body_is_limited() -> None:
    small = Config(
        gateway=GatewayConfig(http=Http(endpoints=Endpoints(responses=Responses(enabled=True, max_body_bytes=100))))
    )

    async def test(gateway: Gateway) -> None:
        assert (await respond(gateway, "x" * 10)).status == 200
        assert (await respond(gateway, "x" * 100)).status == 413

    serve(test, config=small)


def test_a_body_is_needed() -> None:
    async def test(gateway: Gateway) -> None:
        assert (await ask(gateway, PATH, body=b"")).error["code"] == "invalid_json"
        assert (await ask(gateway, PATH, body={"input": 1})).error["param"] == "input"

    serve(test)


# What the agent is asked.


def test_what_the_agent_is_asked() -> None:
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}}

    async def test(gateway: Gateway) -> None:
        asked = await told(
            gateway,
            [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}],
            instructions="Be brief.",
            temperature=0.5,
            max_output_tokens=9,
            tools=[tool],
            tool_choice="none",
        )
        assert [message[:2] for message in asked["messages"]] == [
            ["system", "Be brief."],
            ["user", "a"],
            ["assistant", "b"],
            ["user", "c"],
        ]
        assert asked["parameters"] == {"temperature": 0.5, "max_completion_tokens": 9}
        assert asked["tools"] == [["f", None, {"type": "object"}, None]]
        assert asked["tool_choice"] == ["none", None]
        assert asked["after"] is None

    serve(test)


def test_which_agent_is_asked() -> None:
    async def test(gateway: Gateway) -> None:
        for model, agent in ((None, "main"), ("openclaw", "main"), ("openclaw/beta", "beta"), ("agent:beta", "beta")):
            answer = await respond(gateway, model=model)
            assert (json.loads(text_of(answer))["agent"], answer.json["model"]) == (agent, model or "openclaw")
        assert (await told(gateway, headers={"x-openclaw-agent-id": "beta"}, model="openclaw"))["agent"] == "beta"
        unknown = await respond(gateway, model="gpt-4")
        assert (unknown.status, unknown.error["code"]) == (404, "model_not_found")

    serve(test, agents={"main": tell, "beta": tell})


def test_which_session_it_is() -> None:
    async def test(gateway: Gateway) -> None:
        answer = await respond(gateway)
        identity = answer.json["id"].removeprefix("resp_")
        assert json.loads(text_of(answer))["key"].replace("-", "") == f"agent:main:openresponses:{identity}"
        assert (await told(gateway))["history"] == []
        named = {"x-openclaw-session-key": "mine"}
        assert (await told(gateway, headers=named))["key"].endswith("mine")
        assert len((await told(gateway, "again", headers=named))["history"]) == 2
        assert (await told(gateway, user="me"))["key"].endswith("agent:main:openresponses-user:me")
        kept = await told(gateway, conversation="c1")
        assert kept["key"].endswith("agent:main:openresponses-conversation:c1")
        assert len((await told(gateway, "again", conversation={"id": "c1"}))["history"]) == 2
        for members in ({"store": False}, {"store": False, "user": "me"}):
            assert (await told(gateway, **members))["stateless"]
        assert (await told(gateway, headers=named, store=False))["stateless"]
        reserved = await respond(gateway, headers={"x-openclaw-session-key": "cron:x"})
        assert (reserved.status, reserved.error["param"]) == (400, "x-openclaw-session-key")

    serve(test)


# The answer.


def test_the_answer_as_a_whole() -> None:
    async def test(gateway: Gateway) -> None:
        answer = await respond(gateway, "one two", model="openclaw/main", metadata={"a": "b"}, instructions="Be brief.")
        value = whole(answer)
        assert answer.headers["content-type"] == "application/json; charset=utf-8"
        assert value["created_at"] == 1_700_000_000
        assert (value["model"], value["metadata"], value["instructions"]) == ("openclaw/main", {"a": "b"}, "Be brief.")
        assert value["output"][0]["content"][0]["text"] == "Echo: one two"
        assert value["usage"]["total_tokens"] == value["usage"]["input_tokens"] + value["usage"]["output_tokens"]
        assert value["status"] == "completed"
        assert (await respond(gateway)).json["id"] != value["id"]

    serve(test, agents={"main": echo}, clock=lambda: 1_700_000_000.99)


SCRIPT = (
    "Hel",
    ["lo", " you"],
    ToolCallDelta(0, "c1", "f", '{"a"'),
    ToolCallDelta(0, arguments=":1}"),
    Usage(3, 4, 1, 2),
)


def test_a_stream_says_what_the_whole_answer_says() -> None:
    async def test(gateway: Gateway) -> None:
        value = whole(await respond(gateway))
        answer = await respond(gateway, stream=True)
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache, no-transform"
        assert answer.headers["x-accel-buffering"] == "no"
        events = events_of(answer)
        deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
        assert deltas == ["Hel", "lo", " you"]
        last = events[-1]["response"]
        assert events[0]["response"]["id"] == last["id"]
        assert {**last, "id": "", "output": ""} == {**value, "id": "", "output": ""}
        assert [{**item, "id": ""} for item in last["output"]] == [{**item, "id": ""} for item in value["output"]]

    serve(test, agents={"main": ScriptedAgent(*SCRIPT, RunDone("tool_calls"))})


def test_the_first_events_leave_before_the_agent_speaks() -> None:
    async def test(gateway: Gateway) -> None:
        _, _, url = gateway.urls[0].partition("//")
        host, _, port = url.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        body = b'{"input": "hi", "stream": true}'
        writer.write(
            b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b"
            % (TOKEN.encode(), len(body), body)
        )
        seen = b""
        async with asyncio.timeout(5):
            while b"response.in_progress" not in seen or b": keep-alive" not in seen:
                seen += await reader.read(65_536)
        assert b"response.output_item.added" not in seen
        writer.close()
        await until(lambda: agent.cancelled == 1)

    agent = ScriptedAgent(30.0, "late")
    serve(test, agents={"main": agent}, limits=Limits(silence=0.05))


def test_silence_is_bridged_by_comments() -> None:
    async def test(gateway: Gateway) -> None:
        answer = await respond(gateway, stream=True)
        assert events_of(answer)[-1]["type"] == "response.completed"
        assert b"\n\n: keep-alive\n\n" in answer.body

    serve(test, agents={"main": ScriptedAgent("one", 0.2, "two")}, limits=Limits(silence=0.05))


def test_a_failure() -> None:
    async def test(gateway: Gateway) -> None:
        answer = await respond(gateway)
        assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (429, "slow", "2")
        events = events_of(await respond(gateway, stream=True))
        assert events[-1]["type"] == "response.failed"
        assert events[-1]["response"]["error"] == {"code": "rate_limit_exceeded", "message": "wait", "type": "slow"}
        assert events[-1]["response"]["output"][0]["status"] == "incomplete"

    failing = ScriptedAgent("so far", AgentError("wait", code="slow", status=429, retry_after=1.5))
    serve(test, agents={"main": failing})


@pytest.mark.parametrize("piece", ["x" * 500_000, ToolCallDelta(0, "c", "f", "x" * 500_000)])
@pytest.mark.parametrize("store", [True, False])
def test_an_answer_without_an_end(piece: str | ToolCallDelta, store: bool) -> None:
    ended = []

    async def flood(_: RunInput) -> AsyncIterator[str | ToolCallDelta]:
        try:
            while True:
                yield piece
        finally:
            ended.append(True)

    async def test(gateway: Gateway) -> None:
        answer = await respond(gateway, stream=True, store=store)
        last = json.loads(answer.body.split(b"\n\n")[-3].partition(b"data: ")[2])  # too long for our reader
        assert (last["type"], last["response"]["error"]["type"]) == ("response.failed", "answer_too_long")
        assert len(answer.body) < 5 * ANSWER_CHARACTERS
        assert ended

    serve(test, agents={"main": flood})
