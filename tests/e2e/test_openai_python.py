"""The official Python SDK against a gateway whose upstream is another server, both processes of their own."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam
from openai.types.chat.chat_completion_chunk import Choice
from processes import TOKEN, Chain, Launch, configuration, until

SIDES = ["", "relay-"]
"""The agent in the gateway itself, and the same agent behind a second server."""


def say(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


@pytest.fixture
def client(chain: Chain) -> Iterator[OpenAI]:
    with OpenAI(base_url=chain.front.base_url, api_key=TOKEN, max_retries=0, timeout=20) as made:
        yield made


def content(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


@pytest.mark.parametrize("side", SIDES)
def test_create(client: OpenAI, side: str) -> None:
    model = f"openclaw/{side}words"
    answer = client.chat.completions.create(model=model, messages=say("one two three"))
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == model
    assert len(answer.choices) == 1
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content == "one two three "
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (1, 3, 4)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("asked", [False, True])
def test_stream(client: OpenAI, side: str, asked: bool) -> None:
    if asked:
        stream = client.chat.completions.create(
            model=f"clawdbot:{side}words", messages=say("a b c"), stream=True, stream_options={"include_usage": True}
        )
    else:
        stream = client.chat.completions.create(model=f"clawdbot:{side}words", messages=say("a b c"), stream=True)
    with stream:
        chunks = list(stream)
    assert content(chunks) == "a b c "
    assert chunks[0].choices[0].delta.role == "assistant"
    assert not chunks[0].choices[0].delta.content
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk.model for chunk in chunks} == {f"clawdbot:{side}words"}
    assert len({chunk.id for chunk in chunks}) == 1
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert [reason for reason in reasons if reason] == ["stop"]
    assert reasons[-1] == "stop"
    counted = [chunk for chunk in chunks if chunk.usage is not None]
    if asked:
        assert counted == chunks[-1:]
        assert counted[0].choices == []
        assert counted[0].usage is not None
        assert counted[0].usage.total_tokens == 4
    else:
        assert not counted


@pytest.mark.parametrize("side", SIDES)
def test_finish_reason_goes_through(client: OpenAI, side: str) -> None:
    answer = client.chat.completions.create(model=f"openclaw/{side}pause", messages=say(uuid.uuid4().hex))
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("before after", "length")


def test_pieces_come_when_they_are_made(client: OpenAI) -> None:
    name = uuid.uuid4().hex
    loop = asyncio.new_event_loop()
    with client.chat.completions.create(model="openclaw/relay-pause", messages=say(name), stream=True) as stream:
        times = [(loop.time(), chunk.choices[0].delta.content) for chunk in stream if chunk.choices]
    loop.close()
    said = [(when, text) for when, text in times if text]
    assert [text for _, text in said] == ["before ", "after"]
    assert said[1][0] - said[0][0] > 1, "the first piece was held back until the second came"


def test_raw_response(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="openclaw", messages=say("hi"))
    assert raw.status_code == 200
    assert raw.headers["content-type"].split(";")[0] == "application/json"
    assert raw.headers["x-request-id"]
    assert raw.parse().choices[0].message.content == "Echo: hi"
    named = client.chat.completions.with_raw_response.create(
        model="openclaw", messages=say("hi"), extra_headers={"x-request-id": "my-id.1"}
    )
    assert named.headers["x-request-id"] == "my-id.1"


def test_raw_stream_headers(client: OpenAI) -> None:
    with client.chat.completions.with_streaming_response.create(
        model="openclaw", messages=say("hi"), stream=True
    ) as raw:
        assert raw.headers["content-type"].split(";")[0] == "text/event-stream"
        assert raw.headers["cache-control"] == "no-cache, no-transform"
        assert raw.headers["x-accel-buffering"] == "no"
        lines = [line for line in raw.iter_lines() if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"


@pytest.mark.parametrize(
    "model",
    [
        "openclaw",
        "openclaw/default",
        "OpenClaw/Main",
        "openclaw:main",
        "clawdbot:main",
        "agent:main",
        "AGENT:MAIN",
        "gpt-4o",
    ],
)
def test_models_that_mean_an_agent(client: OpenAI, model: str) -> None:
    answer = client.chat.completions.create(model=model, messages=say("hi"))
    assert (answer.model, answer.choices[0].message.content) == (model, "Echo: hi")


@pytest.mark.parametrize("family", ["openclaw", "clawdbot", "moltbot", "gateway"])
def test_a_header_wins_over_the_model(client: OpenAI, family: str) -> None:
    answer = client.chat.completions.create(
        model="openclaw/words", messages=say("a b"), extra_headers={f"x-{family}-agent-id": "main"}
    )
    assert answer.choices[0].message.content == "Echo: a b"


@pytest.mark.parametrize("side", SIDES)
def test_content_parts_and_roles(client: OpenAI, side: str) -> None:
    answer = client.chat.completions.create(
        model=f"openclaw/{side}verbatim",
        messages=[
            {"role": "system", "content": "be brief"},
            {"role": "developer", "content": "really"},
            {"role": "assistant", "content": "yes?"},
            {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
        ],
    )
    assert answer.choices[0].message.content == "one\ntwo"


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("stream", [False, True])
def test_text_survives(client: OpenAI, side: str, stream: bool) -> None:
    text = '  na\u00efve "quotes" \\ \r\n\t \u2028 \U0001f980 \x7f \x00 data: x\n\n'
    if stream:
        with client.chat.completions.create(
            model=f"openclaw/{side}verbatim", messages=say(text), stream=True
        ) as events:
            assert content(list(events)) == text
    else:
        answer = client.chat.completions.create(model=f"openclaw/{side}verbatim", messages=say(text))
        assert answer.choices[0].message.content == text


# Sessions.


def test_the_same_user_shares_a_session(client: OpenAI) -> None:
    user = uuid.uuid4().hex

    def turn(text: str, who: str | None) -> str | None:
        extra = {} if who is None else {"user": who}
        made = client.chat.completions.create(model="openclaw/remember", messages=say(text), extra_body=extra)
        return made.choices[0].message.content

    assert turn("first", user) == ""
    assert turn("second", f" {user} ") == "first|"
    assert turn("third", user) == "first||second|first|"
    assert turn("fourth", user.upper()) == "", "two users must never share a session"
    assert turn("fifth", None) == ""
    assert turn("sixth", None) == ""


@pytest.mark.parametrize("stream", [False, True])
def test_a_conversation_that_is_sent_again_is_known(client: OpenAI, stream: bool) -> None:
    user = uuid.uuid4().hex
    messages: list[Any] = [{"role": "system", "content": "be brief"}]
    said: list[str] = []

    def turn(text: str) -> None:
        messages.append({"role": "user", "content": text})
        arguments: dict[str, Any] = {"model": "openclaw/remember", "messages": messages, "user": user}
        if stream:
            with client.chat.completions.create(stream=True, **arguments) as events:
                answer = content(list(events))
            messages.append({"role": "assistant", "content": answer})
        else:
            message = client.chat.completions.create(**arguments).choices[0].message
            answer = message.content or ""
            messages.append(message)
        assert answer == "|".join(said), "each message once"
        said.extend((text, answer))

    for text in ("one", "two", "three"):
        turn(text)
    del messages[-4:]  # the user edits the second question
    del said[-4:]
    turn("two, edited")
    turn("four")


def test_session_keys(client: OpenAI) -> None:
    def key(headers: dict[str, str] | None = None, user: str | None = None) -> str:
        made = client.chat.completions.create(
            model="openclaw/tell-key",
            messages=say("?"),
            extra_headers=headers,
            extra_body={"user": user} if user else {},
        )
        return made.choices[0].message.content or ""

    assert key({"x-openclaw-session-key": "My:Key"}) == "My:Key"
    assert key({"x-clawdbot-session-key": "My:Key"}, user="u") == "My:Key"
    assert key(user=" Ann ") == "agent:tell-key:openai-user:Ann"
    long = key(user="a" * 129)
    assert long.startswith("agent:tell-key:openai-user")
    assert "a" * 129 not in long
    fresh = [key(), key()]
    assert fresh[0] != fresh[1]
    assert all(one.startswith("agent:tell-key:openai:") for one in fresh)
    for reserved in ("subagent:x", "cron:x", "acp:x"):
        with pytest.raises(openai.BadRequestError):
            key({"x-openclaw-session-key": reserved})


# Errors.


def test_authentication_error(chain: Chain) -> None:
    with OpenAI(base_url=chain.front.base_url, api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            client.chat.completions.create(model="openclaw", messages=say("hi"))
        assert caught.value.code == "invalid_api_key"
        assert "Incorrect API key provided" in caught.value.message
        assert caught.value.response.headers["www-authenticate"].startswith("Bearer")
        with pytest.raises(openai.AuthenticationError):
            client.models.list()


def test_not_found_error(client: OpenAI) -> None:
    for model in ("nobody", "openclaw/nobody", "gpt-5", "main"):
        with pytest.raises(openai.NotFoundError) as caught:
            client.chat.completions.create(model=model, messages=say("hi"))
        assert caught.value.code == "model_not_found", model


def test_bad_request_errors(client: OpenAI) -> None:
    for body, param in (
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "pirate", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"model": 7}, "model"),
        ({"stream": "yes"}, "stream"),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="openclaw", messages=say("hi"), extra_body=body)
        assert caught.value.type == "invalid_request_error"
        assert caught.value.param is not None, body
        assert caught.value.param.startswith(param.split("[", maxsplit=1)[0]), (body, caught.value.param)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("stream", [False, True])
def test_failed_runs(client: OpenAI, side: str, stream: bool) -> None:
    if stream:
        events = client.chat.completions.create(model=f"openclaw/{side}fail-late", messages=say("x"), stream=True)
        said: list[Choice] = []
        with events, pytest.raises(openai.APIError, match="out of order"):
            said.extend(chunk.choices[0] for chunk in events)
        assert not any(choice.finish_reason for choice in said), "a failed stream must not look finished"
    else:
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model=f"openclaw/{side}fail-late", messages=say("x"))
        assert caught.value.status_code == 502


def test_statuses_of_failures(client: OpenAI) -> None:
    for status, error in (
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (504, openai.InternalServerError),
    ):
        with pytest.raises(error) as caught:
            client.chat.completions.create(model="openclaw/fail", messages=say(str(status)))
        assert caught.value.status_code == status
        assert caught.value.code == "broken"
        if status == 429:
            assert caught.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize(
    ("refusal", "status", "error"),
    [
        (400, 400, openai.BadRequestError),
        (401, 502, openai.InternalServerError),
        (404, 502, openai.InternalServerError),
        (429, 429, openai.RateLimitError),
        (500, 502, openai.InternalServerError),
        (503, 502, openai.InternalServerError),
        (504, 504, openai.InternalServerError),
    ],
)
def test_refusals_of_the_upstream(
    client: OpenAI, refusal: int, status: int, error: type[openai.APIStatusError]
) -> None:
    for stream in (False, True):
        with pytest.raises(openai.APIError) as caught:
            for _ in client.chat.completions.create(
                model=f"openclaw/refused-{refusal}", messages=say("x"), stream=stream
            ):
                pass
        if not stream:
            assert isinstance(caught.value, error)
            assert caught.value.status_code == status
            if status == 429:
                assert caught.value.response.headers["retry-after"] == "3"
        assert "key-of-the-operator" not in str(caught.value), "the operator's key is shown to a client"


def test_upstream_that_is_not_there(client: OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="openclaw/nowhere", messages=say("x"))
    assert caught.value.status_code == 502


def test_disabled_endpoint(launch: Launch) -> None:
    config = configuration()
    del config["gateway"]["http"]
    running = launch(config)
    with OpenAI(base_url=running.base_url, api_key=TOKEN, max_retries=0) as client, pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="openclaw", messages=say("hi"))


# Leaving.


@pytest.mark.parametrize("side", SIDES)
def test_client_timeout_ends_the_run(chain: Chain, client: OpenAI, side: str) -> None:
    name = uuid.uuid4().hex
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=1).chat.completions.create(model=f"openclaw/{side}silent", messages=say(name))
    where = chain.back if side else chain.front
    assert where.marked(name, "started")
    until("the agent sees its run cancelled", lambda: where.marked(name, "cancelled"), 15)


@pytest.mark.parametrize("side", SIDES)
def test_closing_a_stream_ends_the_run(chain: Chain, client: OpenAI, side: str) -> None:
    name = uuid.uuid4().hex
    with client.chat.completions.create(model=f"openclaw/{side}forever", messages=say(name), stream=True) as stream:
        for number, _ in enumerate(stream):
            if number == 5:
                break
    where = chain.back if side else chain.front
    until("the agent sees its run cancelled", lambda: where.marked(name, "cancelled"))
    assert not where.marked(name, "finished")


@pytest.mark.parametrize("side", SIDES)
def test_async(chain: Chain, side: str) -> None:
    name = uuid.uuid4().hex

    async def main() -> None:
        async with AsyncOpenAI(base_url=chain.front.base_url, api_key=TOKEN, max_retries=0, timeout=20) as client:
            completions = client.chat.completions
            answers = await asyncio.gather(
                *(completions.create(model=f"openclaw/{side}words", messages=say(f"number {n}")) for n in range(20))
            )
            assert [a.choices[0].message.content for a in answers] == [f"number {n} " for n in range(20)]

            async def collect(stream: AsyncIterator[ChatCompletionChunk]) -> str:
                return content([chunk async for chunk in stream])

            streams = [
                await completions.create(model=f"openclaw/{side}words", messages=say(f"stream {n}"), stream=True)
                for n in range(10)
            ]
            assert await asyncio.gather(*map(collect, streams)) == [f"stream {n} " for n in range(10)]

            with pytest.raises(openai.AuthenticationError):
                await client.with_options(api_key="wrong").models.list()

            async def read_on() -> None:
                async for _ in await completions.create(
                    model=f"openclaw/{side}forever", messages=say(name), stream=True
                ):
                    pass

            task = asyncio.create_task(read_on())
            where = chain.back if side else chain.front
            await asyncio.to_thread(until, "the run starts", lambda: where.marked(name, "started"))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.to_thread(until, "the run is cancelled", lambda: where.marked(name, "cancelled"))

    asyncio.run(main())


# Models.


def test_models(client: OpenAI) -> None:
    listed = {model.id: model for model in client.models.list()}
    assert {"openclaw", "openclaw/default", "openclaw/main", "openclaw/words", "openclaw/relay-words"} <= listed.keys()
    for model in listed.values():
        assert (model.object, type(model.created)) == ("model", int)
        assert model.owned_by
        assert client.models.retrieve(model.id).id == model.id
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("openclaw/nobody")
    assert caught.value.code == "model_not_found"
