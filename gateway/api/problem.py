"""Errors as OpenAI's error objects: `{"error": {"message", "type", "param", "code"}}`.

Source: https://platform.openai.com/docs/guides/error-codes.
"""

from __future__ import annotations

import json
from math import ceil, isfinite

from ..errors import RequestError
from ..model.http import REASONS, Headers
from ..model.run import RunFailed

__all__ = ["JSON", "error_object", "refusal", "render", "run_error", "run_error_object"]

# What is answered here is for who asked, now: neither a conversation nor an error is a cache's to keep.
JSON: Headers = ((b"content-type", b"application/json; charset=utf-8"), (b"cache-control", b"no-store"))

# Seconds.  Of a gateway that is full or restarting: connections come free, and processes start, within a few.
_RETRY_AFTER: Headers = ((b"retry-after", b"5"),)

_CODES = {404: "not_found", 405: "method_not_allowed", 408: "request_timeout", 411: "length_required"}
_CODES |= {413: "payload_too_large", 414: "uri_too_long", 417: "expectation_failed", 426: "upgrade_required"}
_CODES |= {431: "headers_too_large", 500: "internal_error", 501: "not_implemented", 503: "unavailable"}
_CODES |= {505: "http_version_not_supported"}
# What a failed run may be answered with; agents give statuses that no HTTP specification knows, or of successes.
_STATUSES = frozenset(status for status in REASONS if status >= 400)


def _type(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    return "invalid_request_error" if status < 500 else "api_error"


def error_object(message: str, kind: str, param: str | None, code: str | None) -> bytes:
    """The body of an error answer."""
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def render(error: RequestError) -> tuple[int, Headers, bytes]:
    """Status, headers and body of the answer to a refused request."""
    code = error.code or _CODES.get(error.status)
    return error.status, (*JSON, *error.headers), error_object(error.message, error.type, error.param, code)


def refusal(status: int, reason: str) -> tuple[Headers, bytes]:
    """`ports.Refusal`: the answers that the server has to give by itself."""
    headers = (*JSON, *_RETRY_AFTER) if status == 503 else JSON
    return headers, error_object(reason, _type(status), None, _CODES.get(status, "bad_request"))


def run_error(failed: RunFailed) -> RequestError:
    """A failed run as the error that answers its request, before anything else was sent."""
    headers: Headers = ()
    if failed.retry_after is not None and isfinite(failed.retry_after):
        headers = ((b"retry-after", b"%d" % max(0, ceil(failed.retry_after))),)
    status = failed.status if failed.status in _STATUSES else 500
    return RequestError(status, failed.message, type=_type(status), code=failed.code, headers=headers)


def run_error_object(failed: RunFailed) -> bytes:
    """A failed run as an error object, inside a stream that has begun."""
    return error_object(failed.message, _type(failed.status), None, failed.code)
