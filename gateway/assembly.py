"""Agents, models and sessions as the configuration describes them.

What a plain gateway does not need is loaded where the configuration asks for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from .agents.conversation import Conversations
from .agents.function import echo, load_target
from .agents.limits import RunLimits
from .agents.registry import AgentEntry, Registry
from .config.fields import Wrong
from .config.schema import Config
from .config.schema_agents import AgentEntry as AgentConfig
from .config.schema_tools import McpServer as McpConfig
from .config.schema_tools import Tool as ToolConfig
from .config.values import agent_id
from .errors import ConfigError
from .ports import Agent, GatewayTool, Ids, Offer, SessionStore
from .sessions.lanes import Lanes
from .sessions.store import MemoryStore

__all__ = ["Assembly"]


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
        self._upstreams: dict[str, Any] = {}
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self._given = tuple(tools)
        self.toolbox = self._toolbox()
        # What the model agents may use, by their ids.
        self.offers: dict[str, Offer] = {}
        limits = _limits(config)
        entries = [AgentEntry(_agent_id(agent_id), agent, limits=limits) for agent_id, agent in agents.items()]
        taken = {entry.id for entry in entries}
        entries += [
            AgentEntry(one.id, self._agent(one), one.aliases, one.default, _limits(config, one))
            for one in _agent_configs(config, has_agents=bool(entries))
            if one.id not in taken
        ]
        self.registry = Registry(entries)

    def conversations(self, store: SessionStore | None, clock: Callable[[], float]) -> Conversations:
        """The sessions, in `store` where one is given."""
        settings = self._config.session
        if store is None:
            store = MemoryStore(settings.max_sessions, clock)
            self._closers.append(store.aclose)
        return Conversations(store, Lanes(), clock, settings.max_chars)

    def start(self) -> None:
        """Begin what needs the running event loop."""
        if self.toolbox is not None:
            self.toolbox.start()

    async def aclose(self) -> None:
        """Give back what the parts hold."""
        for close in self._closers:
            await close()

    def _agent(self, config: AgentConfig) -> Agent:
        match config.runtime.type:
            case "echo":
                return echo
            case "python":
                return load_target(config.runtime.target or "", f"agents: {config.id}: runtime.target")
            case _:
                return self._with_tools(config, self._model(config))

    def _with_tools(self, config: AgentConfig, model: Agent) -> Agent:
        """The model, or the loop in which it uses its tools.  Where none are named, those that the program gave."""
        defaults = self._config.agents.defaults
        names = defaults.tools if config.tools is None else config.tools
        if names is None:
            names = tuple(tool.name for tool in self._given)
        if not names:
            return model
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
        return ToolLoop(model, offer, limits, self._ids, self._clock)

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

    def _model(self, config: AgentConfig) -> Agent:
        # Loaded on demand: a gateway of Python agents needs no HTTP client.
        from .providers.model import Model
        from .providers.openai import Completions
        from .providers.settings import Timeouts, provider
        from .providers.upstream import Upstream

        place = f"agents: {config.id}"
        full_name = config.model or self._config.agents.defaults.model
        if full_name is None:
            raise ConfigError(f'{place}: has neither a model ("provider/model") nor a runtime')
        provider_name, _, model = full_name.partition("/")
        settings = self._config.models.providers.get(provider_name)
        if settings is None:
            found = provider(provider_name, environment=self._environ)
        else:
            found = provider(
                provider_name,
                base_url=settings.base_url,
                api_key=settings.api_key,
                headers=settings.headers,
                timeouts=Timeouts(
                    settings.connect_timeout_ms / 1000,
                    settings.first_byte_timeout_ms / 1000,
                    settings.idle_timeout_ms / 1000,
                ),
                max_retries=settings.max_retries,
                environment=self._environ,
            )
        upstream = self._upstreams.get(provider_name)
        if upstream is None:
            upstream = self._upstreams[provider_name] = Upstream(found.timeouts)
            self._closers.append(upstream.aclose)
        return Model(Completions(), found, model, upstream, system_prompt=config.system_prompt)


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
