"""Which secret clients must show, from the configuration and the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..errors import ConfigError
from ..model.names import environment
from .schema import Gateway

__all__ = ["Credential", "is_local", "resolve_auth"]


class Credential(NamedTuple):
    """`mode` is token, password or none; `secret` is None exactly in mode none."""

    mode: str
    secret: str | None

    def __repr__(self) -> str:
        return f"Credential(mode={self.mode!r})"


def resolve_auth(gateway: Gateway, environ: Mapping[str, str]) -> Credential:
    """The mode and its secret: the configuration's, else that of the first variable which holds one.

    Without a mode it is password if there is one anywhere, else token.  Raises ConfigError for a mode without its
    secret, and for mode none where more than this machine can connect.
    """
    auth = gateway.auth
    token = auth.token or _first(environ, "GATEWAY_TOKEN")
    password = auth.password or _first(environ, "GATEWAY_PASSWORD")
    mode = auth.mode or ("password" if password else "token")
    if mode == "none":
        if not is_local(gateway.bind):
            raise ConfigError(
                f'gateway.auth.mode: "none" would let everyone who reaches {gateway.bind} use the agents. '
                'Set gateway.bind to "loopback" or "unix:/path", or mode to "token"'
            )
        return Credential(mode, None)
    secret = password if mode == "password" else token
    if not secret:
        names = environment(f"GATEWAY_{mode.upper()}")
        raise ConfigError(
            f"gateway.auth: no {mode} is set, and without one nobody could be told from anybody else. "
            f"Set gateway.auth.{mode} or {' or '.join(names)}"
        )
    return Credential(mode, secret)


def is_local(bind: str) -> bool:
    """Whether only this machine can connect to the address of a finished configuration."""
    if bind.startswith("unix:") or bind == "localhost":
        return True
    import ipaddress  # noqa: PLC0415 - for mode none only, and it costs the start 2 ms

    try:
        return bool(ipaddress.ip_address(bind).is_loopback)
    except ValueError:
        return False


def _first(environ: Mapping[str, str], suffix: str) -> str | None:
    values = (environ.get(name, "").strip() for name in environment(suffix))
    return next((value for value in values if value), None)
