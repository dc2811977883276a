"""What peers are held to, by the configuration: their connections, and their guesses at the secret."""

from __future__ import annotations

from .config.schema import Config
from .server.limits import Limits
from .throttle import ThrottleLimits
from .wire.http1 import Http1Limits

__all__ = ["connection_limits", "throttle_limits"]


def throttle_limits(config: Config) -> ThrottleLimits:
    settings = config.gateway.auth.rate_limit
    return ThrottleLimits(
        settings.max_attempts, settings.window_ms / 1000, settings.lockout_ms / 1000, settings.exempt_loopback
    )


def connection_limits(config: Config) -> Limits:
    http = config.gateway.http
    limits = http.limits
    return Limits(
        http1=Http1Limits(head_bytes=limits.head_bytes, header_count=limits.header_count),
        head_time=limits.head_timeout_ms / 1000,
        body_idle=limits.body_idle_timeout_ms / 1000,
        keep_alive_idle=limits.keep_alive_timeout_ms / 1000,
        write_stall=limits.write_timeout_ms / 1000,
        silence=http.keep_alive_comment_ms / 1000,
        coalesce=http.coalesce_ms / 1000,
        connections=limits.connections,
        connections_per_peer=limits.connections_per_peer,
        unauthenticated_per_peer=limits.unauthenticated_per_peer,
        exempt_local=limits.exempt_loopback,
        tls_handshake=config.gateway.tls.handshake_timeout_ms / 1000,
    )
