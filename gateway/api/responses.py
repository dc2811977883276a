"""POST /v1/responses."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeAlias, assert_never

from ..agents.conversation import ANSWER_CHARACTERS, TOO_LONG
from ..agents.run import Runs
from ..errors import AgentError, RequestError
from ..model.caller import Caller
from ..model.chat import ChatRequest
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
from ..ports import BodyWriter, Exchange
from .abilities import PlaceOf, require_abilities
from .chat import SSE
from .chat_bytes import KEEP_ALIVE, ChunkEncoder, fallback_text
from .images import NO_URLS, ImageLimits
from .json_body import body_of
from .planning import Planner
from .problem import JSON, run_error
from .responses_bytes import ResponseEncoder, response
from .responses_parse import ResponsesRequest, responses_request

__all__ = ["Responses"]


Fetch: TypeAlias = Callable[[ChatRequest, PlaceOf, str], Awaitable[ChatRequest]]


class Responses:
    """The handler.  The arguments are those of `chat.Chat`."""

    def __init__(
        self,
        planner: Planner,
        runs: Runs,
        clock: Callable[[], float],
        body_limit: int,
        *,
        images: ImageLimits = NO_URLS,
        fetch: Fetch | None = None,
    ) -> None:
        self._planner = planner
        self._runs = runs
        self._clock = clock
        self._body_limit = body_limit
        self._images = images
        self._fetch = fetch

    async def create(self, exchange: Exchange) -> None:
        """Answer one request."""
        request = responses_request(await body_of(exchange, self._body_limit), self._images)
        if request.references:
            request = request._replace(chat=await self._recall(request, exchange.caller))
        entry, run = self._planner.plan(
            exchange,
            request.chat,
            namespace="openresponses",
            after=request.after,
            conversation=request.conversation,
            keep="always" if request.store else "never",
        )
        if request.chat.tools or request.chat.images:
            require_abilities(entry, run, request.place)
            if request.chat.images and self._fetch is not None:
                run = run._replace(request=await self._fetch(request.chat, request.place, ".image_url"))
        if run.after is not None:
            try:
                await self._runs.check(run)
            except AgentError as error:
                if error.status != 404:  # the store failed
                    raise
                raise RequestError(error.status, error.message, param="previous_response_id", code=error.code) from None
        created = int(self._clock())
        model = request.chat.model or PUBLIC
        if request.chat.stream:
            encoder = ResponseEncoder(run.run_id, created, model, request.echo)
            await _stream(exchange, self._runs.run(run), encoder, reasoning=entry.shows_reasoning)
        else:
            answer = await self._runs.answer(run)
            if isinstance(answer.ending, RunFailed):
                raise run_error(answer.ending)
            if not entry.shows_reasoning:
                answer = answer._replace(reasoning="")
            change = answer.model
            head_lines = JSON if change is None else (*JSON, (FALLBACK, fallback_text(change)))
            exchange.respond(200, head_lines, response(run.run_id, created, model, request.echo, answer))

    async def _recall(self, request: ResponsesRequest, caller: Caller) -> ChatRequest:
        """The request with what it refers to."""
        messages = list(request.chat.messages)
        for index, reference in request.references.items():
            answer = await self._runs.answer_of(reference.run_id, caller)
            found = None if answer is None else reference.added(answer, messages[index])
            if found is None:
                message = f"The item that `{request.places[index]}` refers to was not found: is its response stored?"
                raise RequestError(404, message, param=request.places[index], code="item_not_found")
            messages[index] = found
        return request.chat._replace(messages=tuple(messages))


async def _stream(
    exchange: Exchange, events: AsyncGenerator[RunEvent, None], encoder: ResponseEncoder, *, reasoning: bool
) -> None:
    body = exchange.stream(200, SSE, encoder.texts)
    body.fill_silence(KEEP_ALIVE)
    body.write(encoder.begin())
    body.flush()  # before the agent has said anything: clients wait only so long for a first byte
    usage = NO_USAGE
    try:
        async for event in events:
            match event:
                case str():
                    _begin_message(body, encoder)
                    body.put(event)
                case list():
                    _begin_message(body, encoder)
                    body.put_all(event)
                case ToolCallDelta():
                    _settle(body)
                    body.write(encoder.call(event))
                case Usage():
                    usage = usage.plus(event)
                case RunDone():
                    _settle(body)
                    body.write(encoder.done(event, usage))
                case RunFailed():
                    exchange.fail()
                    _settle(body)
                    body.write(encoder.failed(event, usage))
                case ReasoningDelta():
                    if reasoning:
                        _settle(body)
                        body.write(encoder.reasoning(event.text))
                case ModelChange():
                    body.write(ChunkEncoder.fallback(event))
                case ToolUse() | Step():
                    pass
                case _:
                    assert_never(event)
            if body.full:
                await body.drain()
            if encoder.size > ANSWER_CHARACTERS:
                exchange.fail()
                _settle(body)
                body.write(encoder.failed(TOO_LONG, usage))
                await events.aclose()
                break
    except BaseException:
        await events.aclose()
        raise
    await body.end()


def _begin_message(body: BodyWriter, encoder: ResponseEncoder) -> None:
    if not encoder.in_message:
        _settle(body)
        body.write(encoder.begin_message())


def _settle(body: BodyWriter) -> None:
    """Have the texts that were put encoded, which numbers their events, before another event is made."""
    body.write(b"")
