"""Agents that the configurations of these tests name as `cli_agents:NAME`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from gateway import AgentError, RunInput

__all__ = [
    "before",
    "colours",
    "deaf",
    "endless",
    "fail",
    "fail_late",
    "key",
    "nasty",
    "say",
    "silent",
    "slow",
    "words",
]


async def say(run: RunInput) -> str:
    return run.request.messages[-1].text


async def words(run: RunInput) -> AsyncIterator[str]:
    for word in run.request.messages[-1].text.split():
        yield f"{word} "


async def key(run: RunInput) -> str:
    return run.session_key


async def before(run: RunInput) -> str:
    return " / ".join(message.text for message in run.history) or "nothing"


async def colours(_: RunInput) -> str:
    return "\x1b[31mred"


async def fail(_: RunInput) -> str:
    raise AgentError("out of order", code="broken", status=502)


async def fail_late(_: RunInput) -> AsyncIterator[str]:
    yield "so far"
    raise AgentError("out of order", code="broken", status=502)


async def silent(_: RunInput) -> str:
    await asyncio.sleep(3600)
    return "never said"


async def slow(_: RunInput) -> AsyncIterator[str]:
    await asyncio.sleep(1.2)
    yield "first\n"
    await asyncio.sleep(1.2)
    yield "second"


async def nasty(_: RunInput) -> AsyncIterator[str]:
    yield "\x1b[2J\x1b"
    yield "[31mred\x1b]0;title\x07\rcr\ttab\nline \x9b[0m\u202efdp.exe"


async def endless(_: RunInput) -> AsyncIterator[str]:
    while True:
        yield "on "
        await asyncio.sleep(0.001)


async def deaf(_: RunInput) -> AsyncIterator[str]:
    yield "busy"
    while True:  # does not let the event loop turn
        time.sleep(0.01)
