"""What agents can do besides talking.

toolbox     all tools of a gateway, and which of them an agent may use
function    Python functions as tools
signature   their JSON Schemas, out of type hints and docstrings
schema      arguments checked against a JSON Schema
process     programs as tools
mcp         tools of MCP servers (the extra `mcp`)
"""

from __future__ import annotations

__all__: list[str] = []
