"""Wrong secrets, counted in all processes: a guesser gets as many attempts from several as from one."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from ..errors import GatewayError
from ..ports import Siblings
from ..throttle import Throttle

__all__ = ["Lockouts"]

FAILED, STATE = "lockouts: failed", "lockouts: state"
"""What all are told: (peer, whether it failed or was forgiven); what one that begins asks: the answer is that of
`Throttle.state`."""
ANSWER_SECONDS = 2.0
"""For that.  A process that does not answer may be why this one begins, and must not keep it from serving."""


class Lockouts:
    """Lets the others know what one `throttle` counts, and this one what they do."""

    def __init__(self, siblings: Siblings, throttle: Throttle) -> None:
        self._siblings = siblings
        self._throttle = throttle
        siblings.handle(FAILED, self._failed)
        siblings.handle(STATE, lambda _process: throttle.state())
        throttle.tell = self._tell

    async def learn(self) -> None:
        """Ask the others, and the process whose place this one takes.

        To be done before anybody is let in: the right secret of one who is locked out would make good for all.
        """
        await asyncio.gather(*(self._learn(number) for number in range(1, self._siblings.count + 1)))

    async def _learn(self, number: int) -> None:
        with suppress(GatewayError):  # there is nobody, or nobody who answers
            self._throttle.adopt(*await self._siblings.ask(number, STATE, timeout=ANSWER_SECONDS))

    def _tell(self, peer: str, failed: bool) -> None:
        self._siblings.tell(None, FAILED, peer, failed)

    def _failed(self, _process: int, peer: str, failed: bool) -> None:
        if failed:
            self._throttle.count(peer)
        else:
            self._throttle.forgive(peer)
