"""`gateway run`: serve what the configuration says, in this process or in several."""

from __future__ import annotations

import logging
import os
from argparse import ArgumentParser, Namespace
from typing import Any

from ..config import Loaded, secrets
from ..errors import ConfigError
from ..logring import LogRing
from ..model.names import WORKER_PLACE
from .console import FAILED, WRONG_CONFIG, StartError, introduction, no_collector, say
from .serve import beside_a_terminal, keep_log, serve
from .setup import add_config, add_mirrors, load_config, log_to_stderr
from .systemd import inherited_sockets

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: ArgumentParser) -> None:
    """The flags of the command."""
    add_config(parser)
    add_mirrors(parser, ("port", "bind", "token", "loop", "workers"))
    parser.add_argument("--verbose", action="store_true", help="log more, and a line for each request")


def execute(options: Namespace) -> int:
    """Serve; returns the exit code.  Raises ConfigError."""
    if WORKER_PLACE in os.environ:
        return _serve_as_worker(options)
    loaded = load_config(options, verbose=options.verbose)
    if loaded.config.gateway.workers > 1:
        from .supervise import supervise

        return supervise(options, loaded)
    return _serve_alone(options, loaded)


def _serve_alone(options: Namespace, loaded: Loaded) -> int:
    """Serve; returns the exit code.  Raises ConfigError."""
    say(*(f"warning: {warning}" for warning in loaded.warnings))
    log_to_stderr(logging.DEBUG if options.verbose else logging.INFO)
    return _serve(options, loaded, None)


def _serve_as_worker(options: Namespace) -> int:
    """Serve as one of several; returns the exit code.  The supervisor hears what is wrong, and says it once."""
    from ..workers.worker import worker_here

    worker = worker_here(os.environ)
    assert worker is not None, "whoever calls this has looked"
    log_to_stderr(logging.DEBUG if options.verbose else logging.INFO, f"worker={worker.number} ")
    with beside_a_terminal():
        try:
            return _serve(options, load_config(options, verbose=options.verbose), worker)
        except ConfigError as error:
            worker.fail(error.problems)
            return FAILED if isinstance(error, StartError) else WRONG_CONFIG


def _serve(options: Namespace, loaded: Loaded, worker: Any) -> int:
    logs: LogRing = keep_log() if worker is None else worker.keep_log()

    def reread(text: str | None = None) -> Loaded:
        found = load_config(options, verbose=options.verbose, path=loaded.path, text=text)
        if text is None:
            logs.hide(secrets(found.config))
        return found

    with no_collector():
        from .build import build  # with all that serves: a supervisor does without

        sockets = inherited_sockets(os.environ) if worker is None else worker.sockets
        gateway, credential = build(loaded, sockets, reread=reread, logs=logs, siblings=worker)
    chat = loaded.config.gateway.http.endpoints.chat_completions.enabled

    def announce(urls: list[str]) -> None:
        logs.note(*(f"listening on {url}" for url in urls))
        if worker is None:  # else the supervisor says it, once
            say(*introduction(urls, credential.mode, chat=chat, path=loaded.path))

    return serve(gateway, announce, reread, worker)
