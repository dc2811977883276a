"""TLS for the one port."""

from __future__ import annotations

from ssl import PROTOCOL_TLS_SERVER, SSLContext, SSLError, TLSVersion

from ..errors import ConfigError

__all__ = ["server_context"]


def _no_password() -> str:
    raise ConfigError("gateway.tls: the key is encrypted, and there is nobody to ask for its password; decrypt it")


def server_context(certificate: str, key: str | None) -> SSLContext:
    """A context for a certificate chain and its key, PEM files.  Raises ConfigError where they cannot be used."""
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.minimum_version = TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, _no_password)
    except FileNotFoundError:
        raise ConfigError(f"gateway.tls: {certificate!r} or {key!r} does not exist") from None
    except (SSLError, OSError) as error:
        raise ConfigError(f"gateway.tls: {certificate!r} and {key!r} cannot be used: {error}") from error
    return context
