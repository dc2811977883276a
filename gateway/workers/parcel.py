"""A connection on its way from one process to another: its descriptor, and what was read from it already.

One datagram for each, over a pair of unix sockets (SCM_RIGHTS).  What is long stands in a file without a name, whose
descriptor goes along: a datagram takes little.
"""

from __future__ import annotations

import array
import os
import pickle  # both ends are our own processes, of one user, and nobody else has the socket
import socket
import tempfile
from typing import NamedTuple

from ..errors import GatewayError
from ..model.http import Peer, RequestHead

__all__ = ["INLINE_BYTES", "Parcel", "ParcelError", "receive", "request_bytes", "send"]

INLINE_BYTES = 1_500
"""Of what was read; with its wrapping less than macOS takes in one datagram, and more than most requests."""
DATAGRAM_BYTES = 8_192
"""Of one datagram, as it is read: more than is ever sent."""
FILES = 2
"""Descriptors of one datagram: the connection, and the file of what is long."""

_FRAMING = frozenset({b"content-length", b"expect", b"trailer", b"transfer-encoding"})
_RIGHTS = socket.CMSG_SPACE(FILES * array.array("i").itemsize) if hasattr(socket, "CMSG_SPACE") else 0


class ParcelError(GatewayError):
    """What came is no parcel."""


class Parcel(NamedTuple):
    """A connection.  `first` was read from it; `peer` is who is at its other end, where its socket does not tell."""

    connection: socket.socket
    first: bytes
    peer: Peer | None = None


def request_bytes(head: RequestHead, body: bytes = b"") -> bytes:
    """A request as it might have come: read anew, it is the same.  Never longer than it was but for its body's framing.

    With a `body`, that is its whole; without, the request has none.
    """
    lines = [f"{head.method} {head.target} HTTP/{head.version}".encode("ascii")]
    lines += [b"%b:%b" % (name, value) for name, value in head.headers if name not in _FRAMING]
    if body:
        lines.append(b"content-length:%d" % len(body))
    return b"\r\n".join((*lines, b"", body))


def send(way: socket.socket, connection: int, first: bytes, peer: Peer | None) -> None:
    """Send a descriptor; whoever had it still has it.

    Raises BlockingIOError while the way is full, OSError where nothing can be sent.
    """
    descriptors = [connection]
    inline, size = first, 0
    if len(first) > INLINE_BYTES:
        inline, size = b"", len(first)
        descriptors.append(_file(first))
    try:
        content = pickle.dumps((inline, size, None if peer is None else tuple(peer)), pickle.HIGHEST_PROTOCOL)
        socket.send_fds(way, [content], descriptors)
    finally:
        for descriptor in descriptors[1:]:
            os.close(descriptor)


def receive(way: socket.socket) -> Parcel:
    """The next one.  Raises BlockingIOError where there is none, ParcelError where a connection is lost on the way."""
    flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
    content, ancillary, status, _ = way.recvmsg(DATAGRAM_BYTES, _RIGHTS, flags)
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    rest = list(descriptors)
    try:
        if status & (socket.MSG_CTRUNC | socket.MSG_TRUNC):
            raise ParcelError("it did not fit: are too many files open?")
        try:
            inline, size, peer = pickle.loads(content)  # noqa: S301 - see the import
            known = None if peer is None else Peer(*peer)
        except Exception as error:  # another version of our code, in a reload: nobody else sends
            raise ParcelError(f"it cannot be read: {error}") from None
        if len(rest) != (2 if size else 1):
            raise ParcelError(f"it came with {len(rest)} descriptors")
        first: bytes = inline if not size else _read(rest[1], size)
        connection = socket.socket(fileno=rest[0])
        del rest[0]
        connection.setblocking(False)
        connection.set_inheritable(False)  # where MSG_CMSG_CLOEXEC is not known
        return Parcel(connection, first, known)
    finally:
        for descriptor in rest:
            os.close(descriptor)


def _file(content: bytes) -> int:
    """A file without a name: in memory where the system has such."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("request")
    else:
        with tempfile.TemporaryFile(buffering=0) as file:
            descriptor = os.dup(file.fileno())
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _read(descriptor: int, size: int) -> bytes:
    """All of a file, wherever its position stands."""
    pieces = []
    at = 0
    while at < size:
        piece = os.pread(descriptor, size - at, at)
        if not piece:
            raise ParcelError(f"its file holds {at} bytes, and not {size}")
        pieces.append(piece)
        at += len(piece)
    return b"".join(pieces)
