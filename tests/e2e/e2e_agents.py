"""Agents that the gateway processes of these tests run, named in their configurations as `e2e_agents:NAME`.

What an agent goes through is told by marker files in the folder E2E_MARKS, named by the text of the request: a test
proves from inside the agent that its run was started, cancelled or finished.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway import AgentError, RunDone, RunInput, Usage
from gateway.model.run import ReasoningDelta, RunEvent

__all__ = [
    "fail",
    "fail_late",
    "flood",
    "forever",
    "pause",
    "remember",
    "silent",
    "tell_key",
    "thinker",
    "verbatim",
    "words",
]


@contextmanager
def marks(run: RunInput) -> Iterator[None]:
    mark = Path(os.environ["E2E_MARKS"], run.request.messages[-1].text)
    mark.with_suffix(".started").touch()
    try:
        yield
    except (asyncio.CancelledError, GeneratorExit):
        mark.with_suffix(".cancelled").touch()
        raise
    mark.with_suffix(".finished").touch()


async def words(run: RunInput) -> AsyncIterator[str | Usage]:
    text = run.request.messages[-1].text
    for word in text.split():
        yield word + " "
    yield Usage(len(run.request.messages), len(text.split()))


async def forever(run: RunInput) -> AsyncIterator[str]:
    with marks(run):
        while True:
            yield "on and on "
            await asyncio.sleep(0.01)


async def flood(run: RunInput) -> AsyncIterator[str]:
    with marks(run):
        while True:
            yield "x" * 100


async def silent(run: RunInput) -> str:
    with marks(run):
        await asyncio.sleep(3600)
    return "never said"


async def pause(run: RunInput) -> AsyncIterator[str | RunDone]:
    with marks(run):
        yield "before "
        await asyncio.sleep(1.5)
        yield "after"
    yield RunDone("length")


async def fail(run: RunInput) -> str:
    status = int(run.request.messages[-1].text)
    raise AgentError("out of order", code="broken", status=status, retry_after=7)


async def fail_late(_: RunInput) -> AsyncIterator[str]:
    yield "so far so good"
    raise AgentError("out of order", code="broken", status=502)


async def remember(run: RunInput) -> str:
    return "|".join(message.text for message in run.history)


async def tell_key(run: RunInput) -> str:
    return run.session_key


async def thinker(_: RunInput) -> AsyncIterator[RunEvent]:
    yield ReasoningDelta("hm")
    yield ReasoningDelta(" \n…")
    yield "yes"
    yield Usage(5, 7, 3, 4)


async def verbatim(run: RunInput) -> str:
    return run.request.messages[-1].text
