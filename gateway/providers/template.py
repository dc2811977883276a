"""What the events of a stream have in common: all but one string.

A model that takes its time says one token in one event, in one chunk, in one packet.  So what is read from its
connection is one time like another but for the text, chunk line and all, and need not be taken apart layer by layer.
"""

from __future__ import annotations

from re import compile as pattern
from re import match
from typing import TypeAlias

from ..wire.chunked import PLAIN_LINE

__all__ = ["PLAIN", "Reads", "Template"]

PLAIN = pattern(rb'[^"\\\x00-\x1f]+').fullmatch
"""What a JSON string may hold without an escape (RFC 8259, 7), in UTF-8: none of it, and it is no text."""

READS = 32
"""Reads of how many lengths are known by heart: texts of tokens are short, and each length costs what an event has."""


Reads: TypeAlias = dict[int, tuple[bytes, slice, bytes]]
"""See `Template`."""


class Template:
    """The document of an event, which begins with `head` and ends with `tail`; between them stands its text.

    `reads` are, by their length, those that were one chunk with one such event: what they begin with, up to its text,
    the place of the text, and what they end with.  Another of this length that begins and ends so is one chunk too,
    its line says so, and if what stands in that place is PLAIN, then that is the text.
    """

    __slots__ = ("_end", "after", "before", "head", "reads", "tail")

    def __init__(self, head: str, tail: str) -> None:
        self.head = head
        self.tail = tail
        self.before = head.encode()
        self.after = tail.encode()
        self.reads: Reads = {}
        self._end = self.after + b"\r\n"

    def text(self, event: bytes) -> str | None:
        """The text of `event`; None where this is not one event, whole, with a PLAIN text."""
        before, after = self.before, self.after
        if not event.startswith(before) or not event.endswith(after):
            return None
        text = event[len(before) : -len(after)]
        return text.decode("utf-8", "replace") if PLAIN(text) else None

    def learn(self, read: bytes, data: bytes) -> Reads:
        """`reads`, with `read` among them, if it is one chunk, of `data`, and that is one event with a `text`."""
        line = match(PLAIN_LINE, read)
        if (
            len(self.reads) < READS
            and line is not None
            and int(line[1], 16) == len(data)
            and read[line.end() :] == data + b"\r\n"
            and self.text(data) is not None
        ):
            begin = line[0] + self.before
            self.reads[len(read)] = begin, slice(len(begin), -len(self._end)), self._end
        return self.reads
