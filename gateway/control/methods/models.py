"""The models: those that agents answer with, and those that can be chosen."""

from __future__ import annotations

from typing import Any

from ..method import READ, Call, Method
from ..services import Services

__all__ = ["methods"]


class _ModelMethods:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def index(self, call: Call) -> dict[str, Any]:
        """`models.list`."""
        params, roster, caller = call.params, self._services.roster, call.caller
        agent_id = params.get("agentId")
        if agent_id is not None:
            agent_id = roster.find(caller, agent_id, "models.list").id
        elif key := params.get("sessionKey"):
            agent_id = roster.agent_of(key)
        models = roster.models(caller, agent_id)
        wanted = params.get("provider")
        rows = [roster.row(name, tags) for name, tags in models.items() if wanted in {None, name.partition("/")[0]}]
        return {"models": rows}

    async def auth_status(self, call: Call) -> dict[str, Any]:
        """`models.authStatus`: which providers there is a key for, never the key."""
        services = self._services
        roster, caller = services.roster, call.caller
        used = dict.fromkeys(name.partition("/")[0] for name in roster.models(caller))
        return {"ts": services.now(), "providers": [self._provider(name) for name in used]}

    def _provider(self, name: str) -> dict[str, Any]:
        roster = self._services.roster
        row: dict[str, Any] = {"provider": name, "authProvider": name, "displayName": name, "profiles": []}
        status = roster.auth_status(name)
        row["status"] = status
        if source := roster.key_source(name):
            row["apiKey"] = {"source": source}
        return row


def methods(services: Services) -> list[Method]:
    """Those of this file."""
    made = _ModelMethods(services)
    return [Method("models.list", READ, made.index), Method("models.authStatus", READ, made.auth_status)]
