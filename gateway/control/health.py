"""How the gateway is: the payload of `health`, of its event, and of a part of the snapshot in hello."""

from __future__ import annotations

from typing import Any

from .services import Services

__all__ = ["health"]


async def health(services: Services) -> dict[str, Any]:
    """As the product gives it; what this gateway does not have (channels, heartbeats) is empty."""
    began = services.now()
    registry = services.registry
    default = registry.default
    return {
        "ok": True, "ts": began, "durationMs": services.now() - began, "channels": {}, "channelOrder": [],
        "channelLabels": {}, "heartbeatSeconds": 0, "defaultAgentId": default.id if default else "",
        "agents": [], "sessions": {"path": "", "count": 0, "recent": []},
    }  # fmt: skip
