"""All tools of a gateway, and which of them an agent may use."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from logging import getLogger

from ..errors import ConfigError
from ..ports import GatewayTool, Offer
from ..records import Protocol

__all__ = ["ToolServer", "Toolbox"]

_logger = getLogger(__name__)


class ToolServer(Protocol):
    """Something that has tools, which may come and go.  Their names begin with `prefix`."""

    name: str
    prefix: str

    @property
    def known(self) -> Collection[str]:
        """The names of those that it had when it was last asked."""

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
        gathered: dict[str, GatewayTool] = {}
        for tools in await asyncio.gather(*(server.tools() for server in self._servers)):
            gathered |= tools
        return gathered | self._tools

    def origin(self, name: str) -> ToolServer | None:
        """The server that a tool is of; None for one that is the gateway's own."""
        if name in self._tools:
            return None
        return next((server for server in self._servers if name.startswith(server.prefix)), None)

    def known(self, names: Iterable[str]) -> frozenset[str]:
        """The names of the tools of an agent, as far as they are known without asking."""
        wanted = frozenset(names)
        every = "*" in wanted
        found = {name for name in self._tools if every or name in wanted}
        for server in self._servers:
            whole = every or f"mcp:{server.name}" in wanted
            found |= {name for name in server.known if whole or name in wanted}
        return frozenset(found)

    def offer(self, names: Iterable[str], place: str) -> Offer:
        """The tools of an agent: `*` for all, `mcp:NAME` for those of a server, else single ones.

        Raises ConfigError, with `place`, for what there is not.
        """
        wanted = frozenset(names)
        if "*" in wanted:
            return self.all
        own = {name: tool for name, tool in self._tools.items() if name in wanted}
        servers: dict[ToolServer, bool] = {}  # and whether all of its tools are wanted
        for name in sorted(wanted - own.keys()):
            found = [one for one in self._servers if name == f"mcp:{one.name}" or name.startswith(one.prefix)]
            if not found:
                raise self._unknown(name, place)
            servers |= {one: servers.get(one, False) or name == f"mcp:{one.name}" for one in found}
        missed: set[str] = set()

        async def offer() -> Mapping[str, GatewayTool]:
            gathered: dict[str, GatewayTool] = {}
            for server, whole in servers.items():
                tools = await server.tools()
                gathered |= {name: tool for name, tool in tools.items() if whole or name in wanted}
                if tools and (new := {one for one in wanted if one.startswith(server.prefix)} - tools.keys() - missed):
                    missed.update(new)
                    _logger.warning("%s: the server %s has no %s", place, server.name, ", ".join(sorted(new)))
            return gathered | own if servers else own

        return offer

    def _unknown(self, name: str, place: str) -> ConfigError:
        known = [*self._tools, *(f"mcp:{server.name}" for server in self._servers)]
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known) or 'none'}"
        return ConfigError(f"{place}: there is no tool {name!r}; {hint}")
