"""Slash commands over HTTP: off unless the configuration has them on, and then for operators only."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from asking import TOKEN, chat, until

from gateway import Gateway, RunInput
from gateway.config import Config, load


async def agent(run: RunInput) -> AsyncIterator[str]:
    yield f"{len(run.history)}: {run.request.messages[-1].text}"
    if run.request.messages[-1].text == "wait":
        await asyncio.sleep(60)


def config(folder: Path, session: dict[str, Any]) -> Config:
    path = folder / "slash.json5"
    endpoints = {"endpoints": {"chatCompletions": {"enabled": True}}}
    path.write_text(json.dumps({"gateway": {"http": endpoints}, "session": session}), encoding="utf-8")
    return load(str(path), environ={}).config


def test_off_by_default(tmp_path: Path) -> None:
    async def main() -> None:
        async with Gateway(config(tmp_path, {}), agents={"main": agent}, listen="127.0.0.1:0", token=TOKEN) as gateway:
            assert (await chat(gateway, "/status", user="ann")).text == "0: /status"

    asyncio.run(main())


@pytest.mark.parametrize("stream", [False, True])
def test_on(tmp_path: Path, stream: bool) -> None:
    settings = config(tmp_path, {"slashCommands": True})

    async def main() -> None:
        async with Gateway(settings, agents={"main": agent}, listen="127.0.0.1:0", token=TOKEN) as gateway:

            async def say(text: str) -> str:
                answer = await chat(gateway, text, user="ann", stream=stream)
                assert answer.status == 200
                if not stream:
                    assert answer.json["choices"][0]["finish_reason"] == "stop"
                    return answer.text
                chunks = [event["choices"][0] for event in answer.events if event != "[DONE]"]
                assert chunks[-1]["finish_reason"] == "stop"
                return "".join(chunk["delta"].get("content") or "" for chunk in chunks)

            assert await say("hi") == "0: hi"
            assert "Session: agent:main:openai-user:ann" in await say("/status")
            assert await say("on") == "2: on", "the command left nothing"
            waiting = asyncio.create_task(chat(gateway, "wait", user="ann"))
            await until(lambda: gateway.runs.active)
            assert await asyncio.wait_for(say("/stop"), 10) == "The run was stopped."
            stopped = await waiting
            assert (stopped.status, stopped.error["code"]) == (410, "run_aborted")
            assert await say("/new") == "The session begins anew."
            assert await say("again") == "0: again"

    asyncio.run(main())
