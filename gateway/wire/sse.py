"""Server-sent events, read as a client: bytes to events.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation.
"""

from __future__ import annotations

from ..model.http import Malformed
from ..records import NamedTuple

__all__ = ["EVENT_LIMIT", "SseDecoder", "SseEvent"]

EVENT_LIMIT = 1_048_576
"""Bytes that one line, or all `data` lines of one event, may have.  An event of a model is a token or a short list of
them; the largest in practice, a whole answer in one event, stays far below this."""

RETRY_DIGITS = 9
"""A reconnection time of more digits, eleven days and up, is not one."""

BOM = b"\xef\xbb\xbf"


class SseEvent(NamedTuple):
    """One event.  `type` is `message` where the stream names none; `id` is the last event id so far."""

    type: str
    data: str
    id: str


class SseDecoder:
    """Reads an event stream, cut anywhere.

    `receive` never raises: an event over `limit` bytes ends its list with `Malformed`, after which nothing follows.
    What the stream holds after its last blank line is no event (the specification has it discarded).  `retry` is the
    reconnection time the stream asked for, in milliseconds.  Bytes that are not UTF-8 become U+FFFD.
    """

    __slots__ = (
        "_data",
        "_failed",
        "_first",
        "_id",
        "_limit",
        "_line",
        "_next_id",
        "_open",
        "_size",
        "_skip_lf",
        "_type",
        "retry",
    )

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        self.retry: int | None = None
        self._limit = limit
        self._line = bytearray()  # the line that has not ended yet
        self._data: list[bytes] = []
        self._size = 0  # bytes of the lines in `_data`
        self._type = ""
        self._id = ""
        self._next_id = ""
        self._first = True  # no line has ended yet: a byte order mark may come
        self._open = True  # the last line that ended was not blank
        self._skip_lf = False  # the last byte was a CR, a LF now belongs to it
        self._failed = False

    @property
    def idle(self) -> bool:
        """Whether the next byte starts an event: all that came before is dealt with, and bears on nothing."""
        return not (self._line or self._open or self._skip_lf or self._failed)

    def receive(self, data: bytes) -> list[SseEvent | Malformed]:
        """The events that `data` completes."""
        events: list[SseEvent | Malformed] = []
        if not data or self._failed:
            return events
        if self._skip_lf and data[0] == 0x0A:
            data = data[1:]
        self._skip_lf = data.endswith(b"\r")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        head, newline, tail = data.rpartition(b"\n")
        if newline:
            if self._line:
                head = bytes(self._line) + head
                self._line.clear()
            lines = head.split(b"\n")
            if self._first:
                self._first = False
                lines[0] = lines[0].removeprefix(BOM)
            self._read(lines, events)
            self._open = bool(lines[-1])
        if not self._failed:
            self._line += tail
            if len(self._line) > self._limit + (len(BOM) if self._first else 0):
                events.append(self._fail())
        return events

    def _read(self, lines: list[bytes], events: list[SseEvent | Malformed]) -> None:
        data, size, limit = self._data, self._size, self._limit
        for line in lines:
            if line[:6] == b"data: ":
                value = line[6:]
            elif not line:
                self._id = self._next_id
                if data:
                    text = (b"\n".join(data) if len(data) > 1 else data[0]).decode("utf-8", "replace")
                    events.append(SseEvent(self._type or "message", text, self._id))
                    data.clear()
                    size = 0
                self._type = ""
                continue
            else:
                name, _, value = line.partition(b":")
                value = value.removeprefix(b" ")
                if name != b"data":
                    if len(line) > limit:
                        events.append(self._fail())
                        return
                    self._field(name, value)
                    continue
            data.append(value)
            size += len(line) + 1
            if size > limit:
                events.append(self._fail())
                return
        self._size = size

    def _field(self, name: bytes, value: bytes) -> None:
        if name == b"event":
            self._type = value.decode("utf-8", "replace")
        elif name == b"id":
            if b"\0" not in value:
                self._next_id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) <= RETRY_DIGITS:
            self.retry = int(value)

    def _fail(self) -> Malformed:
        self._failed = True
        self._data.clear()
        self._line.clear()
        return Malformed(502, f"An event of the stream is larger than {self._limit} bytes.")
