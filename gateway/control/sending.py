"""Messages of users that become runs: `chat.send`, `sessions.send`, and the first one of `sessions.create`."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Mapping
from typing import Any

from ..model.caller import Caller
from ..model.chat import ChatRequest, Message
from ..model.run import RunDone, RunInput
from .attachments import images_of
from .feed import Feed
from .problem import INVALID_REQUEST, RpcError
from .record import Record
from .services import Services
from .sessions import Place

__all__ = ["Sending", "check_run_id", "standing"]

RUN_ID_CHARACTERS = 256
"""Of an `idempotencyKey`, which names the run in each of its events; the official client's have 36."""

LONGEST_MS = 2_147_483_647
"""Of a run's own time limit: what timers take; longer ones are none."""

ANSWER_SECONDS = 0.02
"""From what a client is told to the first event of its run.  OpenClaw's terminal program waits for ever where it reads
both at once, and the end of the run with them: so it is with a run that takes no time."""

_EFFORTS = frozenset({"minimal", "low", "medium", "high", "xhigh", "max"})
"""Levels of thinking that models know (`reasoning_effort`); any other is left to them."""


class Sending:
    """Begins the runs.  They go on whether their client stays or not, and what they said is kept."""

    def __init__(self, services: Services, feed: Feed, loop: AbstractEventLoop) -> None:
        self._services = services
        self._feed = feed
        self._loop = loop

    async def send(
        self,
        run_id: str,
        caller: Caller,
        place: Place,
        params: Mapping[str, Any],
        method: str,
        *,
        commands: bool = False,
    ) -> dict[str, Any]:
        """Begin the run that `message` and `attachments` ask for; what its client is told.  Raises RpcError.

        With `commands` a message that is a slash command is answered by the gateway.
        """
        check_run_id(run_id, method)
        text: str = params.get("message") or ""
        images = images_of(params.get("attachments") or ())
        if not text.strip() and not images:
            raise RpcError(INVALID_REQUEST, "message or attachment required")
        services = self._services
        entry = services.registry.by_id.get(place.agent_id)
        if entry is None:
            raise RpcError(INVALID_REQUEST, f'Agent "{place.agent_id}" no longer exists in configuration')
        if images and "images" not in entry.takes:
            raise RpcError(INVALID_REQUEST, f"the agent `{entry.id}` does not take images")
        message = Message("user", text, parts=(*((text,) if text else ()), *images) if images else ())
        settings: Mapping[str, Any] = {} if place.info is None else place.info.settings
        effort = params.get("thinking") or settings.get("thinkingLevel")
        parameters = {"reasoning_effort": effort} if effort in _EFFORTS else {}
        request = ChatRequest((message,), parameters=parameters, images=len(images))
        run = RunInput(run_id, entry.id, place.key, request, caller=caller, keeps=True)
        if place.info is None:  # from now on it is there, whatever becomes of the run
            await services.store.configure(place.key, {})
            if (record := services.book.find(run_id, caller.id)) is not None:  # it was asked for twice at once
                return standing(record)
        if params.get("queueMode") == "interrupt":
            for running in services.book.active_in(place.key):
                services.book.abort(running, "interrupt")
        record = services.book.start(run, ANSWER_SECONDS, services.command if commands else None)
        if 0 < (limit := params.get("timeoutMs") or 0) < LONGEST_MS:
            timer = self._loop.call_later(limit / 1000, services.book.abort, record, "timeout")
            if record.task is not None:
                record.task.add_done_callback(lambda _: timer.cancel())
        self._feed.changed(place.key, "send")
        return {"runId": run_id, "status": "started"}


def check_run_id(run_id: str, method: str) -> None:
    """Raises RpcError (INVALID_REQUEST) for an `idempotencyKey` that is too long to name a run."""
    if len(run_id) > RUN_ID_CHARACTERS:
        fault = f"at /idempotencyKey: must not have more than {RUN_ID_CHARACTERS} characters"
        raise RpcError(INVALID_REQUEST, f"invalid {method} params: {fault}")


def standing(record: Record) -> dict[str, Any]:
    """What a client is told that asks for the same run again."""
    run_id = record.run.run_id
    ending = record.ending
    if record.ended_at is None:
        return {"runId": run_id, "status": "in_flight"}
    if ending is None or isinstance(ending, RunDone) or record.aborted:
        return {"runId": run_id, "status": "ok"}
    return {"runId": run_id, "status": "error", "summary": ending.message}
