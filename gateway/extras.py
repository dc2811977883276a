"""What a configuration may ask for besides the usual, loaded where it does."""

from __future__ import annotations

from typing import Any

from .api.images import ImageLimits
from .config.schema import Config
from .errors import ConfigError

__all__ = ["access_log", "certificate", "fetcher", "image_limits", "proxies"]


def access_log(config: Config) -> Any:
    """What logs answers; None where that is off."""
    if not config.gateway.http.access_log:
        return None
    from .server.accesslog import log_answer

    return log_answer


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
