"""From flags to a configuration and a gateway."""

from __future__ import annotations

import logging
import os
import socket
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterable, Sequence

from ..app import Gateway
from ..config import Credential, Loaded, load, options, resolve_auth
from ..errors import ConfigError
from ..model.names import DEFAULT_CONFIG_PATHS, environment

__all__ = ["add_config", "add_mirrors", "build", "find_agents_here", "load_config", "log_to_stderr", "port"]

_MIRRORS = {
    "port": ("gateway.port", "N"),
    "bind": ("gateway.bind", "ADDR"),
    "token": ("gateway.auth.token", "TOKEN"),
}
"""Flags that stand in for an option of the configuration."""


def add_config(parser: ArgumentParser) -> None:
    """The flag `--config`."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        help=f"the configuration; else {', '.join(environment('CONFIG_PATH'))}, or the first that exists of "
        f"{', '.join(DEFAULT_CONFIG_PATHS)}",
    )


def add_mirrors(parser: ArgumentParser, names: Iterable[str]) -> None:
    """Flags that stand in for options, with the help of the option table."""
    rows = {row.path: row for row in options()}
    for name in names:
        path, metavar = _MIRRORS[name]
        row = rows[path]
        text = f"{path}: {row.help} Default: {' or '.join(row.environment) or row.default}."
        kind = port if name == "port" else str
        parser.add_argument(f"--{name}", type=kind, metavar=metavar, help=text.replace("%", "%%"))


def port(text: str) -> int:
    """The type of flags that take a port."""
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise ArgumentTypeError(f"{text!r} is not a port, 0 to 65535")
    return int(text)


def load_config(given: Namespace, *, verbose: bool = False) -> Loaded:
    """The configuration with the flags in it.  Raises ConfigError."""
    flags = {path: getattr(given, name, None) for name, (path, _) in _MIRRORS.items()}
    overrides: dict[str, object] = {path: value for path, value in flags.items() if value is not None}
    if "gateway.auth.token" in overrides:
        overrides["gateway.auth.mode"] = "token"  # whoever gives a token means it, whatever the file says
    if verbose:
        overrides["gateway.http.accessLog"] = True
    loaded = load(given.config, environ=os.environ, overrides=overrides)
    session = loaded.config.session
    if session.store is None:  # commands keep sessions; programs that embed a gateway say so if they want that
        config = loaded.config.replace(session=session.replace(store="sqlite"))
        loaded = loaded._replace(config=config)
    return loaded


def build(loaded: Loaded, sockets: Sequence[socket.socket] = ()) -> tuple[Gateway, Credential]:
    """The gateway of a configuration, not started, and what its clients must show.  Raises ConfigError.

    `sockets` that listen already stand in for the addresses of the configuration.
    """
    find_agents_here()
    problems: list[str] = []
    credential = gateway = None
    try:
        credential = resolve_auth(loaded.config.gateway, loaded.environ)
    except ConfigError as error:
        problems += error.problems
    try:
        secret = credential.secret if credential else "unset"  # after a fault above, only to find the other faults
        gateway = Gateway(loaded.config, listen=sockets or None, token=secret, environ=loaded.environ)
    except ConfigError as error:
        problems += error.problems
    if credential is None or gateway is None:
        if loaded.path is None:
            places = ", ".join(DEFAULT_CONFIG_PATHS)
            problems.append(f"no configuration was found ({places}). Give one with --config, or try `gateway demo`")
        raise ConfigError(*problems)
    return gateway, credential


def find_agents_here() -> None:
    """Let the modules of Python agents be found in the working folder; after all others, so that they hide none."""
    folder = os.getcwd()  # noqa: PTH109 - sys.path holds text
    if folder not in sys.path:
        sys.path.append(folder)


def log_to_stderr(level: int) -> None:
    """Write log records to standard error: our own from `level`, those of others from WARNING."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    # The package, under whatever name it was vendored.
    logging.getLogger(__package__.rpartition(".")[0]).setLevel(level)
