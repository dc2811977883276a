"""A gateway that runs already, asked over HTTP."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ..config import Config
from ..errors import ConfigError
from ..model.http import Headers
from ..providers.settings import Timeouts
from ..providers.upstream import Response, Upstream, UpstreamError
from ..server.listeners import UnixAddress
from .ask import CHAT_PATH, Post, UnansweredError
from .console import UNAVAILABLE, WRONG_USAGE

__all__ = ["address", "pinned", "remote"]

CONNECT_TIME = 10.0
"""Seconds; a gateway that takes longer is down."""

_NOT_REACHED = {"upstream_unreachable", "upstream_connect_timeout", "upstream_tls"}
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to listen, and where to ask then


def address(config: Config) -> str:
    """The URL of the gateway that `gateway run` starts with this configuration.  Raises ConfigError."""
    gateway = config.gateway
    if gateway.bind.startswith("unix:"):
        return gateway.bind
    if gateway.port == 0:
        raise ConfigError("gateway.port: 0 takes a free port, which only `gateway run` prints. Give --url, or --local")
    host = _ANYWHERE.get(gateway.bind, gateway.bind)
    host = f"[{host}]" if ":" in host else host
    return f"{'https' if gateway.tls.enabled else 'http'}://{host}:{gateway.port}"


def pinned(certificate: str) -> ssl.SSLContext:
    """Trust exactly this certificate, whatever name or issuer it has: it is our own.  Raises ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        first = _CERTIFICATE.search(Path(certificate).read_text(encoding="ascii"))
        context.load_verify_locations(cadata=first[0] if first else "")
    except (OSError, ValueError) as error:
        raise ConfigError(f"gateway.tls.certPath: {certificate!r} cannot be used: {error}") from error
    return context


def remote(url: str, secret: str | None, ssl_context: ssl.SSLContext | None = None) -> Post:
    """Asks the gateway at `url`, which may be `unix:/path` or `unix:@name`."""
    unix_path = None
    if url.startswith("unix:"):
        unix_path = UnixAddress(url.removeprefix("unix:")).name
        url = f"{'http' if ssl_context is None else 'https'}://localhost"
    target = url.rstrip("/").removesuffix("/v1") + CHAT_PATH
    credential: Headers = () if secret is None else ((b"authorization", b"Bearer " + secret.encode()),)

    @asynccontextmanager
    async def post(headers: Headers, body: bytes) -> AsyncIterator[_Reply]:
        # How long the answer may take is the command's own limit.
        upstream = Upstream(Timeouts(CONNECT_TIME, 0, 0), ssl_context=ssl_context, unix_path=unix_path)
        try:
            with await _request(upstream, target, (*credential, *headers), body) as response:
                yield _Reply(response)
        finally:
            await upstream.aclose()

    return post


class _Reply:
    def __init__(self, response: Response) -> None:
        self._response = response
        self.status = response.head.status

    async def read(self) -> bytes:
        try:
            return await self._response.read()
        except UpstreamError as error:
            raise UnansweredError(error.message) from error


async def _request(upstream: Upstream, url: str, headers: Headers, body: bytes) -> Response:
    try:
        return await upstream.request("POST", url, headers, body)
    except UpstreamError as error:
        if error.code not in _NOT_REACHED:
            raise UnansweredError(error.message) from error
        remedy = "Start it with `gateway run`, name another with --url, or run the agent here with --local"
        raise UnansweredError(f"{error.message}. {remedy}", UNAVAILABLE) from error
    except ValueError as error:  # from the URL or a header; nothing was sent
        raise UnansweredError(str(error), WRONG_USAGE) from error
