"""All tools of a gateway, and which of them an agent may use."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Protocol

from ..errors import ConfigError
from ..ports import GatewayTool, Offer

__all__ = ["ToolServer", "Toolbox"]


class ToolServer(Protocol):
    """Something that has tools, which may come and go.  Their names begin with `prefix`."""

    name: str
    prefix: str

    def start(self) -> None:
        """Begin to look for them, in the running event loop."""

    async def tools(self) -> Mapping[str, GatewayTool]:
        """Those there are now, by name; none where the server cannot be reached."""

    async def aclose(self) -> None:
        """Give back what it holds."""


class Toolbox:
    """Raises ConfigError for two tools of one name."""

    def __init__(self, tools: Iterable[GatewayTool], servers: Iterable[ToolServer] = ()) -> None:
        self._tools: dict[str, GatewayTool] = {}
        self._servers = tuple(servers)
        for tool in tools:
            if self._tools.setdefault(tool.name, tool) is not tool:
                raise ConfigError(f"tools: there are two tools with the name {tool.name!r}")

    def start(self) -> None:
        """Reach for the servers, in the running event loop."""
        for server in self._servers:
            server.start()

    async def aclose(self) -> None:
        """Leave the servers."""
        await asyncio.gather(*(server.aclose() for server in self._servers))

    async def all(self) -> Mapping[str, GatewayTool]:
        """Every tool, by name: an `Offer`."""
        return await self._gather(self._tools, self._servers)

    def offer(self, names: Iterable[str], place: str) -> Offer:
        """The tools of an agent: `*` for all, `mcp:NAME` for those of a server, else single ones.

        Raises ConfigError, with `place`, for what there is not.
        """
        own: dict[str, GatewayTool] = {}
        servers: list[ToolServer] = []
        single: set[str] = set()
        for name in names:
            if name == "*":
                return self.all
            if name in self._tools:
                own[name] = self._tools[name]
                continue
            found = [one for one in self._servers if name == f"mcp:{one.name}" or name.startswith(one.prefix)]
            if not found:
                raise self._unknown(name, place)
            servers += found
            if not name.startswith("mcp:"):
                single.add(name)
        whole = {one.prefix for one in servers if f"mcp:{one.name}" in names}

        async def offer() -> Mapping[str, GatewayTool]:
            tools = await self._gather(own, dict.fromkeys(servers))
            prefixes = tuple(whole)
            return {
                name: tool
                for name, tool in tools.items()
                if name in own or name in single or (prefixes and name.startswith(prefixes))
            }

        return offer

    def _unknown(self, name: str, place: str) -> ConfigError:
        known = [*self._tools, *(f"mcp:{server.name}" for server in self._servers)]
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known) or 'none'}"
        return ConfigError(f"{place}: there is no tool {name!r}; {hint}")

    @staticmethod
    async def _gather(tools: Mapping[str, GatewayTool], servers: Iterable[ToolServer]) -> Mapping[str, GatewayTool]:
        found = await asyncio.gather(*(server.tools() for server in servers))
        if not found:
            return tools
        gathered: dict[str, GatewayTool] = {}
        for some in (*found, tools):
            gathered |= some
        return gathered
