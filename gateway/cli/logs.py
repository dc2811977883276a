"""`gateway logs`: the last lines of a gateway's log, and those that come."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping
from typing import Any

from .console import UnansweredError, line, say, write
from .place import Place, add_place, find_place
from .rpc import READ, Patience, connected, part
from .signals import concluded

__all__ = ["add_arguments", "execute"]

TIMEOUT = 10.0
"""Seconds for an answer."""

LINES = 200
MAX_LINES = 5000
"""What `logs.tail` takes for its `limit`."""

MAX_BYTES = 1_000_000
"""The same for `maxBytes`."""

PACE = 1.0
"""Seconds between two questions, with --follow."""


def add_arguments(parser: ArgumentParser) -> None:
    """The flags of the command."""
    parser.add_argument("--follow", "-f", action="store_true", help="go on with the lines that come, until Ctrl-C")
    parser.add_argument(
        "--lines",
        "-n",
        metavar="N",
        type=_count,
        default=LINES,
        help=f"how many of the last lines, 1 to {MAX_LINES}. Default: %(default)d.",
    )
    parser.add_argument("--json", action="store_true", help="print the answers of logs.tail, each on a line")
    add_place(parser)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_LINES:
        raise ArgumentTypeError(f"{text!r} is not a number of lines, 1 to {MAX_LINES}")
    return int(text)


def execute(options: Namespace) -> int:
    """Print; returns the exit code.  Raises ConfigError."""
    return concluded(_logs(find_place(options), options))


async def _logs(place: Place, options: Namespace) -> None:
    cursor: int | None = None
    patience = Patience(say)
    while True:
        try:
            async with connected(place, READ) as rpc:
                patience.connected()
                while True:
                    params: dict[str, Any] = {"limit": options.lines if cursor is None else MAX_LINES}
                    params["maxBytes"] = MAX_BYTES
                    if cursor is not None:
                        params["cursor"] = cursor
                    answer = part(await rpc.request("logs.tail", params, timeout=TIMEOUT))
                    _show(answer, options, first=cursor is None)
                    if not options.follow:
                        return
                    cursor = _cursor(answer)
                    await asyncio.sleep(PACE)
        except UnansweredError as error:
            if not options.follow:
                raise
            await patience.pause(error)


def _cursor(answer: Mapping[str, Any]) -> int:
    cursor = answer.get("cursor")
    if not isinstance(cursor, int):
        raise UnansweredError("the gateway does not say where its log goes on")
    return cursor


def _show(answer: Mapping[str, Any], options: Namespace, *, first: bool) -> None:
    lines = answer.get("lines") or []
    if options.json:
        if first or lines:
            write(line(answer))
        return
    if answer.get("reset") and not first:
        say("[the log begins anew]")
    elif answer.get("truncated") and not first:
        say("[lines are missing here: more was logged than can be fetched at once]")
    write("".join(f"{text}\n" for text in lines if isinstance(text, str)))
