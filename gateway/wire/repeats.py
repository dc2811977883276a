"""Heads that a client sends again and again, but for some values: read once by h11, then recognised.

Reading a head anew costs more than all the rest of a request.  What h11 and our own checks make of one depends on its
request line, on the names of its fields, and on the values of those fields that frame the message; so a head that
differs from an accepted one in other values only is accepted too, and is the same but for these.
"""

from __future__ import annotations

from re import compile as pattern
from typing import TypeAlias

from ..model.http import RequestHead
from .grammar import CONTENT_LENGTH

__all__ = ["Repeats"]

# Fields whose values decide about the message or the connection, here or in h11.  Content-Length does too, but only by
# its number.
_FRAMING = frozenset({b"host", b"connection", b"transfer-encoding", b"expect", b"upgrade", b"te", b"trailer"})
# A client changes a few values from one request to the next: its trace, its request id, the length of the body.
MOST_VARYING = 12
# Less than RFC 9110, 5.5 allows: of these there is no doubt.
_PLAIN = pattern(rb"[ -~]*").fullmatch
_DIGITS = CONTENT_LENGTH.fullmatch

_Varying: TypeAlias = tuple[int, bytes, bytes]
"""The number of a line, what it begins with, as it was sent, and the name of its field."""


class Repeats:
    """The last head of a connection, and which of its lines change.

    It holds what the client sent, secrets too, so it must not outlive the connection.
    """

    __slots__ = ("_head", "_lines", "_raw", "_varying")

    def __init__(self, raw: bytes, head: RequestHead, before: Repeats | None) -> None:
        """`raw` are the bytes of `head`; `before` is what was known of the head before it."""
        self._raw = raw
        self._head = head
        self._lines = raw[:-4].split(b"\r\n")
        self._varying: tuple[_Varying, ...] = () if before is None else self._changed(before)

    def read(self, data: bytes, head_bytes: int) -> tuple[RequestHead, bytes] | None:
        """The head at the beginning of `data`, and what follows it; None where it has to be read anew."""
        raw = self._raw
        if data.startswith(raw):
            return self._head, data[len(raw) :]
        end = data.find(b"\r\n\r\n")
        if not self._varying or end < 0 or end + 4 > head_bytes:
            return None
        lines = data[:end].split(b"\r\n")
        own = self._lines
        if len(lines) != len(own):
            return None
        values = {}
        length = self._head.content_length
        for number, begin, name in self._varying:
            line = lines[number]
            if line != own[number]:
                value = line[len(begin) :].strip(b" \t")
                if not line.startswith(begin) or not _PLAIN(value):
                    return None
                if name == b"content-length":
                    if not _DIGITS(value):
                        return None
                    length = int(value)
                own[number] = line  # where another line differs too, the next head begins anew
                values[name] = value
        if lines != own:
            return None
        self._raw = data[: end + 4]
        self._head = head = self._head.alike(values, length)
        return head, data[end + 4 :]

    def _changed(self, before: Repeats) -> tuple[_Varying, ...]:
        """The lines that have changed from one head to the next, now or earlier; none where more than values did."""
        lines, earlier = self._lines, before._lines
        if len(lines) != len(earlier):
            return ()
        varying = {entry[0]: entry for entry in before._varying}
        for number, (line, other) in enumerate(zip(lines, earlier, strict=True)):
            if line == other:
                continue
            begin = line[: line.find(b":") + 1]
            name = begin[:-1].lower()
            # Of a name that comes twice the values are joined.
            single = sum(field == name for field, _ in self._head.headers) == 1
            if not number or not other.startswith(begin) or name in _FRAMING or not single:
                return ()
            varying[number] = (number, begin, name)
        return tuple(varying.values()) if len(varying) <= MOST_VARYING else ()
