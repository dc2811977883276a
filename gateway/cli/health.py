"""`gateway health`: whether a gateway is there, and well."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from time import monotonic

from .console import FAILED, UnansweredError, legible, line, write
from .place import Place, add_question, find_place
from .rpc import READ, connected, part
from .signals import concluded

__all__ = ["add_arguments", "execute"]

TIMEOUT = 10.0
"""Seconds; a gateway that takes longer is not well."""


def add_arguments(parser: ArgumentParser) -> None:
    """The flags of the command."""
    parser.add_argument("--json", action="store_true", help="print what the gateway says as one line of JSON")
    add_question(parser, TIMEOUT, "it")


def execute(options: Namespace) -> int:
    """Ask and print; returns the exit code.  Raises ConfigError."""
    return concluded(_health(find_place(options), options))


async def _health(place: Place, options: Namespace) -> None:
    began = monotonic()
    async with connected(place, READ) as rpc:
        answer = part(await rpc.request("health", timeout=options.timeout))
    well = answer.get("ok") is True
    if options.json:
        write(line(answer))
    elif well:
        agents = [str(part(agent).get("agentId", "?")) for agent in answer.get("agents") or ()]
        named = f", agents: {legible(', '.join(agents))}" if agents else ""
        write(f"ok: answered in {(monotonic() - began) * 1000:.0f} ms{named}\n")
    if not well:
        raise UnansweredError("the gateway says that it is not well; `gateway call health` shows what it says", FAILED)
