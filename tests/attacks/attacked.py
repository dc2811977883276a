"""The gateway that is attacked: a process that serves as `gateway run` does, with the limits of the environment.

ATTACK_LIMITS is a JSON object of members of `Limits`; ATTACK_FILES, where given, the limit on open files.  An agent, `counts`, tells how the process sees itself.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
from collections.abc import AsyncIterator

from gateway import Gateway, RunInput
from gateway.cli.serve import serve
from gateway.cli.setup import log_to_stderr
from gateway.ports import Agent, Link
from gateway.server.limits import Limits

TOKEN = "attacked-secret"
_gateways: list[Gateway] = []


async def usual(_: RunInput) -> AsyncIterator[str]:
    """What a quick agent does: some words, and between them the time of a very quick model."""
    for word in ("this", "is", "a", "usual", "answer"):
        yield word
        await asyncio.sleep(0.004)


async def endless(_: RunInput) -> AsyncIterator[str]:
    while True:
        yield "x" * 2000
        await asyncio.sleep(0.001)


async def large(run: RunInput) -> str:
    return "x" * int(run.request.messages[-1].text)


async def silent(_: RunInput) -> str:
    await asyncio.sleep(3600)
    return "never said"


async def hoard(_: RunInput) -> str:
    """Opens files until there are none left, and closes them after a while."""
    files = []
    try:
        while True:
            files.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        await asyncio.sleep(1.5)
    finally:
        for file in files:
            os.close(file)
    return f"had {len(files)}"


async def counts(_: RunInput) -> str:
    (gateway,) = _gateways
    return json.dumps({"cuts": dict(gateway.cuts), "connections": gateway.connections, "runs": gateway.runs.active})


async def echo(link: Link) -> None:
    async for message in link:
        await link.send(message)


async def shout(link: Link) -> None:
    while True:
        await link.send("x" * 2000)


def main() -> int:
    log_to_stderr(logging.INFO)
    if files := int(os.environ.get("ATTACK_FILES", "0")):
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    agents: dict[str, Agent] = {
        "usual": usual,
        "endless": endless,
        "large": large,
        "silent": silent,
        "hoard": hoard,
        "counts": counts,
    }
    limits = Limits(**json.loads(os.environ.get("ATTACK_LIMITS", "{}")))
    gateway = Gateway(
        agents=agents, listen="127.0.0.1:0", token=TOKEN, links={"/echo": echo, "/shout": shout}, limits=limits
    )
    settings = gateway.config.gateway.replace(loop=os.environ.get("TESTS_LOOP", "asyncio"))
    gateway.config = gateway.config.replace(gateway=settings)
    _gateways.append(gateway)
    return serve(gateway, lambda urls: print("listening on", *urls, flush=True))


if __name__ == "__main__":
    raise SystemExit(main())
