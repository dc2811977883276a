"""The file of paired devices: JSON in the state folder, readable by its owner only, written anew as a whole."""

from __future__ import annotations

import json
import os
from asyncio import Lock, to_thread
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import StoreError
from ..records import NamedTuple

__all__ = ["FILE_NAME", "Device", "DeviceFile", "Grant"]

FILE_NAME = "devices.json"

MOST_BYTES = 64 * 1024 * 1024
"""Of the file; a thousand devices take about one, and twenty at the most."""
VERSION = 1

_Stamp: TypeAlias = tuple[int, int, int]


class Grant(NamedTuple):
    """What a device may do in one role, and the SHA-256 of its tokens, that used last at the end.

    Times in milliseconds since the epoch; `created_at` is 0 while no token was made.
    """

    role: str
    scopes: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    created_at: int = 0
    rotated_at: int | None = None
    revoked_at: int | None = None
    last_used_at: int | None = None

    @property
    def issued_at(self) -> int:
        """When the last token was made."""
        return self.created_at if self.rotated_at is None else self.rotated_at

    def row(self) -> dict[str, Any]:
        """As the methods of the protocol show it: without its tokens."""
        row = {
            "role": self.role,
            "scopes": list(self.scopes),
            "createdAtMs": self.created_at,
            "rotatedAtMs": self.rotated_at,
            "revokedAtMs": self.revoked_at,
            "lastUsedAtMs": self.last_used_at,
        }
        return {name: value for name, value in row.items() if value is not None}


class Device(NamedTuple):
    """A paired device.  `scopes` are those approved, of all its roles; `approved_via` is `owner` or `silent`."""

    device_id: str
    public_key: str
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    grants: Mapping[str, Grant]
    approved_via: str
    created_at: int
    approved_at: int
    client_id: str | None = None
    client_mode: str | None = None
    display_name: str | None = None
    platform: str | None = None
    device_family: str | None = None
    remote_ip: str | None = None
    last_seen_at: int | None = None
    last_seen_reason: str | None = None

    def active(self, role: str) -> Grant | None:
        """What it may do in a role; None where it was never approved for that, or that was revoked."""
        grant = self.grants.get(role)
        return grant if grant is not None and grant.revoked_at is None and role in self.roles else None

    def granting(self, grant: Grant) -> Device:
        """The device with another grant."""
        return self._replace(grants={**self.grants, grant.role: grant})

    def row(self) -> dict[str, Any]:
        """As the methods of the protocol show it."""
        row = {
            "deviceId": self.device_id,
            "publicKey": self.public_key,
            "displayName": self.display_name,
            "platform": self.platform,
            "deviceFamily": self.device_family,
            "clientId": self.client_id,
            "clientMode": self.client_mode,
            "role": self.roles[-1] if self.roles else None,
            "roles": list(self.roles),
            "scopes": list(self.scopes),
            "remoteIp": self.remote_ip,
            "approvedVia": self.approved_via,
            "createdAtMs": self.created_at,
            "approvedAtMs": self.approved_at,
            "lastSeenAtMs": self.last_seen_at,
            "lastSeenReason": self.last_seen_reason,
            "tokens": [grant.row() for _, grant in sorted(self.grants.items())],
        }
        return {name: value for name, value in row.items() if value is not None}


class DeviceFile:
    """`path` is the file; None keeps nothing beyond this process."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._lock = Lock()
        self._changes = 0
        self._saved = 0
        self._known: _Stamp | None = None
        self.devices: dict[str, Device] = {}
        """By id, those paired first at the front."""

    async def load(self) -> None:
        """Read the file, the first time and whenever somebody else has written it.  Raises StoreError."""
        if self._path is None or self._stamped(self._path):
            return
        async with self._lock:
            if not self._stamped(self._path):
                changes = self._changes
                devices, known = await to_thread(_read, self._path)
                if self._changes == changes:  # else it is about to be written anew
                    self.devices, self._known = devices, known

    def _stamped(self, path: str) -> bool:
        """Whether the file is as we have seen it last.  What is still to be written goes before what others wrote."""
        return self._known is not None and (self._saved != self._changes or self._known == _stamp(path))

    async def save(self) -> None:
        """Write what has changed; a write that is under way is waited for, and one then does for all.

        Raises StoreError; what has changed is then tried again with the next change.
        """
        if self._path is None or self._saved == self._changes:
            return
        async with self._lock:
            changes = self._changes
            if self._saved != changes:
                self._known = await to_thread(_write, self._path, list(self.devices.values()))
                self._saved = changes

    def put(self, device: Device, *, keep: bool = True) -> None:
        """Another state of a device.  Without `keep` it is written with the next one that is."""
        self.devices[device.device_id] = device
        self._changes += keep

    def drop(self, device_id: str) -> bool:
        """Forget a device; false for one that is not there."""
        found = self.devices.pop(device_id, None) is not None
        self._changes += found
        return found


def _stamp(path: str) -> _Stamp:
    """Tells one state of the file from another."""
    try:
        found = os.stat(path)  # noqa: PTH116 - for each device that connects
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read(path: str) -> tuple[dict[str, Device], _Stamp]:
    stamp = _stamp(path)
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - as it is written below
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return {}, stamp
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error
    if len(data) > MOST_BYTES:
        raise _unusable(path, f"it is larger than {MOST_BYTES} bytes")
    try:
        whole = json.loads(data)
        if whole["version"] != VERSION:
            raise ValueError(f"its version is {whole['version']!r}, and this program knows {VERSION}")
        devices = [_device(entry) for entry in whole["devices"]]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _unusable(path, f"it does not hold what this program writes there ({error})") from error
    return {device.device_id: device for device in devices}, stamp


def _device(entry: Mapping[str, Any]) -> Device:
    known = {name: entry[name] for name in Device._fields if name in entry}
    grants = {grant["role"]: Grant(**{**grant, **_tuples(grant, "scopes", "digests")}) for grant in entry["grants"]}
    return Device(**{**known, **_tuples(entry, "roles", "scopes"), "grants": grants})


def _tuples(entry: Mapping[str, Any], *names: str) -> dict[str, tuple[str, ...]]:
    found = {name: tuple(entry[name]) for name in names}
    if not all(isinstance(one, str) for values in found.values() for one in values):
        raise ValueError(f"{names} have to be lists of texts")
    return found


def _write(path: str, devices: list[Device]) -> _Stamp:
    entries = [
        {**device._asdict(), "grants": [grant._asdict() for grant in device.grants.values()]} for device in devices
    ]
    data = json.dumps({"version": VERSION, "devices": entries}, indent=1).encode()
    target, beside = Path(path), f"{path}.{os.getpid()}.new"
    try:
        target.parent.mkdir(0o700, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # from a process that was killed, with the same number
            os.unlink(beside)  # noqa: PTH108 - a path as text, here as below
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123 - its mode
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        stamp = _stamp(beside)
        os.replace(beside, path)  # noqa: PTH105 - see above
        return stamp
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error


def _unusable(path: str, why: str) -> StoreError:
    remedy = (
        "Let the gateway's user read and write it and its folder, or move it away: then devices have to be paired anew"
    )
    return StoreError(f"paired devices cannot be kept in {path}: {why}. {remedy}")
