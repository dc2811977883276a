"""POST /v1/responses, through a gateway on a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from asking import TOKEN, Answer, ask, serving, until
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from gateway import AgentError, Gateway, Limits, RunDone, RunInput, Usage
from gateway.agents.conversation import ANSWER_CHARACTERS
from gateway.agents.function import echo
from gateway.config import Config, Endpoints, Http, Responses, load
from gateway.config import Gateway as GatewayConfig
from gateway.errors import StoreError
from gateway.model.caller import Caller, Key
from gateway.model.run import ModelChange, ToolCallDelta
from gateway.sessions.store import MemoryStore
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
        own = {"id": "", "output": "", "created_at": 0, "completed_at": 0}  # they are answered one after the other
        assert {**last, **own} == {**value, **own}
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


# What an agent takes and shows.

TOOL = {"type": "function", "name": "f"}
GIF = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
PICTURE = {
    "role": "user",
    "content": [{"type": "input_text", "text": "see"}, {"type": "input_image", "image_url": GIF}],
}


def test_what_an_agent_does_not_take() -> None:
    async def test(gateway: Gateway) -> None:
        tools = await respond(gateway, model="openclaw/echo", tools=[TOOL])
        assert (tools.status, tools.error["param"]) == (400, "tools")
        image = await respond(gateway, ["x", PICTURE][1:], model="openclaw/echo", instructions="Look.")
        assert (image.status, image.error["param"]) == (400, "input[0].content[1]")
        assert (await respond(gateway, [PICTURE], model="openclaw/all", tools=[TOOL])).status == 200

    every = ScriptedAgent("nice")
    serve(test, agents={"echo": echo, "all": every})
    (message,) = every.runs[0].request.messages
    assert (message.text, message.parts[0], len(message.parts)) == ("see", "see", 2)


def configured(folder: Path, **entry: Any) -> Config:
    path = folder / "gateway.json5"
    agent = {"id": "main", "runtime": {"type": "python", "target": "e2e_agents:thinker"}, **entry}
    chat = {"maxImageParts": 1, "images": {"allowUrl": True, "urlAllowlist": ["*"]}}
    endpoints = {"responses": {"enabled": True}, "chatCompletions": chat}
    path.write_text(json.dumps({"agents": {"list": [agent]}, "gateway": {"http": {"endpoints": endpoints}}}))
    return load(str(path), environ={}).config


@pytest.mark.parametrize("shown", [False, True])
def test_reasoning_is_shown_where_the_configuration_says_so(shown: bool, tmp_path: Path) -> None:
    async def test(gateway: Gateway) -> None:
        value = whole(await respond(gateway))
        assert [item["type"] for item in value["output"]] == ["reasoning"] * shown + ["message"]
        assert value["usage"]["output_tokens_details"]["reasoning_tokens"] == 4
        events = events_of(await respond(gateway, stream=True))
        thought = [event["delta"] for event in events if event["type"] == "response.reasoning_summary_text.delta"]
        assert thought == (["hm", " \n…"] if shown else [])
        assert [item["type"] for item in events[-1]["response"]["output"]] == ["reasoning"] * shown + ["message"]

    serving(test, config=configured(tmp_path, showReasoning=shown))


def test_images_have_the_limits_of_the_configuration(tmp_path: Path) -> None:
    async def test(gateway: Gateway) -> None:
        many = await respond(gateway, [PICTURE, PICTURE])
        assert (many.status, many.error["param"]) == (400, "input[1].content[1].image_url")
        part = {"type": "input_image", "image_url": "http://127.0.0.1/cat.png"}
        local = await respond(gateway, [{"role": "user", "content": [part]}], instructions="Look.")
        assert (local.status, local.error["param"]) == (400, "input[0].content[0].image_url")
        assert "no public address" in local.error["message"]

    serving(test, config=configured(tmp_path))


def test_another_model_that_answers_is_told() -> None:
    async def test(gateway: Gateway) -> None:
        answer = await respond(gateway)
        assert answer.headers["x-openclaw-fallback"] == "b/m; a/m failed"
        streamed = await respond(gateway, stream=True)
        assert b"\n\n: fallback b/m; a/m failed\n\n" in streamed.body
        assert events_of(streamed)[-1]["type"] == "response.completed"

    serve(test, agents={"main": ScriptedAgent(ModelChange("b/m", "a/m failed"), "yes")})


def test_keys_need_the_scope() -> None:
    keys = {f"key-of-{scope}": Key(Caller(scope, None, frozenset({scope}))) for scope in ("responses", "chat")}

    async def test(gateway: Gateway) -> None:
        assert (await ask(gateway, PATH, body={"input": "hi"}, token="key-of-responses")).status == 200
        refused = await ask(gateway, PATH, body={"input": "hi"}, token="key-of-chat")
        assert (refused.status, refused.error["code"]) == (403, "insufficient_scope")

    serve(test, keys=keys)


# What a response goes on from.


async def remember(run: RunInput) -> str:
    """What the caller has said, and how often the agent did."""
    heard = "|".join(message.text for message in run.conversation if message.role != "assistant")
    return f"{heard} {sum(message.role == 'assistant' for message in run.conversation)}"


async def said(gateway: Gateway, value: Any, after: Answer | None = None, **members: Any) -> Answer:
    previous = None if after is None else after.json["id"]
    answer = await respond(gateway, value, previous_response_id=previous, **members)
    assert answer.status == 200, answer.body
    assert answer.json["previous_response_id"] == previous
    return answer


def test_previous_response_id() -> None:
    async def test(gateway: Gateway) -> None:
        one = await said(gateway, "a", instructions="be brief")
        assert text_of(one) == "be brief|a 0"
        two = await said(gateway, "b", one, instructions="be long")
        assert text_of(two) == "be long|a|b 1", "instructions are not carried over"
        three = await said(gateway, "c", two)
        assert text_of(three) == "a|b|c 2"
        branch = await said(gateway, "d", one)
        assert text_of(branch) == "a|d 1"
        assert text_of(await said(gateway, "e", two)) == "a|b|e 2", "from what is no longer the last"
        assert text_of(await said(gateway, "f", three)) == "a|b|c|f 3", "the session itself is as it was"
        assert text_of(await said(gateway, "g")) == "g 0"
        events = events_of(await respond(gateway, "h", previous_response_id=branch.json["id"], stream=True))
        assert events[-1]["response"]["output"][0]["content"][0]["text"] == "a|d|h 2"

    serve(test, agents={"main": remember})


def test_what_is_not_stored_is_not_there() -> None:
    async def test(gateway: Gateway) -> None:
        one = await said(gateway, "a")
        aside = await said(gateway, "b", one, store=False)
        assert text_of(aside) == "a|b 1", "it may read what was kept"
        assert text_of(await said(gateway, "c", one)) == "a|c 1"
        for stream in (False, True):
            answer = await respond(gateway, "d", previous_response_id=aside.json["id"], stream=stream)
            assert (answer.status, answer.error["code"]) == (404, "previous_response_not_found")
            assert answer.error["param"] == "previous_response_id"

    serve(test, agents={"main": remember})


def test_the_response_of_another_caller_is_not_there() -> None:
    keys = {f"key-of-{name}": Key(Caller(name)) for name in ("ann", "bob")}

    async def test(gateway: Gateway) -> None:
        async def asked(token: str, after: Answer | None = None) -> Answer:
            body = {"input": "x", "previous_response_id": None if after is None else after.json["id"]}
            return await ask(gateway, PATH, body=body, token=token)

        mine = await asked("key-of-ann")
        assert (await asked("key-of-ann", mine)).status == 200
        for stranger in ("key-of-bob", TOKEN):
            answer = await asked(stranger, mine)
            assert (answer.status, answer.error["code"]) == (404, "previous_response_not_found")
        assert (await asked("key-of-ann", await asked(TOKEN))).status == 404

    serve(test, keys=keys, agents={"main": remember})


def test_results_go_on_from_the_calls() -> None:
    async def caller(run: RunInput) -> AsyncIterator[str | ToolCallDelta]:
        if run.conversation[-1].role == "tool":
            yield f"{run.conversation[-2].tool_calls[0].name}: {run.conversation[-1].text}"
        else:
            yield ToolCallDelta(0, "c1", "f", "{}")

    async def test(gateway: Gateway) -> None:
        first = await said(gateway, "go", tools=[TOOL])
        result = {"type": "function_call_output", "call_id": "c1", "output": "42"}
        assert text_of(await said(gateway, [result], first, tools=[TOOL])) == "f: 42"
        stray = {"type": "function_call_output", "call_id": "c2", "output": "42"}
        answer = await respond(gateway, [stray], previous_response_id=first.json["id"])
        assert (answer.status, answer.error["code"]) == (400, "tool_call_not_found")
        assert (await respond(gateway, [result])).error["code"] == "tool_call_not_found"

    serve(test, agents={"main": caller})


def test_items_that_are_referred_to() -> None:
    """As the AI SDK does with what it was answered, unless it is told not to store anything."""
    keys = {"key-of-bob": Key(Caller("bob"))}

    async def caller(run: RunInput) -> AsyncIterator[str | ToolCallDelta]:
        if run.conversation[-1].role == "user":
            yield "let me see"
            yield ToolCallDelta(0, "c1", "f", "{}")
        else:
            yield "|".join(f"{one.role}: {one.text}{[*one.tool_calls]}" for one in run.conversation)

    async def test(gateway: Gateway) -> None:
        first = await said(gateway, "go", tools=[TOOL])
        message, call = first.json["output"]
        items = [
            {"role": "user", "content": "go"},
            {"type": "item_reference", "id": message["id"]},
            {"type": "item_reference", "id": call["id"]},
            {"type": "function_call_output", "call_id": "c1", "output": "42"},
        ]
        calls = "[ToolCall(id='c1', name='f', arguments='{}')]"
        wanted = f"user: go[]|assistant: let me see{calls}|tool: 42[]"
        assert text_of(await said(gateway, items, tools=[TOOL])) == wanted
        mixed = [*items[:2], {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}, items[3]]
        assert text_of(await said(gateway, mixed, tools=[TOOL])) == wanted, "the call is there once"
        only = text_of(await said(gateway, [items[0], items[2], items[3]], tools=[TOOL]))
        assert only == f"user: go[]|assistant: {calls}|tool: 42[]"
        no_call = [{"type": "item_reference", "id": call["id"][:-2] + "01"}, items[0]]
        assert (await respond(gateway, no_call)).error["code"] == "item_not_found"
        stranger = await ask(gateway, PATH, body={"input": items}, token="key-of-bob")
        assert (stranger.status, stranger.error["code"]) == (404, "item_not_found")
        assert stranger.error["param"] == "input[1]"
        aside = await respond(gateway, "go", store=False)
        gone = [{"type": "item_reference", "id": aside.json["output"][0]["id"]}, {"role": "user", "content": "x"}]
        assert (await respond(gateway, gone)).status == 404

    serve(test, agents={"main": caller}, keys=keys)


def test_sent_again_it_is_one_run() -> None:
    agent = ScriptedAgent("once")

    async def test(gateway: Gateway) -> None:
        for stream in (False, True):
            headers = {"Idempotency-Key": str(stream)}
            first = await respond(gateway, headers=headers, stream=stream)
            second = await respond(gateway, headers=headers, stream=stream)
            assert first.status == second.status == 200
            assert first.body == second.body, "ids and sequence numbers, too"
            assert second.headers["idempotent-replayed"] == "true"
        assert len(agent.runs) == 2

    serving(test, config=CONFIG, agents={"main": agent})


def test_a_stream_that_failed_is_not_given_again() -> None:
    agent = ScriptedAgent("some", AgentError("not now"))

    async def test(gateway: Gateway) -> None:
        for number in (1, 2):
            answer = await respond(gateway, headers={"Idempotency-Key": "x"}, stream=True)
            assert events_of(answer)[-1]["type"] == "response.failed"
            assert len(agent.runs) == number

    serving(test, config=CONFIG, agents={"main": agent})


def test_a_store_that_fails() -> None:
    class Broken(MemoryStore):
        async def locate(self, run_id: str) -> tuple[str, int] | None:
            raise StoreError(f"{run_id} cannot be looked for: the disk is gone")

    async def test(gateway: Gateway) -> None:
        first = await said(gateway, "a")
        reference = {"type": "item_reference", "id": first.json["output"][0]["id"]}
        for stream in (False, True):
            for answer in (
                await respond(gateway, "b", previous_response_id=first.json["id"], stream=stream),
                await respond(gateway, [reference, {"role": "user", "content": "b"}], stream=stream),
            ):
                assert (answer.status, answer.error["code"]) == (503, "session_store_unavailable")
                assert answer.error["type"] == "api_error"

    serve(test, store=Broken())
