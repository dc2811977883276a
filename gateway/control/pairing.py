"""Whether a device was approved for what it asks, and whether anybody has to be asked."""

from __future__ import annotations

from ..records import NamedTuple
from .clients import ClientInfo
from .devicefile import Device
from .devices import Ask, Devices
from .refusals import pairing_required
from .scopes import OPERATOR, allowed

__all__ = ["Arrival", "authorize"]

# The names of one system, as the product's apps have told them over time.
_SYSTEMS = {"ipados": "ios", "darwin": "macos"}


class Arrival(NamedTuple):
    """How a device has come: from this machine or not, from a page or not."""

    client: ClientInfo
    local: bool
    from_page: bool
    protocol: int


def authorize(devices: Devices, ask: Ask, arrival: Arrival) -> None:
    """Pair the device, or find it paired, for what it asks.

    On this machine nobody is asked: whoever could be has the secret and sits there.  Elsewhere the ask waits for
    approval.  Raises ConnectRefusedError (NOT_PAIRED) with the id of the ask that waits.
    """
    device, client = devices.get(ask.device_id), arrival.client
    reasons = _reasons(device, ask, client)
    if not reasons:
        return
    quiet = arrival.local and (not arrival.from_page or client.is_control_ui or client.is_webchat)
    if device is not None and ask.role != OPERATOR:
        quiet = False  # a machine that carries out orders: what more it may do is a person's decision
    if not allowed(ask.role, ask.scopes, ask.scopes):
        quiet = False  # scopes of another role
    known_app = client.is_app and not arrival.from_page
    for_a_person = [reason for reason in reasons if not quiet or (reason == "metadata-upgrade" and not known_app)]
    if not for_a_person:
        devices.pair(ask)
        return
    pending = devices.ask(ask)
    raise pairing_required(
        for_a_person[0],
        pending.request_id,
        (ask.device_id, ask.role, ask.scopes),
        None if device is None else (device.roles, device.scopes),
        waits=client.is_screen and ask.role == OPERATOR,
        protocol=arrival.protocol,
    )


def _reasons(device: Device | None, ask: Ask, client: ClientInfo) -> list[str]:
    """What the device asks beyond what was approved, in the words of the protocol."""
    if device is None:
        return ["not-paired"]
    reasons = []
    if _changed(device, ask, client):
        reasons.append("metadata-upgrade")
    if device.active(ask.role) is None:
        reasons.append("role-upgrade")
    if ask.scopes and not allowed(ask.role, ask.scopes, device.scopes):
        reasons.append("scope-upgrade")
    return reasons


def _changed(device: Device, ask: Ask, client: ClientInfo) -> bool:
    """Whether it says to be another machine than that whose key it has: the key may have been copied."""
    before, now = _plain(device.platform), _plain(ask.platform)
    if client.is_app:
        before, now = _system(before), _system(now)
    family = _plain(device.device_family)
    return bool(before and before != now) or bool(family and family != _plain(ask.device_family))


def _plain(text: str | None) -> str:
    return (text or "").strip().lower()


def _system(platform: str) -> str:
    name = platform.partition(" ")[0]
    return _SYSTEMS.get(name, name)
