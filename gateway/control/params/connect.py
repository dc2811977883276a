"""Parameters of `connect`, the first request."""

from __future__ import annotations

from typing import Any

from ...model.names import PUBLIC
from ..clients import NAMED
from ..shapes import (
    ANY,
    COUNT,
    FLAG,
    ID,
    IDS,
    POSITIVE,
    TEXT,
    Shape,
    array,
    check,
    closed,
    either,
    loose,
    member,
    record,
    text,
    whole,
)

__all__ = ["CONNECT"]

_CLIENTS = (
    "webchat-ui",
    "webchat",
    "cli",
    "gateway-client",
    "node-host",
    "test",
    "fingerprint",
    *NAMED,
)

_FIELDS = {
    "minProtocol": POSITIVE,
    "maxProtocol": POSITIVE,
    "client": closed(
        {
            "id": member(*_CLIENTS),
            "displayName?": ID,
            "version": ID,
            "buildId?": text(1, 96),
            "platform": ID,
            "deviceFamily?": ID,
            "modelIdentifier?": ID,
            "timeZone?": text(1, 64),
            "mode": member("webchat", "cli", "ui", "backend", "node", "worker", "probe", "test"),
            "instanceId?": ID,
        }
    ),
    "caps?": IDS,
    "commands?": IDS,
    "computerUse?": ANY,
    "workerRuns?": closed(
        {
            "bundleHash": text(64, 64, pattern=r"^[a-f0-9]{64}$"),
            f"{PUBLIC}Version": text(1, 128),
            "protocolFeatures": array(text(1, 128), most=64, unique=True),
            "bundlePrewarm?": POSITIVE,
        }
    ),
    "permissions?": record(FLAG),
    "pathEnv?": TEXT,
    "role?": ID,
    "scopes?": IDS,
    "modelCatalog?": either(
        closed({"agentId?": ID, "sessionKey?": ID}), closed({"agentId?": ID, "shortId": ID, "slugHint?": ID})
    ),
    "device?": closed({"id": ID, "publicKey": ID, "signature": ID, "signedAt": COUNT, "nonce": ID}),
    "auth?": closed(
        {
            "token?": TEXT,
            "bootstrapToken?": TEXT,
            "deviceToken?": TEXT,
            "password?": TEXT,
            "approvalRuntimeToken?": TEXT,
            "agentRuntimeIdentityToken?": TEXT,
        }
    ),
    "locale?": TEXT,
    "userAgent?": TEXT,
}

_OF_PROTOCOL_4 = closed(_FIELDS)

# A client of protocol 3 signs without a nonce where none was sent to it in time.
_OF_PROTOCOL_3 = closed(
    _FIELDS | {"device?": closed({"id": ID, "publicKey": ID, "signature": ID, "signedAt": COUNT, "nonce?": ID})}
)


_UP_TO_3 = loose({"maxProtocol": whole(1, 3)})


class _Connect(Shape):
    """The newest protocol that a client speaks decides what it must say."""

    __slots__ = ()

    def find(self, value: Any, place: str, faults: Any) -> None:
        old = type(value) is dict and check(_UP_TO_3, value) is None
        (_OF_PROTOCOL_3 if old else _OF_PROTOCOL_4).find(value, place, faults)


CONNECT: Shape = _Connect()
