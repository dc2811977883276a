"""POST /v1/chat/completions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import assert_never

from ..agents.run import Runs
from ..model.chat import ChatRequest
from ..model.http import Headers
from ..model.names import FALLBACK, PUBLIC
from ..model.run import (
    NO_USAGE,
    ModelChange,
    ReasoningDelta,
    RunDone,
    RunEvent,
    RunFailed,
    Step,
    ToolCallDelta,
    ToolUse,
    Usage,
)
from ..ports import Exchange, Flow
from .abilities import require_abilities
from .chat_bytes import DONE, KEEP_ALIVE, ChunkEncoder, completion, fallback_text, finish_of_calls
from .images import NO_URLS, ImageLimits
from .json_body import body_of
from .parse import chat_request
from .planning import Planner
from .problem import JSON, run_error

__all__ = ["SSE", "Chat"]

SSE: Headers = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)


class Chat:
    """The handler.  `clock` gives seconds since the epoch; `body_limit` is in bytes.

    `images` are the limits of a request's images; `fetch` gets those that are somewhere else, where that is allowed.
    """

    def __init__(
        self,
        planner: Planner,
        runs: Runs,
        clock: Callable[[], float],
        body_limit: int,
        *,
        images: ImageLimits = NO_URLS,
        fetch: Callable[[ChatRequest], Awaitable[ChatRequest]] | None = None,
    ) -> None:
        self._planner = planner
        self._runs = runs
        self._clock = clock
        self._body_limit = body_limit
        self._images = images
        self._fetch = fetch

    async def create(self, exchange: Exchange) -> None:
        """Answer one request."""
        request = chat_request(await body_of(exchange, self._body_limit), self._images)
        entry, run = self._planner.plan(exchange, request)
        if request.tools or request.images:
            require_abilities(entry, run)
            if request.images and self._fetch is not None:
                run = run._replace(request=await self._fetch(request))
        created = int(self._clock())
        model = request.model or PUBLIC
        shows = entry.shows_reasoning
        if request.stream:
            usage = request.include_usage
            encoder = ChunkEncoder(f"chatcmpl-{run.run_id}", created, model, include_usage=usage)
            await self._stream(exchange, self._runs.stream(run), encoder, include_usage=usage, reasoning=shows)
        else:
            answer = await self._runs.answer(run)
            ending = answer.ending
            if isinstance(ending, RunFailed):
                raise run_error(ending)
            body = completion(run.run_id, created, model, answer, ending.finish_reason, reasoning=shows)
            change = answer.model
            exchange.respond(200, JSON if change is None else (*JSON, (FALLBACK, fallback_text(change))), body)

    @staticmethod
    async def _stream(
        exchange: Exchange,
        events: AsyncGenerator[RunEvent | Flow, None],
        encoder: ChunkEncoder,
        *,
        include_usage: bool,
        reasoning: bool,
    ) -> None:
        body = exchange.stream(200, SSE, encoder.texts)
        body.fill_silence(KEEP_ALIVE)
        body.write(encoder.role())
        body.flush()  # before the agent has said anything: clients wait only so long for a first byte
        usage = NO_USAGE
        called = False
        try:
            async for event in events:
                match event:
                    case str():
                        body.put(event)
                        if body.full:
                            await body.drain()
                    case list():
                        body.put_all(event)
                        if body.full:
                            await body.drain()
                    case Flow():
                        await event.into(body)
                        if body.full:
                            await body.drain()
                    case Usage():
                        usage = usage.plus(event)
                    case RunDone():
                        reason = event.finish_reason
                        body.write(encoder.finish(finish_of_calls(reason) if called else reason))
                        if include_usage:
                            body.write(encoder.usage(usage))
                    case RunFailed():
                        exchange.fail()
                        body.write(encoder.error(event))
                    case ToolCallDelta():
                        called = True
                        body.write(encoder.tool_call(event))
                        if body.full:
                            await body.drain()
                    case ReasoningDelta():
                        if reasoning:
                            body.write(encoder.reasoning(event.text))
                            if body.full:
                                await body.drain()
                    case ModelChange():
                        body.write(encoder.fallback(event))
                    case ToolUse() | Step():
                        pass
                    case _:
                        assert_never(event)
        except BaseException:
            await events.aclose()
            raise
        body.write(DONE)
        await body.end()
