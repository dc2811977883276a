"""Sessions as clients see them, through a gateway on a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from asking import Answer, ask, chat, serving, until

from gateway import Caller, Gateway, Key, RunInput
from gateway.config.schema import Config
from gateway.config.schema_session import Queue, Session
from gateway.model.caller import SCOPES
from gateway.model.run import RunDone, RunEvent, ToolCallDelta
from gateway.sessions.history import messages_of
from gateway.sessions.store import MemoryStore


def configured(**options: Any) -> Config:
    """A gateway with these options of `session`, and with all endpoints."""
    config = Config(session=Session(**options))
    http = config.gateway.http
    chat_completions = http.endpoints.chat_completions.replace(enabled=True)
    endpoints = http.endpoints.replace(
        chat_completions=chat_completions, responses=http.endpoints.responses.replace(enabled=True)
    )
    return config.replace(gateway=config.gateway.replace(http=http.replace(endpoints=endpoints)))


async def heard(run: RunInput) -> str:
    """What a model would have read."""
    return " ".join(message.text for message in run.conversation)


async def patient(run: RunInput) -> AsyncIterator[RunEvent]:
    yield "..."
    if run.request.messages[-1].text == "wait":
        await asyncio.sleep(60)


async def shown(gateway: Gateway, *messages: tuple[str, str], **arguments: Any) -> Answer:
    said = [{"role": role, "content": text} for role, text in messages]
    headers = arguments.pop("headers", None)
    return await ask(gateway, body={"messages": said, **arguments}, headers=headers)


async def kept(store: MemoryStore, key: str) -> list[str]:
    return [message.text for message in messages_of((await store.load(key)).turns)]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("by", ["user", "chat-id", "header"])
def test_a_client_that_resends_all_of_it(by: str, stream: bool) -> None:
    headers = {"chat-id": {"X-OpenWebUI-Chat-Id": "c1"}, "header": {"x-openclaw-session-key": "k"}}.get(by)
    key = {"user": "agent:main:openai-user:Ann", "chat-id": "agent:main:chat:c1", "header": "k"}[by]
    members = {"user": "Ann"} if by == "user" else {}
    store = MemoryStore()

    async def test(gateway: Gateway) -> None:
        said: list[tuple[str, str]] = [("system", "be brief")]
        expected = []
        for number in range(5):
            said.append(("user", f"u{number}"))
            answer = await shown(gateway, *said, headers=headers, stream=stream, **members)
            text = answer.text if not stream else "".join(
                event["choices"][0]["delta"].get("content") or "" for event in answer.events[:-1]
            )  # fmt: skip
            assert text.split() == " ".join(one for _, one in said).split(), "the model reads each message once"
            said.append(("assistant", f"  {text}\n"))
            expected += [f"u{number}", text]
        assert await kept(store, key) == expected

    serving(test, agents={"main": heard}, store=store, config=configured(sources=("header", "chat-id", "user")))


def test_a_busy_session_is_refused() -> None:
    async def test(gateway: Gateway) -> None:
        waiting = asyncio.create_task(chat(gateway, "wait", user="Ann"))
        await until(lambda: gateway.runs.active)
        refused = await chat(gateway, user="Ann")
        assert (refused.status, refused.error["code"], refused.headers["retry-after"]) == (409, "session_busy", "1")
        assert (await chat(gateway, user="Bob")).status == 200
        waiting.cancel()
        await until(lambda: not gateway.runs.active)

    serving(test, agents={"main": patient}, config=configured(queue=Queue(mode="reject")))


def test_waiting_is_limited() -> None:
    async def test(gateway: Gateway) -> None:
        waiting = asyncio.create_task(chat(gateway, "wait", user="Ann"))
        await until(lambda: gateway.runs.active)
        refused = await asyncio.gather(*(chat(gateway, user="Ann") for _ in range(5)))
        for answer in refused:
            assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (409, "session_busy", "1")
        assert sorted("busy for" in answer.error["message"] for answer in refused) == [False] * 2 + [True] * 3
        waiting.cancel()
        await until(lambda: not gateway.runs.active)

    config = configured(queue=Queue(max_waiting=3, max_wait_ms=100))
    serving(test, agents={"main": patient}, config=config)


@pytest.mark.parametrize("stream", [False, True])
def test_a_new_request_ends_the_one_under_way(stream: bool) -> None:
    store = MemoryStore()

    async def test(gateway: Gateway) -> None:
        waiting = asyncio.create_task(chat(gateway, "wait", user="Ann", stream=stream))
        await until(lambda: gateway.runs.active)
        assert (await chat(gateway, "now", user="Ann")).status == 200
        ended = await waiting
        error = ended.events[-2]["error"] if stream else ended.error
        assert error["code"] == "interrupted"
        assert ended.status == (200 if stream else 410)
        assert await kept(store, "agent:main:openai-user:Ann") == ["now", "..."]

    serving(test, agents={"main": patient}, store=store, config=configured(queue=Queue(mode="interrupt")))


def keys(*names: str) -> dict[str, Key]:
    return {f"secret-of-{name}": Key(Caller(name, None, frozenset(SCOPES))) for name in names}


def test_nobody_reaches_the_session_of_another_key() -> None:
    store = MemoryStore()

    async def test(gateway: Gateway) -> None:
        async def say(who: str | None, text: str, headers: dict[str, str] | None = None, **members: Any) -> Answer:
            body = {"messages": [{"role": "user", "content": text}], **members}
            named = {} if who is None else {"token": f"secret-of-{who}"}
            return await ask(gateway, body=body, headers=headers, **named)

        header = {"x-openclaw-session-key": "shared"}
        for who in ("ann", "bob", None):
            assert (await say(who, f"I am {who}", user="u")).text == f"I am {who}"
            assert (await say(who, f"I am {who}", header)).text == f"I am {who}"
        assert len(store) == 6
        for who in ("ann", "bob", None):
            for guess in ("key:ann:shared", "KEY:bob:agent:main:openai-user:u", "agent:main:key:ann:shared"):
                assert (await say(who, "hi", {"x-openclaw-session-key": guess})).status == 400

    serving(test, agents={"main": heard}, store=store, keys=keys("ann", "bob"))


def test_going_on_from_responses() -> None:
    store = MemoryStore()

    async def test(gateway: Gateway) -> None:
        async def respond(text: str, who: str = "ann", status: int = 200, **members: Any) -> tuple[str, str]:
            token = f"secret-of-{who}"
            answer = await ask(
                gateway, "/v1/responses", body={"model": "openclaw", "input": text, **members}, token=token
            )
            assert answer.status == status, answer.body
            if status != 200:
                return answer.error["code"], answer.error["message"]
            return answer.json["id"], answer.json["output"][0]["content"][0]["text"]

        first, _ = await respond("one")
        second, text = await respond("two", previous_response_id=first)
        assert text == "one one two"
        _, text = await respond("two", previous_response_id=second)
        assert text == "one one two one one two two", "nothing is taken for a repetition"
        _, text = await respond("other", previous_response_id=first)
        assert text == "one one other", "a fork"
        _, text = await respond("look", previous_response_id=second, store=False)
        assert text == "one one two one one two look"
        assert len(store) == 2
        for who in ("bob",):
            assert (await respond("x", who, 404, previous_response_id=first))[0] == "previous_response_not_found"
        assert (await respond("x", "ann", 404, previous_response_id="resp_" + "0" * 32))[
            0
        ] == "previous_response_not_found"

    serving(test, agents={"main": heard}, store=store, config=configured(), keys=keys("ann", "bob"))


def test_results_of_tools_find_their_calls() -> None:
    """A client that resends everything, one that sends the results only: in both cases the model reads each once."""
    seen: list[Sequence[tuple[str, int]]] = []

    async def agent(run: RunInput) -> AsyncIterator[RunEvent]:
        seen.append([(message.role, len(message.tool_calls)) for message in run.conversation])
        if run.request.messages[-1].role == "tool":
            yield "sunny"
            return
        for number in range(2):
            yield ToolCallDelta(number, f"call_{number}", "weather", json.dumps({"day": number}))
        yield RunDone("tool_calls")

    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]

    async def test(gateway: Gateway) -> None:
        for resends in (True, False):
            store_key = {"x-openclaw-session-key": f"resends {resends}"}
            asked = [{"role": "user", "content": "weather?"}]
            answer = await ask(gateway, body={"messages": asked, "tools": tools}, headers=store_key)
            message = answer.json["choices"][0]["message"]
            results = [{"role": "tool", "tool_call_id": one["id"], "content": "sun"} for one in message["tool_calls"]]
            again = [*asked, message, *results] if resends else results
            answer = await ask(gateway, body={"messages": again, "tools": tools}, headers=store_key)
            assert answer.text == "sunny"
            assert seen[-1] == [("user", 0), ("assistant", 2), ("tool", 0), ("tool", 0)]
            lost = [{"role": "tool", "tool_call_id": "call_9", "content": "x"}]
            refused = await ask(gateway, body={"messages": lost, "tools": tools}, headers=store_key)
            assert (refused.status, refused.error["code"]) == (400, "tool_call_not_found")

    serving(test, agents={"main": agent})
