"""System events: `wake`, `system-event`, and whether they begin runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...sessions.keys import scoped
from ..method import ADMIN, READ, WRITE, Call, Method
from ..problem import FORBIDDEN, INVALID_REQUEST, RpcError
from ..services import Services
from ..sessions import Place, locate, main_key
from ..wakes import CHARACTERS

__all__ = ["methods"]

_MACHINE = "Node:"
"""How events begin that tell of a machine: they are listed, and no agent is told."""


class _WakeMethods:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def wake(self, call: Call) -> dict[str, Any]:
        params = call.params
        text = _text(call, "wake")
        place = await self._place(call, "wake")
        wakes = self._services.wakes
        if not text:
            return {"ok": False}
        if params["mode"] == "now":
            wakes.wake(place.key, place.agent_id, call.caller, text)
        else:  # there is no heartbeat: it is told with the next run
            wakes.queue(place.key, text)
        return {"ok": True}

    async def event(self, call: Call) -> dict[str, Any]:
        services, params = self._services, call.params
        text = _text(call, "system-event")
        if not text:
            raise RpcError(INVALID_REQUEST, "text required")
        machine, wake = text.startswith(_MACHINE), params.get("wake", False)
        if machine and wake:
            raise RpcError(INVALID_REQUEST, "wake is not supported for node presence events")
        if not machine:
            place = await self._place(call, "system-event")
            if wake:
                services.wakes.wake(place.key, place.agent_id, call.caller, text)
            else:
                services.wakes.queue(place.key, text)
        services.presence.beacon(params)
        services.presence.changed()
        return {"ok": True}

    async def last(self, call: Call) -> Mapping[str, Any] | None:
        return self._services.wakes.last(call.caller.id)

    async def switch(self, call: Call) -> dict[str, Any]:
        enabled = call.params.get("enabled")
        if not isinstance(enabled, bool):
            raise RpcError(INVALID_REQUEST, "invalid set-heartbeats params: enabled (boolean) required")
        if call.caller.agents is not None:
            raise RpcError(FORBIDDEN, "this key is for single agents, and this is about all agents")
        self._services.wakes.enabled = enabled
        return {"ok": True, "enabled": enabled}

    async def _place(self, call: Call, method: str) -> Place:
        """The session that an event is for.  Raises RpcError."""
        services, params = self._services, call.params
        if key := params.get("sessionKey"):
            return await locate(services, call.caller, key, params.get("agentId"))
        entry = services.roster.find(call.caller, params.get("agentId"), method)
        return Place(scoped(call.caller.id, main_key(entry.id)), entry.id)


def _text(call: Call, method: str) -> str:
    """What happened.  Raises RpcError (INVALID_REQUEST) where that is too much to keep."""
    text: str = call.params["text"].strip()
    if len(text) > CHARACTERS:
        message = f"invalid {method} params: at /text: must NOT have more than {CHARACTERS} characters"
        raise RpcError(INVALID_REQUEST, message)
    return text


def methods(services: Services) -> list[Method]:
    """Those of this file."""
    made = _WakeMethods(services)
    return [
        Method("wake", WRITE, made.wake),
        Method("system-event", ADMIN, made.event),
        Method("last-heartbeat", READ, made.last),
        Method("set-heartbeats", ADMIN, made.switch),
    ]
