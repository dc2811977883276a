"""The gateway itself: `health`, and who is connected."""

from __future__ import annotations

from typing import Any

from ..health import health
from ..method import READ, Call, Method
from ..services import Services

__all__ = ["methods"]


class _SystemMethods:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def health(self, _: Call) -> dict[str, Any]:
        return await health(self._services)

    async def presence(self, _: Call) -> list[dict[str, Any]]:
        return self._services.presence.entries()


def methods(services: Services) -> list[Method]:
    """Those of this file."""
    made = _SystemMethods(services)
    return [Method("health", None, made.health), Method("system-presence", READ, made.presence)]
