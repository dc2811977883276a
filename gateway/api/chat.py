"""POST /v1/chat/completions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ..agents.registry import AgentEntry
from ..agents.run import Runs
from ..agents.sink import Gathered
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
    RunInput,
    ToolCallDelta,
    Usage,
)
from ..ports import Exchange
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

    def create(self, exchange: Exchange) -> Awaitable[object]:
        """Answer one request.  Raises RequestError, and AgentError for a run that may not begin."""
        body = exchange.ready_body(self._body_limit)
        return self._answer(exchange, body) if body else self._wait(exchange)

    async def _wait(self, exchange: Exchange) -> None:
        """For the body."""
        await self._answer(exchange, await body_of(exchange, self._body_limit))

    def _answer(self, exchange: Exchange, body: bytes) -> Awaitable[object]:
        request = chat_request(body, self._images)
        entry, run = self._planner.plan(exchange, request)
        if request.tools or request.images:
            require_abilities(entry, run)
            if request.images and self._fetch is not None:
                return self._fetched(exchange, entry, run, self._fetch(request))
        return self._run(exchange, entry, run)

    async def _fetched(
        self, exchange: Exchange, entry: AgentEntry, run: RunInput, request: Awaitable[ChatRequest]
    ) -> None:
        await self._run(exchange, entry, run._replace(request=await request))

    def _run(self, exchange: Exchange, entry: AgentEntry, run: RunInput) -> Awaitable[object]:
        request = run.request
        shows = entry.shows_reasoning
        if not request.stream:
            return self._whole(exchange, run, reasoning=shows)
        created = int(self._clock())
        encoder = ChunkEncoder(
            f"chatcmpl-{run.run_id}", created, request.model or PUBLIC, include_usage=request.include_usage
        )
        events = self._runs.open(run)
        stream = _Stream(exchange, encoder, reasoning=shows, include_usage=request.include_usage)
        return self._runs.pull(run, stream, events)

    async def _whole(self, exchange: Exchange, run: RunInput, *, reasoning: bool) -> None:
        said = Gathered()
        created = int(self._clock())
        ending = await self._runs.pull(run, said)
        if isinstance(ending, RunFailed):
            raise run_error(ending)
        answer = said.answer(ending)
        model = run.request.model or PUBLIC
        body = completion(run.run_id, created, model, answer, ending.finish_reason, reasoning=reasoning)
        change = answer.model
        exchange.respond(200, JSON if change is None else (*JSON, (FALLBACK, fallback_text(change))), body)


class _Stream:
    """A streamed answer, as a sink of its run (see `agents.sink.Sink`)."""

    __slots__ = ("_body", "_called", "_encoder", "_exchange", "_include_usage", "_reasoning", "_usage")

    def __init__(self, exchange: Exchange, encoder: ChunkEncoder, *, reasoning: bool, include_usage: bool) -> None:
        self._exchange = exchange
        self._encoder = encoder
        self._reasoning = reasoning
        self._include_usage = include_usage
        self._usage = NO_USAGE
        self._called = False
        self._body = body = exchange.stream(200, SSE, encoder.texts)
        body.fill_silence(KEEP_ALIVE)
        body.write(encoder.role())
        body.flush()  # before the agent has said anything: clients wait only so long for a first byte

    @property
    def put(self) -> Callable[[str], bool]:
        """See `Sink`."""
        return self._body.put

    @property
    def put_all(self) -> Callable[[list[str]], bool]:
        """See `Sink`."""
        return self._body.put_all

    @property
    def drain(self) -> Callable[[], Awaitable[None]]:
        """See `Sink`."""
        return self._body.drain

    def take(self, event: RunEvent) -> bool:
        body, encoder = self._body, self._encoder
        match event:
            case Usage():
                self._usage = self._usage.plus(event)
            case ToolCallDelta():
                self._called = True
                body.write(encoder.tool_call(event))
            case ReasoningDelta():
                if self._reasoning:
                    body.write(encoder.reasoning(event.text))
            case ModelChange():
                body.write(encoder.fallback(event))
            case _:
                pass
        return body.full

    async def end(self, ending: RunDone | RunFailed) -> None:
        body, encoder = self._body, self._encoder
        if isinstance(ending, RunFailed):
            self._exchange.fail()
            body.write(encoder.error(ending))
        else:
            reason = ending.finish_reason
            body.write(encoder.finish(finish_of_calls(reason) if self._called else reason))
            if self._include_usage:
                body.write(encoder.usage(self._usage))
        body.write(DONE)
        await body.end()
