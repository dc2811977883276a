"""The chunked transfer coding, read strictly (RFC 9112, section 7.1)."""

from __future__ import annotations

from itertools import compress, count
from operator import ne
from re import compile as pattern
from re import fullmatch

from ..model.http import BodyChunk, BodyEnd, BodyEvent, Malformed
from ..records import Enum
from .grammar import CHUNK_LINE, field_line, line_fault

__all__ = ["PLAIN_LINE", "BulkChunked", "Chunked"]

# Chunk lines, chunks and trailer lines read by one call: a piece of 64 KiB can hold ten thousand chunks, which take
# 70 ms; so many take two, and then others may be served before the next call.
STEPS = 512
# One chunk line; extensions are in practice signatures of some hundred bytes.
LINE_BYTES = 1024
# All chunk extensions of a body together: without it, 20 MiB of body could come in 20 GiB of extensions.
EXTENSION_BYTES = 16_384
# The trailer section; nothing reads trailers here, so there is no reason to take many.
TRAILER_BYTES = 8192
TRAILER_COUNT = 32


class _State(Enum):
    SIZE = "size"
    DATA = "data"
    DATA_END = "data end"
    TRAILER = "trailer"


class Chunked:
    """Reads one chunked body.

    `receive` gives the body chunks that a piece of input completes, then BodyEnd, or Malformed as the last event.
    After BodyEnd, `rest` is what followed the body.  What is buffered stays below TRAILER_BYTES, unless `more` says
    that what came held very many chunks: then `receive` is to be called again, with nothing or with what comes next.
    """

    __slots__ = ("_buffer", "_extensions", "_left", "_over", "_state", "_trailer_bytes", "_trailers", "more", "rest")

    def __init__(self) -> None:
        self.rest = b""
        self.more = False
        self._state = _State.SIZE
        self._over = False
        self._buffer = b""
        self._left = 0
        self._extensions = 0
        self._trailers: list[tuple[bytes, bytes]] = []
        self._trailer_bytes = 0

    def receive(self, data: bytes) -> list[BodyEvent]:
        """The events that `data` completes.  Nothing after BodyEnd or Malformed."""
        if self._over:
            return []
        buffer = self._buffer + data if self._buffer else data
        events: list[BodyEvent] = []
        pos = 0
        self.more = False
        for _ in range(STEPS):
            step = self._step(buffer, pos, events)
            if isinstance(step, Malformed):
                self._over = True
                self._buffer = b""
                return [*events, step]
            pos += step
            if self._over:
                self._buffer, self.rest = b"", buffer[pos:]
                return events
            if step == 0:
                break
        else:
            self.more = True
        self._buffer = buffer[pos:]
        return events

    def _step(self, buffer: bytes, pos: int, events: list[BodyEvent]) -> int | Malformed:
        """Take one element of the grammar; how many bytes that took, 0 where more are needed."""
        match self._state:
            case _State.SIZE:
                return self._size(buffer, pos)
            case _State.DATA:
                return self._data(buffer, pos, events)
            case _State.DATA_END:
                return self._data_end(buffer, pos)
            case _State.TRAILER:
                return self._trailer(buffer, pos, events)

    def _data(self, buffer: bytes, pos: int, events: list[BodyEvent]) -> int:
        piece = buffer[pos : pos + self._left]
        if piece:
            events.append(BodyChunk(piece))
            self._left -= len(piece)
        if self._left == 0:
            self._state = _State.DATA_END
        return len(piece)

    def _data_end(self, buffer: bytes, pos: int) -> int | Malformed:
        end = buffer[pos : pos + 2]
        if end == b"\r\n":
            self._state = _State.SIZE
            return 2
        return 0 if end in {b"", b"\r"} else Malformed(400, "a chunk is longer than its size says")

    def _size(self, buffer: bytes, pos: int) -> int | Malformed:
        length = buffer.find(b"\n", pos, pos + LINE_BYTES) + 1 - pos
        if length <= 0:
            return self._unfinished(buffer, pos, LINE_BYTES, "a chunk line")
        line = buffer[pos : pos + length]
        match = fullmatch(CHUNK_LINE, line)
        if match is None:
            return Malformed(400, line_fault(line) or "a chunk line is not `size` or `size;name=value`")
        self._extensions += length - match.end(1) - 2
        if self._extensions > EXTENSION_BYTES:
            return Malformed(400, f"the chunk extensions are longer than {EXTENSION_BYTES} bytes")
        self._left = int(match[1], 16)
        self._state = _State.DATA if self._left else _State.TRAILER
        return length

    def _trailer(self, buffer: bytes, pos: int, events: list[BodyEvent]) -> int | Malformed:
        room = TRAILER_BYTES - self._trailer_bytes
        length = buffer.find(b"\n", pos, pos + room) + 1 - pos
        if length <= 0:
            return self._unfinished(buffer, pos, room, "the trailer section")
        line = buffer[pos : pos + length]
        if line == b"\r\n":
            self._over = True
            events.append(BodyEnd(tuple(self._trailers)))
            return length
        field = field_line(line)
        if isinstance(field, Malformed):
            return field
        self._trailers.append(field)
        self._trailer_bytes += length
        if len(self._trailers) > TRAILER_COUNT:
            return Malformed(431, f"there are more than {TRAILER_COUNT} trailer lines")
        return length

    def _unfinished(self, buffer: bytes, pos: int, room: int, what: str) -> int | Malformed:
        if -1 < buffer.find(b"\r", pos, pos + room - 1) < len(buffer) - 1:
            return Malformed(400, "a line holds a CR that does not end it")
        if len(buffer) - pos >= room:
            return Malformed(400, f"{what} is longer than it may be")
        return 0


# A chunk's size as nearly every server sends it: not 0, below 64 KiB; alone, and as a line without extensions.
# Compiled when they are used.
_PLAIN_SIZE = rb"[1-9A-Fa-f][0-9A-Fa-f]{0,3}"
PLAIN_LINE = rb"([1-9A-Fa-f][0-9A-Fa-f]{0,3})\r\n"
_PLAIN_LINE_BYTES = 6
# How many sizes are remembered for a body; a server that sends more different ones only makes itself slower.
_SIZES_KEPT = 512


class _Sizes(dict[bytes, int]):
    """Chunk lines of one body, without CRLF, to sizes; -1 for what is no plain one.  Most tokens have few sizes."""

    def __missing__(self, line: bytes) -> int:
        if not fullmatch(_PLAIN_SIZE, line):
            return -1
        size = int(line, 16)
        if len(self) < _SIZES_KEPT:
            self[line] = size
        return size


class BulkChunked:
    """As `Chunked`, fast as long as chunks are plain: a size below 64 KiB, no extensions.

    Models send one small chunk for each token; taking those in bulk costs a ninth of taking each through the states of
    `Chunked`.  The first chunk of any other kind, the last one among them, hands over to it for good.
    """

    __slots__ = ("_buffer", "_sizes", "_strict")

    def __init__(self) -> None:
        self._buffer = b""  # less than one plain chunk
        self._sizes = _Sizes()
        self._strict: Chunked | None = None

    @property
    def rest(self) -> bytes:
        return self._strict.rest if self._strict is not None else b""

    @property
    def between(self) -> bool:
        """Whether a plain chunk may come next, from its first byte on."""
        return not self._buffer and self._strict is None

    def one(self, data: bytes) -> bytes | None:
        """The data of the one plain chunk that `data` is.

        None where it is anything else, or more, or is in the middle of a chunk: then nothing has been read.
        """
        end = data.find(b"\r\n", 1, _PLAIN_LINE_BYTES)
        if end < 0:
            return None
        # What is no size counts as -1, and then the line end that is looked for here would overlap that of the line.
        size = self._sizes[data[:end]]
        if len(data) != end + size + 4 or data[-2:] != b"\r\n" or self._buffer or self._strict is not None:
            return None
        return data[end + 2 : -2]

    def receive(self, data: bytes) -> list[BodyEvent]:
        if self._strict is not None:
            return self._read(self._strict, data)
        if (chunk := self.one(data)) is not None:  # as it is where a model takes its time
            return [BodyChunk(chunk)]
        buffer = self._buffer + data if self._buffer else data
        pieces, buffer = self._alternate(buffer)
        start = 0
        length = len(buffer)
        plain = True
        plain_line = pattern(PLAIN_LINE)
        while (line := plain_line.match(buffer, start)) is not None:
            begin = line.end()
            end = begin + int(line[1], 16)
            if end + 2 > length:
                break
            if buffer[end : end + 2] != b"\r\n":
                plain = False
                break
            pieces.append(buffer[begin:end])
            start = end + 2
        else:
            plain = length - start < _PLAIN_LINE_BYTES and b"\n" not in buffer[start:]
        events: list[BodyEvent] = [BodyChunk(b"".join(pieces))] if pieces else []
        if plain:
            self._buffer = buffer[start:]
            return events
        self._buffer = b""
        self._strict = Chunked()
        return events + self._read(self._strict, buffer[start:])

    @staticmethod
    def _read(strict: Chunked, data: bytes) -> list[BodyEvent]:
        events = strict.receive(data)
        while strict.more:
            events += strict.receive(b"")
        return events

    def _alternate(self, buffer: bytes) -> tuple[list[bytes], bytes]:
        """The data of leading chunks that hold no CRLF, so that splitting there gives size, data, size, data ...

        Also what follows them.  As each data is as long as its line says, this is what reading them in turn gives.
        """
        parts = buffer.split(b"\r\n")
        whole = (len(parts) - 1) // 2 * 2
        pieces = parts[1:whole:2]
        told, found = [*map(self._sizes.__getitem__, parts[:whole:2])], [*map(len, pieces)]
        if told != found:
            good = next(compress(count(), map(ne, told, found)))
            whole = 2 * good
            pieces = pieces[:good]
        return pieces, b"\r\n".join(parts[whole:])
