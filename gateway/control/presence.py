"""Who is connected, as all clients are told."""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable
from platform import node, platform
from typing import Any

from .client import Client
from .hub import Hub
from .method import READ

__all__ = ["Presence"]

LISTED = 200
"""Entries of the list, the last to come first: what the product lists."""
PAUSE_SECONDS = 1.0
"""Between two lists that are sent unasked: a thousand clients that come at once are told of once."""


class Presence:
    """`clock` gives seconds since the epoch."""

    def __init__(
        self, hub: Hub, loop: AbstractEventLoop, clock: Callable[[], float], version: str, boot_id: str
    ) -> None:
        self.version = 1
        self._hub = hub
        self._loop = loop
        self._clock = clock
        self._timer: TimerHandle | None = None
        self._last = -PAUSE_SECONDS
        self._state_version: Callable[[], dict[str, Any]] | None = None
        host = node() or "gateway"
        self._own = {
            "host": host, "version": version, "platform": platform(terse=True).lower(), "mode": "gateway",
            "reason": "self", "instanceId": boot_id, "text": f"Gateway: {host} · app {version} · mode gateway",
            "ts": int(clock() * 1000),
        }  # fmt: skip

    def entries(self) -> list[dict[str, Any]]:
        """The gateway, and the clients that came last."""
        found = [self._own | {"ts": int(self._clock() * 1000)}]
        for client in reversed(self._hub.clients):
            if len(found) >= LISTED:
                break
            found.append(_entry(client))
        return found

    def changed(self, state_version: Callable[[], dict[str, Any]]) -> None:
        """Somebody came or went."""
        self.version += 1
        self._state_version = state_version
        if self._timer is None:
            self._timer = self._loop.call_at(max(self._loop.time(), self._last + PAUSE_SECONDS), self._tell)

    def close(self) -> None:
        """Tell nobody any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _tell(self) -> None:
        self._timer = None
        self._last = self._loop.time()
        assert self._state_version is not None, "who armed the timer gave it"
        payload = {"presence": self.entries()}
        version = self._state_version()
        self._hub.broadcast("presence", payload, scope=READ, droppable=True, state_version=version)


def _entry(client: Client) -> dict[str, Any]:
    welcome = client.welcome
    info = welcome.client
    shown = {
        "host": info.display_name or info.id, "version": info.version, "platform": info.platform,
        "deviceFamily": info.device_family, "mode": info.mode, "clientId": info.id, "deviceId": welcome.device_id,
        "instanceId": info.instance_id, "reason": "connect", "ts": int(client.since * 1000),
        "onlineSince": int(client.since * 1000),
    }  # fmt: skip
    entry: dict[str, Any] = {name: value for name, value in shown.items() if value}
    entry["roles"] = [welcome.role]
    if welcome.scopes:
        entry["scopes"] = list(welcome.scopes)
    return entry
