"""The devices that were paired with this gateway, those that ask to be, and the tokens that they come back with.

A device is known by its key.  What it may do was approved once, by a person or because it is on this machine, and is
bounded by that whatever it asks for later.  Of a token only the SHA-256 is kept: it is random, so that nothing leads
back from that, and who reads the file cannot come in with what stands there.

What asks to be paired is kept in memory, and for a few minutes only: a client asks again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from hmac import compare_digest
from logging import getLogger
from secrets import token_urlsafe
from typing import Any
from uuid import uuid4

from ..records import NamedTuple
from .devicefile import Device, DeviceFile, Grant
from .problem import INVALID_REQUEST, RpcError
from .scopes import OPERATOR, allowed, missing, normal

__all__ = ["SCOPES_MOST", "Ask", "Devices", "Pending"]

_logger = getLogger(__name__)

PENDING_MS = 300_000
"""How long an ask stands: as long as the product keeps it."""
PENDING_MOST = 100
"""Asks at a time; beyond it the oldest is forgotten.  Each came with the secret, so more are a mistake or a flood."""
PAIRED_MOST = 1000
"""Devices; beyond it the one not seen for longest goes, of those that nobody approved by hand."""
SCOPES_MOST = 64
"""Of a client, and of a device in all."""
TOKENS_MOST = 8
"""Of one device in one role: a browser's windows and a person's terminals share its key, and each may hold another."""
TOKEN_BYTES = 32


class Ask(NamedTuple):
    """What a device asks for, its key proven."""

    device_id: str
    public_key: str
    role: str
    scopes: tuple[str, ...]
    client_id: str
    client_mode: str
    display_name: str | None = None
    platform: str | None = None
    device_family: str | None = None
    remote_ip: str | None = None


class Pending(NamedTuple):
    """An ask that waits for somebody's approval.  Times in milliseconds since the epoch."""

    request_id: str
    ask: Ask
    roles: tuple[str, ...]
    is_repair: bool
    since: int
    renewed: int

    def row(self) -> dict[str, Any]:
        """As the methods and events of the protocol show it."""
        ask = self.ask
        row = {
            "requestId": self.request_id,
            "deviceId": ask.device_id,
            "publicKey": ask.public_key,
            "displayName": ask.display_name,
            "platform": ask.platform,
            "deviceFamily": ask.device_family,
            "clientId": ask.client_id,
            "clientMode": ask.client_mode,
            "role": ask.role,
            "roles": list(self.roles),
            "scopes": list(ask.scopes),
            "remoteIp": ask.remote_ip,
            "silent": False,
            "isRepair": self.is_repair,
            "ts": self.since,
        }
        return {name: value for name, value in row.items() if value is not None}


class Devices:
    """`clock` gives milliseconds since the epoch.  `announce` is told of events: a name and a payload.

    What changes is in force at once and kept by `save`, which raises StoreError where it cannot be.
    """

    def __init__(
        self,
        file: DeviceFile,
        clock: Callable[[], int],
        announce: Callable[[str, Mapping[str, Any]], None] = lambda _name, _payload: None,
    ) -> None:
        self._file = file
        self._clock = clock
        self._announce = announce
        self._pending: dict[str, Pending] = {}

    async def load(self) -> None:
        """Know what was kept.  Raises StoreError for a file that cannot be read."""
        await self._file.load()

    async def save(self) -> None:
        """Keep what has changed.  Raises StoreError."""
        await self._file.save()

    def get(self, device_id: str) -> Device | None:
        """A device that is paired."""
        return self._file.devices.get(device_id)

    def paired(self) -> list[Device]:
        """All of them, those paired first at the front."""
        return list(self._file.devices.values())

    def pending(self) -> list[Pending]:
        """What waits for approval, the newest first."""
        self._forget()
        return sorted(self._pending.values(), key=lambda pending: -pending.since)

    def waiting(self, request_id: str) -> Pending | None:
        """One of them."""
        self._forget()
        return self._pending.get(request_id)

    # -- pairing

    def ask(self, ask: Ask) -> Pending:
        """Let an ask wait for approval.  The same again, or less, is the ask that waits already."""
        self._forget()
        now = self._clock()
        before = next((one for one in self._pending.values() if one.ask.device_id == ask.device_id), None)
        if before is not None:
            if ask.role == before.ask.role and allowed(ask.role, ask.scopes, before.ask.scopes):
                same = before._replace(ask=ask._replace(scopes=before.ask.scopes), renewed=now)
                self._pending[before.request_id] = same
                return same
            del self._pending[before.request_id]
            self._resolved(before, "rejected")
            merged = dict.fromkeys((*ask.scopes, *before.ask.scopes))
            ask = ask._replace(scopes=tuple(merged)[:SCOPES_MOST])
        roles = tuple(dict.fromkeys((*(before.roles if before else ()), ask.role)))
        pending = Pending(str(uuid4()), ask, roles, ask.device_id in self._file.devices, now, now)
        self._pending[pending.request_id] = pending
        while len(self._pending) > PENDING_MOST:
            self._resolved(self._pending.pop(next(iter(self._pending))), "rejected")
        self._announce("device.pair.requested", pending.row())
        _logger.info(
            "device %s at %s asks to be paired as %s: `gateway devices approve %s` lets it in",
            ask.device_id[:12],
            ask.remote_ip,
            ask.role,
            pending.request_id,
        )
        return pending

    def approve(self, request_id: str, granted: Iterable[str]) -> Device:
        """Pair the device of an ask, by somebody who has the scopes `granted`.

        Raises RpcError for an ask that is gone, and for one that asks for more than the approver has.
        """
        pending = self.waiting(request_id)
        if pending is None:
            raise RpcError(INVALID_REQUEST, "unknown requestId")
        ask = pending.ask
        outside = next((one for one in ask.scopes if one.partition(".")[0] not in pending.roles), None)
        if outside is not None:
            raise RpcError(INVALID_REQUEST, f"invalid scope for requested roles: {outside}")
        mine = [scope for scope in ask.scopes if scope.startswith(f"{OPERATOR}.")]
        lacking = missing(OPERATOR, mine, granted) if OPERATOR in pending.roles else None
        if lacking is not None:
            raise RpcError(INVALID_REQUEST, f"missing scope: {lacking}")
        del self._pending[request_id]
        device = self._pair(ask, pending.roles, "owner")
        self._resolved(pending, "approved")
        return device

    def pair(self, ask: Ask) -> Device:
        """Pair a device without asking anybody."""
        device = self._pair(ask, (ask.role,), "silent")
        for pending in [one for one in self._pending.values() if one.ask.device_id == ask.device_id]:
            if pending.roles == (ask.role,) and allowed(ask.role, pending.ask.scopes, device.scopes):
                del self._pending[pending.request_id]
                self._resolved(pending, "approved")
        _logger.info("device %s paired by itself, from this machine, as %s", device.device_id[:12], ask.role)
        return device

    def reject(self, request_id: str) -> Pending:
        """Forget an ask.  Raises RpcError for one that is gone."""
        pending = self.waiting(request_id)
        if pending is None:
            raise RpcError(INVALID_REQUEST, "unknown requestId")
        del self._pending[request_id]
        self._resolved(pending, "rejected")
        return pending

    def remove(self, device_id: str) -> bool:
        """Forget a device, and what it asks for.  False for one that is not paired."""
        for request_id in [one.request_id for one in self._pending.values() if one.ask.device_id == device_id]:
            self.reject(request_id)
        return self._file.drop(device_id)

    def seen(self, ask: Ask) -> None:
        """A device has connected; told with the next change that is kept."""
        device = self.get(ask.device_id)
        if device is not None:
            self._put(device._replace(
                display_name=ask.display_name, platform=ask.platform, remote_ip=ask.remote_ip,
                last_seen_at=self._clock(), last_seen_reason="connect",
            ), keep=False)  # fmt: skip

    # -- tokens

    def check(self, device_id: str, token: str, role: str, scopes: Iterable[str]) -> str | None:
        """Why a token does not let its device in so: `mismatch` or `scope-mismatch`; None where it does."""
        device = self.get(device_id)
        grant = None if device is None else device.active(role)
        digest = _digest(token)
        found = [one for one in (() if grant is None else grant.digests) if compare_digest(one, digest)]
        if device is None or grant is None or not found:
            return "mismatch"
        if not allowed(role, grant.scopes, device.scopes) or not allowed(role, normal(scopes), grant.scopes):
            return "scope-mismatch"
        kept = (*(one for one in grant.digests if one != digest), digest)
        now = self._clock()
        used = device.granting(grant._replace(digests=kept, last_used_at=now))
        self._put(used._replace(last_seen_at=now, last_seen_reason="device-token-auth"), keep=False)
        return None

    def issue(self, device_id: str, role: str, scopes: Iterable[str]) -> tuple[str, int] | None:
        """A token for a device that was approved for this, and when it was made; None for another."""
        device = self.get(device_id)
        grant = None if device is None else device.active(role)
        if device is None or grant is None or not allowed(role, scopes, device.scopes):
            return None
        kept = grant.digests[1 - TOKENS_MOST :]
        wider = normal((*grant.scopes, *scopes))
        return self._issue(device, grant._replace(digests=kept, scopes=wider))

    def issued_at(self, device_id: str, role: str) -> int:
        """When the last token of a device was made."""
        device = self.get(device_id)
        grant = None if device is None else device.active(role)
        return 0 if grant is None else grant.issued_at

    def rotate(
        self, device_id: str, role: str, scopes: Iterable[str] | None, granted: Iterable[str]
    ) -> tuple[str, Grant]:
        """A token in place of all that the device had.  Raises LookupError with the reason where that must not be."""
        device, grant = self._held(device_id, role)
        wanted = normal(grant.scopes if scopes is None else scopes)
        if not allowed(role, wanted, device.scopes):
            raise LookupError("scope-outside-approved-baseline")
        if role == OPERATOR and not allowed(role, wanted, granted):
            raise LookupError("caller-missing-scope")
        token, _ = self._issue(device, grant._replace(digests=(), scopes=wanted, revoked_at=None))
        return token, self._held(device_id, role)[1]

    def revoke(self, device_id: str, role: str, granted: Iterable[str]) -> Grant:
        """End all tokens of a device, and what it was approved for: it has to ask for that again.

        Raises LookupError with the reason where that must not be.
        """
        device, grant = self._held(device_id, role)
        if role == OPERATOR and not allowed(role, normal(grant.scopes), granted):
            raise LookupError("caller-missing-scope")
        ended = grant._replace(digests=(), revoked_at=self._clock(), scopes=())
        left = tuple(scope for scope in device.scopes if not scope.startswith(f"{role}."))
        self._put(device.granting(ended)._replace(scopes=left))
        return ended

    def _held(self, device_id: str, role: str) -> tuple[Device, Grant]:
        device = self.get(device_id)
        grant = None if device is None else device.grants.get(role)
        if device is None or grant is None or role not in device.roles:
            raise LookupError("unknown-device-or-role")
        return device, grant

    def _issue(self, device: Device, grant: Grant) -> tuple[str, int]:
        token, now = token_urlsafe(TOKEN_BYTES), self._clock()
        first = grant.created_at == 0
        made = grant._replace(
            digests=(*grant.digests, _digest(token)),
            created_at=now if first else grant.created_at,
            rotated_at=None if first else now,
        )
        self._put(device.granting(made))
        return token, now

    # -- what is kept

    def _pair(self, ask: Ask, roles: tuple[str, ...], via: str) -> Device:
        now = self._clock()
        before = self.get(ask.device_id)
        scopes = tuple(dict.fromkeys((*ask.scopes, *(before.scopes if before else ()))))[:SCOPES_MOST]
        grants = dict(before.grants) if before else {}
        for role in roles:
            grant = grants.get(role, Grant(role))
            mine = normal(scope for scope in scopes if scope.startswith(f"{role}."))
            grants[role] = grant._replace(scopes=mine, revoked_at=None)
        if before is not None and before.approved_via == "owner":
            via = "owner"
        device = Device(
            ask.device_id, ask.public_key, tuple(dict.fromkeys((*(before.roles if before else ()), *roles))), scopes,
            grants, via, before.created_at if before else now, now, ask.client_id, ask.client_mode, ask.display_name,
            ask.platform, ask.device_family, ask.remote_ip, now, "pairing",
        )  # fmt: skip
        self._put(device)
        self._trim(device.device_id)
        return device

    def _put(self, device: Device, *, keep: bool = True) -> None:
        self._file.put(device, keep=keep)

    def _trim(self, newest: str) -> None:
        devices = self._file.devices
        while len(devices) > PAIRED_MOST:
            by_itself = [one for one in devices.values() if one.approved_via == "silent" and one.device_id != newest]
            if not by_itself:
                return
            self._file.drop(min(by_itself, key=lambda one: one.last_seen_at or 0).device_id)

    def _forget(self) -> None:
        end = self._clock() - PENDING_MS
        for request_id in [one.request_id for one in self._pending.values() if one.renewed < end]:
            del self._pending[request_id]

    def _resolved(self, pending: Pending, decision: str) -> None:
        payload = {"requestId": pending.request_id, "deviceId": pending.ask.device_id, "decision": decision}
        self._announce("device.pair.resolved", {**payload, "ts": self._clock()})


def _digest(token: str) -> str:
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
