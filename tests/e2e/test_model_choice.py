"""The official SDK against a gateway in front of providers that speak other APIs, of which some are down."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
from asking import TOKEN
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from scripted_provider import Recorder, recorder, stream

from gateway import Gateway
from gateway.config import load

WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object"}},
}


def events(*documents: dict[str, Any]) -> bytes:
    return stream(*(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in documents))


def message(reason: str, *blocks: dict[str, Any]) -> bytes:
    """An answer of Anthropic's: blocks begin as they are, and deltas follow as members of their own."""
    told: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"usage": {"input_tokens": 7, "output_tokens": 1}}}
    ]
    for index, block in enumerate(blocks):
        deltas = block.pop("deltas", ())
        told.append({"type": "content_block_start", "index": index, "content_block": block})
        told += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        told.append({"type": "content_block_stop", "index": index})
    told.append({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 5}})
    return events(*told, {"type": "message_stop"})


def said(text: str) -> dict[str, Any]:
    return {"type": "text", "text": "", "deltas": [{"type": "text_delta", "text": text}]}


CLAUDE = message("end_turn", said("I am Claude"))
CLAUDE_CALLS = message(
    "tool_use",
    {
        "type": "thinking",
        "thinking": "",
        "signature": "",
        "deltas": [{"type": "thinking_delta", "thinking": "hm"}, {"type": "signature_delta", "signature": "sig"}],
    },
    {
        "type": "tool_use",
        "id": "toolu_1",
        "name": "weather",
        "input": {},
        "deltas": [
            {"type": "input_json_delta", "partial_json": '{"city":'},
            {"type": "input_json_delta", "partial_json": '"Rome"}'},
        ],
    },
)
ITEM = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather", "arguments": '{"city":"Rome"}'}
GPT = events(
    {"type": "response.output_text.delta", "output_index": 0, "delta": "I am GPT"},
    {
        "type": "response.completed",
        "response": {"status": "completed", "output": [], "usage": {"input_tokens": 3, "output_tokens": 4}},
    },
)
GPT_CALLS = events(
    {"type": "response.output_item.added", "output_index": 0, "item": {**ITEM, "arguments": ""}},
    {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": ITEM["arguments"]},
    {"type": "response.completed", "response": {"status": "completed", "output": [ITEM]}},
)


@dataclass
class Asking:
    client: AsyncOpenAI
    claude: Recorder
    gpt: Recorder


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@asynccontextmanager
async def asking(folder: Path, claude: tuple[bytes, ...], gpt: tuple[bytes, ...]) -> AsyncIterator[Asking]:
    async with recorder(*claude) as one, recorder(*gpt) as other:
        providers = {
            "down": {"baseUrl": f"http://127.0.0.1:{closed_port()}/v1", "maxRetries": 0},
            "claude": {
                "baseUrl": one.url,
                "api": "anthropic-messages",
                "apiKey": "sk-ant",
                "models": ["opus", "haiku"],
            },
            "gpt": {"baseUrl": other.url, "api": "openai-responses", "apiKey": "sk-gpt"},
        }
        config = {
            "gateway": {"http": {"endpoints": {"chatCompletions": {"enabled": True}}}},
            "models": {"providers": providers},
            "agents": {
                "defaults": {"model": {"primary": "down/m", "fallbacks": ["claude/opus"]}},
                "list": [
                    {"id": "main"},
                    {"id": "alone", "model": "down/m"},
                    {"id": "claude", "model": "claude/opus", "showReasoning": True},
                    {"id": "gpt", "model": "gpt/gpt-5"},
                    {"id": "echo", "runtime": {"type": "echo"}},
                ],
            },
        }
        path = folder / "gateway.json5"
        path.write_text(json.dumps(config), encoding="utf-8")
        async with (
            Gateway(load(str(path), environ={}).config, listen="127.0.0.1:0", token=TOKEN) as gateway,
            AsyncOpenAI(base_url=f"{gateway.urls[0]}/v1", api_key=TOKEN, max_retries=0, timeout=20) as client,
        ):
            yield Asking(client, one, other)


def run(
    folder: Path,
    test: Callable[[Asking], Awaitable[None]],
    claude: tuple[bytes, ...] = (CLAUDE,),
    gpt: tuple[bytes, ...] = (GPT,),
) -> None:
    async def main() -> None:
        async with asking(folder, claude, gpt) as made:
            await test(made)

    asyncio.run(asyncio.wait_for(main(), 40))


HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]


def test_a_fallback_answers_and_says_so(tmp_path: Path) -> None:
    async def test(asking: Asking) -> None:
        for _ in range(2):  # the second time without asking the one that is down
            raw = await asking.client.chat.completions.with_raw_response.create(model="openclaw", messages=HI)
            answer = raw.parse()
            assert answer.choices[0].message.content == "I am Claude"
            assert answer.usage is not None
            assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, 5)
            assert raw.headers["x-openclaw-fallback"] == "claude/opus; upstream_unreachable"
        assert [body["model"] for body in asking.claude.bodies] == ["opus", "opus"]
        with pytest.raises(openai.InternalServerError) as caught:
            await asking.client.chat.completions.create(model="openclaw/alone", messages=HI)
        assert (caught.value.status_code, caught.value.code) == (502, "upstream_unreachable")

    run(tmp_path, test)


def test_another_model_by_header(tmp_path: Path) -> None:
    async def test(asking: Asking) -> None:
        async def choose(model: str, agent: str = "claude") -> str | None:
            answer = await asking.client.chat.completions.create(
                model=f"openclaw/{agent}", messages=HI, extra_headers={"x-openclaw-model": model}
            )
            return answer.choices[0].message.content

        assert await choose("gpt/gpt-5-mini") == "I am GPT"
        assert asking.gpt.bodies[-1]["model"] == "gpt-5-mini"
        assert await choose("haiku") == "I am Claude"
        assert asking.claude.bodies[-1]["model"] == "haiku"
        assert await choose("claude/opus", "main") == "I am Claude"
        for wrong, words in (("nobody/x", "no provider `nobody`"), ("claude/sonnet", "no model `sonnet`")):
            with pytest.raises(openai.NotFoundError, match=words) as unknown:
                await choose(wrong)
            assert (unknown.value.code, unknown.value.param) == ("model_not_found", "x-openclaw-model")
        with pytest.raises(openai.BadRequestError) as refused:
            await choose("gpt/gpt-5", "echo")
        assert (refused.value.code, refused.value.param) == ("model_not_supported", "x-openclaw-model")

    run(tmp_path, test)


@pytest.mark.parametrize(("agent", "call_id"), [("claude", "toolu_1"), ("gpt", "call_1")])
def test_a_tool_over_another_api(agent: str, call_id: str, tmp_path: Path) -> None:
    async def test(asking: Asking) -> None:
        create = asking.client.chat.completions.create
        thought = []
        calls: dict[str, str] = {}
        finish = None
        async for chunk in await create(
            model=f"openclaw/{agent}", messages=HI, tools=[WEATHER], reasoning_effort="low", stream=True
        ):
            for choice in chunk.choices:
                thought.append(getattr(choice.delta, "reasoning_content", None) or "")
                for call in choice.delta.tool_calls or ():
                    assert call.function is not None
                    if call.id:
                        calls[call.id] = ""
                    calls[[*calls][-1]] += call.function.arguments or ""
                finish = choice.finish_reason or finish
        assert (calls, finish) == ({call_id: '{"city":"Rome"}'}, "tool_calls")
        assert "".join(thought) == ("hm" if agent == "claude" else "")
        messages: list[ChatCompletionMessageParam] = [
            *HI,
            {
                "role": "assistant",
                "tool_calls": [
                    {"id": call_id, "type": "function", "function": {"name": "weather", "arguments": calls[call_id]}}
                ],
            },
            {"role": "tool", "tool_call_id": call_id, "content": "sunny"},
        ]
        answer = await create(model=f"openclaw/{agent}", messages=messages, tools=[WEATHER], reasoning_effort="low")
        assert answer.choices[0].message.content == ("I am Claude" if agent == "claude" else "I am GPT")
        if agent == "claude":
            sent = asking.claude.bodies[1]
            assert sent["thinking"]["type"] == "enabled"
            assert sent["messages"][1]["content"] == [
                {"type": "thinking", "thinking": "hm", "signature": "sig"},
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}},
            ]
            assert sent["messages"][2]["content"][0]["tool_use_id"] == "toolu_1"
        else:
            assert asking.gpt.bodies[1]["input"][1:] == [
                {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city":"Rome"}'},
                {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
            ]

    run(tmp_path, test, (CLAUDE_CALLS, CLAUDE), (GPT_CALLS, GPT))


def test_what_an_api_has_no_form_for_is_said(tmp_path: Path) -> None:
    async def test(asking: Asking) -> None:
        create = asking.client.chat.completions.create
        with pytest.raises(openai.BadRequestError, match="`stop`"):
            await create(model="openclaw/gpt", messages=HI, stop="x")
        with pytest.raises(openai.BadRequestError, match="response_format"):
            await create(model="openclaw/claude", messages=HI, response_format={"type": "json_object"})
        assert (asking.gpt.bodies, asking.claude.bodies) == ([], [])

    run(tmp_path, test)
