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
from .config.values import agent_id
from .errors import ConfigError
from .ports import Agent, SessionStore
from .sessions.lanes import Lanes
from .sessions.store import MemoryStore

__all__ = ["Assembly"]


class Assembly:
    """The parts of one gateway.  `close` gives back what they hold.  Raises ConfigError."""

    def __init__(self, config: Config, agents: Mapping[str, Agent], environ: Mapping[str, str]) -> None:
        self._config = config
        self._environ = environ
        self._upstreams: dict[str, Any] = {}
        self._closers: list[Callable[[], Awaitable[None]]] = []
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
            case "command":
                return self._command(config)
            case _:
                return self._model(config)

    def _command(self, config: AgentConfig) -> Agent:
        from .agents.command import Command, CommandAgent
        from .agents.command_child import ChildLimits

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
