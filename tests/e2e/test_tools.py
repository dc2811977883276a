"""Tools of the gateway as clients meet them: the official SDK in front, a provider on a socket behind, real programs."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from asking import TOKEN, until
from openai import AsyncOpenAI
from scripted_provider import DONE, Recorder, chunk, recorder, stream

from gateway import Gateway
from gateway.config import load

WAIT = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def calls(*asked: tuple[str, str], text: str | None = None, usage: int = 0) -> bytes:
    """The stream of a provider whose model calls tools: (name, arguments)."""
    events = [chunk(text)] if text else []
    for index, (name, arguments) in enumerate(asked):
        function = {"name": name, "arguments": ""}
        head = {"index": index, "id": f"call_{index}", "type": "function", "function": function}
        pieces = [head, {"index": index, "function": {"arguments": arguments}}]
        events += [_delta({"tool_calls": [piece]}) for piece in pieces]
    events.append(_delta({}, "tool_calls"))
    return stream(*events, _usage(usage), DONE)


def says(text: str, usage: int = 0) -> bytes:
    return stream(chunk(text), chunk(finish="stop"), _usage(usage), DONE)


def _usage(tokens: int) -> bytes:
    usage = {"prompt_tokens": tokens, "completion_tokens": 1, "total_tokens": tokens + 1}
    return b"data: " + json.dumps({"object": "chat.completion.chunk", "choices": [], "usage": usage}).encode() + b"\n\n"


def _delta(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"object": "chat.completion.chunk", "choices": [choice]}).encode() + b"\n\n"


class Stage:
    def __init__(self, gateway: Gateway, provider: Recorder, client: AsyncOpenAI) -> None:
        self.gateway = gateway
        self.provider = provider
        self.client = client

    async def ask(self, text: str = "hi", **members: Any) -> Any:
        messages = members.pop("messages", [{"role": "user", "content": text}])
        return await self.client.chat.completions.create(model="openclaw/main", messages=messages, **members)

    def asked(self, index: int = -1) -> list[tuple[str, str]]:
        """What the provider was asked: roles and texts."""
        return [(one["role"], one["content"] or "") for one in self.provider.bodies[index]["messages"]]


@asynccontextmanager
async def stage(folder: Path, *answers: bytes, **agent: Any) -> AsyncIterator[Stage]:
    pid = str(folder / "pid")
    async with recorder(*answers) as provider:
        document = {
            "gateway": {"http": {"endpoints": {"chatCompletions": {"enabled": True}}}},
            "models": {"providers": {"local": {"baseUrl": provider.url, "apiKey": "k"}}},
            "tools": {
                "list": [
                    {"python": f"{__name__}:add"},
                    {"name": "wait", "command": {"argv": [sys.executable, "-I", "-S", "-c", WAIT, pid]}},
                ]
            },
            "agents": {"list": [{"id": "main", "model": "local/small", "tools": ["*"], **agent}]},
        }
        path = folder / "tools.json5"
        path.write_text(json.dumps(document), encoding="utf-8")
        config = load(str(path), environ={}).config
        async with Gateway(config, listen="127.0.0.1:0", token=TOKEN) as gateway:
            async with AsyncOpenAI(
                base_url=f"{gateway.urls[0]}/v1", api_key=TOKEN, max_retries=0, timeout=20
            ) as client:
                yield Stage(gateway, provider, client)
            await until(lambda: not gateway.runs.active)


ADD = ("add", '{"a": 1, "b": 2}')


@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_is_used(tmp_path: Path, streamed: bool) -> None:
    async def main() -> None:
        async with stage(tmp_path, calls(ADD, ADD, text="Let me see.", usage=10), says("It is 3.", usage=20)) as one:
            if streamed:
                chunks = [part async for part in await one.ask(stream=True, stream_options={"include_usage": True})]
                text = "".join(part.choices[0].delta.content or "" for part in chunks if part.choices)
                reasons = [part.choices[0].finish_reason for part in chunks if part.choices]
                assert [reason for reason in reasons if reason] == ["stop"]
                usage = chunks[-1].usage
            else:
                answer = await one.ask()
                text, usage = answer.choices[0].message.content, answer.usage
                assert answer.choices[0].finish_reason == "stop"
            assert text == "Let me see.\n\nIt is 3."
            assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (30, 2, 32)
            first, second = one.provider.bodies
            assert [tool["function"]["name"] for tool in first["tools"]] == ["add", "wait"]
            schema = first["tools"][0]["function"]["parameters"]
            assert schema["properties"] == {"a": {"type": "integer"}, "b": {"type": "integer"}}
            assert second["messages"][1]["tool_calls"][1]["function"] == {"name": "add", "arguments": ADD[1]}
            assert [(one["tool_call_id"], one["content"]) for one in second["messages"][2:]] == [
                ("call_0", "3"), ("call_1", "3"),
            ]  # fmt: skip

    asyncio.run(main())


def test_a_session_keeps_what_tools_gave(tmp_path: Path) -> None:
    async def main() -> None:
        async with stage(tmp_path, calls(ADD, text="Let me see."), says("It is 3."), says("As I said.")) as one:
            await one.ask("what is 1 + 2?", user="somebody")
            await one.ask("sure?", user="somebody")
            assert one.asked() == [
                ("user", "what is 1 + 2?"), ("assistant", "Let me see."), ("tool", "3"), ("assistant", "\n\nIt is 3."),
                ("user", "sure?"),
            ]  # fmt: skip

    asyncio.run(main())


@pytest.mark.parametrize("streamed", [False, True])
def test_who_leaves_kills_the_program(tmp_path: Path, streamed: bool) -> None:
    file = tmp_path / "pid"

    async def main() -> None:
        async with stage(tmp_path, calls(("wait", "{}")), says("never")) as one:
            asking = asyncio.ensure_future(one.ask(stream=streamed))
            await until(lambda: file.exists() and file.read_text(encoding="utf-8"), 20)
            if streamed:
                await (await asking).close()
            else:
                asking.cancel()
            pid = int(file.read_text(encoding="utf-8"))
            await until(lambda: not is_alive(pid), 10)
            await until(lambda: not one.gateway.runs.active)
            assert len(one.provider.bodies) == 1

    asyncio.run(main())


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_end_of_the_gateway_kills_the_program(tmp_path: Path) -> None:
    file = tmp_path / "pid"

    async def main() -> None:
        async with stage(tmp_path, calls(("wait", "{}"))) as one:
            asking = asyncio.ensure_future(one.ask())
            await until(lambda: file.exists() and file.read_text(encoding="utf-8"), 20)
            begun = time.monotonic()
            await one.gateway.drain(0.1)
            with pytest.raises(openai.APIError):
                await asking
            await until(lambda: not is_alive(int(file.read_text(encoding="utf-8"))), 10)
            assert time.monotonic() - begun < 10

    asyncio.run(main())


def test_a_model_without_an_end_has_to_answer(tmp_path: Path) -> None:
    async def main() -> None:
        again = calls(ADD)
        async with stage(tmp_path, again, again, says("Enough."), maxToolRounds=2) as one:
            assert (await one.ask()).choices[0].message.content == "Enough."
            assert [body.get("tool_choice") for body in one.provider.bodies] == [None, None, "none"]
        async with stage(tmp_path, again, maxToolRounds=2) as one:
            with pytest.raises(openai.InternalServerError, match="calls tools without end") as caught:
                await one.ask()
            assert caught.value.code == "tool_rounds"

    asyncio.run(main())


LOOKUP = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object", "properties": {}}}}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("kind", ["stateless", "session, all again", "session, only the result"])
def test_tools_of_both_sides_in_one_round(tmp_path: Path, streamed: bool, kind: str) -> None:
    session = {} if kind == "stateless" else {"user": "somebody"}
    user = {"role": "user", "content": "hi"}

    async def main() -> None:
        first = calls(("lookup", '{"q": 1}'), ADD, text="Both.")
        async with stage(tmp_path, calls(ADD, text="First."), first, says("The end.")) as one:
            if streamed:
                parts = [part async for part in await one.ask(tools=[LOOKUP], stream=True, **session)]
                choices = [part.choices[0] for part in parts if part.choices]
                text = "".join(choice.delta.content or "" for choice in choices)
                pieces = [piece for choice in choices for piece in choice.delta.tool_calls or []]
                assert [piece.index for piece in pieces] == [0] * len(pieces)
                arguments = "".join(piece.function.arguments or "" for piece in pieces)
                call_id, name, reason = pieces[0].id, pieces[0].function.name, choices[-1].finish_reason
            else:
                choice = (await one.ask(tools=[LOOKUP], **session)).choices[0]
                (call,) = choice.message.tool_calls
                text, reason = choice.message.content, choice.finish_reason
                call_id, name, arguments = call.id, call.function.name, call.function.arguments
            assert (text, name, arguments, reason) == ("First.\n\nBoth.", "lookup", '{"q": 1}', "tool_calls")
            assert one.gateway.runs.active == 0

            function = {"name": name, "arguments": arguments}
            shown = {
                "role": "assistant",
                "content": text,
                "tool_calls": [{"id": call_id, "type": "function", "function": function}],
            }
            result = {"role": "tool", "tool_call_id": call_id, "content": "found"}
            messages = [result] if kind == "session, only the result" else [user, shown, result]
            answer = await one.ask(messages=messages, tools=[LOOKUP], **session)
            assert answer.choices[0].message.content == "The end."
            assert one.asked() == [
                ("user", "hi"), ("assistant", "First."), ("tool", "3"), ("assistant", "\n\nBoth."), ("tool", "3"),
                ("assistant", ""), ("tool", "found"),
            ]  # fmt: skip

    asyncio.run(main())


TAKEN = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}


def test_a_name_that_is_taken(tmp_path: Path) -> None:
    async def main() -> None:
        async with stage(tmp_path, says("never")) as one:
            with pytest.raises(openai.BadRequestError, match="a tool `add` of its own") as caught:
                await one.ask(tools=[TAKEN])
            assert caught.value.code == "tool_name_taken"
            with pytest.raises(openai.APIError, match="a tool `add` of its own"):
                _ = [part async for part in await one.ask(tools=[TAKEN], stream=True)]
            assert not one.provider.bodies

    asyncio.run(main())
