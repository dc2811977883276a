"""An agent that is a model behind an HTTP API, whichever `dialect` it speaks."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from os import urandom
from typing import cast

from ..errors import AgentError
from ..model.http import Headers
from ..model.run import RunDone, RunEvent, RunInput
from .dialect import Dialect, Piece, Reader
from .errors import provider_error
from .settings import Provider
from .upstream import Response, Upstream, UpstreamError

__all__ = ["BACKOFF", "BACKOFF_CAP", "FINISH_GRACE", "RETRY_AFTER_CAP", "Model", "headers_of"]

BACKOFF = 0.5
"""Seconds before the first retry; twice as long before each other, as in the OpenAI SDKs."""

BACKOFF_CAP = 8.0
"""The longest of these pauses: somebody is waiting for the answer."""

RETRY_AFTER_CAP = 20.0
"""Seconds that a provider may ask us to wait.  More is passed on to the caller at once, who can do better than wait."""

COMPLETION_BYTES = 16_777_216
"""The largest answer in one piece; those of the longest models are about a hundredth."""

ERROR_BYTES = 65_536
"""What is read of the body of a refusal."""

FINISH_GRACE = 2.0
"""Seconds for what follows the `finish_reason`: the usage and [DONE], within a few milliseconds.  Some servers send
neither and leave the connection open; their answer is complete, and nobody should wait for more of it."""

COMMON: Headers = (
    (b"content-type", b"application/json"),
    (b"accept", b"text/event-stream, application/json"),
    (b"user-agent", b"gateway"),
    (b"accept-encoding", b"identity"),
)

_NUMBER = rb"[0-9]{1,9}(?:\.[0-9]{1,9})?"


def _chance() -> float:
    return urandom(1)[0] / 255  # the module `random` costs more to import than this ever will


class Model:
    """The agent.  A refusal or failure before the first token is tried again, at most `provider.max_retries` times,
    if that can help.  Raises AgentError (see `errors` and `UpstreamError`).

    `upstream` should have the timeouts of `provider`.  `sleep`, `chance` (0 to 1), `clock` (seconds since the epoch)
    and `grace` are for tests.
    """

    def __init__(
        self,
        dialect: Dialect,
        provider: Provider,
        model: str,
        upstream: Upstream,
        *,
        system_prompt: str | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = _chance,
        clock: Callable[[], float] = time.time,
        grace: float = FINISH_GRACE,
    ) -> None:
        self._dialect = dialect
        self._upstream = upstream
        self._provider = provider
        self._model = model
        self._system_prompt = system_prompt
        self._sleep = sleep
        self._chance = chance
        self._clock = clock
        self._grace = grace
        self._url = dialect.url(provider.base_url)
        self._settings = provider.model(model)
        self._headers = headers_of(dialect, provider)

    async def __call__(self, run: RunInput) -> AsyncIterator[RunEvent]:
        """Text as it comes, one piece for each token the provider sends apart; Usage if told; RunDone."""
        if self._settings.images is False and any(message.parts for message in run.conversation):
            raise AgentError(f"{self._model} takes no images", code="images_not_supported", status=400)
        body = self._dialect.body(run, self._provider, self._settings, self._system_prompt)
        retries = 0
        while True:
            begun = False
            reader = self._dialect.reader(self._provider, self._model)
            try:
                with await self._upstream.request("POST", self._url, self._headers, body) as response:
                    streamed = await self._accept(response)
                    while not reader.ended:
                        if not streamed:
                            pieces = reader.receive_whole(await self._read(response, COMPLETION_BYTES))
                        elif reader.finish_reason is not None:
                            pieces = await self._rest(response, reader)
                        elif data := await response.read():
                            pieces = reader.receive(data)
                        else:
                            reader.eof()
                            break
                        begun = begun or bool(pieces)
                        for event in _events(pieces):
                            yield event
                    if reader.failure is not None:
                        raise reader.failure
                break
            except UpstreamError as error:
                if begun or retries >= self._provider.max_retries or not error.retryable:
                    raise
                if (error.retry_after or 0) > RETRY_AFTER_CAP:
                    raise
                await self._sleep(self._pause(retries, error.retry_after))
                retries += 1
        if reader.usage is not None:
            yield reader.usage
        yield RunDone(reader.finish_reason or "stop")

    async def _rest(self, response: Response, reader: Reader) -> list[Piece]:
        """What comes after the `finish_reason`, in limited time."""
        pieces: list[Piece] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(self._grace):
                while not reader.ended and (data := await response.read()):
                    pieces += reader.receive(data)
        reader.eof()
        return pieces

    async def _accept(self, response: Response) -> bool:
        """Whether the answer is a stream, or else one document.  Raises UpstreamError where it is no answer."""
        head = response.head
        if not 200 <= head.status < 300:
            payload = await self._read(response, ERROR_BYTES, cut=True)
            wait = _retry_after(head.fields, self._clock())
            raise provider_error(self._provider, self._model, head.status, payload, wait)
        if head.fields.get(b"content-encoding", b"identity") != b"identity":
            raise self._not_an_answer("compressed its answer although it was asked not to")
        media = head.fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if media == b"application/json":
            return False
        if media not in {b"text/event-stream", b"text/plain", b""}:  # not all servers label their streams
            shown = media.decode("ascii", "replace")
            raise self._not_an_answer(f"answered with {shown}, not a completion; is {self._provider.base_url} right?")
        return True

    async def _read(self, response: Response, limit: int, *, cut: bool = False) -> bytes:
        """The whole body.  One over `limit` is an error, or else is `cut` there."""
        pieces = []
        size = 0
        while data := await response.read():
            pieces.append(data)
            size += len(data)
            if size > limit:
                if cut:
                    break
                raise self._not_an_answer(f"sent an answer of more than {limit} bytes")
        return b"".join(pieces)[:limit]

    def _not_an_answer(self, what: str) -> UpstreamError:
        return UpstreamError(f"{self._provider.name} {what}", code="upstream_protocol_error")

    def _pause(self, retries: int, asked: float | None) -> float:
        if asked is not None:
            return asked
        return min(BACKOFF * (1 << retries), BACKOFF_CAP) * (1 - self._chance() / 4)


def headers_of(dialect: Dialect, provider: Provider) -> Headers:
    """What is sent with each request to a provider; its own headers win."""
    fields = dict(COMMON)
    fields.update(dialect.headers(provider))
    fields.update((name.lower().encode("ascii"), value.encode("ascii")) for name, value in provider.headers.items())
    return tuple(fields.items())


def _events(pieces: list[Piece]) -> list[Piece] | list[list[str]]:
    """The events for pieces that came together: texts among themselves become one."""
    if len(pieces) > 1 and set(map(type, pieces)) == {str}:
        return [cast("list[str]", pieces)]
    return pieces


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
