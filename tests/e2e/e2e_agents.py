"""Agents that the gateway processes of these tests run, named in their configurations as `e2e_agents:NAME`.

What an agent goes through is told by marker files in the folder E2E_MARKS, named by the text of the request: a test
proves from inside the agent that its run was started, cancelled or finished.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway import AgentError, RunDone, RunInput, Usage
from gateway.model.run import ReasoningDelta, RunEvent, ToolCallDelta

__all__ = [
    "assistant",
    "fail",
    "fail_late",
    "flood",
    "forever",
    "pause",
    "recall",
    "remember",
    "silent",
    "talker",
    "tell_key",
    "thinker",
    "tide",
    "verbatim",
    "which",
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


async def recall(run: RunInput) -> str:
    """What was asked before, without the answers."""
    return "|".join(message.text for message in run.history if message.role == "user")


async def talker(run: RunInput) -> AsyncIterator[str]:
    """Says what it is told, word by word.  Told to count it does, until it is stopped."""
    text = run.request.messages[-1].text
    if text.startswith("count"):
        with marks(run):
            for number in itertools.count(1):
                yield f"{number} "
                await asyncio.sleep(0.05)
    yield "Echo:"
    for word in text.split():
        await asyncio.sleep(0.02)
        yield f" {word}"


async def tell_key(run: RunInput) -> str:
    return run.session_key


async def tide(run: RunInput) -> AsyncIterator[str]:
    """The same for whatever it is told, in six seconds."""
    del run
    for _ in range(60):
        yield "rising "
        await asyncio.sleep(0.1)


async def thinker(_: RunInput) -> AsyncIterator[RunEvent]:
    yield ReasoningDelta("hm")
    yield ReasoningDelta(" \n…")
    yield "yes"
    yield Usage(5, 7, 3, 4)


async def which(_: RunInput) -> str:
    """The process that answers."""
    return str(os.getpid())


async def verbatim(run: RunInput) -> str:
    return run.request.messages[-1].text


async def assistant(run: RunInput) -> AsyncIterator[str | ToolCallDelta | Usage | RunDone]:
    """Stands for a model that uses its caller's tools: it asks about each city that it is told of, by the tool that
    was chosen or the first one, and then says what it heard.  Without tools it tells the whole conversation.
    """
    said = run.conversation
    results = [message.text for message in said[-2:] if message.role == "tool"]
    request = run.request
    yield Usage(len(said), 1, 0, 0)
    if results:
        yield "It is "
        yield f"{' and '.join(results)}."
        return
    if not request.tools or request.tool_choice.mode == "none":
        told = [f"{message.role}: {message.text}{' (image)' * bool(message.parts)}" for message in said]
        for piece in re.findall(r"\S+\s*", " | ".join(told)):
            yield piece
        return
    name = request.tool_choice.name or request.tools[0].name
    cities = re.findall(r"Paris|Rome", said[-1].text) or ["nowhere"] * (request.tool_choice.mode != "auto")
    if not cities:
        yield "Which city?"
        return
    yield "Let me see."
    for number, city in enumerate(cities):
        yield ToolCallDelta(number, f"call_{run.run_id}_{number}", name)
        half = len(arguments := json.dumps({"city": city})) // 2
        yield ToolCallDelta(number, arguments=arguments[:half])
        yield ToolCallDelta(number, arguments=arguments[half:])
    yield RunDone("tool_calls")
