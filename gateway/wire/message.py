"""One WebSocket message while its frames arrive, within limits (RFC 6455, sections 5.4 and 8.1).

What can be wrong with it is told as early as it can be known: a size by the header of the frame that exceeds it, a text
by the first byte after which nothing could make it valid.
"""

from __future__ import annotations

from codecs import IncrementalDecoder, getincrementaldecoder
from itertools import chain
from zlib import error as DeflateError  # noqa: N812 - a class, by a name that tells which error

from .deflate import Inflater

__all__ = ["Assembly", "Fault"]

# Frames in one message.  The fragments themselves are free of overhead here, but each costs time, an empty one too.
# Twice what the Autobahn test suite sends (4 MiB in fragments of 64 bytes).
_MAX_FRAMES = 131_072

# A compressed message may take a quarter more on the wire than the limit for its content, and a little: what cannot be
# compressed grows, by some bytes for each fragment.  Without a bound, blocks that hold nothing would never end.
_OVERHEAD = 1024

_INVALID_PAYLOAD = 1007
_TOO_BIG = 1009


class Fault(Exception):
    """What is wrong with a message; `code` is the close code for it (RFC 6455, section 7.4.1)."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Assembly:
    """One buffer for the whole message, so that a million fragments weigh what their bytes weigh.

    `limit` is in bytes, of what the message holds once inflated.  With an `inflater` the message is a compressed one.
    Every method raises Fault, after which the message is lost.
    """

    __slots__ = ("_data", "_frames", "_inflater", "_is_text", "_limit", "_utf8", "_wire")

    def __init__(self, is_text: bool, limit: int, inflater: Inflater | None) -> None:
        self._is_text = is_text
        self._limit = limit
        self._inflater = inflater
        self._frames = 0
        self._wire = 0  # bytes of payload, with all of the frame that is under way
        self._data: bytearray | None = None
        self._utf8: IncrementalDecoder  # as `_data`, made only for a message that comes in pieces

    def frame(self, length: int) -> None:
        """The header of one more frame, before any of its payload is kept: the verdict cannot depend on cuts."""
        self._frames += 1
        self._wire += length
        if self._wire > self._limit and (
            self._inflater is None or self._wire > self._limit + self._limit // 4 + _OVERHEAD
        ):
            raise self._too_long()
        if self._frames > _MAX_FRAMES:
            raise Fault(_TOO_BIG, f"a message has more than {_MAX_FRAMES} frames")

    def add(self, payload: bytes, frame_over: bool) -> None:
        """Some, or the last, of a frame's payload, but not the last of the message's."""
        if self._inflater is not None:
            payload = self._inflate(self._inflater, payload, frame_over)
        self._append(payload)

    def finish(self, payload: bytes) -> str | bytes:
        """The whole message, of which `payload` is the last piece."""
        if self._inflater is not None:
            payload = self._inflate(self._inflater, payload, frame_over=True, complete=True)
        if self._data is not None:
            self._append(payload, complete=True)
            return self._data.decode() if self._is_text else bytes(self._data)
        if not self._is_text:
            return payload
        try:
            return payload.decode()
        except UnicodeDecodeError:
            raise _not_utf8() from None

    def _append(self, payload: bytes, complete: bool = False) -> None:
        if self._data is None:
            self._data = bytearray()
            self._utf8 = getincrementaldecoder("utf-8")()
        self._data += payload
        if not self._is_text:
            return
        try:
            self._utf8.decode(payload, complete)
        except UnicodeDecodeError:
            raise _not_utf8() from None
        pending = self._utf8.getstate()[0]
        if pending[:1] == b"\xed" and pending[1:2] > b"\x9f":  # half a surrogate pair, which Python decides on later
            raise _not_utf8()

    def _inflate(self, inflater: Inflater, payload: bytes, frame_over: bool, complete: bool = False) -> bytes:
        """Append what `payload` gives, all but the last piece, which is returned."""
        last = b""
        try:
            for piece in chain(inflater.feed(payload, frame_over), inflater.finish() if complete else ()):
                if last:
                    self._append(last)
                last = piece
                if len(last) + (0 if self._data is None else len(self._data)) > self._limit:
                    raise self._too_long()
        except DeflateError as error:
            raise Fault(_INVALID_PAYLOAD, f"a compressed message cannot be inflated: {error}") from None
        return last

    def _too_long(self) -> Fault:
        return Fault(_TOO_BIG, f"a message is longer than {self._limit} bytes")


def _not_utf8() -> Fault:
    return Fault(_INVALID_PAYLOAD, "invalid UTF-8 in a text message")
