"""Agents, models and sessions as the configuration describes them.

What a plain gateway does not need is loaded where the configuration asks for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from logging import getLogger
from math import inf
from time import monotonic
from typing import Any

from .agents.conversation import Conversations
from .agents.limits import RunLimits
from .agents.registry import EVERYTHING, AgentEntry, Registry, taken_by
from .config.fields import Wrong
from .config.kinds import models_of
from .config.schema import Config
from .config.schema_agents import AgentEntry as AgentConfig
from .config.schema_tools import McpServer as McpConfig
from .config.schema_tools import Tool as ToolConfig
from .config.values import agent_id
from .errors import ConfigError, StoreError
from .model.caller import Key
from .ports import Agent, GatewayTool, Ids, Offer, SessionLanes, SessionStore
from .sessions.lanes import Lanes
from .sessions.store import MemoryStore

__all__ = ["Assembly", "keys_of"]

_logger = getLogger(__name__)


class Assembly:
    """The parts of one gateway.  `close` gives back what they hold.  Raises ConfigError."""

    def __init__(
        self,
        config: Config,
        agents: Mapping[str, Agent],
        environ: Mapping[str, str],
        *,
        tools: Iterable[Any] = (),
        ids: Ids,
        clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._environ = environ
        self._ids = ids
        self._clock = clock
        self._suppliers: Any = None
        self._cool_down: Any = None
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self._given = tuple(tools)
        self.toolbox = self._toolbox()
        # What the model agents may use, by their ids.
        self.offers: dict[str, Offer] = {}
        self._invoker: Any = None
        limits = _limits(config)
        entries = [
            AgentEntry(_agent_id(agent_id), agent, limits=limits, takes=taken_by(agent))
            for agent_id, agent in agents.items()
        ]
        taken = {entry.id for entry in entries}
        entries += [self._entry(one) for one in _agent_configs(config, has_agents=bool(entries)) if one.id not in taken]
        self.registry = Registry(entries)

    def conversations(self, store: SessionStore | None, lanes: SessionLanes | None = None) -> Conversations:
        """The sessions, in `store` and with `lanes` where these are given."""
        settings = self._config.session
        if store is None:
            store = self._store(self._clock)
            self._closers.append(store.aclose)
        queue = settings.queue
        own = Lanes(queue.max_waiting, queue.max_wait_ms / 1000, queue.mode) if lanes is None else lanes
        bounds = (settings.max_chars, settings.max_turns)
        return Conversations(store, own, self._clock, *bounds, own_model=self.registry.own_model)

    def interceptor(self, conversations: Conversations, *, typed: bool = False) -> Any:
        """What answers slash commands; None where they are off.  `typed`: for messages that a person types."""
        on = self._config.session.slash_commands
        if on is False or (on is None and not typed):
            return None
        from .agents.slash import Commands

        return Commands(self.registry, conversations, monotonic)

    def _store(self, clock: Callable[[], float]) -> SessionStore:
        settings = self._config.session
        sessions, size, idle = settings.max_sessions, settings.max_bytes, settings.idle_minutes * 60 or inf
        if settings.store in {None, "memory"}:
            return MemoryStore(sessions, clock, idle=idle, size=size)
        # SQLite is loaded with the first session; or now, where there is a file that may turn out to be no good one.
        from .sessions.deferred import DeferredStore
        from .sessions.place import check, file_of

        def make() -> SessionStore:
            from .sessions.sqlite import SqliteStore

            try:
                path = file_of(settings.store or "", self._environ)
            except ConfigError as error:
                raise StoreError(str(error)) from None
            return SqliteStore(path, sessions, clock, idle=idle, size=size)

        try:
            path = file_of(settings.store or "", self._environ)
            exists = check(path)
        except ConfigError as error:
            if settings.store != "sqlite":
                raise
            # Nobody has asked for this place, and who has no sessions needs none.
            _logger.warning("%s. Until then requests with a session fail with 503", error)
            return DeferredStore(make)
        if exists:
            from .sessions.sqlite import verify

            verify(path)
        return DeferredStore(make)

    def start(self) -> None:
        """Begin what needs the running event loop."""
        if self.toolbox is not None:
            self.toolbox.start()

    async def aclose(self) -> None:
        """Give back what the parts hold."""
        for close in self._closers:
            await close()

    def _entry(self, config: AgentConfig) -> AgentEntry:
        entry = self._agent(config)
        return entry._replace(takes=entry.takes & taken_by(entry.agent), shows_reasoning=config.show_reasoning)

    def _agent(self, config: AgentConfig) -> AgentEntry:
        limits = _limits(self._config, config)
        match config.runtime.type:
            case "echo":
                from .agents.function import echo

                return AgentEntry(config.id, echo, config.aliases, config.default, limits)
            case "python":
                from .agents.function import load_target

                agent = load_target(config.runtime.target or "", f"agents: {config.id}: runtime.target")
                return AgentEntry(config.id, agent, config.aliases, config.default, limits)
            case "command":
                agent = self._command(config)
                return AgentEntry(config.id, agent, config.aliases, config.default, limits)
            case _:
                return self._model(config, limits)

    def _tools_of(self, config: AgentConfig) -> tuple[str, ...]:
        """What it names, or else the defaults, or else those that the program gave."""
        names = self._config.agents.defaults.tools if config.tools is None else config.tools
        return tuple(tool.name for tool in self._given) if names is None else names

    def _with_tools(self, entry: AgentEntry, config: AgentConfig) -> AgentEntry:
        """The model, or the loop in which it uses its tools."""
        names = self._tools_of(config)
        if not names:
            return entry
        defaults = self._config.agents.defaults
        from .agents.loop import ToolLimits, ToolLoop

        toolbox = self.toolbox
        if toolbox is None:
            from .tools.toolbox import Toolbox

            toolbox = Toolbox(())
        settings = self._config.tools
        limits = ToolLimits(
            rounds=defaults.max_tool_rounds if config.max_tool_rounds is None else config.max_tool_rounds,
            calls=settings.max_calls,
            parallel=settings.max_parallel,
            call_time=settings.timeout_ms / 1000 or None,
            result_characters=settings.max_result_chars,
        )
        offer = self.offers[config.id] = toolbox.offer(names, f"agents: {config.id}: tools")
        loop = ToolLoop(entry.agent, offer, limits, self._ids, self._clock)
        return entry._replace(agent=loop, own_tools=partial(toolbox.known, names))

    def _toolbox(self) -> Any:
        """The tools of the configuration and those that the program gave; None where there are none."""
        listed = self._config.tools.list
        servers = {name: one for name, one in self._config.mcp.servers.items() if one.enabled}
        if not (listed or servers or self._given):
            return None
        from .tools.toolbox import Toolbox

        self._given = tuple(map(_given_tool, self._given))
        toolbox = Toolbox(
            (*self._given, *(_tool(one, index, self._environ) for index, one in enumerate(listed))),
            [_mcp_server(name, one) for name, one in servers.items()],
        )
        self._closers.append(toolbox.aclose)
        return toolbox

    def invoker(self) -> Any:
        """What calls tools without a model, a `tools.invoker.Invoker`; None where there are none."""
        if self._invoker is None and self.toolbox is not None:
            from .tools.invoker import Invoker

            settings, box = self._config.tools, self.toolbox
            seconds = settings.timeout_ms / 1000 or None
            self._invoker = Invoker(box.all, self.offers, settings.max_invocations, seconds, box.origin)
        return self._invoker

    def _command(self, config: AgentConfig) -> Agent:
        from .agents.command import Command, CommandAgent
        from .processes import ChildLimits

        runtime = config.runtime
        agent = CommandAgent(
            Command(
                f"agents: {config.id}: runtime",
                runtime.argv,
                ChildLimits(runtime.timeout_ms / 1000, runtime.max_output_bytes),
                runtime.input,
                runtime.output,
                runtime.cwd,
                runtime.env,
                runtime.inherit_env,
                self._environ,
                config.system_prompt,
            )
        )
        self._closers.append(agent.aclose)
        return agent

    def _model(self, config: AgentConfig, limits: RunLimits) -> AgentEntry:
        from .agents.fallbacks import CoolDown, Fallbacks

        choice = config.model or self._config.agents.defaults.model
        if choice is None:
            raise ConfigError(f'agents: {config.id}: has neither a model ("provider/model") nor a runtime')
        suppliers = self._models()
        self._cool_down = self._cool_down or CoolDown(monotonic)
        names, prompt = models_of(choice), config.system_prompt
        own = names[0].partition("/")[0]
        agent = Fallbacks(
            suppliers.agents(names, prompt),
            lambda wanted: suppliers.catalog().choose(wanted, own, prompt),
            self._cool_down,
        )
        entry = AgentEntry(
            config.id,
            agent,
            config.aliases,
            config.default,
            limits,
            lambda wanted, param: suppliers.catalog().check(wanted, own, param),
            EVERYTHING if any(suppliers.takes_images(name) is not False for name in names) else EVERYTHING - {"images"},
            own_model=names[0],
        )
        return self._with_tools(entry, config)

    def embed(self) -> Callable[[str, Any], Awaitable[bytes]]:
        """What embeds, by whichever provider's model is asked for.  Raises ConfigError where one of the configuration's
        is none.
        """
        from .providers.embeddings import Embedder

        suppliers, settings = self._models(), self._config.gateway.http.endpoints.embeddings
        for name in dict.fromkeys((*((settings.model,) if settings.model else ()), *settings.models.values())):
            suppliers.expect(name)

        async def embed(name: str, request: Any) -> bytes:
            provider, upstream, model = suppliers.catalog().reach(name)
            return await Embedder(provider, upstream).embed(model, request)

        return embed

    def models(self) -> Any:
        """The models of the providers: a `providers.catalog.Catalog`."""
        return self._models().catalog()

    def _models(self) -> Any:
        """A `suppliers.Suppliers`: a gateway of Python agents has none."""
        if self._suppliers is None:
            from .suppliers import Suppliers

            self._suppliers = Suppliers(self._config, self._environ)
            self._closers.append(self._suppliers.aclose)
        return self._suppliers


def _given_tool(tool: Any) -> GatewayTool:
    """A Python function as a tool, or what is one already."""
    if hasattr(tool, "parameters") and hasattr(tool, "call"):
        return tool  # type: ignore[no-any-return]  # as far as it can be looked at
    from .tools.function import FunctionTool

    return FunctionTool(tool)


def _tool(config: ToolConfig, index: int, environ: Mapping[str, str]) -> GatewayTool:
    if config.command is None:
        from .tools.function import FunctionTool, load_function

        function = load_function(config.python or "", f"tools.list[{index}]: python")
        return FunctionTool(function, name=config.name, description=config.description, parameters=config.parameters)
    from .processes import bare_environment
    from .tools.process import Command, ProcessTool

    command = Command(
        config.command.argv,
        bare_environment(environ, config.command.env),
        config.command.timeout_ms / 1000 or None,
        config.command.max_output_bytes,
        config.command.cwd,
    )
    return ProcessTool(command, name=config.name or "", description=config.description, parameters=config.parameters)


def _mcp_server(name: str, config: McpConfig) -> Any:
    from .tools.mcp import McpServer, McpSettings

    return McpServer(
        name,
        McpSettings(
            config.command,
            config.args,
            config.env,
            config.cwd,
            config.url,
            config.headers,
            config.connect_timeout_ms / 1000,
            config.timeout_ms / 1000,
        ),
    )


def _agent_id(text: str) -> str:
    try:
        return agent_id(text)
    except Wrong as error:
        raise ConfigError(f"agents: {text!r}: {error}") from None


def _limits(config: Config, agent: AgentConfig | None = None) -> RunLimits:
    """What the runs of an agent are held to; of one that the configuration does not name, the defaults."""
    defaults = config.agents.defaults
    timeouts, most = defaults.timeouts, defaults.max_concurrent
    own = {} if agent is None else {name: value for name, value in vars(agent.timeouts).items() if value is not None}
    timeouts = timeouts.replace(**own)
    if agent is not None and agent.max_concurrent is not None:
        most = agent.max_concurrent
    return RunLimits(timeouts.first_token_ms / 1000, timeouts.idle_ms / 1000, timeouts.total_ms / 1000, most)


def _agent_configs(config: Config, *, has_agents: bool) -> Iterable[AgentConfig]:
    configs = config.agents.list
    if configs or has_agents:
        return configs
    if config.agents.defaults.model is None:
        raise ConfigError(
            'agents: there is no agent. Set agents.defaults.model to "provider/model", '
            "or add an entry with a model or a runtime to agents.list"
        )
    return [AgentConfig(id="main", model=config.agents.defaults.model)]


def keys_of(
    config: Config, registry: Registry, environ: Mapping[str, str], token: str | None
) -> Mapping[bytes, Key] | None:
    """The keys of the configuration, if it has some.  Raises ConfigError where they do not fit the rest."""
    auth = config.gateway.auth
    if not auth.keys:
        return None
    from .config.auth import resolve_keys, sha256

    keys = resolve_keys(auth, environ)
    own = keys.get(sha256(token.encode())) if token is not None else None
    problems = [] if own is None else [f"{own.caller.id}: it is the gateway's own secret, which may do all"]
    for key in keys.values():
        unknown = sorted((key.caller.agents or frozenset()) - registry.by_id.keys())
        if unknown:
            known = ", ".join(registry.by_id)
            problems.append(f"{key.caller.id}: there is no agent {', '.join(unknown)}. There are: {known}")
    if problems:
        raise ConfigError(*(f"gateway.auth.keys: {problem}" for problem in problems))
    return keys
