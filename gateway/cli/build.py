"""From a configuration to a gateway in this process."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

from .. import config
from ..app import Gateway
from ..config import Credential, Loaded, resolve_auth, secrets
from ..config.env import expand_home
from ..errors import ConfigError
from ..logring import LogRing
from ..model.names import DEFAULT_CONFIG_PATHS
from ..ports import Siblings

__all__ = ["build", "find_agents_here"]


def build(
    loaded: Loaded,
    sockets: Sequence[socket.socket] = (),
    *,
    reread: Callable[[str], Loaded] | None = None,
    logs: LogRing | None = None,
    siblings: Siblings | None = None,
) -> tuple[Gateway, Credential]:
    """The gateway of a configuration, not started, and what its clients must show.  Raises ConfigError.

    `sockets` that listen already stand in for the addresses of the configuration.  `reread` gives the configuration
    that a text would be in place of its file's; operators may change the file then.  They may see the lines of `logs`.
    `siblings` are the other processes that serve it.
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
        gateway = Gateway(
            loaded.config, listen=sockets or None, token=secret, environ=loaded.environ,
            source=_source(loaded, reread), logs=logs, siblings=siblings,
        )  # fmt: skip
    except ConfigError as error:
        problems += error.problems
    if credential is None or gateway is None:
        if loaded.path is None:
            places = ", ".join(DEFAULT_CONFIG_PATHS)
            problems.append(f"no configuration was found ({places}). Give one with --config, or try `gateway demo`")
        raise ConfigError(*problems)
    if logs is not None:
        logs.hide((credential.secret or "", *secrets(loaded.config)))
    return gateway, credential


def _source(loaded: Loaded, reread: Callable[[str], Loaded] | None) -> Callable[[], Any] | None:
    if loaded.path is None or reread is None:
        return None
    path, load = expand_home(loaded.path, os.environ), reread
    return lambda: config.ConfigSource(path, load, build)  # loaded on demand: few have clients that ask for it


def find_agents_here() -> None:
    """Let the modules of Python agents be found in the working folder; after all others, so that they hide none."""
    folder = os.getcwd()  # noqa: PTH109 - sys.path holds text
    if folder not in sys.path:
        sys.path.append(folder)
