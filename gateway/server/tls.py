"""TLS for the one port: the context that handshakes are made with, from the files of the configuration."""

# ruff: noqa: PTH116, PTH123 - pathlib would cost the start of the program 3 ms
from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from logging import getLogger
from ssl import CERT_OPTIONAL, CERT_REQUIRED, OP_NO_RENEGOTIATION, PROTOCOL_TLS_SERVER, SSLContext, SSLError, TLSVersion

from ..errors import ConfigError
from ..records import NamedTuple

__all__ = ["RECHECK", "TlsFiles", "TlsSource", "server_context"]

_logger = getLogger(__name__)

RECHECK = 1.0
"""Seconds between two looks at the files, at most one for each handshake: three calls of the system, 5 us."""


class TlsFiles(NamedTuple):
    """PEM files: a certificate chain; its private key, if that stands elsewhere; the issuers of client certificates.

    Where `client_ca` is given, clients have to show a certificate; but for `client_optional`.
    """

    certificate: str
    key: str | None
    client_ca: str | None = None
    client_optional: bool = False


class TlsSource:
    """Gives the context for the next handshake, made anew when the files have changed; connections keep theirs.

    Where the new files cannot be used, one line of the log says so, and the context before them stays.  Raises
    ConfigError where the first ones cannot.
    """

    def __init__(self, files: TlsFiles, clock: Callable[[], float] = time.monotonic) -> None:
        self._files = files
        self._clock = clock
        self._seen = self._look()
        self._context = server_context(*files)
        self._fault = ""
        self._next = clock() + RECHECK

    def __call__(self) -> SSLContext:
        now = self._clock()
        if now >= self._next:
            self._next = now + RECHECK
            if self._fault or self._look() != self._seen:
                self._try_again()
        return self._context

    def reload(self) -> None:
        """Read the files now.  Raises ConfigError where they cannot be used; the context before them stays."""
        self._seen = self._look()  # before they are read: what changes meanwhile is read again
        try:
            self._context = server_context(*self._files)
        except ConfigError as error:
            self._fault = str(error)
            raise
        self._fault = ""

    def _try_again(self) -> None:
        before = self._fault
        try:
            self.reload()
        except ConfigError as error:
            if self._fault != before:
                _logger.error("%s; the certificate in use stays", error)  # noqa: TRY400 - the text says it all
        else:
            _logger.info("gateway.tls: %r is in use from now on", self._files.certificate)

    def _look(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_state(path) for path in self._files[:3] if path is not None)


def _state(path: str) -> tuple[int, int, int] | None:
    """What changes with a file; that of its target where it is a link, as the ones of ACME clients are."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def server_context(
    certificate: str, key: str | None, client_ca: str | None = None, client_optional: bool = False
) -> SSLContext:
    """A context for these files, as in TlsFiles.

    Raises ConfigError where they cannot be used, with the option and the remedy.
    """
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.minimum_version = TLSVersion.TLSv1_2
    context.options |= OP_NO_RENEGOTIATION  # each would cost us ten times what it costs the peer
    context.set_alpn_protocols(["http/1.1"])
    key = key or certificate
    _require_pem("certPath", certificate, "CERTIFICATE")
    _require_pem("keyPath", key, "PRIVATE KEY")
    _warn_if_open(key)
    try:
        context.load_cert_chain(certificate, key, lambda: _no_password(key))
    except SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(
                f"gateway.tls.keyPath: {key!r} is not the key of the certificate {certificate!r}. "
                "Give the two that were made together"
            ) from None
        raise ConfigError(f"gateway.tls: {certificate!r} and {key!r} cannot be used: {error}") from error
    if client_ca is not None:
        _require_pem("caPath", client_ca, "CERTIFICATE")
        try:
            context.load_verify_locations(client_ca)
        except SSLError as error:
            raise ConfigError(f"gateway.tls.caPath: {client_ca!r} cannot be used: {error}") from error
        context.verify_mode = CERT_OPTIONAL if client_optional else CERT_REQUIRED
    return context


def _require_pem(option: str, path: str, kind: str) -> None:
    """OpenSSL says the same of a missing, an unreadable and a wrong file, and not which of them it was."""
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        remedy = "Correct the path" if isinstance(error, FileNotFoundError) else "Let the gateway's user read it"
        raise ConfigError(f"gateway.tls.{option}: {path!r} cannot be read: {error.strerror}. {remedy}") from None
    if b"-----BEGIN" not in text or f"{kind}-----".encode() not in text:
        raise ConfigError(
            f"gateway.tls.{option}: {path!r} holds no {kind.lower()} in PEM form, which begins with "
            f"-----BEGIN. Convert it with the command openssl"
        )


def _warn_if_open(key: str) -> None:
    if os.name == "posix" and os.stat(key).st_mode & (stat.S_IROTH | stat.S_IWOTH):
        _logger.warning("gateway.tls.keyPath: every user of this machine may read %r; chmod o= it", key)


def _no_password(key: str) -> str:
    raise ConfigError(
        f"gateway.tls.keyPath: {key!r} is encrypted, and there is nobody to ask for its password. "
        f"Decrypt it: openssl pkey -in {key} -out decrypted.pem"
    )
