"""The errors that a client of the protocol is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import AgentError, GatewayError, RequestError

__all__ = [
    "APPROVAL_NOT_FOUND",
    "FORBIDDEN",
    "INVALID_REQUEST",
    "NOT_PAIRED",
    "UNAVAILABLE",
    "RpcError",
    "rpc_error",
]

INVALID_REQUEST = "INVALID_REQUEST"
FORBIDDEN = "FORBIDDEN"
UNAVAILABLE = "UNAVAILABLE"
NOT_PAIRED = "NOT_PAIRED"
APPROVAL_NOT_FOUND = "APPROVAL_NOT_FOUND"

# Of protocol 4: clients of protocol 3 do not know them.
_NEW = frozenset({FORBIDDEN, APPROVAL_NOT_FOUND})


class RpcError(GatewayError):
    """A request that fails.  `code` is one of those above; `retry_after_ms` in milliseconds."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        retryable: bool | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details
        self.retryable = retryable
        self.retry_after_ms = retry_after_ms

    def shape(self, protocol: int = 4) -> dict[str, Any]:
        """The `error` of an answer; what is not known is not there (a null would make the frame invalid)."""
        shape: dict[str, Any] = {"code": self.code, "message": self.message}
        if protocol < 4 and self.code in _NEW:
            shape["code"] = INVALID_REQUEST
        if self.details is not None:
            shape["details"] = dict(self.details)
        if self.retryable is not None:
            shape["retryable"] = self.retryable
        if self.retry_after_ms is not None:
            shape["retryAfterMs"] = self.retry_after_ms
        return shape


def rpc_error(error: AgentError | RequestError) -> RpcError:
    """What the rest of the gateway raises, in the words of the protocol."""
    if isinstance(error, RequestError) and error.status < 429:
        code = FORBIDDEN if error.status == 403 else INVALID_REQUEST
        return RpcError(code, error.message, details={"code": error.code} if error.code else None)
    if isinstance(error, RequestError):
        return RpcError(UNAVAILABLE, error.message, retryable=True)
    after = None if error.retry_after is None else round(error.retry_after * 1000)
    code = INVALID_REQUEST if 400 <= error.status < 409 else UNAVAILABLE
    retryable = True if error.status in {409, 429, 503} else None
    return RpcError(code, error.message, details={"code": error.code}, retryable=retryable, retry_after_ms=after)
