"""Runs: `agent`, and `agent.wait`."""

from __future__ import annotations

from typing import Any

from ...errors import RequestError
from ...model.chat import ChatRequest, Message
from ...model.run import RunDone, RunInput
from ...sessions.keys import bare
from ..method import WRITE, Call, Method
from ..problem import UNAVAILABLE, RpcError, rpc_error
from ..record import Record
from ..sending import check_run_id
from ..services import Services
from ..sessions import session_key

__all__ = ["methods"]

WAIT_MS = 30_000
LONGEST_WAIT_MS = 600_000
"""How long `agent.wait` waits where nothing is said, and at most: who waits holds a task here."""


class _AgentMethods:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def agent(self, call: Call) -> dict[str, Any]:
        """Begin a run; answered when it is accepted, and again when it is over."""
        params = call.params
        run_id: str = params["idempotencyKey"]
        caller = call.caller
        services = self._services
        record = services.book.find(run_id, caller.id)
        if record is not None:
            if record.ended_at is None:
                key = bare(caller.id, record.key)
                return {"runId": run_id, "status": "in_flight", "sessionKey": key, "agentId": record.run.agent_id}
            return self._final(record)
        check_run_id(run_id, "agent")
        place = await session_key(services, caller, params)
        entry = services.registry.by_id[place.agent_id]
        messages = [Message("user", params["message"])]
        if instructions := params.get("extraSystemPrompt"):
            messages.insert(0, Message("system", instructions))
        model = None
        if wanted := params.get("model"):
            try:
                model = entry.model(wanted, caller, "model")
            except RequestError as error:
                raise rpc_error(error) from None
        request = ChatRequest(tuple(messages))
        record = services.book.start(RunInput(run_id, entry.id, place.key, request, (), model, caller, keeps=True))
        key = bare(caller.id, place.key)
        accepted = {"runId": run_id, "sessionKey": key, "agentId": entry.id, "status": "accepted"}
        call.accept({**accepted, "acceptedAt": services.now()})
        while not await record.wait(LONGEST_WAIT_MS / 1000):
            pass
        return self._final(record)

    async def wait(self, call: Call) -> dict[str, Any]:
        """How a run ended, once it has."""
        params = call.params
        run_id: str = params["runId"]
        record = self._services.book.find(run_id, call.caller.id)
        if record is None:
            return {"runId": run_id, "status": "timeout"}
        seconds = min(params.get("timeoutMs", WAIT_MS), LONGEST_WAIT_MS) / 1000
        if not await record.wait(seconds):
            return {"runId": run_id, "status": "timeout"}
        times = {"startedAt": record.started_at, "endedAt": record.ended_at}
        if isinstance(record.ending, RunDone):
            return {"runId": run_id, "status": "ok", **times}
        assert record.ending is not None, "it is over"
        error = "aborted" if record.aborted else record.ending.message
        reason = {"stopReason": record.stop_reason or "caller"} if record.aborted else {}
        return {"runId": run_id, "status": "error", "error": error, **reason, **times}

    def _final(self, record: Record) -> dict[str, Any]:
        """The second answer.  Raises RpcError for a run that failed."""
        ending = record.ending
        assert ending is not None, "it is over"
        run_id = record.run.run_id
        if not isinstance(ending, RunDone) and not record.aborted:
            raise RpcError(UNAVAILABLE, ending.message, details={"code": ending.code, "runId": run_id})
        entry = self._services.registry.by_id[record.run.agent_id]
        provider, _, model = (record.model or record.run.model or entry.own_model or "").partition("/")
        usage = record.usage
        meta: dict[str, Any] = {
            "durationMs": (record.ended_at or record.started_at) - record.started_at,
            "agentMeta": {
                "sessionId": record.key, "provider": provider, "model": model,
                "usage": {
                    "input": usage.prompt_tokens, "output": usage.completion_tokens,
                    "total": usage.prompt_tokens + usage.completion_tokens,
                },
            },
            "aborted": record.aborted,
        }  # fmt: skip
        payloads = [{"text": record.text, "mediaUrl": None}] if record.text else []
        summary = "aborted" if record.aborted else "completed"
        return {
            "runId": run_id, "status": "ok", "summary": summary, "result": {"payloads": payloads, "meta": meta},
        }  # fmt: skip


def methods(services: Services) -> list[Method]:
    """Those of this file."""
    made = _AgentMethods(services)
    return [Method("agent", WRITE, made.agent), Method("agent.wait", WRITE, made.wait)]
