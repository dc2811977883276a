"""From a configuration to a gateway in this process."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence

from ..app import Gateway
from ..config import Credential, Loaded, resolve_auth
from ..errors import ConfigError
from ..model.names import DEFAULT_CONFIG_PATHS

__all__ = ["build", "find_agents_here"]


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
