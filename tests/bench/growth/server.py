"""The server that is measured: `python -m tests.bench.growth.server [STORE]` prints its port, and serves until it ends.

With a `STORE`, the path of an SQLite file, sessions are kept in it, of one turn each.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import gateway
from gateway.config import load
from gateway.model.run import RunInput
from gateway.sessions.sqlite import SqliteStore

from ..traffic import TOKEN, TOKENS

__all__: list[str] = []

CONFIGURATION = Path(__file__).with_name("gateway.json5")
SESSIONS = 10_000_000


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


async def main(store: str | None) -> None:
    served = gateway.Gateway(
        load(str(CONFIGURATION), environ={}).config,
        agents={"bench": agent},
        listen="127.0.0.1:0",
        token=TOKEN,
        store=None if store is None else SqliteStore(store, SESSIONS),
    )
    async with served:
        print(served.urls[0].rpartition(":")[2], flush=True)
        await served.serve_forever()


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):  # the last processor is the server's, as in the big benchmark
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else None))
