"""The agents and their models, as clients of the protocol see them.

An agent that is a program has no model.  Clients ask for one all the same, and so it is told as a model of the
provider `gateway`, with the agent's id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from ..addresses import is_loopback
from ..agents.registry import MODEL_SCOPE, AgentEntry, Registry
from ..config.kinds import models_of
from ..config.schema import Config
from ..config.schema_models import Cost, ProviderModel
from ..model.caller import Caller
from ..model.names import OWN
from ..model.session import SessionInfo
from ..records import Protocol
from ..sessions.keys import plain
from .problem import INVALID_REQUEST, RpcError

__all__ = ["Catalog", "ProviderFacts", "Roster"]


class ProviderFacts(Protocol):
    """A provider that is set up (`providers.settings.Provider`)."""

    @property
    def base_url(self) -> str: ...

    @property
    def api_key(self) -> str | None: ...


class Catalog(Protocol):
    """The models of a configuration (`providers.catalog.Catalog`)."""

    def provider(self, name: str) -> ProviderFacts | None:
        """What is known of a provider; None for one that is not set up."""

    async def listed(self, provider: str) -> list[str]:
        """The ids of a provider's models, as it says itself.  Raises AgentError, ConfigError."""


class Roster:
    """`catalog` is asked for only where there are models of providers."""

    def __init__(self, registry: Registry, config: Config, catalog: Callable[[], Catalog]) -> None:
        self._registry = registry
        self._config = config
        self._configs = {one.id: one for one in config.agents.list}
        self._catalog = catalog

    # -- agents

    def agents(self, caller: Caller) -> list[AgentEntry]:
        """Those that a caller may use."""
        return [entry for entry in self._registry.by_id.values() if caller.uses(entry.id)]

    def default(self, caller: Caller) -> AgentEntry | None:
        """The one that a caller means without naming any; None where it has to name one."""
        default = self._registry.default
        if default is not None and caller.uses(default.id):
            return default
        agents = self.agents(caller)
        return agents[0] if len(agents) == 1 else None

    def find(self, caller: Caller, agent_id: str | None, method: str) -> AgentEntry:
        """The agent that a client names, or else the one it means.  Raises RpcError (INVALID_REQUEST)."""
        if agent_id is None:
            default = self.default(caller)
            if default is None:
                message = f"invalid {method} params: there is no default agent: name one with agentId"
                raise RpcError(INVALID_REQUEST, message)
            return default
        entry = self._registry.by_id.get(agent_id.strip().lower())
        if entry is None or not caller.uses(entry.id):
            raise RpcError(INVALID_REQUEST, f'invalid {method} params: unknown agent id "{agent_id[:200]}"')
        return entry

    def name(self, agent_id: str) -> str | None:
        """What people call an agent."""
        config = self._configs.get(agent_id)
        return None if config is None else config.name

    def model(self, entry: AgentEntry) -> str:
        """`provider/model` that it answers with."""
        return entry.own_model or f"{OWN}/{entry.id}"

    def fallbacks(self, entry: AgentEntry) -> tuple[str, ...]:
        """The models that are asked where that fails."""
        config = self._configs.get(entry.id)
        choice = (config.model if config else None) or self._config.agents.defaults.model
        return models_of(choice)[1:] if entry.own_model and choice else ()

    def agent_of(self, key: str, info: SessionInfo | None = None) -> str:
        """The agent of a session, by its key as it is stored, or else by who answered in it last; the default one, or
        empty, where nothing tells.
        """
        known = plain(key)
        if known.startswith("agent:"):
            named = known[6:].partition(":")[0]
            if named in self._registry.by_id:
                return named
        if info is not None and info.agent:
            return info.agent
        return "" if self._registry.default is None else self._registry.default.id

    # -- models

    @property
    def providers(self) -> tuple[str, ...]:
        """The names of those in use: that of the configuration first, then those of agents."""
        used = (name.partition("/")[0] for entry in self._registry.by_id.values() for name in self._choices(entry))
        return tuple(dict.fromkeys((*self._config.models.providers, *used)))

    def provider(self, name: str) -> ProviderFacts | None:
        """What is known of a provider; None for one that is not set up, or is none."""
        return None if self._is_own(name) else self._catalog().provider(name)

    def auth_status(self, provider: str) -> str:
        """`static` for one that can be used, `missing` for one that lacks something: its key, most often."""
        known = self._is_own(provider) or self._catalog().provider(provider) is not None
        return "static" if known else "missing"

    def key_source(self, provider: str) -> str | None:
        """Where the key of a provider comes from, `config` or `env`; None where it has none."""
        facts = self.provider(provider)
        if facts is None or facts.api_key is None:
            return None
        config = self._config.models.providers.get(provider)
        return "config" if config is not None and config.api_key else "env"

    async def listed(self, provider: str) -> list[str]:
        """See `Catalog.listed`."""
        return await self._catalog().listed(provider)

    def models(self, caller: Caller, agent_id: str | None = None) -> dict[str, list[str]]:
        """`provider/model` to its tags: of the agents that a caller may use, or of one, and, for who may choose models,
        those that the configuration lists.
        """
        found: dict[str, list[str]] = {}
        default = self.default(caller)
        for entry in self.agents(caller):
            if agent_id is None or entry.id == agent_id:
                for number, name in enumerate(self._choices(entry)):
                    tags = found.setdefault(name, [])
                    told = "fallback" if number else "default" if default is entry or agent_id else "configured"
                    if told not in tags:
                        tags.append(told)
        chooses = agent_id is None or self._registry.by_id[agent_id].check_model is not None
        if chooses and caller.may(MODEL_SCOPE):
            for provider, config in self._config.models.providers.items():
                for model in config.models:
                    found.setdefault(f"{provider}/{model.id}", []).append("configured")
        return found

    def row(self, name: str, tags: list[str] | tuple[str, ...] = ()) -> dict[str, Any]:
        """A model, as `models.list` tells of it.  What nobody said is not there."""
        provider, _, model = name.partition("/")
        known = self._described(provider, model)
        row: dict[str, Any] = {"id": model, "name": (known and known.name) or model, "provider": provider}
        if known is not None and known.context_window:
            row["contextWindow"] = known.context_window
        if self._is_own(provider):
            entry = self._registry.by_id.get(model)
            row |= {"name": self.name(model) or model, "local": True, "available": entry is not None}
            row["input"] = ["text", "image"] if entry is not None and "images" in entry.takes else ["text"]
        else:
            facts = self.provider(provider)
            row["available"] = facts is not None
            if facts is None:
                row["unavailableReason"] = "missing-auth"
            else:
                row["local"] = _is_local(facts.base_url)
            if known is not None and known.input:
                row["input"] = list(known.input)
            if known is not None and known.reasoning is not None:
                row["reasoning"] = known.reasoning
        if tags:
            row["tags"] = list(dict.fromkeys(tags))
        return row

    def context(self, name: str) -> int | None:
        """The tokens that a model takes at most; None where nobody said."""
        provider, _, model = name.partition("/")
        known = self._described(provider, model)
        return None if known is None else known.context_window

    def _is_own(self, provider: str) -> bool:
        return provider == OWN and provider not in self._config.models.providers

    def cost(self, name: str | None) -> Cost | None:
        """What a model's tokens cost; None where nobody said."""
        provider, _, model = (name or "").partition("/")
        known = self._described(provider, model)
        return None if known is None else known.cost

    def _choices(self, entry: AgentEntry) -> Iterator[str]:
        yield self.model(entry)
        yield from self.fallbacks(entry)

    def _described(self, provider: str, model: str) -> ProviderModel | None:
        config = self._config.models.providers.get(provider)
        return None if config is None else next((one for one in config.models if one.id == model), None)


def _is_local(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    return host == "localhost" or is_loopback(host)
