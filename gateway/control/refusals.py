"""How a client is told that it may not connect: in the product's words, by which its programs tell the cases apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..records import NamedTuple
from .clients import ClientInfo
from .problem import INVALID_REQUEST, NOT_PAIRED, RpcError

__all__ = ["ConnectRefusedError", "Unauthorized", "pairing_required", "unauthorized"]

POLICY = 1008
PROTOCOL_ERROR = 1002
REASON_BYTES = 120
"""Of the reason of a close; a control frame holds 123 (RFC 6455, 5.5.1)."""


class ConnectRefusedError(RpcError):
    """A client that is not let in: the error that it is told, and how its connection ends."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        retryable: bool | None = None,
        retry_after_ms: int | None = None,
        close_code: int = POLICY,
        close_reason: str | None = None,
        protocol: int = 4,
    ) -> None:
        super().__init__(code, message, details=details, retryable=retryable, retry_after_ms=retry_after_ms)
        self.close_code = close_code
        reason = message if close_reason is None else close_reason
        self.close_reason = reason.encode("utf-8", "replace")[:REASON_BYTES].decode("utf-8", "ignore")
        self.protocol = protocol


_CODES = {
    "token_missing": "AUTH_TOKEN_MISSING",
    "token_mismatch": "AUTH_TOKEN_MISMATCH",
    "password_missing": "AUTH_PASSWORD_MISSING",
    "password_mismatch": "AUTH_PASSWORD_MISMATCH",
    "bootstrap_token_invalid": "AUTH_BOOTSTRAP_TOKEN_INVALID",
    "device_token_mismatch": "AUTH_DEVICE_TOKEN_MISMATCH",
    "scope_mismatch": "AUTH_SCOPE_MISMATCH",
    "key_scope_missing": "AUTH_SCOPE_MISMATCH",
    "rate_limited": "AUTH_RATE_LIMITED",
}
_NEXT_STEPS = {
    "token_missing": "update_auth_configuration",
    "password_missing": "update_auth_configuration",
    "token_mismatch": "update_auth_credentials",
    "password_mismatch": "update_auth_credentials",
    "device_token_mismatch": "update_auth_credentials",
    "rate_limited": "wait_then_retry",
}
_SENTENCES = {
    "token_missing": "gateway token missing ({hint})",
    "token_mismatch": "gateway token mismatch ({hint})",
    "password_missing": "gateway password missing ({hint})",
    "password_mismatch": "gateway password mismatch ({hint})",
    "bootstrap_token_invalid": "setup code invalid, expired, revoked, or already used",
    "device_token_mismatch": "device token mismatch (rotate/reissue device token)",
    "scope_mismatch": "device token scope mismatch (re-pair or approve scope upgrade)",
    "key_scope_missing": "this key may not connect (give it a scope like operator.read in gateway.auth.keys)",
    "rate_limited": "too many failed authentication attempts (retry later)",
}


class Unauthorized(NamedTuple):
    """A failed authentication.  `provided` is what the client has shown: the kind of its secret, or `none`."""

    reason: str
    provided: str
    retry_after_ms: int | None = None


def unauthorized(
    failure: Unauthorized, client: ClientInfo, *, local: bool, device: bool, protocol: int
) -> ConnectRefusedError:
    """For a client whose secret is missing or wrong.  `device`: it has one, and has not shown that one's token."""
    reason = failure.reason
    again = reason == "token_mismatch" and failure.provided == "token" and device
    sentence = _SENTENCES[reason].format(hint=_hint(reason, client, local=local))
    details = {
        "code": _CODES[reason],
        "authReason": reason,
        "canRetryWithDeviceToken": again,
        "recommendedNextStep": "retry_with_device_token"
        if again
        else _NEXT_STEPS.get(reason, "review_auth_configuration"),
    }
    locked_out = reason == "rate_limited"
    return ConnectRefusedError(
        INVALID_REQUEST,
        f"unauthorized: {sentence}",
        details=details,
        retryable=True if locked_out else None,
        retry_after_ms=failure.retry_after_ms if locked_out else None,
        protocol=protocol,
    )


def _hint(reason: str, client: ClientInfo, *, local: bool) -> str:
    kind = "password" if reason.startswith("password") else "token"
    if client.is_cli and local:
        return f"use this gateway's gateway.auth.{kind}" + (" or pair the device" if kind == "token" else "")
    if client.is_cli:
        return f"set gateway.remote.{kind} to match gateway.auth.{kind}"
    if client.is_screen or client.is_webchat:
        if kind == "password":
            return "enter the password in Control UI settings"
        if reason == "token_missing":
            return "paste in Control UI settings; the token is gateway.auth.token of the gateway's configuration"
        return "open the dashboard URL and paste the token in Control UI settings"
    return f"provide gateway auth {kind}"


_REQUIREMENTS = {
    "not-paired": (
        "device is not approved yet",
        "Approve this device from the pending pairing requests.",
    ),
    "role-upgrade": (
        "device is asking for a higher role than currently approved",
        "Review the requested role upgrade, then approve the pending request.",
    ),
    "scope-upgrade": (
        "device is asking for more scopes than currently approved",
        "Review the requested scopes, then approve the pending upgrade.",
    ),
    "metadata-upgrade": (
        "device identity changed and must be re-approved",
        "Review the refreshed device details, then approve the pending request.",
    ),
}


def pairing_required(
    reason: str,
    request_id: str,
    asked: tuple[str, str, Iterable[str]],
    approved: tuple[Iterable[str], Iterable[str]] | None,
    *,
    waits: bool,
    protocol: int,
) -> ConnectRefusedError:
    """For a device that somebody has to approve first.

    `asked` are its id, role and scopes, `approved` the roles and scopes that it has, where it is paired.  `waits`: it
    is a person's screen, and tries again until somebody has.
    """
    device_id, role, scopes = asked
    requirement, remedy = _REQUIREMENTS[reason]
    message = f"pairing required: {requirement}"
    details: dict[str, Any] = {
        "code": "PAIRING_REQUIRED",
        "reason": reason,
        "requestId": request_id,
        "remediationHint": remedy,
    }
    if waits:
        details |= {"recommendedNextStep": "wait_then_retry", "retryable": True, "pauseReconnect": False}
    details |= {"deviceId": device_id, "requestedRole": role, "requestedScopes": list(scopes)}
    for name, values in zip(("approvedRoles", "approvedScopes"), approved or ((), ()), strict=True):
        if listed := list(values):
            details[name] = listed
    return ConnectRefusedError(
        NOT_PAIRED,
        message,
        details=details,
        close_reason=f"{message} (requestId: {request_id})",
        protocol=protocol,
    )
