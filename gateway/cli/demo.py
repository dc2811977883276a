"""`gateway demo`: the built-in echo agent, without key or configuration."""

from __future__ import annotations

import logging
import os
from argparse import ArgumentParser, Namespace

from ..agents.function import echo
from ..app import Gateway
from ..config import Config
from ..model.names import PUBLIC
from .console import StartError, say, write
from .serve import keep_log, serve
from .setup import log_to_stderr, port

__all__ = ["add_arguments", "execute"]

TOKEN_BYTES = 24
"""Random ones: nobody guesses 192 bits."""

_USUAL_PORT = Config().gateway.port


def add_arguments(parser: ArgumentParser) -> None:
    """The flags of the command."""
    default = f"{_USUAL_PORT}, or a free one where that is taken"
    parser.add_argument("--port", type=port, metavar="N", help=f"the TCP port; 0 for a free one. Default: {default}.")


def execute(options: Namespace) -> int:
    """Serve; returns the exit code.  Raises StartError."""
    log_to_stderr(logging.INFO)
    logs = keep_log()
    token = os.urandom(TOKEN_BYTES).hex()

    logs.hide([token])

    def attempt(number: int) -> int:
        gateway = Gateway(agents={"main": echo}, listen=f"127.0.0.1:{number}", token=token, logs=logs)
        return serve(gateway, lambda urls: announce(urls[0]))

    def announce(url: str) -> None:
        logs.note(f"listening on {url}")
        write(_introduction(url, token))

    if options.port is not None:
        try:
            return attempt(options.port)
        except StartError as error:
            raise StartError(*error.problems, "give another port with --port, or 0 for a free one") from None
    try:
        return attempt(_USUAL_PORT)
    except StartError:
        say(f"port {_USUAL_PORT} is taken, so this is a free one; --port chooses")
        return attempt(0)


def _introduction(url: str, token: str) -> str:
    def curl(flag: str, stream: str) -> str:
        body = f'{{"model": "{PUBLIC}", {stream}"messages": [{{"role": "user", "content": "hi there"}}]}}'
        return (
            f"curl {flag} {url}/v1/chat/completions -H 'Authorization: Bearer {token}' "
            f"-H 'Content-Type: application/json' -d '{body}'"
        )

    return f"""\
The gateway listens on {url}, for this machine only. Its agent echoes.
Token, for this run only: {token}

Ask it, from another terminal:

{curl("-sS", "")}

The same as a stream:

{curl("-N", '"stream": true, ')}

Ctrl-C ends it.
"""
