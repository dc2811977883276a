"""Devices: who asks to be paired, who is, and the tokens that they have."""

from __future__ import annotations

from asyncio import get_running_loop
from logging import getLogger
from typing import Any

from ..client import Client
from ..devices import Devices
from ..method import Call, Method
from ..problem import INVALID_REQUEST, RpcError
from ..scopes import ADMIN, OPERATOR, PAIRING
from ..services import Services

__all__ = ["methods"]

_logger = getLogger(__name__)

REMOVED = 4001
"""How the connections of a device are closed that may not come back as it was: the product's code."""


class _DeviceMethods:
    """A client that came with a device's token manages that device only, unless it is an admin's.

    So does a key that is limited to some agents: a device that is paired acts for the operator, and may use them all.
    """

    def __init__(self, services: Services, devices: Devices) -> None:
        self._hub = services.hub
        self._devices = devices
        self._now = services.now

    async def list(self, call: Call) -> dict[str, Any]:
        """Those that ask to be paired, and those that are."""
        await self._devices.load()
        own = _bound(call.client)
        connected = {client.welcome.device_id for client in self._hub.clients}
        pending = [one.row() for one in self._devices.pending()]
        paired = [{**one.row(), "connected": one.device_id in connected} for one in self._devices.paired()]
        return {
            "pending": [row for row in pending if own in {None, row["deviceId"]}],
            "paired": [row for row in paired if own in {None, row["deviceId"]}],
        }

    async def approve(self, call: Call) -> dict[str, Any]:
        await self._devices.load()
        request_id = call.params["requestId"].strip()
        pending = self._devices.waiting(request_id)
        scopes = call.client.welcome.scopes
        if ADMIN not in scopes:
            other = pending is None or _bound(call.client) not in {None, pending.ask.device_id}
            if other or (pending is not None and set(pending.roles) != {OPERATOR}):
                raise RpcError(INVALID_REQUEST, "device pairing approval denied")
        if call.client.welcome.caller.agents is not None:
            raise RpcError(INVALID_REQUEST, "device pairing approval denied")
        device = self._devices.approve(request_id, scopes)
        await self._devices.save()
        _logger.info("device %s paired as %s", device.device_id[:12], ", ".join(device.roles))
        return {"requestId": request_id, "device": device.row()}

    async def reject(self, call: Call) -> dict[str, Any]:
        request_id = call.params["requestId"].strip()
        pending = self._devices.waiting(request_id)
        own = _bound(call.client)
        if own is not None and (pending is None or pending.ask.device_id != own):
            raise RpcError(INVALID_REQUEST, "device pairing rejection denied")
        return {"requestId": request_id, "deviceId": self._devices.reject(request_id).ask.device_id}

    async def remove(self, call: Call) -> dict[str, Any]:
        await self._devices.load()
        device_id = call.params["deviceId"].strip()
        self._require_own(call.client, device_id, None, "device pairing removal denied")
        if not self._devices.remove(device_id):
            raise RpcError(INVALID_REQUEST, "unknown deviceId")
        await self._devices.save()
        _logger.info("device %s removed", device_id[:12])
        self._disconnect(device_id, None)
        return {"deviceId": device_id}

    async def rotate(self, call: Call) -> dict[str, Any]:
        """Another token.  Only the device itself is told it; for another, it comes with its next `connect`."""
        await self._devices.load()
        device_id, role = call.params["deviceId"].strip(), call.params["role"].strip()
        refusal = "device token rotation denied"
        self._require_own(call.client, device_id, role, refusal)
        try:
            token, grant = self._devices.rotate(device_id, role, call.params.get("scopes"), call.client.welcome.scopes)
        except LookupError as error:
            raise _denied(refusal, device_id, role, error) from error
        await self._devices.save()
        _logger.info("the token of device %s as %s was replaced", device_id[:12], role)
        mine = _own_token(call.client) == device_id
        self._disconnect(device_id, role)
        return {
            "deviceId": device_id,
            "role": role,
            **({"token": token} if mine else {}),
            "scopes": list(grant.scopes),
            "rotatedAtMs": grant.issued_at,
            "tokenDelivery": "in-band" if mine else "withheld-cross-device",
        }

    async def revoke(self, call: Call) -> dict[str, Any]:
        await self._devices.load()
        device_id, role = call.params["deviceId"].strip(), call.params["role"].strip()
        refusal = "device token revocation denied"
        self._require_own(call.client, device_id, role, refusal)
        try:
            grant = self._devices.revoke(device_id, role, call.client.welcome.scopes)
        except LookupError as error:
            raise _denied(refusal, device_id, role, error) from error
        await self._devices.save()
        _logger.info("the tokens of device %s as %s were revoked", device_id[:12], role)
        self._disconnect(device_id, role)
        return {"deviceId": device_id, "role": role, "revokedAtMs": grant.revoked_at}

    def _require_own(self, client: Client, device_id: str, role: str | None, refusal: str) -> None:
        """Raises RpcError for a client that may not manage this device in this role."""
        if ADMIN in client.welcome.scopes:
            return
        device = self._devices.get(device_id)
        roles = {role} if role is not None else set(() if device is None else device.roles)
        if _bound(client) not in {None, device_id} or roles - {OPERATOR}:
            raise RpcError(INVALID_REQUEST, refusal)

    def _disconnect(self, device_id: str, role: str | None) -> None:
        """Close the connections of a device, as soon as whoever asked for it has its answer: it may be one of them."""
        for client in self._hub.clients:
            if client.welcome.device_id == device_id and role in {None, client.welcome.role}:
                get_running_loop().call_soon(client.close, REMOVED, "device removed")


def _own_token(client: Client) -> str | None:
    """The device whose token a client came with; None for one that came with another secret."""
    return client.welcome.device_id if client.welcome.by_device_token else None


def _bound(client: Client) -> str | None:
    """The one device that a client may manage; None for all."""
    if ADMIN in client.welcome.scopes and client.welcome.caller.agents is None:
        return None
    if client.welcome.caller.agents is not None:
        return ""
    return _own_token(client)


def _denied(refusal: str, device_id: str, role: str, error: LookupError) -> RpcError:
    """The client is not told why, which would tell it of others' devices; the log is."""
    _logger.warning("%s: device %s as %s: %s", refusal, device_id[:12], role[:32], error)
    return RpcError(INVALID_REQUEST, refusal)


def methods(services: Services, devices: Devices) -> list[Method]:
    """Those of this file."""
    made = _DeviceMethods(services, devices)
    handlers = {
        "device.pair.list": made.list,
        "device.pair.approve": made.approve,
        "device.pair.reject": made.reject,
        "device.pair.remove": made.remove,
        "device.token.rotate": made.rotate,
        "device.token.revoke": made.revoke,
    }
    return [Method(name, PAIRING, handler) for name, handler in handlers.items()]
