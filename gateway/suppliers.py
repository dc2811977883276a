"""Models behind providers, as a configuration names them: looked through at the start, loaded with the first run.

What could be wrong with them is known from their settings; the HTTP client, and the APIs that providers speak, are for
whoever asks them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, partial
from typing import Any

from .config.schema import Config
from .config.schema_models import Provider as ProviderConfig
from .config.values import BUILT_IN_PROVIDERS
from .errors import ConfigError
from .ports import Agent
from .providers.settings import ModelSettings, Provider, Timeouts, provider

__all__ = ["Suppliers"]


class Suppliers:
    """The providers of a configuration, and the built-in ones."""

    def __init__(self, config: Config, environ: Mapping[str, str]) -> None:
        given = config.models.providers

        @cache
        def make(name: str) -> Provider:
            return _provider(name, given[name], environ) if name in given else provider(name, environment=environ)

        self._providers: dict[str, Callable[[], Provider]] = {
            name: partial(make, name) for name in (*BUILT_IN_PROVIDERS, *given)
        }
        self._used: set[str] = set()
        self._catalog: Any = None

    def catalog(self) -> Any:
        """Their models: a `providers.catalog.Catalog`."""
        if self._catalog is None:
            from .providers.catalog import Catalog

            self._catalog = Catalog(self._providers, _dialect, self._used)
        return self._catalog

    def agents(self, names: Iterable[str], system_prompt: str | None) -> Mapping[str, Agent]:
        """The agents for models `provider/model`, each made when it is first asked for.

        Raises ConfigError where a provider lacks something.
        """
        names = tuple(names)
        for name in names:
            self._settings(name)
        self._used.update(names)
        return _MadeOnDemand(names, lambda name: self.catalog().agent(name, system_prompt))

    def expect(self, name: str) -> None:
        """The configuration names this model for something else than an agent.  Raises ConfigError."""
        self._settings(name)
        self._used.add(name)

    def takes_images(self, name: str) -> bool | None:
        """Whether a model takes images; None where nobody said.  Raises ConfigError."""
        return self._settings(name).model(name.partition("/")[2]).images

    async def aclose(self) -> None:
        """Close all connections."""
        if self._catalog is not None:
            await self._catalog.aclose()

    def _settings(self, name: str) -> Provider:
        """Of the provider of a model."""
        owner = name.partition("/")[0]
        if owner not in self._providers:
            raise ConfigError(f"{name}: there is no provider {owner!r} in models.providers")
        return self._providers[owner]()


class _MadeOnDemand(Mapping[str, Agent]):
    def __init__(self, names: tuple[str, ...], make: Callable[[str], Agent]) -> None:
        self._names = names
        self._make = make
        self._made: dict[str, Agent] = {}

    def __getitem__(self, name: str) -> Agent:
        agent = self._made.get(name)
        if agent is None:
            if name not in self._names:
                raise KeyError(name)
            agent = self._made[name] = self._make(name)
        return agent

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _provider(name: str, given: ProviderConfig, environ: Mapping[str, str]) -> Provider:
    return provider(
        name,
        base_url=given.base_url,
        api_key=given.api_key,
        headers=given.headers,
        timeouts=Timeouts(
            given.connect_timeout_ms / 1000, given.first_byte_timeout_ms / 1000, given.idle_timeout_ms / 1000
        ),
        max_retries=given.max_retries,
        environment=environ,
        api=given.api,
        models=[
            ModelSettings(one.id, "image" in one.input if one.input else None, one.max_tokens, one.reasoning)
            for one in given.models
        ],
    )


def _dialect(api: str) -> Any:
    match api:
        case "anthropic-messages":
            from .providers.anthropic import Messages

            return Messages()
        case "openai-responses":
            from .providers.responses import Responses

            return Responses()
        case _:
            from .providers.openai import Completions

            return Completions()
