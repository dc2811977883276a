"""The requests of each key, counted in all processes together, but for those of the last moment."""

from __future__ import annotations

import asyncio

from ..api.keys import Rates
from ..model.caller import Rate
from ..ports import Siblings

__all__ = ["SharedRates"]

SPENT = "rates: spent"
"""(by key: its rate, how many requests)"""
BEAT_SECONDS = 0.05
"""Between two reports of what was spent: so long a key that has spent all is still served elsewhere."""


class SharedRates:
    """Tells the others what the keys have spent here, and takes off here what they have spent there."""

    def __init__(self, siblings: Siblings, rates: Rates) -> None:
        self._siblings = siblings
        self._rates = rates
        self._spent: dict[str, tuple[Rate, int]] = {}
        self._timer: asyncio.TimerHandle | None = None
        siblings.handle(SPENT, self._take_off)
        rates.tell = self._note

    def close(self) -> None:
        """Tell what is not told yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._tell()

    def give_back(self, key_id: str) -> None:
        """One request of a key is counted elsewhere."""
        self._rates.give_back(key_id)

    def _note(self, key_id: str, rate: Rate, requests: int) -> None:
        _, before = self._spent.get(key_id, (rate, 0))
        self._spent[key_id] = rate, before + requests
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._tell)

    def _tell(self) -> None:
        self._timer = None
        spent, self._spent = self._spent, {}
        self._siblings.tell(None, SPENT, spent)

    def _take_off(self, _process: int, spent: dict[str, tuple[Rate, int]]) -> None:
        for key_id, (rate, requests) in spent.items():
            self._rates.spend(key_id, rate, requests)
