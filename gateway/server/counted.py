"""Requests that are counted: by their route and their answer."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

from ..tallies import SECONDS, Cell, Histogram
from ..wire.response import ResponseState
from .services import Answered

__all__ = ["ABORTED", "WEBSOCKET", "CountedAnswers"]

ABORTED = "aborted"
"""In the place of the status: the client left before its answer was complete, or there was no way to complete it."""
WEBSOCKET = "websocket"
"""The route of WebSockets, on whatever path they are opened."""

_DONE = ResponseState.DONE


class CountedAnswers:
    """Counts requests that are over.  `route` gives the label of a path: one of a few, whatever paths are asked for.

    `seconds` are by route and status.
    """

    def __init__(self, route: Callable[[str], str]) -> None:
        self.seconds = Histogram()
        self._route = route
        # By path and status, for paths that are routes themselves: those of anybody's choice would be without number.
        self._known: dict[tuple[str, int], Cell] = {}

    def count(self, answered: Answered, seconds: float) -> None:
        """See `services.Options.answered`."""
        writer, path = answered.writer, answered.head.path
        status = writer.status if writer.state is _DONE else 0
        cell = self._known.get((path, status)) or self._cell(path, status)
        cell[bisect_left(SECONDS, seconds)] += 1
        cell[-1] += seconds

    def _cell(self, path: str, status: int) -> Cell:
        route = WEBSOCKET if status == 101 else self._route(path)
        cell = self.seconds.cell((route, str(status or ABORTED)))
        if route == path:
            self._known[path, status] = cell
        return cell
