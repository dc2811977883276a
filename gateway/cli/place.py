"""Where the gateway is, and what it wants to be shown: from flags and the configuration."""

from __future__ import annotations

import math
import os
import re
import ssl
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping
from contextlib import suppress

from .. import config  # whose parts are loaded when they are asked for
from ..errors import ConfigError
from ..records import NamedTuple
from .setup import add_config

__all__ = ["Place", "add_credential", "add_place", "add_question", "find_place", "seconds"]

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to listen, and where to ask then


class Place(NamedTuple):
    """A gateway: `url` is `http://HOST:PORT`, `https://...`, `unix:/path` or `unix:@name`.

    `tls` are the certificates to trust, None for those of the system; at a unix socket, None for no TLS.
    """

    url: str
    secret: str | None = None
    tls: ssl.SSLContext | None = None


def add_place(parser: ArgumentParser, url: str = "the gateway, ws://HOST:PORT") -> None:
    """The flags `--url`, `--token` and `--config`."""
    parser.add_argument("--url", help=f"{url}; default: as the configuration says")
    add_credential(parser)


def add_question(parser: ArgumentParser, timeout: float, what: str) -> None:
    """The flags of commands that ask a gateway something and end: those of `add_place`, and `--timeout`."""
    add_place(parser)
    text = f"how long {what} may take; 0 for no limit. Default: %(default)g seconds."
    parser.add_argument("--timeout", metavar="S", type=seconds, default=timeout, help=text)


def add_credential(parser: ArgumentParser) -> None:
    """The flags `--token` and `--config`."""
    parser.add_argument("--token", help="the gateway's token or password; default: as the configuration says")
    add_config(parser)


def find_place(options: Namespace) -> Place:
    """The gateway that the flags name, or the configuration, which is read only where it is needed.

    Raises ConfigError.
    """
    if options.url and options.token:
        return Place(options.url, options.token)
    loaded = config.load(options.config, environ=os.environ)
    gateway = loaded.config.gateway
    if options.url:
        return Place(options.url, _secret(gateway, loaded.environ))
    url = _address(gateway)
    tls = _pinned(gateway.tls.cert_path) if gateway.tls.enabled and gateway.tls.cert_path else None
    secret = options.token or config.resolve_auth(gateway, loaded.environ).secret
    if secret is None and gateway.auth.keys:
        raise ConfigError("gateway.auth: there are keys and no token. Give the secret of one with --token")
    return Place(url, secret, tls)


def _secret(gateway: config.Gateway, environ: Mapping[str, str]) -> str | None:
    """What the configuration would have clients show; None where it has nothing: another gateway may not ask."""
    with suppress(ConfigError):
        return config.resolve_auth(gateway, environ).secret
    return None


def _address(gateway: config.Gateway) -> str:
    """The URL of the gateway that `gateway run` starts with this configuration.  Raises ConfigError."""
    if gateway.bind.startswith("unix:"):
        return gateway.bind
    if gateway.port == 0:
        raise ConfigError("gateway.port: 0 takes a free port, which only `gateway run` prints. Give --url")
    host = _ANYWHERE.get(gateway.bind, gateway.bind)
    host = f"[{host}]" if ":" in host else host
    return f"{'https' if gateway.tls.enabled else 'http'}://{host}:{gateway.port}"


def _pinned(certificate: str) -> ssl.SSLContext:
    """Trust exactly this certificate, whatever name or issuer it has: it is our own.  Raises ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        with open(certificate, encoding="ascii") as file:  # noqa: PTH123 - pathlib would cost the start 3 ms
            first = _CERTIFICATE.search(file.read())
        context.load_verify_locations(cadata=first[0] if first else "")
    except (OSError, ValueError) as error:
        raise ConfigError(f"gateway.tls.certPath: {certificate!r} cannot be used: {error}") from error
    return context


def seconds(text: str) -> float:
    """The type of flags that take a time."""
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not math.isfinite(number) or number < 0:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds, 0 or more")
    return number
