"""The text of a model, from the connection straight to where it is written."""

from __future__ import annotations

from typing import Any

from ..ports import Flow, TextSink
from .dialect import Piece, Reader
from .template import PLAIN, Reads
from .upstream import Response

__all__ = ["ModelFlow", "goes_on"]

_NONE: Reads = {}


class ModelFlow(Flow):
    """See `ports.Flow`.  `response` has been read as far as it came, by `reader`."""

    __slots__ = ("_full", "_raw", "_reader", "_reads", "_response", "_rest", "_sink")

    def __init__(self, response: Response, reader: Reader) -> None:
        super().__init__()
        self._response = response
        self._reader = reader
        self._rest: list[Piece] = []
        self._sink: TextSink
        self._full = False
        self._reads = _NONE  # those of the reader's template
        self._raw = b""  # what is being read, as it came, where a glance was not enough

    async def into(self, sink: TextSink) -> bool:
        """See `Flow.into`."""
        if self._rest or not goes_on(self._reader):
            return False
        self._sink = sink
        self._full = False
        self._reads = _NONE if self._reader.template is None else self._reader.template.reads
        self.waited_for = True
        try:
            await self._response.flow(self._take, self._glance)
        finally:
            self.waited_for = False
        return self._full

    def stop(self) -> None:
        """See `Flow.stop`."""
        self._response.stop()

    def rest(self) -> list[Piece]:
        """What has come and was not written: it is not text, or came with what is not."""
        rest, self._rest = self._rest, []
        return rest

    def _glance(self, raw: bytes) -> bool | None:
        """See `connection.Glance`: one event that is like one before but for its text."""
        known = self._reads.get(len(raw))
        if known is not None:
            begin, place, end = known
            text = raw[place]
            if begin + text + end == raw and PLAIN(text):
                self.heard = True
                piece = text.decode("utf-8", "replace")
                for tap in self.taps:
                    if not tap([piece]):
                        return False
                self._full = full = self._sink.put(piece)
                return not full
        self._raw = raw
        return None

    def _take(self, data: bytes) -> bool:
        """See `connection.Taker`."""
        self.heard = True
        reader = self._reader
        pieces: list[Any] = reader.receive(data)  # of str, below the loop
        raw, self._raw = self._raw, b""
        self._reads = _NONE if reader.template is None else reader.template.learn(raw, data)
        for piece in pieces:
            if piece.__class__ is not str:
                self._rest = pieces
                return False
        for tap in self.taps:
            if not tap(pieces):
                return False
        if len(pieces) == 1:
            self._full = full = self._sink.put(pieces[0])
        elif pieces:
            self._full = full = self._sink.put_all(pieces)
        else:
            full = False
        return not (full or reader.ended or reader.finish_reason)


def goes_on(reader: Reader) -> bool:
    """Whether more of the answer can come."""
    return not reader.ended and reader.finish_reason is None
