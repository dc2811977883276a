"""The gateway's tools: which there are, which an agent has, and a call of one without a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...ports import GatewayTool
from ...tools.invoker import InvocationError
from ..method import READ, WRITE, Call, Method
from ..problem import FORBIDDEN, RpcError
from ..services import Services
from ..sessions import locate

__all__ = ["methods"]

TOOLS_SCOPE = "tools"
"""What a key needs besides, as for POST /tools/invoke: it may call what no model would."""
SUMMARY_CHARACTERS = 120
"""Of the first line of a description."""

_CODES = {"invalid_request_error": "validation_error", "tool_error": "internal_error"}
"""What the product calls its failures; others are told as they are."""


class _ToolMethods:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def catalog(self, call: Call) -> dict[str, Any]:
        """All tools that a caller may use; those of servers stand in groups of their own."""
        entry = self._services.roster.find(call.caller, call.params.get("agentId"), "tools.catalog")
        own: list[dict[str, Any]] = []
        groups: dict[str, dict[str, Any]] = {}
        for name, tool in sorted((await self._tools(call)).items()):
            server = self._server(name)
            row = {"id": name, "label": name, "description": _summary(tool), "defaultProfiles": []}
            if tool.description:
                row["fullDescription"] = tool.description
            if server is None:
                own.append({**row, "source": "core"})
            else:
                group = {"id": f"plugin:{server}", "label": server, "source": "plugin", "pluginId": server, "tools": []}
                kept = groups.setdefault(server, group)["tools"]
                kept.append({**row, "source": "plugin", "pluginId": server})
        core = [{"id": "core", "label": "Tools", "source": "core", "tools": own}] if own else []
        others = groups.values() if call.params.get("includePlugins", True) else ()
        return {"agentId": entry.id, "profiles": [], "groups": [*core, *others]}

    async def effective(self, call: Call) -> dict[str, Any]:
        """Those that the agent of a session has."""
        agent_id = await self._agent_of(call, "tools.effective")
        found: dict[str, list[dict[str, Any]]] = {"core": [], "mcp": []}
        for name, tool in sorted((await self._tools(call, agent_id)).items()):
            server = self._server(name)
            description = tool.description or ""
            row = {"id": name, "label": name, "description": _summary(tool), "rawDescription": description}
            if server is None:
                found["core"].append({**row, "source": "core"})
            else:
                plain = name.partition("__")[2] or name
                found["mcp"].append({**row, "source": "mcp", "mcpServer": server, "mcpToolName": plain})
        labels = {"core": "Tools", "mcp": "MCP servers"}
        groups = [
            {"id": one, "label": labels[one], "source": one, "tools": tools} for one, tools in found.items() if tools
        ]
        return {"agentId": agent_id, "profile": "full", "groups": groups}

    async def invoke(self, call: Call) -> dict[str, Any]:
        params, invoker = call.params, self._services.tools
        if not call.caller.may(TOOLS_SCOPE):
            raise RpcError(FORBIDDEN, f"this key may not call tools: it lacks the scope `{TOOLS_SCOPE}`")
        name: str = params["name"].strip()
        named = "agentId" in params or "sessionKey" in params
        agent_id = await self._agent_of(call, "tools.invoke") if named else None
        tool = (await self._tools(call, agent_id)).get(name)
        try:
            if invoker is None:
                raise InvocationError(404, "not_found", f"Tool not available: {name[:64]}")
            output = await invoker.invoke(tool, name, params.get("args") or {})
        except InvocationError as error:
            told = {"code": _CODES.get(error.type, error.type), "message": error.message}
            return {"ok": False, "toolName": name[:64], "error": told}
        return {"ok": True, "toolName": name, "output": output, "source": "mcp" if self._server(name) else "core"}

    async def _agent_of(self, call: Call, method: str) -> str:
        """The agent that a client means, by name or by a session.  Raises RpcError (INVALID_REQUEST)."""
        services, params = self._services, call.params
        if key := params.get("sessionKey"):
            return (await locate(services, call.caller, key, params.get("agentId"))).agent_id
        return services.roster.find(call.caller, params.get("agentId"), method).id

    async def _tools(self, call: Call, agent_id: str | None = None) -> Mapping[str, GatewayTool]:
        invoker = self._services.tools
        return {} if invoker is None else await invoker.tools(call.caller, agent_id)

    def _server(self, name: str) -> str | None:
        """The MCP server that a tool is of."""
        invoker = self._services.tools
        server = None if invoker is None else invoker.origin(name)
        return None if server is None else server.name


def _summary(tool: GatewayTool) -> str:
    line = (tool.description or "").strip().partition("\n")[0]
    return line if len(line) <= SUMMARY_CHARACTERS else f"{line[: SUMMARY_CHARACTERS - 3].rstrip()}..."


def methods(services: Services) -> list[Method]:
    """Those of this file."""
    made = _ToolMethods(services)
    return [
        Method("tools.catalog", READ, made.catalog),
        Method("tools.effective", READ, made.effective),
        Method("tools.invoke", WRITE, made.invoke),
    ]
