"""Rows of `data/control/handshake.jsonl`: one `connect`, and what becomes of it.

name        what is shown
auth        how the gateway is set up: `token` (default), `password`, `keys`, `open`
peer        where the client is: `local` (default), `remote`, or an IP address
headers     of its upgrade, besides Host
connect     members of `connect` that differ from BASE; null leaves one out
device      how its device proves itself, by `signing.Device.proof`: `version`, `signed_nonce`, `aged` (milliseconds),
            `scopes` signed in place of those asked for, and members of the proof to replace (`with`)
swap        members of `connect` that are changed after it was signed
allowed     origins that are listed
locked      seconds for which the peer is locked out
paired      what its device was approved for: roles and scopes, and whether its token was `revoked`
error       the error that it is told; `*` as a value stands for any text
close       code, and the reason where it differs from the error's message
penalty     whether the wrong secret was counted
welcome     what it is let in as: `scopes`, `role`, `protocol`, `method`, `device` (whether it has a token)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from signing import Device

from gateway.control.connect import Connects, Penalties, Visit, Welcome
from gateway.control.devicefile import DeviceFile
from gateway.control.devices import Ask, Devices
from gateway.control.origins import Origins
from gateway.errors import RequestError
from gateway.model.caller import OPERATOR, Caller
from gateway.model.http import Peer, RequestHead
from gateway.ports import Visitor

DATA = Path(__file__).parents[1] / "data" / "control"
TOKEN = "s3cret-token"
NONCE = "5ccbd98d-d6d9-4cc5-9e1a-7f27cf36f30f"
NOW = 1_795_219_660_861
KEYS = {
    "key-of-reader": Caller("reader", None, frozenset({"chat", "operator.read"})),
    "key-of-writer": Caller("writer", frozenset({"main"}), frozenset({"operator.read", "operator.write"})),
    "key-of-all": Caller("all", frozenset({"main"}), None),
    "key-of-chat": Caller("chat", None, frozenset({"chat"})),
}
BASE = {
    "minProtocol": 4,
    "maxProtocol": 4,
    "client": {
        "id": "cli",
        "version": "2026.9.6",
        "platform": "linux",
        "deviceFamily": "Linux",
        "mode": "cli",
        "instanceId": "b8954d31-c359-4750-b0ce-7f813a5ba79a",
    },
    "caps": [],
    "auth": {"token": TOKEN},
    "role": "operator",
    "scopes": ["operator.read"],
}


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines() if line]


class FakeDoor:
    """A gateway's secrets.  `local_only` counts the wrong ones that a door with lockout did not count."""

    def __init__(self, auth: str = "token", *, locked: float = 0) -> None:
        self.open = auth == "open"
        self._own = auth in {"token", "password"}
        self._locked = locked
        self.counted: list[str] = []

    def identify(self, secret: str, visitor: Visitor) -> Caller | None:
        if self._locked:
            raise RequestError(
                429, "locked out", code="rate_limited", headers=((b"retry-after", b"%d" % self._locked),)
            )
        return OPERATOR if self._own and secret == TOKEN else KEYS.get(secret)

    def knows(self, caller: Caller) -> bool:
        return True

    def failed(self, visitor: Visitor) -> bool:
        self.counted.append(visitor.peer.host)
        return not visitor.peer.local


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A merge patch (RFC 7396)."""
    result = dict(base)
    for name, value in changes.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict) and isinstance(result.get(name), dict):
            result[name] = merged(result[name], value)
        else:
            result[name] = value
    return result


def request_head(headers: Mapping[str, str]) -> RequestHead:
    fields = {"host": "127.0.0.1:18789", **headers}
    lines = tuple((name.lower().encode(), value.encode()) for name, value in fields.items() if value)
    return RequestHead(
        method="GET", target="/", path="/", query="", version="1.1", headers=lines, fields=dict(lines),
        content_length=None, chunked=False, keep_alive=True, expects_continue=False,
    )  # fmt: skip


def peer_of(row: Mapping[str, Any]) -> Peer:
    place = row.get("peer", "local")
    if place == "local":
        return Peer("127.0.0.1", 50000, local=True)
    return Peer("192.0.2.9" if place == "remote" else place, 50000, local=False)


def params_of(row: Mapping[str, Any], device: Device, device_token: str, nonce: str, now: int) -> dict[str, Any]:
    """What the client of a row sends; DEVICE_TOKEN stands for the token of its device."""
    text = json.dumps(merged(BASE, row.get("connect", {})))
    params: dict[str, Any] = json.loads(text.replace("DEVICE_TOKEN", device_token))
    if "device" in row:
        how = dict(row["device"])
        replaced = how.pop("with", {})
        proof = device.proof(params, nonce, now - how.pop("aged", 0), **how)
        params["device"] = merged(proof, replaced)
    return merged(params, row.get("swap", {}))


class Bench:
    """Connects on a clock that stands still; what it paused is in `paused`."""

    def __init__(self, row: Mapping[str, Any], path: str | None = None) -> None:
        self.now = NOW
        self.device = Device()
        self.events: list[tuple[str, Mapping[str, Any]]] = []
        self.devices = Devices(DeviceFile(path), lambda: self.now, lambda *event: self.events.append(event))
        self.door = FakeDoor(row.get("auth", "token"), locked=row.get("locked", 0))
        self.paused: list[float] = []
        self.connects = Connects(
            self.door,
            self.devices,
            Origins(row.get("allowed", ())),
            clock=lambda: self.now,
            penalties=Penalties(lambda: self.now / 1000),
            mode="password" if row.get("auth") == "password" else "token",
            pause=self._pause,
        )
        self.token = self.pair(**row["paired"]) if "paired" in row else ""

    async def _pause(self, seconds: float) -> None:
        self.paused.append(seconds)

    def pair(self, role: str, scopes: list[str], *, revoked: bool = False, **metadata: str) -> str:
        """Pair the device; gives a token."""
        values: dict[str, Any] = {"platform": "linux", "device_family": "Linux", **metadata}
        ask = Ask(self.device.id, "", role, tuple(scopes), "cli", "cli", **values)
        self.devices.pair(ask)
        issued = self.devices.issue(self.device.id, role, scopes)
        assert issued is not None
        if revoked:
            self.devices.revoke(self.device.id, role, ("operator.admin",))
        return issued[0]

    async def judge(self, row: Mapping[str, Any]) -> Welcome:
        visit = Visit(request_head(row.get("headers", {})), peer_of(row), NONCE)
        return await self.connects.judge(params_of(row, self.device, self.token, NONCE, self.now), visit)


def matches(found: Any, expected: Any) -> bool:
    """Whether it is what a row expects: `*` stands for any text."""
    if expected == "*":
        return isinstance(found, str) and bool(found)
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and found.keys() == expected.keys()
            and all(matches(found[name], value) for name, value in expected.items())
        )
    return bool(found == expected)
