"""TLS between a socket's transport and a connection: a protocol to the one, a transport to the other.

asyncio's own would do but for three things.  It tells nobody about a connection before its handshake is over, so that
nobody could count those that never get there; it cannot be told that a client speaks plain HTTP; and it holds 256 KiB
for each connection, of which this one needs 10.
"""

from __future__ import annotations

from asyncio import BaseProtocol, BaseTransport, Protocol, Transport
from collections.abc import Callable
from contextlib import suppress
from ssl import MemoryBIO, SSLContext, SSLError, SSLObject, SSLWantReadError, SSLZeroReturnError
from typing import Any, cast

from ..model.http import NO_ANSWER, Malformed
from ..wire.sniff import Sniffed, sniff
from .connection import READ_BYTES, Connection
from .hangup import peer_of
from .services import Services

__all__ = ["SecureTransport"]

_PLAIN_HTTP = Malformed(400, "this port speaks TLS, and plain HTTP came; use https:// or wss://")
_NOT_TLS = Malformed(NO_ANSWER, "something else than TLS came to a port that speaks TLS")
_REASONS = {
    "UNSUPPORTED_PROTOCOL": "it speaks no TLS newer than 1.1",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it showed no client certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust our certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not accept our certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not accept our certificate",
}
"""What OpenSSL calls it -> what to tell the operator."""


class SecureTransport(Transport, Protocol):
    """One connection on a TLS port; until its handshake is over it counts as one that has not proved who it is.

    `context` gives the context for each one, so that the next connection has the certificate that is there then.
    """

    __slots__ = (
        "_begun", "_blocked", "_connect", "_connection", "_ended", "_held", "_incoming", "_outgoing", "_plain",
        "_services", "_ssl", "peer",
    )  # fmt: skip

    def __init__(
        self, services: Services, context: Callable[[], SSLContext], connect: Callable[[], Connection]
    ) -> None:
        super().__init__()
        self._services = services
        self._connect = connect
        self._incoming = MemoryBIO()
        self._outgoing = MemoryBIO()
        self._ssl: SSLObject = context().wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._plain: Transport | None = None
        self._connection: Connection | None = None
        self._begun = False
        self._ended = False  # our close_notify has left: nothing is written, nor decrypted, any more
        self._blocked = False  # the socket takes no more for now
        self._held = False  # for that reason nothing is read, although the connection wants to

    # -- what the socket's transport says

    def connection_made(self, transport: BaseTransport) -> None:
        plain = self._plain = cast("Transport", transport)
        if hasattr(plain, "max_size"):
            plain.max_size = READ_BYTES
        self.peer = peer_of(plain)
        services = self._services
        refused = "shutting down" if services.shut else services.admission.enter(self.peer)
        if refused is not None:
            services.cuts.count("refused 503", self.peer, refused)
            plain.abort()
            return
        services.handshakes.add(self)
        services.handshake.set(self)

    def data_received(self, data: bytes) -> None:
        if self._connection is None:
            self._shake_hands(data)
        elif self._ended:
            self._connection.data_received(data)  # which only counts it, until the peer closes
        else:
            self._incoming.write(data)
            self._read(self._connection)

    def eof_received(self) -> bool:
        if self._connection is not None:
            self._connection.eof_received()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._plain = None
        self._leave()
        connection, self._connection = self._connection, None  # neither keeps the other any longer
        if connection is not None:
            connection.connection_lost(exc)

    def pause_writing(self) -> None:
        self._blocked = True
        if self._connection is not None:
            self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._blocked = False
        if self._held and self._plain is not None:
            self._held = False
            self._plain.resume_reading()
        if self._connection is not None:
            self._connection.resume_writing()

    # -- the handshake

    def _shake_hands(self, data: bytes) -> None:
        if not self._begun and (verdict := sniff(data)) is not Sniffed.TLS:
            self._refuse(_NOT_TLS if verdict is Sniffed.OTHER else _PLAIN_HTTP)
            return
        self._begun = True
        self._incoming.write(data)
        try:
            self._ssl.do_handshake()
        except SSLWantReadError:
            self._flush()
        except SSLError as error:
            self._fail(error, "its TLS handshake failed")
        else:
            self._flush()
            self._leave()  # from here on, in the same turn of the loop, the connection counts itself
            self._connection = self._connect()
            self._connection.connection_made(self)
            if not self._ended:
                self._read(self._connection)

    def _refuse(self, malformed: Malformed) -> None:
        """Let a plain connection tell it, and take care of the end."""
        self._leave()
        if self._plain is not None:
            connection = self._connect()
            self._plain.set_protocol(connection)
            connection.connection_made(self._plain)
            connection._refuse(malformed)

    def _leave(self) -> None:
        services = self._services
        if self in services.handshakes:
            services.handshakes.discard(self)
            services.handshake.clear(self)
            services.admission.leave(self.peer, authenticated=False)

    def handshake_expired(self) -> None:
        """The time for the handshake is over."""
        self._services.cuts.count("tls_handshake", self.peer, "the TLS handshake did not come to an end in time")
        self.abort()

    def _fail(self, error: SSLError, what: str) -> None:
        reason = error.reason or str(error)
        if verdict := getattr(error, "verify_message", None):
            why = f"its client certificate is not accepted: {verdict}"
        else:
            why = _REASONS.get(reason) or f"{what}: {reason.lower().replace('_', ' ')}"
        self._services.cuts.count("refused TLS", self.peer, why)
        self._flush()  # the alert
        self._ended = True
        if self._plain is not None:
            self._plain.close()

    # -- records

    def _read(self, connection: Connection) -> None:
        """Decrypt all there is, which one read of the socket and the rest of a record bound, and pass it on."""
        pieces = []
        over = False
        try:
            while True:
                piece = self._ssl.read(READ_BYTES)
                if not piece:  # close_notify
                    over = True
                    break
                pieces.append(piece)
                if not self._incoming.pending and not self._ssl.pending():  # spares an exception for most requests
                    break
        except SSLWantReadError:
            pass
        except SSLZeroReturnError:
            over = True
        except SSLError as error:
            if pieces:
                connection.data_received(b"".join(pieces))
            self._fail(error, "it broke TLS")
            return
        if self._outgoing.pending:
            if self._blocked and self._plain is not None and not self._held:
                self._held = True  # it makes TLS answer (no_renegotiation) and does not read the answers
                self._plain.pause_reading()
            self._flush()
        if pieces:
            connection.data_received(b"".join(pieces))
        if over and not self._ended:
            connection.eof_received()
            self.close()

    def _flush(self) -> None:
        if self._outgoing.pending and self._plain is not None:
            self._plain.write(self._outgoing.read())

    def _end(self) -> None:
        """Send close_notify (RFC 8446, 6.1)."""
        if not self._ended:
            self._ended = True
            with suppress(SSLError):  # SSLWantReadError: we need not wait for the peer's
                self._ssl.unwrap()
            self._flush()

    # -- what the connection asks of its transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._ended:
            return
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._ssl.write(rest) :]
        except SSLError as error:
            self._fail(error, "it broke TLS")
            return
        self._flush()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._end()
        if self._plain is not None and self._plain.can_write_eof():
            self._plain.write_eof()

    def close(self) -> None:
        if self._plain is not None and not self._plain.is_closing():
            self._end()
            self._plain.close()

    def abort(self) -> None:
        if self._plain is not None:
            self._plain.abort()

    def is_closing(self) -> bool:
        return self._plain is None or self._plain.is_closing()

    def pause_reading(self) -> None:
        if self._plain is not None:
            self._held = False
            self._plain.pause_reading()

    def resume_reading(self) -> None:
        if self._plain is not None:
            self._plain.resume_reading()

    def is_reading(self) -> bool:
        return self._plain is not None and self._plain.is_reading()

    def get_write_buffer_size(self) -> int:
        return 0 if self._plain is None else self._plain.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if self._plain is not None:
            self._plain.set_write_buffer_limits(high, low)

    def get_protocol(self) -> BaseProtocol:
        return self if self._connection is None else self._connection

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`ssl_object` and `peercert` as the transports of asyncio; the rest is the socket's."""
        if name == "ssl_object":
            return self._ssl
        if name == "peercert":
            return self._ssl.getpeercert()
        return default if self._plain is None else self._plain.get_extra_info(name, default)
