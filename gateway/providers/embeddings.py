"""Embeddings of a provider with an OpenAI-compatible API.

Source: https://platform.openai.com/docs/api-reference/embeddings.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from array import array
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from math import isfinite
from typing import Any, NoReturn

from ..model.embeddings import EmbeddingsRequest
from .attempts import accept, chance, not_an_answer, pause, read_whole, request_headers
from .errors import provider_error
from .openai import bearer
from .settings import Provider
from .upstream import Upstream, UpstreamError

__all__ = ["ANSWER_BYTES", "Embedder"]

ANSWER_BYTES = 50_331_648
"""The largest answer: 2,048 vectors of 3,072 numbers, the most that OpenAI's models give, are 34 MB of base64."""


class _NotNumbers(Exception):
    """What should be a vector is none."""


class Embedder:
    """Asks one provider.  A failure is tried again as `model.Model` does; arguments are those of it."""

    def __init__(
        self,
        provider: Provider,
        upstream: Upstream,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = chance,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._provider = provider
        self._upstream = upstream
        self._sleep = sleep
        self._chance = chance
        self._clock = clock
        self._url = f"{provider.base_url}/embeddings"
        self._headers = request_headers(bearer(provider), provider)

    async def embed(self, model: str, request: EmbeddingsRequest) -> bytes:
        """The provider's answer, with the vectors in the form that was asked for; else as it came.

        Raises UpstreamError: also for an answer that is none, or has not as many vectors as were asked for.
        """
        retries = 0
        encoding = True
        while True:
            try:
                return self._check(await self._ask(model, request, encoding=encoding), request)
            except UpstreamError as error:
                # Some servers know one form only, and refuse the other instead of ignoring it.
                if encoding and error.status == 400 and _is_about_encoding(error.message):
                    encoding = False
                    continue
                wait = pause(error, retries, self._provider, self._chance)
                if wait is None:
                    raise
                await self._sleep(wait)
                retries += 1

    async def _ask(self, model: str, request: EmbeddingsRequest, *, encoding: bool) -> bytes:
        document: dict[str, Any] = {"model": model, "input": request.input}
        if request.base64 and encoding:
            document["encoding_format"] = "base64"
        if request.dimensions is not None:
            document["dimensions"] = request.dimensions
        if request.user is not None:
            document["user"] = request.user
        body = json.dumps(document, separators=(",", ":")).encode()
        with await self._upstream.request("POST", self._url, self._headers, body) as response:
            await accept(self._provider, model, response, self._clock())
            return await read_whole(self._provider, response, ANSWER_BYTES)

    def _check(self, payload: bytes, request: EmbeddingsRequest) -> bytes:
        """The answer, if it is one, with vectors of the form that was asked for."""
        try:
            document = json.loads(payload)
        except (ValueError, RecursionError):
            self._fail(f"sent embeddings that are not JSON; is {self._provider.base_url} right?")
        if isinstance(document, dict) and isinstance(document.get("error"), dict):  # some send it with status 200
            raise provider_error(self._provider, "", 500, document)
        data = document.get("data") if isinstance(document, dict) else None
        if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
            self._fail("sent no embeddings")
        if len(data) != request.vectors:
            self._fail(f"sent {len(data)} embeddings for {request.vectors} inputs")
        wanted = str if request.base64 else list
        if all(isinstance(row.get("embedding"), wanted) for row in data):
            return payload
        try:
            convert = _in_base64 if request.base64 else _numbers
            for row in data:
                row["embedding"] = convert(row.get("embedding"))
        except _NotNumbers:
            self._fail("sent an embedding that is no vector")
        return json.dumps(document, separators=(",", ":")).encode()

    def _fail(self, what: str) -> NoReturn:
        raise not_an_answer(self._provider, what)


def _is_about_encoding(message: str) -> bool:
    return "encoding_format" in message or "base64" in message


def _in_base64(vector: object) -> str:
    """A vector in base64, if it is not so already."""
    if isinstance(vector, str):
        return vector
    try:
        packed = array("f", vector)  # type: ignore[call-overload]  # it raises for what is no list of numbers
    except (TypeError, OverflowError):
        raise _NotNumbers from None
    return b64encode(_little_endian(packed).tobytes()).decode("ascii")


def _numbers(vector: object) -> list[float]:
    """A vector in numbers, if it is not so already."""
    if isinstance(vector, list):
        return vector
    packed = array("f")
    try:
        packed.frombytes(b64decode(vector, validate=True))  # type: ignore[arg-type]  # as above
    except (TypeError, ValueError):
        raise _NotNumbers from None
    numbers = _little_endian(packed).tolist()
    if not all(map(isfinite, numbers)):  # JSON has no words for them
        raise _NotNumbers
    return numbers


def _little_endian(numbers: array[float]) -> array[float]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
