"""Wrong secrets, counted in all processes: a guesser gets as many attempts from several as from one."""

from __future__ import annotations

from collections.abc import Mapping

from ..ports import Siblings
from ..throttle import Throttle

__all__ = ["Lockouts"]

FAILED, STATE, WANTED = "lockouts: failed", "lockouts: state", "lockouts: wanted"
"""(peer, whether it failed or was forgiven); (failures, locked), see `Throttle.state`; () of one that has begun."""


class Lockouts:
    """Lets the others know what one `throttle` counts, and this one what they do."""

    def __init__(self, siblings: Siblings, throttle: Throttle) -> None:
        self._siblings = siblings
        self._throttle = throttle
        siblings.handle(FAILED, self._failed)
        siblings.handle(STATE, self._learn)
        siblings.handle(WANTED, self._teach)
        throttle.tell = self._tell
        siblings.tell(None, WANTED)

    def _tell(self, peer: str, failed: bool) -> None:
        self._siblings.tell(None, FAILED, peer, failed)

    def _failed(self, _process: int, peer: str, failed: bool) -> None:
        if failed:
            self._throttle.count(peer)
        else:
            self._throttle.forgive(peer)

    def _teach(self, process: int) -> None:
        if self._throttle.busy:
            self._siblings.tell(process, STATE, *self._throttle.state())

    def _learn(self, _process: int, failures: Mapping[str, tuple[float, int]], locked: Mapping[str, float]) -> None:
        self._throttle.adopt(failures, locked)
