"""What every exchange with a provider has: its headers, limited reading, and pauses before another attempt."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from os import urandom

from ..model.http import Headers
from .errors import provider_error
from .settings import Provider
from .upstream import Response, UpstreamError

__all__ = [
    "BACKOFF",
    "BACKOFF_CAP",
    "RETRY_AFTER_CAP",
    "accept",
    "chance",
    "not_an_answer",
    "pause",
    "read_whole",
    "request_headers",
]

BACKOFF = 0.5
"""Seconds before the first retry; twice as long before each other, as in the OpenAI SDKs."""

BACKOFF_CAP = 8.0
"""The longest of these pauses: somebody is waiting for the answer."""

RETRY_AFTER_CAP = 20.0
"""Seconds that a provider may ask us to wait.  More is passed on to the caller at once, who can do better than wait."""

ERROR_BYTES = 65_536
"""What is read of the body of a refusal."""

COMMON: Headers = (
    (b"content-type", b"application/json"),
    (b"accept", b"text/event-stream, application/json"),
    (b"user-agent", b"gateway"),
    (b"accept-encoding", b"identity"),
)

_NUMBER = rb"[0-9]{1,9}(?:\.[0-9]{1,9})?"


def request_headers(api: Headers, provider: Provider) -> Headers:
    """Those of a request: of all, of its API, and of its provider's configuration, of which the latter win."""
    fields = dict(COMMON)
    fields.update(api)
    fields.update((name.lower().encode("ascii"), value.encode("ascii")) for name, value in provider.headers.items())
    return tuple(fields.items())


async def accept(provider: Provider, model: str, response: Response, now: float) -> None:
    """Raises UpstreamError for an answer that is a refusal, or that cannot be read.  `now`: seconds since the epoch."""
    head = response.head
    if not 200 <= head.status < 300:
        payload = await read_whole(provider, response, ERROR_BYTES, cut=True)
        raise provider_error(provider, model, head.status, payload, _retry_after(head.fields, now))
    if head.fields.get(b"content-encoding", b"identity") != b"identity":
        raise not_an_answer(provider, "compressed its answer although it was asked not to")


async def read_whole(provider: Provider, response: Response, limit: int, *, cut: bool = False) -> bytes:
    """The whole body, in bytes.  One over `limit` is an UpstreamError, or else is `cut` there."""
    pieces = []
    size = 0
    while data := await response.read():
        pieces.append(data)
        size += len(data)
        if size > limit:
            if cut:
                break
            raise not_an_answer(provider, f"sent an answer of more than {limit} bytes")
    return b"".join(pieces)[:limit]


def not_an_answer(provider: Provider, what: str) -> UpstreamError:
    """The error for what no client of this API could read."""
    return UpstreamError(f"{provider.name} {what}", code="upstream_protocol_error")


def chance() -> float:
    """A random number from 0 to 1."""
    return urandom(1)[0] / 255  # the module `random` costs more to import than this ever will


def pause(error: UpstreamError, retries: int, provider: Provider, chance: Callable[[], float]) -> float | None:
    """Seconds to wait before another attempt, after `retries` of them; None where there is to be none."""
    if retries >= provider.max_retries or not error.retryable:
        return None
    if error.retry_after is None:
        return min(BACKOFF * (1 << retries), BACKOFF_CAP) * (1 - chance() / 4)
    return error.retry_after if error.retry_after <= RETRY_AFTER_CAP else None


def _retry_after(fields: Mapping[bytes, bytes], now: float) -> float | None:
    """Seconds to wait, from `retry-after-ms` (Azure, OpenAI) or `retry-after` (RFC 9110, 10.2.3); None if not told."""
    if re.fullmatch(_NUMBER, milliseconds := fields.get(b"retry-after-ms", b"")):
        return float(milliseconds) / 1000
    value = fields.get(b"retry-after", b"")
    if re.fullmatch(_NUMBER, value):
        return float(value)
    try:
        from email import utils  # noqa: PLC0415 - no provider in use sends a date, and it costs the start 5 ms

        when: float = utils.parsedate_to_datetime(value.decode("latin-1")).timestamp()
        return max(0.0, when - now)
    except (ValueError, OverflowError):
        return None
