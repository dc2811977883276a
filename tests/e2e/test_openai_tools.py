"""The official SDK against a gateway in front of a model that calls tools, looks at images and thinks.

The model is a scripted server that streams as OpenAI does: a call's id and name first, its arguments in pieces.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from asking import TOKEN
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel

from gateway import Gateway
from gateway.config import load

WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
TIME: ChatCompletionToolParam = {"type": "function", "function": {"name": "get_time"}}
TOOLS = [WEATHER, TIME]
PNG = b"\x89PNG\r\n\x1a\nnot much of a picture"


class ScriptedModel:
    """A model that does what it is told: `bodies` are the requests that came."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
                body = json.loads(await reader.readexactly(length))
                self.bodies.append(body)
                events = [*self.choices(body), {"choices": [], "usage": USAGE}]
                text = "".join(
                    f"data: {json.dumps({'id': 'c', 'object': 'chat.completion.chunk', **one})}\n\n" for one in events
                )
                data = f"{text}data: [DONE]\n\n".encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(data)
                )
                for at in range(0, len(data), 700):
                    writer.write(data[at : at + 700])
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def choices(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        last, tools = body["messages"][-1], body.get("tools", [])
        wanted = body.get("tool_choice", "auto")
        if isinstance(wanted, dict):
            return calling((wanted["function"]["name"], "{}"))
        if last["role"] == "tool":
            results = [one["content"] for one in body["messages"] if one["role"] == "tool"]
            return saying(f"It is {' and '.join(results)}.")
        if tools and wanted != "none" and (wanted == "required" or "weather" in str(last["content"])):
            calls = [("get_weather", '{"city": "Paris"}'), ("get_time", "{}")]
            return calling(*calls[: 1 if body.get("parallel_tool_calls") is False else 2])
        if isinstance(last["content"], list):
            return saying(" and ".join(part["type"] for part in last["content"]))
        if body.get("response_format"):
            return saying('{"city": "Paris", "degrees": 20}')
        return [delta(reasoning_content="hm"), *saying("hello")]


USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 5,
    "total_tokens": 14,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


def delta(finish: str | None = None, **members: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": members, "finish_reason": finish}]}


def saying(text: str) -> list[dict[str, Any]]:
    return [
        delta(role="assistant", content=""),
        *(delta(content=one) for one in text.split(" ") for one in (one, " ")),
        delta("stop"),
    ]


def calling(*calls: tuple[str, str]) -> list[dict[str, Any]]:
    events = [delta(role="assistant", content=None)]
    for index, (name, arguments) in enumerate(calls):
        function = {"name": name, "arguments": ""}
        events.append(
            delta(tool_calls=[{"index": index, "id": f"call_{index}", "type": "function", "function": function}])
        )
        events += [
            delta(tool_calls=[{"index": index, "function": {"arguments": arguments[at : at + 3]}}])
            for at in range(0, len(arguments), 3)
        ]
    return [*events, delta("tool_calls")]


@asynccontextmanager
async def asking(folder: Path) -> AsyncIterator[tuple[AsyncOpenAI, ScriptedModel]]:
    model = ScriptedModel()
    server = await asyncio.start_server(model.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    path = folder / "gateway.json5"
    agents = [{"id": "main", "model": "acme/m-1"}, {"id": "open", "model": "acme/m-1", "showReasoning": True}]
    agents += [{"id": "blind", "model": "acme/text"}, {"id": "echo", "runtime": {"type": "echo"}}]
    provider = {"baseUrl": url, "apiKey": "k", "models": ["m-1", {"id": "text", "input": ["text"]}]}
    config = {
        "gateway": {"http": {"endpoints": {"chatCompletions": {"enabled": True}}}},
        "models": {"providers": {"acme": provider}},
        "agents": {"list": agents},
    }
    path.write_text(json.dumps(config), encoding="utf-8")
    loaded = load(str(path), environ={}).config
    async with (
        Gateway(loaded, listen="127.0.0.1:0", token=TOKEN) as gateway,
        AsyncOpenAI(base_url=f"{gateway.urls[0]}/v1", api_key=TOKEN, max_retries=0, timeout=20) as client,
    ):
        yield client, model
    server.close()


def run(folder: Path, test: Callable[[AsyncOpenAI, ScriptedModel], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asking(folder) as (client, model):
            await test(client, model)

    asyncio.run(main())


def ask(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("parallel", [False, True])
def test_a_round_trip(parallel: bool, tmp_path: Path) -> None:
    async def test(client: AsyncOpenAI, model: ScriptedModel) -> None:
        messages = ask("the weather?")
        first = await client.chat.completions.create(
            model="openclaw/main", messages=messages, tools=TOOLS, parallel_tool_calls=parallel
        )
        choice = first.choices[0]
        assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
        calls = choice.message.tool_calls
        assert calls is not None
        names = ["get_weather", "get_time"] if parallel else ["get_weather"]
        assert [call.type == "function" and call.function.name for call in calls] == names
        assert calls[0].type == "function"
        assert json.loads(calls[0].function.arguments) == {"city": "Paris"}
        messages.append(choice.message.model_dump())  # type: ignore[arg-type]  # as users of the SDK do
        for call, result in zip(calls, ["20 degrees", "noon"], strict=False):
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        second = await client.chat.completions.create(model="openclaw/main", messages=messages, tools=TOOLS)
        assert second.choices[0].finish_reason == "stop"
        assert second.choices[0].message.content == f"It is 20 degrees{' and noon' if parallel else ''}. "
        assert model.bodies[0]["tools"] == TOOLS
        assert model.bodies[0]["parallel_tool_calls"] is parallel
        sent = model.bodies[1]["messages"]
        assert sent[1]["tool_calls"][0] == {
            "id": "call_0",
            "type": "function",
            "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
        }
        assert sent[2] == {"role": "tool", "tool_call_id": "call_0", "content": "20 degrees"}

    run(tmp_path, test)


def test_calls_in_a_stream(tmp_path: Path) -> None:
    async def test(client: AsyncOpenAI, model: ScriptedModel) -> None:
        pieces = 0
        async with client.chat.completions.stream(
            model="openclaw/main", messages=ask("weather"), tools=TOOLS, stream_options={"include_usage": True}
        ) as stream:
            async for event in stream:
                pieces += event.type == "tool_calls.function.arguments.delta"
            final = await stream.get_final_completion()
        assert pieces > 4, "the arguments come as the model streams them"
        choice = final.choices[0]
        assert choice.finish_reason == "tool_calls"
        assert choice.message.tool_calls is not None
        assert [(call.id, call.function.name, call.function.arguments) for call in choice.message.tool_calls] == [
            ("call_0", "get_weather", '{"city": "Paris"}'),
            ("call_1", "get_time", "{}"),
        ]
        assert final.usage is not None
        assert final.usage.prompt_tokens_details is not None
        assert final.usage.prompt_tokens_details.cached_tokens == 4
        assert final.usage.completion_tokens_details is not None
        assert final.usage.completion_tokens_details.reasoning_tokens == 2

    run(tmp_path, test)


def test_demanded_calls(tmp_path: Path) -> None:
    async def test(client: AsyncOpenAI, model: ScriptedModel) -> None:
        async def names(tool_choice: Any) -> list[str]:
            answer = await client.chat.completions.create(
                model="openclaw/main", messages=ask("hello"), tools=TOOLS, tool_choice=tool_choice
            )
            assert model.bodies[-1].get("tool_choice", "auto") == tool_choice
            calls = answer.choices[0].message.tool_calls or []
            assert answer.choices[0].finish_reason == ("tool_calls" if calls else "stop")
            return [call.function.name for call in calls if call.type == "function"]

        assert await names("auto") == []
        assert await names("none") == []
        assert await names("required") == ["get_weather", "get_time"]
        assert await names({"type": "function", "function": {"name": "get_time"}}) == ["get_time"]
        with pytest.raises(openai.BadRequestError, match="not found in `tools`"):
            await names({"type": "function", "function": {"name": "get_nothing"}})

    run(tmp_path, test)


def test_a_session_takes_the_results_alone(tmp_path: Path) -> None:
    async def test(client: AsyncOpenAI, model: ScriptedModel) -> None:
        create = client.chat.completions.create
        first = await create(
            model="openclaw/main", messages=ask("weather?"), tools=TOOLS, user="ann", parallel_tool_calls=False
        )
        assert first.choices[0].message.tool_calls
        second = await create(
            model="openclaw/main",
            messages=[{"role": "tool", "tool_call_id": first.choices[0].message.tool_calls[0].id, "content": "rain"}],
            tools=TOOLS,
            user="ann",
        )
        assert second.choices[0].message.content == "It is rain. "
        assert [one["role"] for one in model.bodies[-1]["messages"]] == ["user", "assistant", "tool"]

    run(tmp_path, test)


def picture(data: bytes = PNG) -> list[ChatCompletionMessageParam]:
    url = f"data:image/png;base64,{b64encode(data).decode()}"
    return [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "what is this?"},
                {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
            ],
        }
    ]


def test_an_image(tmp_path: Path) -> None:
    async def test(client: AsyncOpenAI, model: ScriptedModel) -> None:
        answer = await client.chat.completions.create(model="openclaw/main", messages=picture())
        assert answer.choices[0].message.content == "text and image_url "
        assert model.bodies[-1]["messages"] == picture()
        for agent in ("echo", "blind"):
            for stream in (False, True):
                with pytest.raises(openai.BadRequestError) as caught:
                    await client.chat.completions.create(
                        model=f"openclaw/{agent}",
                        messages=picture(),
                        stream=stream,
                    )
                assert caught.value.param == "messages[0].content[1]"
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(model="openclaw/main", messages=picture(b"<svg/>"))
        assert (caught.value.param, caught.value.code) == ("messages[0].content[1].image_url.url", "invalid_image_url")
        assert len(model.bodies) == 1

    run(tmp_path, test)


class Weather(BaseModel):
    city: str
    degrees: int


def test_parameters_reach_the_model(tmp_path: Path) -> None:
    async def test(client: AsyncOpenAI, model: ScriptedModel) -> None:
        members: dict[str, Any] = {
            "temperature": 0.5,
            "top_p": 0.9,
            "presence_penalty": 1,
            "frequency_penalty": -1,
            "seed": 2**60,
            "stop": ["END"],
            "max_completion_tokens": 50,
            "reasoning_effort": "low",
            "verbosity": "high",
            "logit_bias": {"50256": -100},
        }
        await client.chat.completions.create(model="openclaw/main", messages=ask("hi"), store=True, **members)
        body = model.bodies[-1]
        assert {name: body[name] for name in members} == members
        assert "store" not in body
        parsed = await client.chat.completions.parse(model="openclaw/main", messages=ask("hi"), response_format=Weather)
        assert parsed.choices[0].message.parsed == Weather(city="Paris", degrees=20)
        sent = model.bodies[-1]["response_format"]
        assert (sent["type"], sent["json_schema"]["name"]) == ("json_schema", "Weather")
        for refused in ({"n": 2}, {"logprobs": True}, {"temperature": 3}, {"reasoning_effort": "hard"}):
            with pytest.raises(openai.BadRequestError) as caught:
                await client.chat.completions.create(model="openclaw/main", messages=ask("hi"), **refused)
            assert caught.value.param == next(iter(refused))

    run(tmp_path, test)


def test_reasoning_and_usage(tmp_path: Path) -> None:
    async def test(client: AsyncOpenAI, model: ScriptedModel) -> None:
        for agent, wanted in (("main", None), ("open", "hm")):
            answer = await client.chat.completions.create(model=f"openclaw/{agent}", messages=ask("hi"))
            message = answer.choices[0].message
            assert message.content == "hello "
            assert getattr(message, "reasoning_content", None) == wanted
            assert answer.usage is not None
            assert answer.usage.model_dump(exclude_none=True) == USAGE
            stream = await client.chat.completions.create(model=f"openclaw/{agent}", messages=ask("hi"), stream=True)
            thought = [getattr(one.choices[0].delta, "reasoning_content", None) async for one in stream]
            assert [one for one in thought if one] == ([wanted] if wanted else [])

    run(tmp_path, test)
