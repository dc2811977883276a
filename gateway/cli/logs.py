"""`gateway logs`: the last lines of a gateway's log, and those that come."""

from __future__ import annotations

import asyncio
import json
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping
from typing import Any

from .console import UnansweredError, line, say, write
from .place import Place, add_place, find_place
from .rpc import READ, Patience, Rpc, connected, part
from .signals import concluded

__all__ = ["add_arguments", "execute", "readable"]

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
    parser.add_argument("--follow", action="store_true", help="go on with the lines that come, until Ctrl-C")
    parser.add_argument(
        "--lines",
        metavar="N",
        type=_count,
        default=LINES,
        help=f"how many of the last lines, 1 to {MAX_LINES}. Default: %(default)d.",
    )
    parser.add_argument("--json", action="store_true", help="print the lines as the gateway keeps them, one JSON each")
    add_place(parser)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_LINES:
        raise ArgumentTypeError(f"{text!r} is not a number of lines, 1 to {MAX_LINES}")
    return int(text)


def execute(options: Namespace) -> int:
    """Print; returns the exit code.  Raises ConfigError."""
    return concluded(_logs(find_place(options), _Log(options)))


async def _logs(place: Place, log: _Log) -> None:
    patience = Patience(say)
    while True:
        try:
            async with connected(place, READ) as rpc:
                patience.connected()
                await log.read(rpc)
                return
        except UnansweredError as error:
            if not log.follows:
                raise
            await patience.pause(error)


class _Log:
    """The log as far as it is printed."""

    def __init__(self, options: Namespace) -> None:
        self.follows: bool = options.follow
        self._options = options
        self._cursor: int | None = None
        self._file = ""

    async def read(self, rpc: Rpc) -> None:
        """Print what is new; with --follow, again and again.  Raises UnansweredError."""
        while True:
            answer = await self._tail(rpc, self._options.lines if self._cursor is None else MAX_LINES)
            if self._cursor is not None:
                answer = await self._beyond(rpc, answer)
            self._print(answer)
            if not self.follows:
                return
            self._cursor, self._file = answer.get("cursor"), answer.get("file", "")
            if not isinstance(self._cursor, int):
                raise UnansweredError("the gateway does not say where its log goes on")
            await asyncio.sleep(PACE)

    async def _tail(self, rpc: Rpc, limit: int) -> Mapping[str, Any]:
        params = {"limit": limit, "maxBytes": MAX_BYTES}
        if self._cursor is not None:
            params["cursor"] = self._cursor
        return part(await rpc.request("logs.tail", params, timeout=TIMEOUT))

    async def _beyond(self, rpc: Rpc, answer: Mapping[str, Any]) -> Mapping[str, Any]:
        """The answer that goes on after what is printed, with a word about what is not between."""
        if answer.get("file") != self._file:  # the cursor was one of another log
            self._cursor = None
            answer = await self._tail(rpc, MAX_LINES)
            say("[the log begins anew]")
        elif "skippedBytes" in answer or (answer.get("truncated") and not answer.get("reset")):
            say("[lines are missing here: more was logged than can be fetched at once]")
        elif answer.get("reset"):
            say("[the log begins anew]")
        return answer

    def _print(self, answer: Mapping[str, Any]) -> None:
        lines = [text for text in answer.get("lines") or () if isinstance(text, str)]
        if self._options.json:
            write("".join(map(_as_json, lines)))
        else:
            write("".join(f"{readable(text)}\n" for text in lines))


def readable(text: str) -> str:
    """A line of the log for people: time, level, where it comes from, message.

    OpenClaw's lines are JSON: what was logged under numbers, the rest in `_meta`.  Others are left as they are.
    """
    record = _record(text)
    meta = part(record.get("_meta"))
    messages = [value for key, value in record.items() if key.isdigit()]
    if not meta or not messages:
        return text
    source = part(_record(str(meta.get("name"))))
    if first := _record(str(messages[0])).get("subsystem"):
        source = {"subsystem": first}
        messages = messages[1:]
    told = " ".join(value if isinstance(value, str) else json.dumps(value) for value in messages)
    words = (record.get("time") or meta.get("date"), meta.get("logLevelName"), source.get("subsystem"))
    before = " ".join(str(word) for word in words if word)
    return f"{before}: {told}" if before else told


def _record(text: str) -> Mapping[str, Any]:
    try:
        return part(json.loads(text))
    except (ValueError, RecursionError):
        return {}


def _as_json(text: str) -> str:
    return line(_record(text) or {"line": text})
