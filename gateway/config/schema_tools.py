"""Options: the tools of agents, and the MCP servers that have more of them.  See `schema`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from . import kinds, product, values
from .fields import (
    REQUIRED,
    Boolean,
    Choice,
    Integer,
    ListOf,
    MapOf,
    Reading,
    Secret,
    Section,
    SectionClass,
    Text,
    Wrong,
    option,
)
from .kinds import GIB, count, milliseconds
from .tree import Node, Path

__all__ = ["JsonSchema", "Mcp", "McpServer", "Tool", "ToolCommand", "ToolNames", "Tools"]

_TOOL_NAME = r"[A-Za-z0-9_-]{1,64}"
_SERVER_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}"
_URL = r"https?://[!-.0-~]+(?:/[!-~]*)?"
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"


_TRANSPORTS = ("stdio", "http", "streamable-http")
_OTHER_TRANSPORTS = {"sse": 'It was replaced by streamable HTTP: give the URL of that, with type: "http".'}


def _tool_name(text: str) -> str:
    if not re.fullmatch(_TOOL_NAME, text):
        raise Wrong("a tool's name is 1 to 64 of the characters A-Z a-z 0-9 _ -")
    return text


def _server_name(text: str) -> None:
    if not re.fullmatch(_SERVER_NAME, text):
        raise Wrong("a server's name is 1 to 32 of the characters A-Z a-z 0-9 _ -, the first a letter or a digit")


def _endpoint(text: str) -> str:
    """A URL as it stands: a slash at its end, or a key in its query, belongs to it."""
    if not re.fullmatch(_URL, text, re.IGNORECASE):
        raise Wrong("expected a URL like https://host/mcp")
    return text


def _variable(text: str) -> None:
    if not re.fullmatch(_VARIABLE, text):
        raise Wrong("this is not a variable's name")


class ToolNames:
    """Names of tools; the product's object of rules, which are about its own tools, is not used."""

    shown = "array of names, `mcp:SERVER` for all of a server, `*` for all there are"

    def read(self, node: Node, path: Path, reading: Reading) -> tuple[str, ...] | None:
        if isinstance(node.value, dict):
            reading.ignore(node, path)
            return None
        names: tuple[str, ...] = ListOf(Text("name")).read(node, path, reading)
        return names


class JsonSchema:
    """A JSON Schema, taken as it is written: `${` in it is no variable, but part of a pattern."""

    shown = "JSON Schema of an object"

    def read(self, node: Node, _path: Path, _reading: Reading) -> Mapping[str, Any]:
        schema = _plain(node)
        if not isinstance(schema, dict) or schema.get("type") != "object":
            raise Wrong('expected a JSON Schema with type: "object", like {type: "object", properties: {...}}')
        return schema


def _plain(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {key: _plain(member) for key, member in node.value.items()}
    return [_plain(item) for item in node.value] if isinstance(node.value, list) else node.value


class ToolCommand(SectionClass):
    argv: tuple[str, ...] = option(
        REQUIRED,
        "The program and its arguments; no shell reads them. `{name}` is the value of that parameter; without one, all "
        "arguments come as a JSON object on standard input.",
        ListOf(Text()),
        shown="required",
    )
    cwd: str | None = option(None, "The folder it runs in.", kinds.FileName(), shown="the gateway's")
    env: Mapping[str, str] = option(
        MappingProxyType({}),
        "Variables it gets besides PATH, HOME, the language and the like; it gets none of the gateway's others.",
        MapOf(Secret(), _variable),
        shown="none",
    )
    timeout_ms: int = milliseconds(60_000, "After which it is killed, with all it has started.")
    max_output_bytes: int = option(1 << 20, "What it may write before it is killed.", Integer(1, GIB))


class Tool(SectionClass):
    name: str | None = option(None, "Its name.", Text("name", _tool_name), shown="that of the Python function")
    description: str | None = option(
        None, "What it does and when to use it, for the model.", Text(), shown="the function's docstring"
    )
    parameters: Mapping[str, Any] | None = option(
        None, "Its arguments.", JsonSchema(), shown="from the function's type hints; of a command none"
    )
    python: str | None = option(
        None, "A Python function, as `module:function`.", Text('"module:function"', values.target)
    )
    command: ToolCommand | None = option(None, "A program.", Section(ToolCommand))


class Tools(SectionClass):
    IGNORED = product.TOOLS

    list: tuple[Tool, ...] = option((), "The tools.", ListOf(Section(Tool)), shown="none")
    timeout_ms: int = milliseconds(300_000, "For one call of any tool.")
    max_result_chars: int = option(50_000, "Characters of a result that the model is shown.", Integer(100, 10_000_000))
    max_parallel: int = count(8, "Calls of one run that are under way at a time.", 1, 1_000)
    max_calls: int = count(32, "Calls in one round of a run; the model is told of those beyond.", 1, 1_000)
    max_invocations: int = count(16, "Calls by POST /tools/invoke at a time, before 429.")


class McpServer(SectionClass):
    IGNORED = product.MCP_SERVER

    enabled: bool = option(True, "Use it.", Boolean())
    type: str | None = option(
        None,
        "How it is reached; also under the name `transport`.",
        Choice(_TRANSPORTS, _OTHER_TRANSPORTS),
        shown="by `command` or `url`",
    )
    transport: str | None = option(
        None,
        "The same.",
        Choice(_TRANSPORTS, _OTHER_TRANSPORTS),
        shown="by `command` or `url`",
    )
    command: str | None = option(
        None, "The program of a server that speaks over its standard input and output.", Text()
    )
    args: tuple[str, ...] = option((), "Its arguments.", ListOf(Text()), shown="none")
    env: Mapping[str, str] = option(
        MappingProxyType({}),
        "Its variables, besides PATH, HOME and the like.",
        MapOf(Secret(), _variable),
        shown="none",
    )
    cwd: str | None = option(None, "The folder it runs in.", kinds.FileName(), shown="the gateway's")
    url: str | None = option(None, "The URL of a server that speaks streamable HTTP.", Text("URL", _endpoint))
    headers: Mapping[str, str] = option(
        MappingProxyType({}), "More headers for it.", MapOf(Secret(ascii_only=True), values.header_name), shown="none"
    )
    connect_timeout_ms: int = milliseconds(30_000, "To start it or connect, and to list its tools.", 1)
    timeout_ms: int = milliseconds(60_000, "For one call.", 1)


class Mcp(SectionClass):
    IGNORED = product.MCP

    servers: Mapping[str, McpServer] = option(
        MappingProxyType({}),
        "MCP servers by name; their tools are called NAME__TOOL. Needs `pip install 'gateway[mcp]'`.",
        MapOf(Section(McpServer), _server_name),
        shown="none",
    )
