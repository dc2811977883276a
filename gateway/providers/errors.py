"""What the refusals and failures of a provider mean to the caller of the gateway.

400, 413, 422       400: the caller's request (a context too long, a parameter refused), with the provider's words
401, 403            502 `upstream_auth`: the operator's key; the provider's words may hold part of it and are left out
402, used-up quota  502 `upstream_quota`; Anthropic says 400 for it
404                 502 `upstream_not_found`: the operator's model name or base URL
408, 504, 524       504 `upstream_timeout`
429                 429 `upstream_rate_limited`
anything else       502 `upstream_error`
"""

from __future__ import annotations

import json
import re
from typing import Any

from .settings import Provider
from .upstream import UpstreamError

__all__ = ["provider_error"]

MESSAGE_CHARACTERS = 600
"""How much of a provider's words is passed on: some answer with a whole page, or repeat the request."""

SECRET_CHARACTERS = 8
"""Header values shorter than this are no secrets, and would turn up in sentences."""

# Codes of the provider that clients act upon, as in OpenAI's `context_length_exceeded`.
_CODE = r"[a-z][a-z0-9_]{2,63}"
_CONTROLS = r"[\x00-\x1f\x7f-\x9f]+"

_RETRIED = frozenset({408, 409, 429})  # and all of 5xx, as the OpenAI SDKs have it
_OUT_OF_QUOTA = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_NO_CREDIT = "credit balance is too low"


def provider_error(
    provider: Provider, model: str, status: int, payload: object, retry_after: float | None = None
) -> UpstreamError:
    """The error for a refusal.  `status` is the HTTP status, `payload` the body: bytes, or JSON already read."""
    words, code = _words(payload)
    words = _without_secrets(provider, re.sub(_CONTROLS, " ", words))[:MESSAGE_CHARACTERS].strip()
    said = f": {words}" if words else ""
    name = provider.name

    def error(message: str, code: str, answer: int, *, retryable: bool = False) -> UpstreamError:
        return UpstreamError(message, code=code, status=answer, retryable=retryable, retry_after=retry_after)

    if status == 402 or code in _OUT_OF_QUOTA or (status == 400 and _NO_CREDIT in words):
        return error(f"the account at {name} has no credit left{said}", "upstream_quota", 502)
    if status in {400, 413, 422}:
        text = words or f"{name} refused the request with status {status}"
        return error(text, code if re.fullmatch(_CODE, code) else "upstream_rejected", 400)
    if status in {401, 403}:
        where = f" ({provider.key_hint})" if provider.key_hint else ""
        return error(
            f"{name} refused the gateway's credentials ({status}); check its API key{where}", "upstream_auth", 502
        )
    if status == 404:
        text = f"{name} has no model {model!r}, or no API at its base URL {provider.base_url}{said}"
        return error(text, "upstream_not_found", 502)
    if status == 429:
        return error(f"{name} limits the rate of requests{said}", "upstream_rate_limited", 429, retryable=True)
    if status in {408, 504, 524}:
        return error(f"{name} took too long ({status}){said}", "upstream_timeout", 504, retryable=True)
    if 300 <= status < 400:
        text = f"{name} redirects ({status}); set its base URL, now {provider.base_url}, to where it leads"
        return error(text, "upstream_error", 502)
    return error(
        f"{name} failed ({status}){said}", "upstream_error", 502, retryable=status in _RETRIED or status >= 500
    )


def _words(payload: object) -> tuple[str, str]:
    """(message, code) of an error, in any of the shapes that servers use; empty where unknown."""
    value: Any = payload
    if isinstance(payload, bytes):
        try:
            value = json.loads(payload)
        except (ValueError, RecursionError):
            return "", ""  # an HTML page, most likely: nothing in it helps
    if isinstance(value, list) and len(value) == 1:  # Google
        value = value[0]
    if not isinstance(value, dict):
        return (value if isinstance(value, str) else ""), ""
    inner = value.get("error", value)
    if not isinstance(inner, dict):
        return (inner if isinstance(inner, str) else ""), ""
    message = next((inner[name] for name in ("message", "detail") if isinstance(inner.get(name), str)), "")
    code = inner.get("code")
    return message, code if isinstance(code, str) else ""


def _without_secrets(provider: Provider, text: str) -> str:
    for secret in (provider.api_key, *provider.headers.values()):
        if secret and len(secret) >= SECRET_CHARACTERS:
            text = text.replace(secret, "***")
    return text
