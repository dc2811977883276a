"""`gateway run`: serve what the configuration says."""

from __future__ import annotations

import logging
import os
from argparse import ArgumentParser, Namespace

from ..config import Loaded, secrets
from .build import build
from .console import say
from .serve import keep_log, serve
from .setup import add_config, add_mirrors, load_config, log_to_stderr
from .systemd import inherited_sockets

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: ArgumentParser) -> None:
    """The flags of the command."""
    add_config(parser)
    add_mirrors(parser, ("port", "bind", "token", "loop"))
    parser.add_argument("--verbose", action="store_true", help="log more, and a line for each request")


def execute(options: Namespace) -> int:
    """Serve; returns the exit code.  Raises ConfigError."""
    loaded = load_config(options, verbose=options.verbose)
    log_to_stderr(logging.DEBUG if options.verbose else logging.INFO)
    logs = keep_log()
    say(*(f"warning: {warning}" for warning in loaded.warnings))

    def reread(text: str | None = None) -> Loaded:
        found = load_config(options, verbose=options.verbose, path=loaded.path, text=text)
        if text is None:
            logs.hide(secrets(found.config))
        return found

    gateway, credential = build(loaded, inherited_sockets(os.environ), reread=reread, logs=logs)
    chat = loaded.config.gateway.http.endpoints.chat_completions.enabled

    def announce(urls: list[str]) -> None:
        listening = [f"listening on {url}" for url in urls]
        say(*listening)
        logs.note(*listening)
        if credential.mode == "none":
            say("without authentication: every program on this machine may use the agents")
        if not chat:
            where = loaded.path or "the configuration"
            say(
                f"the chat endpoint is off; gateway.http.endpoints.chatCompletions.enabled: true in {where} turns it on"
            )

    return serve(gateway, announce, reread)
