"""The agents: which there are, what they are called, and the commands that are not for them."""

from __future__ import annotations

from typing import Any

from ...agents.registry import AgentEntry
from ...agents.slash import COMMANDS, SCOPE, CommandInfo
from ...model.caller import Caller
from ..method import READ, Call, Method
from ..problem import INVALID_REQUEST, RpcError
from ..services import Services
from ..sessions import MAIN, locate

__all__ = ["commands_of", "methods"]


class _AgentsMethods:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def index(self, call: Call) -> dict[str, Any]:
        """`agents.list`."""
        roster, caller = self._services.roster, call.caller
        agents, default = roster.agents(caller), roster.default(caller)
        if not agents:
            raise RpcError(INVALID_REQUEST, "there is no agent for this client")
        return {
            "defaultId": (default or agents[0]).id,
            "ownership": "sole" if len(agents) == 1 else "explicit",
            "selectionRequired": default is None,
            "mainKey": MAIN,
            "scope": "per-sender",
            "agents": [self._row(entry) for entry in agents],
        }

    def _row(self, entry: AgentEntry) -> dict[str, Any]:
        roster = self._services.roster
        model: dict[str, Any] = {"primary": roster.model(entry)}
        if fallbacks := roster.fallbacks(entry):
            model["fallbacks"] = list(fallbacks)
        row = {"id": entry.id, "kind": "agent", "model": model}
        return row if (name := roster.name(entry.id)) is None else row | {"name": name}

    async def identity(self, call: Call) -> dict[str, Any]:
        """`agent.identity.get`."""
        roster, caller, params = self._services.roster, call.caller, call.params
        agent_id = params.get("agentId")
        if agent_id is None and (key := params.get("sessionKey")):
            agent_id = (await locate(self._services, caller, key)).agent_id
        entry = roster.find(caller, agent_id, "agent.identity.get")
        name = roster.name(entry.id)
        source = "default" if name is None else "config"
        return {"agentId": entry.id, "name": name or entry.id, "nameSource": source, "avatarStatus": "none"}

    async def commands(self, call: Call) -> dict[str, Any]:
        """`commands.list`: what the gateway answers itself, where that is on."""
        services, params = self._services, call.params
        if "agentId" in params:
            services.roster.find(call.caller, params["agentId"], "commands.list")
        if params.get("scope") == "native":
            return {"commands": []}
        return {"commands": commands_of(services, call.caller, arguments=params.get("includeArgs", True))}


def commands_of(services: Services, caller: Caller, *, arguments: bool = True) -> list[dict[str, Any]]:
    """What the gateway answers itself, where that is on and the caller may."""
    on = services.config.session.slash_commands is not False and caller.may(SCOPE)
    return [_command(command, arguments=arguments) for command in (COMMANDS if on else ())]


def _command(command: CommandInfo, *, arguments: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": command.name, "textAliases": [f"/{command.name}"], "description": command.description,
        "category": "status" if command.name == "status" else "session", "source": "native", "scope": "text",
        "acceptsArgs": command.argument is not None,
    }  # fmt: skip
    if arguments and command.argument is not None:
        name, description = command.argument
        row["args"] = [{"name": name, "description": description, "type": "string", "required": False}]
    return row


def methods(services: Services) -> list[Method]:
    """Those of this file."""
    made = _AgentsMethods(services)
    return [
        Method("agents.list", READ, made.index),
        Method("agent.identity.get", READ, made.identity),
        Method("commands.list", READ, made.commands),
    ]
