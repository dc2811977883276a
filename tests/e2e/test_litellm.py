"""LiteLLM's proxy as the provider, a real server that speaks all three APIs, for whoever has it.

    python -m venv litellm && litellm/bin/pip install 'litellm[proxy]'
    LITELLM=$PWD/litellm/bin/litellm python -m pytest tests/e2e/test_litellm.py

Two of its models are its own mocks.  The third is a scripted server that speaks OpenAI's chat completions: LiteLLM
translates between that and what the gateway asks for, Anthropic's and OpenAI's newer events among them.  Nothing leaves
the machine.  It starts within a minute.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import openai
import pytest
from asking import TOKEN
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from gateway import Gateway
from gateway.cli import main
from gateway.config import load

LITELLM = os.environ.get("LITELLM")
KEY = "sk-0123456789abcdef0123456789abcdef"
START = 120.0

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        LITELLM is None, reason="set LITELLM to the program litellm of litellm[proxy], see the docstring"
    ),
]

WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
TRANSLATED = {"completions": "openai", "messages": "hosted_vllm", "responses": "deepseek"}
"""By API, a kind of provider for which LiteLLM translates between it and chat completions, and passes nothing through."""
APIS = (*TRANSLATED,)


class Script(BaseHTTPRequestHandler):
    """OpenAI's chat completions: asks for the weather of two cities where there is a tool, and tells what it was told."""

    seen: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append(body)
        results = [one["content"] for one in body["messages"] if one["role"] == "tool"]
        if body.get("tools") and not results:
            deltas: list[dict[str, Any]] = []
            for index, city in enumerate(("Rome", "Oslo")):
                called = {"index": index, "id": f"call_{city}", "type": "function"}
                deltas.append({"tool_calls": [{**called, "function": {"name": "weather", "arguments": ""}}]})
                deltas += [
                    {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
                    for piece in ('{"city":', f'"{city}"}}')
                ]
            finish = "tool_calls"
        else:
            deltas = [
                {"content": word} for word in ("I ", "was ", "told: ", json.dumps(results) if results else "nothing")
            ]
            finish = "stop"
        usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
        base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "script"}
        chunks: list[dict[str, Any]] = [
            {**base, "choices": [{"index": 0, "delta": one, "finish_reason": None}]} for one in deltas
        ]
        chunks.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        chunks.append({**base, "choices": [], "usage": usage})
        data = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(data.encode())

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def scripted() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    seen: list[dict[str, Any]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Recording", (Script,), {"seen": seen}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Its address, and what the scripted server behind it was asked."""
    assert LITELLM is not None
    folder = tmp_path_factory.mktemp("litellm")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    with scripted() as (upstream, seen):
        script = {"api_key": "x", "api_base": upstream}
        config = {
            "model_list": [
                {
                    "model_name": "mock",
                    "litellm_params": {"model": "openai/mock", "api_key": "x", "mock_response": "A mock of LiteLLM."},
                },
                {
                    "model_name": "busy",
                    "litellm_params": {
                        "model": "openai/busy",
                        "api_key": "x",
                        "mock_response": "litellm.RateLimitError",
                    },
                },
                *(
                    {"model_name": f"script-{api}", "litellm_params": {**script, "model": f"{kind}/script"}}
                    for api, kind in TRANSLATED.items()
                ),
            ],
            "general_settings": {"master_key": KEY},
            "litellm_settings": {"num_retries": 0},
        }
        (folder / "config.yaml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
        own = {"HOME": str(folder), "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "*"}
        command = [
            LITELLM,
            "--config",
            "config.yaml",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--telemetry",
            "False",
        ]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, cwd=folder, env={**os.environ, **own}, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            end = time.monotonic() + START
            while True:
                with suppress(OSError), urllib.request.urlopen(f"{url}/health/liveliness", timeout=2):
                    break
                assert process.poll() is None, (folder / "log").read_text("utf-8")
                assert time.monotonic() < end, (folder / "log").read_text("utf-8")
                time.sleep(0.2)
            yield url, seen
        finally:
            process.terminate()
            process.wait(20)


def configuration(url: str, folder: Path) -> Path:
    providers = {
        "completions": {"baseUrl": f"{url}/v1", "apiKey": KEY, "maxRetries": 0},
        "messages": {"baseUrl": url, "apiKey": KEY, "api": "anthropic-messages", "maxRetries": 0},
        "responses": {"baseUrl": f"{url}/v1", "apiKey": KEY, "api": "openai-responses", "maxRetries": 0},
    }
    agents: list[dict[str, Any]] = [
        {"id": f"{api}-{model}", "model": f"{api}/{model}"}
        for api in APIS
        for model in ("mock", "busy", f"script-{api}")
    ]
    agents.append({"id": "fallback", "model": {"primary": "completions/busy", "fallbacks": ["messages/mock"]}})
    agents.append({"id": "nothing", "model": "completions/nothing"})
    path = folder / "gateway.json5"
    document = {
        "gateway": {"http": {"endpoints": {"chatCompletions": {"enabled": True}}}},
        "models": {"providers": providers},
        "agents": {"list": agents},
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def run(url: str, folder: Path, test: Callable[[AsyncOpenAI], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        loaded = load(str(configuration(url, folder)), environ={}).config
        async with (
            Gateway(loaded, listen="127.0.0.1:0", token=TOKEN) as gateway,
            AsyncOpenAI(base_url=f"{gateway.urls[0]}/v1", api_key=TOKEN, max_retries=0, timeout=40) as client,
        ):
            await test(client)

    asyncio.run(main())


HI: list[ChatCompletionMessageParam] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]


@pytest.mark.parametrize("api", APIS[:2])  # its mock of the Responses API cannot stream
@pytest.mark.parametrize("stream", [False, True])
def test_a_mock(api: str, stream: bool, proxy: tuple[str, list[Any]], tmp_path: Path) -> None:
    async def test(client: AsyncOpenAI) -> None:
        if stream:
            told = await client.chat.completions.create(model=f"openclaw/{api}-mock", messages=HI, stream=True)
            text = "".join([choice.delta.content or "" async for chunk in told for choice in chunk.choices])
        else:
            answer = await client.chat.completions.create(model=f"openclaw/{api}-mock", messages=HI)
            text = answer.choices[0].message.content or ""
            assert answer.usage is not None
            assert answer.usage.completion_tokens > 0
        assert text == "A mock of LiteLLM."

    run(proxy[0], tmp_path, test)


@pytest.mark.parametrize("model", [f"{api}-script-{api}" for api in APIS])
def test_a_round_trip_of_tools(model: str, proxy: tuple[str, list[Any]], tmp_path: Path) -> None:
    async def test(client: AsyncOpenAI) -> None:
        create = client.chat.completions.create
        plain = await create(model=f"openclaw/{model}", messages=HI)
        assert (plain.choices[0].message.content, plain.choices[0].finish_reason) == ("I was told: nothing", "stop")
        assert plain.usage is not None
        assert (plain.usage.prompt_tokens, plain.usage.completion_tokens) == (11, 7)
        async with client.chat.completions.stream(model=f"openclaw/{model}", messages=HI, tools=[WEATHER]) as told:
            first = (await told.get_final_completion()).choices[0]
        assert first.finish_reason == "tool_calls"
        calls = first.message.tool_calls
        assert calls is not None
        assert [json.loads(call.function.arguments) for call in calls] == [{"city": "Rome"}, {"city": "Oslo"}]
        messages: list[ChatCompletionMessageParam] = [*HI, first.message.model_dump(include={"role", "tool_calls"})]  # type: ignore[list-item]  # as users of the SDK do
        for call, result in zip(calls, ("sunny", "rain"), strict=True):
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        second = await create(model=f"openclaw/{model}", messages=messages, tools=[WEATHER])
        assert second.choices[0].message.content == 'I was told: ["sunny", "rain"]'

    run(proxy[0], tmp_path, test)
    asked = proxy[1][-1]
    assert [one["role"] for one in asked["messages"]] == ["system", "user", "assistant", "tool", "tool"]
    assert asked["tools"][0]["function"]["name"] == "weather"


@pytest.mark.parametrize("api", APIS[:2])  # its mock of the Responses API knows no errors either
def test_refusals(api: str, proxy: tuple[str, list[Any]], tmp_path: Path) -> None:
    async def test(client: AsyncOpenAI) -> None:
        with pytest.raises(openai.RateLimitError) as busy:
            await client.chat.completions.create(model=f"openclaw/{api}-busy", messages=HI)
        assert busy.value.code == "upstream_rate_limited"
        assert "mock rate limit" in busy.value.message

    run(proxy[0], tmp_path, test)


def test_a_model_that_it_does_not_have(proxy: tuple[str, list[Any]], tmp_path: Path) -> None:
    async def test(client: AsyncOpenAI) -> None:
        with pytest.raises(openai.APIStatusError) as unknown:
            await client.chat.completions.create(model="openclaw/nothing", messages=HI)
        assert "nothing" in unknown.value.message

    run(proxy[0], tmp_path, test)


def test_a_fallback(proxy: tuple[str, list[Any]], tmp_path: Path) -> None:
    async def test(client: AsyncOpenAI) -> None:
        raw = await client.chat.completions.with_raw_response.create(model="openclaw/fallback", messages=HI)
        assert raw.parse().choices[0].message.content == "A mock of LiteLLM."
        assert raw.headers["x-openclaw-fallback"] == "messages/mock; upstream_rate_limited"

    run(proxy[0], tmp_path, test)


def test_its_models(proxy: tuple[str, list[Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = configuration(proxy[0], tmp_path)
    assert main(["models", "completions", "--config", str(path)]) == 0
    assert capsys.readouterr().out.split() == [
        f"completions/{name}" for name in ("busy", "mock", *(f"script-{api}" for api in APIS))
    ]
