"""An MCP server of the official SDK, as a program: over stdio, or with a port over streamable HTTP."""

from __future__ import annotations

import asyncio
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

# By name: type checks need not have the extra.
mcp: Any = import_module("mcp.server.mcpserver")
errors: Any = import_module("mcp.server.mcpserver.exceptions")
types: Any = import_module("mcp.types")
LOG = Path(os.environ["MCP_LOG"]) if "MCP_LOG" in os.environ else None


def note(text: str) -> None:
    if LOG is not None:
        with LOG.open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")


def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


def odd() -> str:
    return "odd"


def fails() -> str:
    raise errors.ToolError("there is no such thing")


def dies() -> str:
    note("dies")
    os._exit(3)


async def slow() -> str:
    note("begun")
    try:
        await asyncio.sleep(30)
    except BaseException:
        note("cancelled")
        raise
    return "never"


def variables() -> list[str]:
    return sorted(os.environ)


def picture() -> list[Any]:
    return [
        types.TextContent(type="text", text="Look:"),
        types.ImageContent(type="image", data="AAAA", mime_type="image/png"),
    ]


server = mcp.MCPServer("test")
server.tool(name="odd name.with dots")(odd)
for tool in (add, fails, dies, slow, variables, picture):
    server.tool()(tool)

note(f"pid {os.getpid()}")
if len(sys.argv) > 1:
    server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
else:
    server.run("stdio")
