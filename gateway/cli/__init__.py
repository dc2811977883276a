"""The command `gateway`.

console     what is printed, and what a program ends with
signals     what ends a command before its time
setup       from flags to a configuration
build       from a configuration to a gateway in this process
place       from flags and a configuration to the gateway that runs elsewhere
supervise   several processes of `run`, from above
serve       a gateway until a signal comes
systemd     sockets that are handed in, and messages to the service manager
demo, run, check, agent, models, sessions, keys, devices   commands, each imported only when it is asked for
call, health, status, logs, chat                  those that speak the gateway protocol with a running gateway
ask         how `agent` asks: a gateway over HTTP, or one in this process
rpc         the gateway protocol as a client
websocket   the connection it takes
conversation, chat_view, lines   what is said in a `chat`, how it is shown, how it is typed
terminal    an answer as it comes, for a person
transcript  a session as people and programs read it
outline     JSON as people read it

Environment, signals, log handlers and printing belong to this room; nothing below touches them.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, HelpFormatter, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module

from .. import __version__
from ..errors import ConfigError
from .console import (
    EXIT_CODES,
    FAILED,
    INTERRUPTED,
    WRONG_CONFIG,
    StartError,
    abandon_output,
    complain,
    no_collector,
    tolerate_any_text,
)

__all__ = ["main"]

_COMMANDS = {
    "demo": "serve the built-in echo agent: no key, no configuration",
    "run": "serve what the configuration says",
    "agent": "run an agent once and print its answer",
    "call": "call a method of a running gateway's WebSocket protocol",
    "chat": "talk with an agent of a running gateway",
    "health": "ask a running gateway whether it is well",
    "status": "show what a running gateway is, and who is connected to it",
    "logs": "show the log of a running gateway",
    "models": "list the models of the providers",
    "check": "check the configuration and print the effective one",
    "sessions": "list, show, export, delete or reset the sessions that are kept",
    "keys": "make a key for a client of its own",
    "devices": "list, approve, reject, revoke or remove the devices of a running gateway",
}
"""Command to what it does.  Each is a module of this room with `add_arguments` and `execute`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the result is the exit code.  `arguments` are those of the process where none are given."""
    arguments = sys.argv[1:] if arguments is None else arguments
    tolerate_any_text()
    try:
        with no_collector():
            parser, module = _parser(arguments)
            options = parser.parse_args(arguments, Namespace(arguments=arguments))
        if module is None:
            parser.print_help()
            return 0
        code: int = import_module(module, __package__).execute(options)
        sys.stdout.flush()
        return code
    except SystemExit as ended:  # argparse has printed help, the version, or what is wrong
        return ended.code if isinstance(ended.code, int) else FAILED
    except StartError as error:
        complain(*error.problems)
        return FAILED
    except ConfigError as error:
        complain(*error.problems)
        return WRONG_CONFIG
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        abandon_output()
        return FAILED


def _parser(arguments: Sequence[str]) -> tuple[ArgumentParser, str | None]:
    """The parser, and the chosen command's module; of the others it knows nothing, and shows nothing."""
    chosen = next((name for name in arguments[:1] if name in _COMMANDS), None)
    parser = ArgumentParser(
        "gateway",
        description="An OpenAI-compatible HTTP API in front of AI agents.",
        epilog=EXIT_CODES,
        formatter_class=_formatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"gateway {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", prog="gateway")
    module = None
    for name, summary in _COMMANDS.items():
        if chosen not in {None, name}:
            continue
        command = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=EXIT_CODES,
            formatter_class=_formatter,
            allow_abbrev=False,
        )
        if name == chosen:
            module = f".{name}"
            import_module(module, __package__).add_arguments(command)
    return parser, module


def _formatter(prog: str) -> HelpFormatter:
    """Keeps the line ends of the epilog.  The width is asked for here, because argparse would import shutil for it."""
    try:
        width = os.get_terminal_size().columns
    except OSError:
        width = 80
    return RawDescriptionHelpFormatter(prog, width=width - 2)
