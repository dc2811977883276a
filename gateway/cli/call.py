"""`gateway call`: one method of the gateway's WebSocket protocol, and its answer."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from typing import Any

from .console import WRONG_USAGE, UnansweredError, complain, given, line, write
from .outline import outline
from .place import Place, add_place, find_place, seconds
from .rpc import ALL, connected
from .signals import concluded

__all__ = ["add_arguments", "execute"]

TIMEOUT = 30.0
"""Seconds for an answer that the gateway has at hand."""

RUN_TIMEOUT = 600.0
"""Seconds for one that an agent has to make, as for `gateway agent`."""


def add_arguments(parser: ArgumentParser) -> None:
    """The flags of the command."""
    parser.add_argument("method", metavar="METHOD", help="for instance health, sessions.list, agent")
    parser.add_argument("--params", metavar="JSON", help="the parameters, one JSON object; - reads standard input")
    parser.add_argument(
        "--expect-final", action="store_true", help="wait for the second answer of methods that give two, like agent"
    )
    parser.add_argument("--json", action="store_true", help="print the answer as one line of JSON")
    add_place(parser)
    parser.add_argument(
        "--timeout",
        metavar="S",
        type=seconds,
        help=f"how long the answer may take; 0 for no limit. Default: {TIMEOUT:g} seconds, with --expect-final "
        f"{RUN_TIMEOUT:g}.",
    )


def execute(options: Namespace) -> int:
    """Ask and print; returns the exit code.  Raises ConfigError."""
    try:
        params = _params(options.params)
    except UnansweredError as error:
        complain(str(error))
        return error.exit_code
    return concluded(_call(find_place(options), params, options))


def _params(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        params = json.loads(given(text, "--params"))
    except (ValueError, RecursionError) as error:
        raise UnansweredError(f"--params: not JSON: {error}", WRONG_USAGE) from None
    if not isinstance(params, dict):
        raise UnansweredError('--params: not a JSON object, like {"limit": 5}', WRONG_USAGE)
    return params


async def _call(place: Place, params: dict[str, Any] | None, options: Namespace) -> None:
    usual = RUN_TIMEOUT if options.expect_final else TIMEOUT
    timeout = usual if options.timeout is None else options.timeout
    async with connected(place, ALL) as rpc:
        answer = await rpc.request(options.method, params, timeout=timeout, final=options.expect_final)
    write(line(answer) if options.json else "".join(f"{text}\n" for text in outline(answer)))
