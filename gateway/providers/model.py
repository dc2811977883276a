"""An agent that is a model behind an HTTP API, whichever `dialect` it speaks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import cast

from ..errors import AgentError
from ..model.run import RunDone, RunEvent, RunInput
from ..ports import Flow
from .attempts import accept, chance, not_an_answer, pause, read_whole, request_headers
from .dialect import Dialect, Piece, Reader
from .flow import ModelFlow, goes_on
from .settings import Provider
from .upstream import Response, Upstream, UpstreamError

__all__ = ["FINISH_GRACE", "Model"]

COMPLETION_BYTES = 16_777_216
"""The largest answer in one piece; those of the longest models are about a hundredth."""

FINISH_GRACE = 2.0
"""Seconds for what follows the `finish_reason`: the usage and [DONE], within a few milliseconds.  Some servers send
neither and leave the connection open; their answer is complete, and nobody should wait for more of it."""


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
        chance: Callable[[], float] = chance,
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
        self._headers = request_headers(dialect.headers(provider), provider)

    def __call__(self, run: RunInput) -> AsyncIterator[RunEvent]:
        """Text as it comes, one piece for each token the provider sends apart; Usage if told; RunDone."""
        return cast("AsyncIterator[RunEvent]", self._events(run, flows=False))

    def with_flow(self, run: RunInput) -> AsyncIterator[RunEvent | Flow]:
        """The same, with a Flow behind text, where more is likely to follow."""
        return self._events(run, flows=True)

    async def _events(self, run: RunInput, *, flows: bool) -> AsyncIterator[RunEvent | Flow]:
        if self._settings.images is False and any(message.parts for message in run.conversation):
            raise AgentError(f"{self._model} takes no images", code="images_not_supported", status=400)
        body = self._dialect.body(run, self._provider, self._settings, self._system_prompt)
        retries = 0
        while True:
            begun = False
            reader = self._dialect.reader(self._provider, self._model, run)
            try:
                with await self._upstream.request("POST", self._url, self._headers, body) as response:
                    streamed = await self._accept(response)
                    while not reader.ended:
                        if not streamed:
                            pieces = reader.receive_whole(await read_whole(self._provider, response, COMPLETION_BYTES))
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
                        if flows and streamed and pieces and pieces[-1].__class__ is str and goes_on(reader):
                            flow = ModelFlow(response, reader)
                            yield flow
                            for event in _events(flow.rest()):
                                yield event
                    if reader.failure is not None:
                        raise reader.failure
                break
            except UpstreamError as error:
                wait = None if begun else pause(error, retries, self._provider, self._chance)
                if wait is None:
                    raise
                await self._sleep(wait)
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
        await accept(self._provider, self._model, response, self._clock())
        media = response.head.fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if media == b"application/json":
            return False
        if media not in {b"text/event-stream", b"text/plain", b""}:  # not all servers label their streams
            shown = media.decode("ascii", "replace")
            what = f"answered with {shown}, not a completion; is {self._provider.base_url} right?"
            raise not_an_answer(self._provider, what)
        return True


def _events(pieces: list[Piece]) -> list[Piece] | list[list[str]]:
    """The events for pieces that came together: texts among themselves become one."""
    if len(pieces) > 1 and set(map(type, pieces)) == {str}:
        return [cast("list[str]", pieces)]
    return pieces
