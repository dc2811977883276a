"""What limits have ended or refused: counted by the limit's name, and logged without letting peers fill the log."""

from __future__ import annotations

from collections.abc import Mapping
from logging import getLogger
from types import MappingProxyType

from ..deadlines import Deadlines
from ..model.http import Peer
from ..ports import Timer

__all__ = ["LOG_PAUSE", "Cuts"]

# After a line about a limit, the next one about the same limit; what happens in between is told as a number.
LOG_PAUSE = 10.0

_logger = getLogger(__name__)


class Cuts:
    """One per server.  The names are those of `Limits`, or `refused STATUS` for what is no request.

    `counts` is the number of times each has struck since the start.
    """

    __slots__ = ("_counts", "_held", "_pause", "counts")

    def __init__(self, timer: Timer) -> None:
        self._counts: dict[str, int] = {}
        self.counts: Mapping[str, int] = MappingProxyType(self._counts)
        self._held: dict[str, int] = {}
        self._pause: Deadlines[str] = Deadlines(timer, LOG_PAUSE, self._tell)

    def count(self, name: str, peer: Peer, reason: str = "") -> None:
        """`name` has struck `peer`.  Without a `reason` that is nothing to be logged."""
        self._counts[name] = self._counts.get(name, 0) + 1
        if not reason:
            return
        if name in self._held:
            self._held[name] += 1
            return
        self._held[name] = 0
        self._pause.set(name)
        _logger.info("%s: %s: %s", name, peer.host or "unix", reason)

    def close(self) -> None:
        """Tell what was held back, and stop."""
        for name in [*self._held]:
            self._tell(name)
        self._pause.close()

    def _tell(self, name: str) -> None:
        held = self._held.pop(name)
        if held:
            _logger.info("%s: %d more within %g s", name, held, LOG_PAUSE)
            self._held[name] = 0
            self._pause.set(name)
