"""The text of a model, from the connection straight to where it is written."""

from __future__ import annotations

from typing import Any

from ..ports import Flow, TextSink
from .dialect import Piece, Reader
from .upstream import Response

__all__ = ["ModelFlow", "goes_on"]


class ModelFlow(Flow):
    """See `ports.Flow`.  `response` has been read as far as it came, by `reader`."""

    __slots__ = ("_full", "_reader", "_response", "_rest", "_sink")

    def __init__(self, response: Response, reader: Reader) -> None:
        super().__init__()
        self._response = response
        self._reader = reader
        self._rest: list[Piece] = []
        self._sink: TextSink
        self._full = False

    async def into(self, sink: TextSink) -> bool:
        """See `Flow.into`."""
        if self._rest or not goes_on(self._reader):
            return False
        self._sink = sink
        self._full = False
        self.waited_for = True
        try:
            await self._response.flow(self._take)
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

    def _take(self, data: bytes) -> bool:
        self.heard = True
        reader = self._reader
        if not self.taps and (text := reader.text(data)) is not None:
            self._full = full = self._sink.put(text)
            return not full
        pieces: list[Any] = reader.receive(data)  # of str, below the loop
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
