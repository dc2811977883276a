"""The gateway itself: how it is, and who is connected."""

from __future__ import annotations

import os
import re
from typing import Any

from ...model.caller import Caller
from ...model.session import SessionInfo
from ...sessions.keys import scoped
from ..health import RECENT, View
from ..method import ADMIN, READ, Call, Method, satisfied
from ..problem import FORBIDDEN, INVALID_REQUEST, RpcError
from ..services import Services
from ..sessions import main_key
from ..stability import CAPACITY

__all__ = ["methods"]

STABILITY_EVENTS = 50
"""Told where nobody says how many; so in the product."""

_REDACTED = "[redacted]"
"""Where sessions are kept is told to administrators; so in the product."""

# What the product has tasks for (subagents, jobs), this gateway has not.
_TASKS = {
    "total": 0, "active": 0, "terminal": 0, "failures": 0,
    "byStatus": dict.fromkeys(("queued", "running", "succeeded", "failed", "timed_out", "cancelled", "lost"), 0),
    "byRuntime": dict.fromkeys(("subagent", "acp", "cli", "cron"), 0),
}  # fmt: skip
_AUDITED = ("stale_queued", "stale_running", "lost", "delivery_failed", "missing_cleanup", "inconsistent_timestamps")
_TASK_AUDIT = {"total": 0, "warnings": 0, "errors": 0, "byCode": dict.fromkeys(_AUDITED, 0)}


class _SystemMethods:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def health(self, call: Call) -> dict[str, Any]:
        return await self._services.health.payload(call.caller)

    async def status(self, call: Call) -> dict[str, Any]:
        services = self._services
        roster, caller = services.roster, call.caller
        view = await services.health.view(caller)
        agents, default = roster.agents(caller), roster.default(caller)
        admin = satisfied(ADMIN, call.client.welcome.scopes)
        path = services.health.path if admin else _REDACTED
        by_agent = [self._sessions(entry.id, view, path, recent=admin) for entry in agents]
        model = None if default is None else roster.model(default)
        heartbeats = [{"agentId": entry.id, "enabled": False, "every": "disabled", "everyMs": None} for entry in agents]
        payload = {
            "runtimeVersion": services.version,
            "heartbeat": {"defaultAgentId": default.id if default else "", "agents": heartbeats},
            "channelSummary": [],
            "queuedSystemEvents": [text for entry in agents for text in self._waiting(caller, entry.id)],
            "tasks": _TASKS,
            "taskAudit": _TASK_AUDIT,
            "sessions": {
                "paths": [path] if admin else [],
                "count": len(view.sessions),
                "defaults": {
                    "model": model.partition("/")[2] if model and admin else None,
                    "contextTokens": roster.context(model) if model and admin else None,
                },
                "recent": [self._session(info) for info in view.sessions[:RECENT]] if admin else [],
                "byAgent": by_agent,
            },
            "pid": os.getpid(),
        }
        if call.params.get("includeCliProjection"):
            rows = [{"id": entry.id} | ({"name": name} if (name := roster.name(entry.id)) else {}) for entry in agents]
            payload["cliProjection"] = {
                "agents": {
                    "defaultId": default.id if default else None,
                    "ownership": "sole" if len(agents) == 1 else "explicit",
                    "selectionRequired": default is None,
                    "rows": rows,
                },
                "updateChannel": None,
                "memoryPlugin": {"enabled": False, "slot": None, "reason": "there is none"},
            }
        return payload

    def _sessions(self, agent_id: str, view: View, path: str, *, recent: bool) -> dict[str, Any]:
        sessions = view.by_agent.get(agent_id, ())
        rows = [self._session(info) for info in sessions[:RECENT]] if recent else []
        return {"agentId": agent_id, "path": path, "count": len(sessions), "recent": rows}

    def _session(self, info: SessionInfo) -> dict[str, Any]:
        """`totalTokens` is what the model had before it in the last turn."""
        services = self._services
        at = round(info.updated_at * 1000)
        agent_id = services.roster.agent_of(info.key, info)
        entry = services.registry.by_id.get(agent_id)
        own = None if entry is None else services.roster.model(entry)
        model = info.model or own
        context = services.roster.context(model) if model else None
        used = info.last.prompt_tokens
        return {
            "agentId": agent_id, "key": info.key, "kind": "direct", "sessionId": info.id, "updatedAt": at,
            "age": max(0, services.now() - at), "inputTokens": info.last.prompt_tokens,
            "outputTokens": info.last.completion_tokens, "totalTokens": used or None, "totalTokensFresh": bool(used),
            "remainingTokens": max(0, context - used) if context and used else None,
            "percentUsed": min(999, round(100 * used / context)) if context and used else None,
            "model": model and model.partition("/")[2], "configuredModel": own, "selectedModel": model,
            "modelSelectionReason": "session override" if info.model and info.model != own else None,
            "contextTokens": context, "flags": [f"id:{info.id}"] if info.id else [],
        }  # fmt: skip

    def _waiting(self, caller: Caller, agent_id: str) -> list[str]:
        """The system events in the main session of an agent."""
        return self._services.wakes.queued(scoped(caller.id, main_key(agent_id)))

    async def presence(self, call: Call) -> list[dict[str, Any]]:
        return self._services.presence.entries(call.caller.id)

    async def stability(self, call: Call) -> dict[str, Any]:
        """`diagnostics.stability`: how the last runs ended, of all callers."""
        params = call.params
        if call.caller.id:
            raise RpcError(FORBIDDEN, "this is about the runs of all, and a key is for its own")
        limit = _number(params.get("limit"), "limit")
        if limit is not None and not 1 <= limit <= CAPACITY:
            raise RpcError(INVALID_REQUEST, f"limit must be between 1 and {CAPACITY}")
        kind = params.get("type") or None
        if kind is not None and not (isinstance(kind, str) and kind.strip()):
            raise RpcError(INVALID_REQUEST, "type must be a non-empty string")
        since = _number(params.get("sinceSeq"), "sinceSeq")
        return self._services.stability.snapshot(limit or STABILITY_EVENTS, kind and kind.strip(), since)


def _number(value: Any, name: str) -> int | None:
    """A count, also as digits.  Raises RpcError (INVALID_REQUEST)."""
    if value is None or value == "":
        return None
    if isinstance(value, str) and re.fullmatch("[0-9]{1,15}", value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise RpcError(INVALID_REQUEST, f"{name} must be a non-negative integer")


def methods(services: Services) -> list[Method]:
    """Those of this file."""
    made = _SystemMethods(services)
    return [
        Method("health", None, made.health),
        Method("status", READ, made.status),
        Method("system-presence", READ, made.presence),
        Method("diagnostics.stability", READ, made.stability),
    ]
