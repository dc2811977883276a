"""`gateway agent`: run an agent once, on a running gateway or in this process, and print its answer."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from argparse import ArgumentParser, Namespace
from contextlib import aclosing
from typing import Any

from ..app import Gateway
from .ask import Post, Question, ask_stream, ask_whole, text_of
from .build import find_agents_here
from .console import UnansweredError, complain, given, write
from .local import local
from .place import add_credential, find_place, seconds
from .remote import remote
from .setup import load_config, log_to_stderr
from .signals import until_signal
from .terminal import Spinner, View

__all__ = ["add_arguments", "execute"]

TIMEOUT = 600.0
"""Seconds; as in OpenAI's SDKs."""


def add_arguments(parser: ArgumentParser) -> None:
    """The flags of the command."""
    parser.add_argument("--message", metavar="TEXT", required=True, help="what to say; - reads standard input")
    parser.add_argument("--agent", metavar="ID", help="the agent; default: the gateway's default agent")
    parser.add_argument("--session-key", metavar="KEY", help="the session to go on with; default: a new one")
    parser.add_argument(
        "--stream", action="store_true", help="print the answer as it comes; to a terminal it is printed so anyway"
    )
    parser.add_argument(
        "--json", action="store_true", help="print the completion object; with --stream, a line for each chunk object"
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--url", help="the gateway, http://HOST:PORT; default: as the configuration says")
    place.add_argument("--local", action="store_true", help="run the agent in this process, without a gateway")
    add_credential(parser)
    parser.add_argument(
        "--timeout",
        metavar="S",
        type=seconds,
        default=TIMEOUT,
        help="how long the answer may take; 0 for no limit. Default: %(default)g seconds.",
    )


def execute(options: Namespace) -> int:
    """Ask; returns the exit code.  Raises ConfigError."""
    try:
        question = Question(given(options.message, "--message"), options.agent, options.session_key)
        return asyncio.run(until_signal(_ask(_place(options), question, options)))
    except UnansweredError as error:
        complain(str(error))
        return error.exit_code


def _place(options: Namespace) -> Post:
    """Whom to ask."""
    if options.local:
        # The runs' own warnings say what the error says; what a broken agent leaves behind is worth reading.
        log_to_stderr(logging.ERROR)
        find_agents_here()
        loaded = load_config(options)
        return local(Gateway(loaded.config, listen=(), environ=loaded.environ))
    return remote(find_place(options))


async def _ask(post: Post, question: Question, options: Namespace) -> None:
    try:
        async with asyncio.timeout(options.timeout or None):
            if options.json:
                await (_print_chunks if options.stream else _print_document)(post, question)
            elif options.stream or sys.stdout.isatty():
                await _print_stream(post, question)
            else:
                async with Spinner():
                    answer = await ask_whole(post, question)
                write(_ended(text_of(answer)))
    except TimeoutError:
        message = f"there was no whole answer within {options.timeout:g} s; --timeout allows more"
        raise UnansweredError(message) from None


async def _print_document(post: Post, question: Question) -> None:
    async with Spinner():
        answer = await ask_whole(post, question)
    write(_line(answer))


async def _print_chunks(post: Post, question: Question) -> None:
    async with aclosing(ask_stream(post, question)) as chunks:
        async for chunk in chunks:
            write(_line(chunk))


async def _print_stream(post: Post, question: Question) -> None:
    async with Spinner() as spinner, aclosing(ask_stream(post, question)) as chunks:
        view = View(spinner)
        try:
            async for chunk in chunks:
                view.show(chunk)
        finally:
            view.end()


def _line(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"


def _ended(text: str) -> str:
    return text if text.endswith("\n") else f"{text}\n"
