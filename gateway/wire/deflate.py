"""permessage-deflate (RFC 7692, section 7.2): message payloads to deflate streams and back.

What comes out of an `Inflater` comes in small pieces, so that whoever counts them stops it in time: a message costs
what its limit allows, however much more its stream would give.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from .extensions import Compression

__all__ = ["Deflater", "Inflater"]

# What a sender cuts off the end of a flushed message, an empty stored block without its first byte (section 7.2.1).
_TAIL = b"\x00\x00\xff\xff"
# An empty block that is the last one: what has ended well takes it, and gives nothing more.
_FINAL = b"\x03\x00"

# The most that comes out at once.  Small beside any message limit, large beside the cost of a call.
_STEP = 65_536

# A frame is inflated in blocks of this many bytes, wherever the transport cut it: were it inflated in the pieces that
# come, of two faults close together the cuts would decide which is found.
_BLOCK = 1_024

# Final blocks in one message.  They are allowed (section 7.2.3.4), and one, the last, is what a sender without a flush
# has; each costs a new inflater, the price of some hundred bytes of anything else.
_MAX_FINALS = 64


class Deflater:
    """Compresses messages.  Keeps its window between them only with `takeover`, and no memory at all without."""

    __slots__ = ("_bits", "_compression", "_stream", "_takeover")

    def __init__(self, bits: int, takeover: bool, compression: Compression) -> None:
        self._bits = bits
        self._takeover = takeover
        self._compression = compression
        self._stream: zlib._Compress | None = None

    def message(self, data: bytes) -> bytes | None:
        """The payload of a frame with the bit RSV1 that carries the whole message; None where it is better sent plain.

        Each message but those for which that was None has to be sent, in order: the peer's window follows ours.
        """
        settings = self._compression
        if not data or len(data) < settings.threshold:
            return None
        stream = self._stream
        if stream is None:
            # zlib makes no raw stream with a window of 256 bytes; one that looks back at one byte only keeps to it.
            strategy = zlib.Z_RLE if self._bits == 8 else zlib.Z_DEFAULT_STRATEGY
            bits = max(self._bits, 9)
            stream = zlib.compressobj(settings.level, zlib.DEFLATED, -bits, settings.memory_level, strategy)
            if self._takeover:
                self._stream = stream
        deflated = (stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH))[: -len(_TAIL)]
        return deflated if self._takeover or len(deflated) < len(data) else None


class Inflater:
    """Takes the payloads of compressed messages.  Raises zlib.error for what is no deflate stream, or is not complete.

    After an error, or when a message was left in the middle, nothing more can be read.
    """

    __slots__ = ("_bits", "_block", "_finals", "_open", "_stream", "_takeover")

    def __init__(self, bits: int, takeover: bool) -> None:
        self._bits = bits
        self._takeover = takeover
        self._stream: zlib._Decompress | None = None
        self._open = False  # whether the stream holds something of this message
        self._finals = 0
        self._block = b""

    def feed(self, data: bytes, frame_over: bool) -> Iterator[bytes]:
        """What `data`, some or the last of a frame, gives: pieces of 64 KiB at most, to be taken to the end."""
        data = self._block + data
        start = 0
        while len(data) - start >= _BLOCK or (frame_over and start < len(data)):
            yield from self._inflate(data[start : start + _BLOCK])
            start += _BLOCK
        self._block = data[start:]

    def finish(self) -> Iterator[bytes]:
        """What the end of the message gives.

        A message without any payload is an empty one: that is what zlib gives a sender that flushes twice.
        """
        if self._open:
            yield from self._inflate(_TAIL)
            self._require_complete()
        self._open = False
        self._finals = 0
        if not self._takeover:
            self._stream = None

    def _inflate(self, block: bytes) -> Iterator[bytes]:
        while block:
            stream = self._stream
            if stream is None:
                stream = self._stream = zlib.decompressobj(-self._bits)
            piece = stream.decompress(block, _STEP)
            if piece:
                yield piece
            if stream.eof:  # after a final block, the next begins with an empty window
                block = stream.unused_data
                self._stream = None
                self._finals += 1
                if self._finals > _MAX_FINALS:
                    raise zlib.error(f"more than {_MAX_FINALS} final blocks in a message")
            else:
                block = stream.unconsumed_tail
            self._open = not stream.eof

    def _require_complete(self) -> None:
        """Of a block that was broken off, zlib waits for the rest, and says nothing; every other reader takes that."""
        if self._stream is None:  # a final block without content, whose end is what the sender had cut off (7.2.1)
            return
        probe = self._stream.copy()
        if probe.decompress(_FINAL) or not probe.eof or probe.unused_data:
            raise zlib.error("a message ends inside a deflate block")
