"""Tools of MCP servers, over stdio and streamable HTTP, through the official SDK (the extra `mcp`).

Source: https://modelcontextprotocol.io/specification/2025-11-25/server/tools.

One task owns a connection from its begin to its end: what the SDK opens has to be closed in the task that opened it.
Calls come from the tasks of the runs.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from importlib import import_module
from logging import getLogger
from types import MappingProxyType
from typing import Any, Self

from ..errors import ConfigError, ToolError
from ..ports import GatewayTool
from ..records import NamedTuple

__all__ = ["McpServer", "McpSettings", "McpTool"]

_logger = getLogger(__name__)

TOOLS = 500
"""Of one server.  A model chooses badly among more than a few dozen already."""

PAGES = 100
"""Of a list of tools: a list that never ends holds up nobody."""

FIRST_PAUSE = 0.5
"""Seconds before a server that died is started again; twice as long before each further attempt."""

LONGEST_PAUSE = 60.0
"""The longest of these pauses."""

STEADY = 60.0
"""Seconds after which a connection counts as a good one, and the pauses begin anew."""

PATIENCE = 5.0
"""Seconds that a call waits for a server that is being reached for."""

NAME_CHARACTERS = 64
"""Of the name of a tool, in OpenAI's API."""


class McpSettings(NamedTuple):
    """`command` with `args`, `environment` and `folder`, or else `url` with `headers`.  Times in seconds."""

    command: str | None = None
    args: tuple[str, ...] = ()
    environment: Mapping[str, str] = MappingProxyType({})
    folder: str | None = None
    url: str | None = None
    headers: Mapping[str, str] = MappingProxyType({})
    connect_time: float = 30.0
    call_time: float = 60.0


class McpServer:
    """A `toolbox.ToolServer`.  A server that dies is started again, after pauses that grow.

    Raises ConfigError where the extra is not installed.
    """

    def __init__(self, name: str, settings: McpSettings) -> None:
        self.name = name
        self.prefix = f"{_plain(name)}__"
        self._settings = settings
        self._sdk = _sdk(name)
        self._task: asyncio.Task[None] | None = None
        self._client: Any = None
        self._tools: dict[str, GatewayTool] = {}
        # Set once an attempt to connect has come to something, good or bad: until then, who asks for tools waits.
        self._tried = asyncio.Event()
        self._up = asyncio.Event()
        self._broken = False
        self._wake = asyncio.Event()  # something has happened to the connection

    @property
    def known(self) -> Collection[str]:
        """See `toolbox.ToolServer.known`."""
        return self._tools

    def start(self) -> None:
        """See `toolbox.ToolServer.start`."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep(), name=f"mcp {self.name}")

    async def tools(self) -> Mapping[str, GatewayTool]:
        """See `toolbox.ToolServer.tools`."""
        self.start()
        await self._tried.wait()
        return self._tools

    async def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Call a tool by the server's own name for it.  Raises ToolError."""
        try:
            result = await self._call(name, arguments)
        except _Forgotten:
            result = await self._call(name, arguments)  # it was not done, and there is a new session now
        text = _text(result)
        if result.is_error:
            raise ToolError(text or "the tool failed and did not say why")
        return text

    async def _call(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """The SDK's result.  Raises ToolError."""
        client = await self._connected()
        try:
            return await client.call_tool(name, dict(arguments), read_timeout_seconds=self._settings.call_time)
        except self._sdk.error as error:
            if self._settings.url is not None and "session" in error.message.lower():
                self._break()
                raise _Forgotten(f"the server {self.name} does not know this gateway any more") from error
            if error.code == self._sdk.timeout:
                raise ToolError(f"it took longer than {self._settings.call_time:g} s") from None
            if error.code == self._sdk.closed:
                self._break()
                raise ToolError(f"the server {self.name} is gone; it is being reached for again") from error
            raise ToolError(f"the server {self.name} refused the call: {error.message}") from error
        except Exception as error:
            _logger.warning("mcp server %s: a call of %s failed", self.name, name, exc_info=error)
            raise ToolError(f"the server {self.name} did not answer as it should") from error

    async def aclose(self) -> None:
        """See `toolbox.ToolServer.aclose`."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _connected(self) -> Any:
        """The client.  Raises ToolError where there is none in time."""
        self.start()
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._up.wait()
        if self._client is None:
            raise ToolError(f"the server {self.name} cannot be reached at the moment")
        return self._client

    async def _keep(self) -> None:
        """Connect, and connect again whenever the connection breaks."""
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE
        while True:
            begun = loop.time()
            reason = "the connection is gone"
            try:
                await self._hold()
            except Exception as error:  # whatever the SDK and what lies below it raise
                reason = _reason(error)
            finally:
                self._client = None
                self._up.clear()
                self._tried.set()
            pause = FIRST_PAUSE if loop.time() - begun > STEADY else pause
            _logger.warning("mcp server %s: %s; connecting again in %.1f s", self.name, reason, pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _hold(self) -> None:
        """One connection, until it breaks."""
        self._broken = False
        self._wake.clear()
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(self._settings.connect_time):
                transport = self._watched(self._transport())
                client = await stack.enter_async_context(
                    self._sdk.client(transport, cache=None, message_handler=self._told)
                )
                self._tools = await self._list(client)
            self._client = client
            self._up.set()
            self._tried.set()
            _logger.info("mcp server %s: connected, %d tools", self.name, len(self._tools))
            while True:
                await self._wake.wait()
                self._wake.clear()
                if self._broken:
                    break
                self._tools = await self._list(client)

    def _break(self) -> None:
        self._client = None
        self._up.clear()
        self._broken = True
        self._wake.set()

    async def _told(self, message: Any) -> None:
        """What a server tells by itself: of interest is that its tools have changed."""
        if isinstance(message, self._sdk.list_changed):
            self._wake.set()

    async def _list(self, client: Any) -> dict[str, GatewayTool]:
        found: dict[str, GatewayTool] = {}
        cursor = None
        for _ in range(PAGES):
            page = await client.list_tools(cursor=cursor)
            for tool in page.tools:
                name = f"{self.prefix}{_plain(tool.name)}"[:NAME_CHARACTERS]
                if name in found or len(found) == TOOLS:
                    _logger.warning("mcp server %s: the tool %s is left out: one too many", self.name, tool.name)
                    continue
                found[name] = McpTool(self, name, tool.name, tool.description, tool.input_schema)
            cursor = page.next_cursor
            if cursor is None:
                break
        return found

    def _transport(self) -> Any:
        settings = self._settings
        if settings.url is not None:
            return self._over_http(settings.url, dict(settings.headers))
        parameters = self._sdk.stdio_parameters(
            command=settings.command, args=list(settings.args), env=dict(settings.environment), cwd=settings.folder
        )
        return self._sdk.stdio_client(parameters, errlog=_errors())

    @asynccontextmanager
    async def _over_http(self, url: str, headers: dict[str, str]) -> AsyncIterator[Any]:
        async with (
            self._sdk.http_client(headers=headers) as client,
            self._sdk.streamable_http_client(url, http_client=client) as streams,
        ):
            yield streams

    @asynccontextmanager
    async def _watched(self, transport: Any) -> AsyncIterator[Any]:
        """The transport, of which we learn when the server has closed its end: the SDK tells only who calls."""
        async with transport as (read, write):
            yield _Watched(read, self._break), write


class _Forgotten(ToolError):
    """A server over HTTP was started anew, and refuses calls in the session that it has lost.

    Servers, and the SDK, have no code for it but words: "Session not found", "Session terminated".
    """


class McpTool:
    """A tool of a server, as a `ports.GatewayTool`.  The server itself checks the arguments."""

    def __init__(
        self, server: McpServer, name: str, remote: str, description: str | None, parameters: Mapping[str, Any]
    ) -> None:
        self.name = name
        self.description = description
        self.parameters = parameters
        self._server = server
        self._remote = remote

    async def call(self, arguments: Mapping[str, Any]) -> str:
        """See `ports.GatewayTool.call`."""
        return await self._server.call(self._remote, arguments)


class _Watched:
    """A stream of the SDK's that says when it has ended."""

    def __init__(self, stream: Any, ended: Callable[[], None]) -> None:
        self._stream = stream
        self._ended = ended

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)  # `receive`, `aclose`, `last_context`

    def __aiter__(self) -> _Watched:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._stream.__anext__()
        except BaseException:
            self._ended()
            raise

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> Any:
        self._ended()
        return await self._stream.__aexit__(*error)


class _Sdk(NamedTuple):
    """What is used of the SDK."""

    client: Any
    error: type[Any]
    stdio_parameters: Any
    stdio_client: Any
    streamable_http_client: Any
    http_client: Any
    list_changed: type[Any]
    timeout: int
    closed: int


def _sdk(name: str) -> _Sdk:
    try:
        package, stdio, http, kinds = map(
            import_module, ("mcp", "mcp.client.stdio", "mcp.client.streamable_http", "mcp_types")
        )
    except ImportError as error:
        raise ConfigError(
            f"mcp.servers: {name}: MCP servers need the official SDK, version 2 ({error}): "
            "pip install 'gateway[mcp]', or pip install 'mcp>=2,<3'"
        ) from error
    return _Sdk(
        package.Client,
        package.MCPError,
        stdio.StdioServerParameters,
        stdio.stdio_client,
        http.streamable_http_client,
        http.create_mcp_http_client,
        kinds.ToolListChangedNotification,
        kinds.REQUEST_TIMEOUT,
        kinds.CONNECTION_CLOSED,
    )


def _errors() -> Any:
    """Where servers write their logs: to ours, if that is a file."""
    try:
        sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return subprocess.DEVNULL
    return sys.stderr


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def _text(result: Any) -> str:
    """The content of a result, as text.  What is none is told of."""
    texts = [_block(block) for block in result.content]
    if not texts and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    return "\n".join(texts)


def _block(block: Any) -> str:
    match block.type:
        case "text":
            return str(block.text)
        case "image" | "audio":
            return f"[{block.mime_type}, {len(block.data) * 3 // 4} bytes, which cannot be shown here]"
        case "resource":
            text = getattr(block.resource, "text", None)
            return str(text) if text is not None else f"[the resource {block.resource.uri}]"
        case "resource_link":
            return f"{block.name}: {block.uri}"
        case _:
            return f"[{block.type}]"


def _reason(error: BaseException) -> str:
    """In one line, of the first of a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = str(error) or type(error).__name__
    return f"cannot be reached: {text.splitlines()[0][:300]}"
