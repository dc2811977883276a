"""`gateway agent`: run an agent once, on a running gateway or in this process, and print its answer."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import signal
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Coroutine, Mapping
from contextlib import aclosing, suppress
from typing import Any

from ..app import Gateway
from ..config import Config, load, resolve_auth
from ..errors import ConfigError
from .ask import Post, Question, UnansweredError, ask_stream, ask_whole, text_of
from .console import WRONG_USAGE, complain, write
from .local import local
from .remote import address, pinned, remote
from .setup import add_config, find_agents_here, load_config, log_to_stderr
from .terminal import Spinner, View

__all__ = ["add_arguments", "execute"]

TIMEOUT = 600.0
"""Seconds; as in OpenAI's SDKs."""

MESSAGE_BYTES = 64 << 20
"""Read from standard input: more than a gateway takes by default, and not a whole disk by mistake."""


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
    parser.add_argument("--token", help="the gateway's token or password; default: as the configuration says")
    add_config(parser)
    parser.add_argument(
        "--timeout",
        metavar="S",
        type=_seconds,
        default=TIMEOUT,
        help="how long the answer may take; 0 for no limit. Default: %(default)g seconds.",
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not math.isfinite(seconds) or seconds < 0:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds, 0 or more")
    return seconds


def execute(options: Namespace) -> int:
    """Ask; returns the exit code.  Raises ConfigError."""
    try:
        question = Question(_message(options.message), options.agent, options.session_key)
        return asyncio.run(_until_signal(_ask(_place(options), question, options)))
    except UnansweredError as error:
        complain(str(error))
        return error.exit_code


async def _until_signal(asking: Coroutine[Any, Any, None]) -> int:
    """The exit code.  Another signal than Ctrl-C ends the run as well, and what its agent has started."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(asking)
    received: list[int] = []

    def end(number: int) -> None:
        received.append(number)
        task.cancel()

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:  # `nohup` wants it ignored
            with suppress(NotImplementedError, ValueError, RuntimeError):  # on Windows, or beside the main thread
                loop.add_signal_handler(number, end, number)
    try:
        await task
    except asyncio.CancelledError:
        if not received:
            raise
        return 128 + received[0]
    return 0


def _message(text: str) -> str:
    if text != "-":
        return text
    data = sys.stdin.buffer.read(MESSAGE_BYTES + 1)
    if len(data) > MESSAGE_BYTES:
        raise UnansweredError(f"--message: standard input has more than {MESSAGE_BYTES >> 20} MiB", WRONG_USAGE)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UnansweredError(f"--message: standard input is not UTF-8: {error.reason}", WRONG_USAGE) from None


def _place(options: Namespace) -> Post:
    """Whom to ask."""
    if options.local:
        # The runs' own warnings say what the error says; what a broken agent leaves behind is worth reading.
        log_to_stderr(logging.ERROR)
        find_agents_here()
        loaded = load_config(options)
        return local(Gateway(loaded.config, listen=(), environ=loaded.environ))
    if options.url and options.token:
        return remote(options.url, options.token)
    loaded = load(options.config, environ=os.environ)
    config = loaded.config
    if options.url:
        return remote(options.url, _secret(config, loaded.environ))
    url = address(config)
    settings = config.gateway.tls
    tls = pinned(settings.cert_path) if settings.enabled and settings.cert_path else None
    secret = options.token or resolve_auth(config.gateway, loaded.environ).secret
    if secret is None and config.gateway.auth.keys:
        raise ConfigError("gateway.auth: there are keys and no token. Give the secret of one with --token")
    return remote(url, secret, tls)


def _secret(config: Config, environ: Mapping[str, str]) -> str | None:
    """What the configuration would have clients show; None where it has nothing: another gateway may not ask."""
    with suppress(ConfigError):
        return resolve_auth(config.gateway, environ).secret
    return None


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
