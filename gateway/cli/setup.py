"""From flags to a configuration."""

from __future__ import annotations

import logging
import os
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterable

from .. import config  # whose parts are loaded when they are asked for
from ..model.names import DEFAULT_CONFIG_PATHS, environment

__all__ = ["add_config", "add_mirrors", "load_config", "log_to_stderr", "port"]

_MIRRORS = {
    "port": ("gateway.port", "N"),
    "bind": ("gateway.bind", "ADDR"),
    "token": ("gateway.auth.token", "TOKEN"),
    "workers": ("gateway.workers", "N"),
    "loop": ("gateway.loop", "NAME"),
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
    rows = {row.path: row for row in config.options()}
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


def load_config(
    given: Namespace, *, verbose: bool = False, path: str | None = None, text: str | None = None
) -> config.Loaded:
    """The configuration with the flags in it.  `text` stands in for what the file, which is `path` then, holds.

    Raises ConfigError.
    """
    flags = {path: getattr(given, name, None) for name, (path, _) in _MIRRORS.items()}
    overrides: dict[str, object] = {path: value for path, value in flags.items() if value is not None}
    if "gateway.auth.token" in overrides:
        overrides["gateway.auth.mode"] = "token"  # whoever gives a token means it, whatever the file says
    if verbose:
        overrides["gateway.http.accessLog"] = True
    loaded = config.load(path or given.config, environ=os.environ, overrides=overrides, text=text)
    session = loaded.config.session
    if session.store is None:  # commands keep sessions; programs that embed a gateway say so if they want that
        kept = loaded.config.replace(session=session.replace(store="sqlite"))
        loaded = loaded._replace(config=kept)
    return loaded


def log_to_stderr(level: int, label: str = "") -> None:
    """Write log records to standard error: our own from `level`, those of others from WARNING; each with `label`."""
    logging.basicConfig(format=f"%(asctime)s %(levelname)s {label}%(name)s: %(message)s", level=logging.WARNING)
    # The package, under whatever name it was vendored.
    logging.getLogger(__package__.rpartition(".")[0]).setLevel(level)
