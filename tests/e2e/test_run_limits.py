"""Limits of runs as clients meet them: statuses, codes, headers; streaming or not; in a session or not."""

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


def config(folder: Path, agents: dict[str, Any]) -> Config:
    path = folder / "limits.json5"
    path.write_text(
        json.dumps({"gateway": {"http": {"endpoints": {"chatCompletions": {"enabled": True}}}}, "agents": agents}),
        encoding="utf-8",
    )
    return load(str(path), environ={}).config


async def silent(run: RunInput) -> AsyncIterator[str]:
    if "speak" in run.request.messages[-1].text:
        yield "so far"
    await asyncio.sleep(30)


@pytest.mark.parametrize("user", [None, "somebody"])
@pytest.mark.parametrize(
    ("option", "said", "code"),
    [
        ("firstTokenMs", "hush", "first_token_timeout"),
        ("idleMs", "speak", "idle_timeout"),
        ("totalMs", "speak", "total_timeout"),
    ],
)
def test_timeouts(tmp_path: Path, option: str, said: str, code: str, user: str | None) -> None:
    settings = config(tmp_path, {"defaults": {"timeouts": {option: 150}}})
    more: dict[str, Any] = {} if user is None else {"user": user}

    async def main() -> None:
        async with Gateway(settings, agents={"main": silent}, listen="127.0.0.1:0", token=TOKEN) as gateway:
            answer = await chat(gateway, said, **more)
            assert (answer.status, answer.error["type"], answer.error["code"]) == (504, "api_error", code)
            assert option in answer.error["message"]
            answer = await chat(gateway, said, stream=True, **more)
            assert answer.status == 200
            assert answer.events[-2]["error"]["code"] == code
            assert answer.events[-1] == "[DONE]"
            assert gateway.runs.active == 0

    asyncio.run(main())


@pytest.mark.parametrize("user", [None, "somebody"])
@pytest.mark.parametrize("agents", [{"maxConcurrentRuns": 1}, {"defaults": {"maxConcurrent": 1}}])
def test_too_many_runs_are_refused_before_a_stream_begins(
    tmp_path: Path, agents: dict[str, Any], user: str | None
) -> None:
    settings = config(tmp_path, agents)
    more: dict[str, Any] = {} if user is None else {"user": user}

    async def main() -> None:
        hold = asyncio.Event()

        async def agent(_: RunInput) -> str:
            await hold.wait()
            return "done"

        async with Gateway(settings, agents={"main": agent}, listen="127.0.0.1:0", token=TOKEN) as gateway:
            first = asyncio.create_task(chat(gateway, "first"))
            await until(lambda: gateway.runs.active)
            for stream in (False, True):
                answer = await chat(gateway, "second", stream=stream, **more)
                assert (answer.status, answer.headers["retry-after"]) == (429, "1")
                assert (answer.error["type"], answer.error["code"]) == ("rate_limit_error", "too_many_runs")
            hold.set()
            assert (await first).text == "done"
            assert (await chat(gateway, "third")).text == "done"

    asyncio.run(main())
