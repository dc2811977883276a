"""A device with a key of its own, as the official clients have one."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from hashlib import sha256, sha512
from typing import Any

from gateway.control import ed25519


def sign(secret: bytes, message: bytes) -> tuple[bytes, bytes]:
    """The public key of 32 secret bytes, and their signature of a message (RFC 8032, 5.1.5 and 5.1.6)."""
    digest = sha512(secret).digest()
    scalar = int.from_bytes(digest[:32], "little") & (1 << 254) - 8 | 1 << 254
    neutral = (0, 1, 1, 0)

    def times(factor: int) -> bytes:
        return ed25519._encode(ed25519._sum(factor, ed25519._BASE, 0, neutral))

    key = times(scalar)
    nonce = int.from_bytes(sha512(digest[32:] + message).digest(), "little") % ed25519.L
    point = times(nonce)
    challenge = int.from_bytes(sha512(point + key + message).digest(), "little") % ed25519.L
    return key, point + ((nonce + challenge * scalar) % ed25519.L).to_bytes(32, "little")


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Device:
    """Signs what the official clients sign.  `name` tells one from another."""

    def __init__(self, name: str = "device") -> None:
        self._secret = sha256(name.encode()).digest()
        self.key = sign(self._secret, b"")[0]
        self.id = sha256(self.key).hexdigest()

    def proof(
        self,
        params: Mapping[str, Any],
        nonce: str,
        signed_at: int,
        *,
        version: str = "v3",
        signed_nonce: str | None = None,
        scopes: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """The member `device` of `connect`, for its other members."""
        scopes = params.get("scopes") or () if scopes is None else scopes
        client, auth = params["client"], params.get("auth") or {}
        token = next((auth[name] for name in ("token", "deviceToken", "bootstrapToken") if name in auth), "")
        text = [version, self.id, client["id"], client["mode"], params.get("role", "operator")]
        text += [",".join(scopes), str(signed_at), token]
        if version != "v1":
            text.append(nonce if signed_nonce is None else signed_nonce)
        if version == "v3":
            text += [client["platform"].strip().lower(), (client.get("deviceFamily") or "").strip().lower()]
        _, signature = sign(self._secret, "|".join(text).encode())
        proof = {"id": self.id, "publicKey": b64url(self.key), "signature": b64url(signature), "signedAt": signed_at}
        return proof if version == "v1" else {**proof, "nonce": nonce}
