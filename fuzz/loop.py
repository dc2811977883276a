"""An event loop without sockets, whose time passes only when there is nothing left to do: the same run every time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

__all__ = ["Stuck", "VirtualLoop", "run"]


class Stuck(Exception):
    """Nothing is left to do, nothing will ever happen, and somebody still waits."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Its selector is itself: there is nothing to select, only time to let pass."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = self
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Stuck
        self._now += timeout
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


class _Faults(logging.Handler):
    """What the package logs as an error is a finding."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """The result of `main`.  Fails for what the loop's exception handler or the error log gets, and for tasks left."""
    faults = _Faults()
    logger = logging.getLogger("gateway")
    before = logger.propagate
    logger.addHandler(faults)
    logger.propagate = False
    loop = VirtualLoop()
    loop.set_exception_handler(lambda _, context: faults.found.append(f"{context}"))
    try:
        result = loop.run_until_complete(main)
        left = asyncio.all_tasks(loop)
        assert not left, f"tasks are left: {left}"
    finally:
        loop.close()
        logger.removeHandler(faults)
        logger.propagate = before
    assert not faults.found, "\n".join(faults.found)
    return result
