"""A gateway that runs already, asked over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..model.http import Headers
from ..providers.settings import Timeouts
from ..providers.upstream import Response, Upstream, UpstreamError
from ..server.listeners import UnixAddress
from .ask import CHAT_PATH, Post
from .console import UNAVAILABLE, WRONG_USAGE, UnansweredError
from .place import Place

__all__ = ["remote"]

CONNECT_TIME = 10.0
"""Seconds; a gateway that takes longer is down."""

_NOT_REACHED = {"upstream_unreachable", "upstream_connect_timeout", "upstream_tls"}


def remote(place: Place) -> Post:
    """Asks the gateway there."""
    url, secret, ssl_context = place
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
