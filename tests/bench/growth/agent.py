"""The agent of the gateway that is measured."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from gateway.model.run import RunInput

from ..traffic import TOKENS

__all__ = ["agent"]


async def agent(run: RunInput) -> AsyncIterator[str]:
    """`pace-MS`: a token each so many milliseconds, without end; `loop`: 200, a turn of the loop before each; else one."""
    text = run.request.messages[-1].text
    if text.startswith("pace-"):
        pause = int(text.removeprefix("pace-")) / 1_000
        while True:
            for token in TOKENS:
                await asyncio.sleep(pause)
                yield token
    elif text == "loop":
        for token in TOKENS:
            await asyncio.sleep(0)
            yield token
    else:
        yield (f"echo: {text} " * 3)[:100]
