"""Who is connected, as all clients are told."""

from __future__ import annotations

import re
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
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

PAUSE_SHARE = 20
"""The pause is so many times as long as telling all clients took, where there are many."""
BEACON_MS = 300_000
"""How long a machine is listed that is only told of; in the product, too."""
TEXT_CHARACTERS = 256
"""Of what a client says of itself: all clients are told."""
LONGEST_IDLE_SECONDS = 1_000_000_000
WORDS = 32
"""Roles and scopes of an entry."""

_BEACON = (
    "host",
    "ip",
    "mode",
    "version",
    "platform",
    "deviceFamily",
    "modelIdentifier",
    "reason",
    "deviceId",
    "instanceId",
)
_CLEAR = "system-presence-clear-last-input"
_LINE = re.compile(
    r"Node:\s*(?P<host>[^ (]+) \((?P<ip>[^)]+)\) · app (?P<version>[^·]+?) · last input (?P<seconds>[0-9]{1,9})s ago"
    r" · mode (?P<mode>[^·]+?) · reason (?P<reason>.+)"
)
"""How a machine tells of itself in words; the product's form."""


class Presence:
    """Callers with a key of their own see the gateway and their own clients.  `clock` gives seconds since the epoch."""

    def __init__(
        self,
        hub: Hub,
        loop: AbstractEventLoop,
        clock: Callable[[], float],
        version: str,
        boot_id: str,
        *,
        state_version: Callable[[], dict[str, Any]],
    ) -> None:
        self.version = 1
        self._hub = hub
        self._loop = loop
        self._clock = clock
        self._rows: dict[Client, dict[str, Any]] = {}
        self._beacons: dict[str, dict[str, Any]] = {}  # the oldest first
        self._timer: TimerHandle | None = None
        self._last = -PAUSE_SECONDS
        self._state_version = state_version
        host = node() or "gateway"
        self._own = {
            "host": host, "version": version, "platform": platform(terse=True).lower(), "mode": "gateway",
            "reason": "self", "instanceId": boot_id, "text": f"Gateway: {host} · app {version} · mode gateway",
            "ts": int(clock() * 1000),
        }  # fmt: skip

    def entries(self, caller_id: str = "") -> list[dict[str, Any]]:
        """What a caller sees: the gateway, and the clients and beacons that came last."""
        now = int(self._clock() * 1000)
        mine = (client for client in reversed(self._hub.clients) if caller_id in {"", client.welcome.caller.id})
        known = self._rows
        rows = {client: known.get(client) or _entry(client) for client in islice(mine, LISTED - 1)}
        found = list(rows.values())
        if not caller_id:
            self._rows = rows  # each who comes is told of all: what stays as it is need not be made again
            self._forget(now)
            if self._beacons:
                found = sorted((*reversed(self._beacons.values()), *found), key=lambda entry: -entry["ts"])[
                    : LISTED - 1
                ]
        return [self._own | {"ts": now}, *found]

    def beacon(self, given: Mapping[str, Any]) -> None:
        """Somebody tells of a machine (`system-event`): it is listed for some minutes, or until more is told of it."""
        text = given["text"].strip()
        told = _told_in(text) | {name: given[name] for name in _BEACON if given.get(name)}
        key = told.get("deviceId") or told.get("instanceId") or told.get("host") or text
        now = int(self._clock() * 1000)
        before = self._beacons.pop(key[:TEXT_CHARACTERS].lower(), {})
        entry = before | _bounded(told) | {"text": text[:TEXT_CHARACTERS], "ts": now}
        for name in ("roles", "scopes"):
            if given.get(name):
                entry[name] = _words((*before.get(name, ()), *given[name]))
        seconds = given.get("lastInputSeconds")
        if seconds is not None:
            entry["lastInputSeconds"] = int(max(0, min(seconds, LONGEST_IDLE_SECONDS)))
        if _CLEAR in given.get("tags", ()):
            entry.pop("lastInputSeconds", None)
        self._beacons[key[:TEXT_CHARACTERS].lower()] = entry
        self._forget(now)

    def _forget(self, now: int) -> None:
        """The beacons that are too old, or too many."""
        for key, entry in list(self._beacons.items()):  # the oldest first
            if now - entry["ts"] <= BEACON_MS and len(self._beacons) < LISTED:
                break
            del self._beacons[key]

    def changed(self) -> None:
        """Somebody came or went."""
        self.version += 1
        if self._timer is None:
            pause = max(PAUSE_SECONDS, PAUSE_SHARE * self._hub.pass_seconds)
            self._timer = self._loop.call_at(max(self._loop.time(), self._last + pause), self._tell)

    def close(self) -> None:
        """Tell nobody any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _tell(self) -> None:
        self._timer = None
        self._last = self._loop.time()
        self._hub.broadcast(
            "presence",
            lambda caller_id: {"presence": self.entries(caller_id)},
            scope=READ,
            droppable=True,
            state_version=self._state_version(),
        )


def _entry(client: Client) -> dict[str, Any]:
    welcome = client.welcome
    info = welcome.client
    shown = {
        "host": info.display_name or info.id, "version": info.version, "platform": info.platform,
        "deviceFamily": info.device_family, "mode": info.mode, "clientId": info.id, "deviceId": welcome.device_id,
        "instanceId": info.instance_id, "reason": "connect", "ts": int(client.since * 1000),
        "onlineSince": int(client.since * 1000),
    }  # fmt: skip
    entry: dict[str, Any] = _bounded(shown)
    entry["roles"] = [welcome.role]
    if welcome.scopes:
        entry["scopes"] = _words(welcome.scopes)
    return entry


def _bounded(given: Mapping[str, Any]) -> dict[str, Any]:
    """What there is of it, no longer than all clients should be told."""
    cut = {name: value[:TEXT_CHARACTERS] if isinstance(value, str) else value for name, value in given.items()}
    return {name: value for name, value in cut.items() if value}


def _words(given: Iterable[str]) -> list[str]:
    return [word[:TEXT_CHARACTERS] for word in list(dict.fromkeys(filter(None, given)))[:WORDS]]


def _told_in(text: str) -> dict[str, Any]:
    """What a line in the product's form tells."""
    found = _LINE.fullmatch(text[: 8 * TEXT_CHARACTERS])
    if found is None:
        return {}
    told: dict[str, Any] = found.groupdict()
    return told | {"lastInputSeconds": int(told.pop("seconds"))}
