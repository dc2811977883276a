"""Lines about peers that were turned away: few enough that nobody can fill the log with them."""

from __future__ import annotations

from logging import getLogger

from ..model.http import Peer
from ..ports import Timer, TimerHandle

__all__ = ["PERIOD", "Refusals"]

PERIOD = 10.0
"""Seconds in which so many lines may be written; what came beyond is told at their end, as a number."""

_logger = getLogger(__name__)


class Refusals:
    """One per server.  Writes up to `lines` lines within PERIOD, at level INFO."""

    __slots__ = ("_handle", "_left", "_lines", "_timer", "_untold")

    def __init__(self, timer: Timer, lines: int) -> None:
        self._timer = timer
        self._lines = lines
        self._left = lines
        self._untold = 0
        self._handle: TimerHandle | None = None

    def tell(self, peer: Peer, why: str) -> None:
        """`refused 192.0.2.1: 400 the request line is too long`."""
        if self._handle is None:
            self._handle = self._timer.call_at(self._timer.time() + PERIOD, self._renew)
        if self._left:
            self._left -= 1
            _logger.info("refused %s: %s", peer.host or "unix", why)
        else:
            self._untold += 1

    def close(self) -> None:
        """Tell what is left to be told."""
        if self._handle is not None:
            self._handle.cancel()
            self._renew()

    def _renew(self) -> None:
        self._handle = None
        self._left = self._lines
        if self._untold:
            _logger.info("refused more within %g s: %d", PERIOD, self._untold)
            self._untold = 0
