"""The proof of a device: a signature with its key (Ed25519) over who it is, what it asks for, and our challenge.

Which text is signed depends on the client's age:

    v3|deviceId|clientId|clientMode|role|scopes|signedAt|token|nonce|platform|deviceFamily
    v2|deviceId|clientId|clientMode|role|scopes|signedAt|token|nonce
    v1|deviceId|clientId|clientMode|role|scopes|signedAt|token      (protocol 3 on this machine, before the challenge)
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from ..errors import GatewayError
from ..records import NamedTuple
from .clients import ClientInfo
from .ed25519 import verify

__all__ = ["ProofError", "Statement", "check_claim", "check_signature", "public_key_text"]

SKEW_MS = 120_000
"""How far the clocks of a device and of this machine may be apart."""
OLD_SKEW_MS = 600_000
"""The same for clients of protocol 3."""

_TO_UPPER_ALPHABET = str.maketrans("-_", "+/")
_TO_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


class ProofError(GatewayError):
    """A proof that shows nothing.  `code` is the detail code that clients know it by, `reason` the word beside it."""

    def __init__(self, code: str, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = f"DEVICE_AUTH_{code}"
        self.reason = reason
        self.message = message


class Statement(NamedTuple):
    """What a device signs, besides what stands in its proof."""

    client: ClientInfo
    role: str
    scopes: Sequence[str]
    token: str


def check_claim(device: Mapping[str, Any], nonce: str, now_ms: int, *, protocol: int, local: bool) -> None:
    """Raises ProofError for a proof that cannot hold, whoever signed it."""
    key = _decoded(device["publicKey"], 32)
    if key is None or sha256(key).hexdigest() != device["id"]:
        raise ProofError("DEVICE_ID_MISMATCH", "device-id-mismatch", "device identity mismatch")
    if abs(now_ms - device["signedAt"]) > (SKEW_MS if protocol > 3 else OLD_SKEW_MS):
        raise ProofError("SIGNATURE_EXPIRED", "device-signature-stale", "device signature expired")
    given = device.get("nonce", "").strip()
    if not given and not (protocol == 3 and local):
        raise ProofError("NONCE_REQUIRED", "device-nonce-missing", "device nonce required")
    if given and given != nonce:
        raise ProofError("NONCE_MISMATCH", "device-nonce-mismatch", "device nonce mismatch")


def check_signature(device: Mapping[str, Any], statement: Statement, protocol: int) -> None:
    """Raises ProofError unless the device has signed the statement, in one of the ways that its nonce allows.

    Takes some milliseconds, less where the way is the usual one of the protocol.
    """
    key, signature = _decoded(device["publicKey"], 32), _decoded(device["signature"], 64)
    texts = _texts(device, statement)
    if protocol == 3:
        texts.reverse()
    if (
        key is None
        or signature is None
        or not any(verify(key, text.encode("utf-8", "surrogatepass"), signature) for text in texts)
    ):
        raise ProofError("SIGNATURE_INVALID", "device-signature", "device signature invalid")


def public_key_text(device: Mapping[str, Any]) -> str:
    """The key of a claim that was checked, as it is kept: base64url without padding."""
    key = _decoded(device["publicKey"], 32)
    assert key is not None, "check_claim has seen it"
    return binascii.b2a_base64(key, newline=False).decode().rstrip("=").replace("+", "-").replace("/", "_")


def _texts(device: Mapping[str, Any], statement: Statement) -> list[str]:
    client = statement.client
    body = [device["id"], client.id, client.mode, statement.role, ",".join(statement.scopes)]
    body += [str(int(device["signedAt"])), statement.token]
    nonce = device.get("nonce", "").strip()
    if not nonce:
        return ["|".join(["v1", *body])]
    body.append(nonce)
    return ["|".join(["v3", *body, _plain(client.platform), _plain(client.device_family)]), "|".join(["v2", *body])]


def _plain(text: str | None) -> str:
    """As the product's clients normalise it: ASCII letters only are made small."""
    return (text or "").strip().translate(_TO_LOWER)


def _decoded(text: str, size: int) -> bytes | None:
    """So many bytes in base64 or base64url, padded or not; None for anything else."""
    text = text.strip().rstrip("=").translate(_TO_UPPER_ALPHABET)
    try:
        data = binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except ValueError:
        return None
    return data if len(data) == size else None
