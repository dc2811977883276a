"""POST /v1/chat/completions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import assert_never

from ..agents.registry import Registry
from ..agents.run import Runs
from ..errors import RequestError
from ..model.chat import ChatRequest
from ..model.http import Headers, RequestHead
from ..model.names import FALLBACK, PUBLIC, headers
from ..model.run import (
    NO_USAGE,
    ModelChange,
    ReasoningDelta,
    RunDone,
    RunEvent,
    RunFailed,
    RunInput,
    Step,
    ToolCallDelta,
    ToolUse,
    Usage,
)
from ..ports import Exchange, Ids
from ..sessions.keys import explicit_key, user_key
from .abilities import require_abilities
from .chat_bytes import DONE, KEEP_ALIVE, ChunkEncoder, completion, fallback_text, finish_of_calls
from .images import NO_URLS, ImageLimits
from .parse import chat_request
from .problem import JSON, run_error

__all__ = ["AGENT_HEADERS", "SESSION_HEADERS", "SSE", "Chat", "first_header"]

SSE: Headers = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)
AGENT_HEADERS = (*headers("agent-id"), *headers("agent"))
SESSION_HEADERS = headers("session-key")
_ROUTING_HEADERS = (*AGENT_HEADERS, *SESSION_HEADERS)


def first_header(head: RequestHead, names: tuple[bytes, ...]) -> tuple[str, str] | None:
    """(name, value) of the first of these headers that the request has and that is not empty."""
    fields = head.fields
    for name in names:
        if value := fields.get(name):
            try:
                return name.decode(), value.decode()
            except UnicodeDecodeError:
                raise RequestError(400, f"`{name.decode()}` is not UTF-8.", param=name.decode()) from None
    return None


_new = tuple.__new__  # see api/parse.py


class Chat:
    """The handler.  `clock` gives seconds since the epoch; `body_limit` is in bytes.

    `images` are the limits of a request's images; `fetch` gets those that are somewhere else, where that is allowed.
    """

    def __init__(
        self,
        registry: Registry,
        runs: Runs,
        ids: Ids,
        clock: Callable[[], float],
        body_limit: int,
        *,
        images: ImageLimits = NO_URLS,
        fetch: Callable[[ChatRequest], Awaitable[ChatRequest]] | None = None,
    ) -> None:
        self._registry = registry
        self._runs = runs
        self._ids = ids
        self._clock = clock
        self._body_limit = body_limit
        self._images = images
        self._fetch = fetch

    async def create(self, exchange: Exchange) -> None:
        """Answer one request."""
        head = exchange.head
        if head.content_length is None and not head.chunked:
            raise RequestError(411, "The request needs a body, and a Content-Length or Transfer-Encoding with it.")
        request = chat_request(await exchange.body(self._body_limit), self._images)
        run = self._plan(exchange, request)
        entry = self._registry.by_id[run.agent_id]
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
            await self._stream(exchange, self._runs.run(run), encoder, include_usage=usage, reasoning=shows)
        else:
            answer = await self._runs.answer(run)
            ending = answer.ending
            if isinstance(ending, RunFailed):
                raise run_error(ending)
            body = completion(run.run_id, created, model, answer, ending.finish_reason, reasoning=shows)
            change = answer.model
            exchange.respond(200, JSON if change is None else (*JSON, (FALLBACK, fallback_text(change))), body)

    def _plan(self, exchange: Exchange, request: ChatRequest) -> RunInput:
        head = exchange.head
        agent_header = session_header = None
        if not head.fields.keys().isdisjoint(_ROUTING_HEADERS):
            agent_header = first_header(head, AGENT_HEADERS)
            session_header = first_header(head, SESSION_HEADERS)
        if agent_header is None:
            entry = self._registry.by_model(request.model, exchange.caller)
        else:
            entry = self._registry.by_header(agent_header[1], agent_header[0], exchange.caller)
        key = None
        if session_header is not None:
            key = explicit_key(session_header[1], session_header[0])
        elif request.user is not None:
            key = user_key(entry.id, request.user)
        return _new(RunInput, (self._ids(32), entry.id, key, request, (), None, exchange.caller, None))

    @staticmethod
    async def _stream(
        exchange: Exchange,
        events: AsyncGenerator[RunEvent, None],
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
