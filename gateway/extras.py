"""What a configuration may ask for besides the usual, loaded where it does."""

from __future__ import annotations

import socket
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

from .agents.conversation import Conversations
from .agents.run import Runs
from .api.images import ImageLimits
from .api.router import Route
from .assembly import Assembly
from .config.schema import Config
from .errors import ConfigError
from .ports import Handler, Siblings
from .server.listeners import SocketFile, UnixAddress
from .server.server import Server
from .server.services import LinkFactory, LinkOpener

__all__ = [
    "answered",
    "bind",
    "certificate",
    "fetcher",
    "image_limits",
    "links",
    "metering",
    "proxies",
    "root",
    "runs_of",
    "sharing",
]

Reload: TypeAlias = Callable[[Config, Mapping[str, str]], Sequence[str]]


def runs_of(assembly: Assembly, conversations: Conversations, config: Config, *, counted: bool | None) -> Runs:
    """What runs agents, and counts their runs where that is asked for; None leaves it to the configuration."""
    parts = assembly.registry, conversations, config.agents.max_concurrent_runs, assembly.interceptor(conversations)
    if not (config.gateway.http.endpoints.metrics.enabled if counted is None else counted):
        return Runs(*parts)
    from .agents.counted import CountedRuns

    return CountedRuns(*parts)


def metering(runs: Any, since: float, look: Callable[[], tuple[bool, Server | None, Any]]) -> Any:
    """The figures of a gateway; None where its runs are not counted.

    `look` tells whether it is ready, and gives its server and its WebSocket protocol, as far as there are any.
    """
    if type(runs) is Runs:
        return None
    from .metering import Metering

    return Metering(runs, since, look)


def answered(config: Config, meter: Any, route: Callable[[str], str]) -> Any:
    """What is told of answers: what counts them, and the access log; None where both are off."""
    log = None
    if config.gateway.http.access_log:
        from .server.accesslog import log_answer

        log = log_answer
    return log if meter is None else meter.observer(route, log)


def certificate(config: Config) -> Any:
    """The files of the certificate, which are read anew when they change; None without TLS."""
    settings = config.gateway.tls
    if not settings.enabled or settings.cert_path is None:
        return None
    from .server.tls import TlsFiles, TlsSource

    optional = settings.client_certificates == "optional"
    return TlsSource(TlsFiles(settings.cert_path, settings.key_path, settings.ca_path, optional))


def proxies(config: Config) -> Any:
    """The proxies that are believed; None where there are none.  Raises ConfigError."""
    settings = config.gateway
    if not settings.trusted_proxies:
        return None
    from .server.proxies import TrustedProxies

    try:
        return TrustedProxies(settings.trusted_proxies, real_ip=settings.allow_real_ip_fallback)
    except ValueError as error:
        raise ConfigError(f"gateway.trustedProxies: {error}") from None


def image_limits(config: Config) -> ImageLimits:
    """How many images, and how large."""
    endpoint = config.gateway.http.endpoints.chat_completions
    images = endpoint.images
    return ImageLimits(endpoint.max_image_parts, images.max_bytes, endpoint.max_total_image_bytes, images.allow_url)


def fetcher(config: Config, limits: ImageLimits) -> Any:
    """What fetches images by their address; None where that is off."""
    images = config.gateway.http.endpoints.chat_completions.images
    if not images.allow_url:
        return None
    from .api.fetching import Fetcher

    return Fetcher(images.url_allowlist, limits, images.max_redirects, images.timeout_ms / 1000)


def links(*, compression: bool) -> LinkFactory:
    """What makes the links of a server, with the first of them."""

    def opener(loop: AbstractEventLoop) -> LinkOpener:
        # Loaded on demand: wsproto costs a third of the whole start, and most gateways see no WebSocket.
        from .server.link import LinkLimits, Links
        from .wire.extensions import Compression

        return Links(LinkLimits(), loop, Compression() if compression else None).open

    return opener


def root(paths: Iterable[str]) -> Route:
    """What `/` answers: that is for people who look what this is, once."""

    @cache
    def made() -> Any:
        from .api.root import Root

        return Root(paths)

    methods: dict[str, Handler] = {"GET": lambda exchange: made().index(exchange)}
    return Route({**methods, "OPTIONS": lambda exchange: made().options(exchange)}, guarded=False)


def bind(address: UnixAddress) -> tuple[socket.socket, SocketFile | None]:
    """A unix socket, and its file where it has one.  Raises ConfigError."""
    from .server.unix import bind_unix

    return bind_unix(address)


def sharing(siblings: Siblings | None) -> Any:
    """What this process shares with others that serve the same gateway, a `workers.sharing.Sharing`."""
    if siblings is None:
        return _Alone()
    from .workers.sharing import Sharing

    return Sharing(siblings)


class _Alone:
    """The only process of its gateway, which shares nothing.  See `workers.sharing.Sharing`."""

    lanes = None

    @staticmethod
    def portion(config: Config) -> Config:
        return config

    async def learn(self, _: Any) -> None:
        """It knows all there is."""

    def open(self, *_: Any) -> None:
        """Nobody is there."""

    def drain(self, *, leaving: bool) -> None:
        """Nobody is there."""

    def close(self) -> None:
        """Nobody is there."""

    def show(self, control: Any) -> None:
        """It sees all there is."""

    @staticmethod
    def sockets(serve: Handler) -> Handler:
        return serve

    @staticmethod
    def once(serve: Handler, _: int) -> Handler:
        return serve

    @staticmethod
    def reloading(reload: Reload) -> Reload:
        return reload
