"""Where a gateway listens, as its configuration or its caller says, and what is too much without a token."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import TypeAlias

from .config.auth import is_local
from .config.schema import Config
from .errors import ConfigError
from .server.listeners import Address, TcpAddress, UnixAddress, parse_address, require_listening

__all__ = ["Listen", "addresses_of", "own_names", "require_guarded"]

Listen: TypeAlias = str | socket.socket
"""`host:port`, `unix:/path`, or a socket that listens already."""


def addresses_of(config: Config, listen: Listen | Iterable[Listen] | None) -> list[Address]:
    """`listen`, or where there is none the addresses of the configuration.  Raises ConfigError."""
    settings = config.gateway
    if listen is None:
        own = settings.bind if settings.bind.startswith("unix:") else f"[{settings.bind}]:{settings.port}"
        more = settings.unix_socket.path
        listen = [own] if more is None else [own, f"unix:{more}"]
    given = [listen] if isinstance(listen, Listen) else list(listen)
    return [_address(one, config) for one in given]


def _address(listen: Listen, config: Config) -> Address:
    if isinstance(listen, socket.socket):
        return require_listening(listen)
    address = parse_address(listen, config.gateway.port)
    if isinstance(address, UnixAddress):
        settings = config.gateway.unix_socket
        return address._replace(mode=int(settings.mode, 8), owner=settings.owner, group=settings.group)
    return address


def own_names(addresses: Iterable[Address]) -> list[str]:
    """What this machine calls itself, in full, in short, and in its own network (RFC 6762); and where it listens."""
    name = socket.gethostname() or "localhost"
    short = name.partition(".")[0]
    return [name, short, f"{short}.local", *(host for one in addresses if (host := _host(one)))]


def require_guarded(config: Config, addresses: Iterable[Address], token: str | None, *, has_keys: bool) -> None:
    """Raises ConfigError where everybody could come in, or nobody."""
    if token is not None:
        _require_usable(token)
    elif not has_keys and not config.gateway.auth.keys:
        _require_local(addresses)
        _require_named_origins(config)


def _require_usable(token: str) -> None:
    """Raises ConfigError for a secret that no request could carry."""
    if not token or token != token.strip() or not token.isprintable():
        raise ConfigError(
            "the token is empty, begins or ends with a blank, or holds control characters: no header could carry it; "
            "give another, or none"
        )


def _require_local(addresses: Iterable[Address]) -> None:
    """Raises ConfigError where more than this machine can connect."""
    for host in map(_host, addresses):
        if host and not is_local(host):
            raise ConfigError(
                f"without a token everyone who reaches {host} could use the agents: "
                "give a token, or listen at 127.0.0.1 or a unix socket only"
            )


def _require_named_origins(config: Config) -> None:
    """Raises ConfigError where every web page could connect."""
    if "*" in config.gateway.http.cors.allowed_origins:
        raise ConfigError(
            "gateway.http.cors.allowedOrigins: without a token '*' would let every web page use the agents: "
            "give a token, or name the origins one by one"
        )


def _host(address: Address) -> str:
    """The host; empty for a unix socket."""
    if isinstance(address, socket.socket):
        name = address.getsockname()
        return str(name[0]) if isinstance(name, tuple) else ""
    return address.host if isinstance(address, TcpAddress) else ""
