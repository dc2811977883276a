"""The models that there are: of the providers in the configuration, and of those that need none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

from ..errors import AgentError, ConfigError, RequestError
from ..records import NamedTuple
from .dialect import Dialect
from .listing import list_models
from .model import Model
from .settings import Provider
from .upstream import Upstream

__all__ = ["MADE", "Catalog"]

MADE = 256
"""Agents kept that were made for models that callers chose; each is a few objects, quickly made again."""

NAME_CHARACTERS = 321
"""Of `provider/model`, as in the configuration; errors repeat it."""

SHOWN = 20
"""Names in an error: enough to choose from, and not a page."""


class _Post(NamedTuple):
    """What all models of a provider share."""

    provider: Provider
    dialect: Dialect
    upstream: Upstream


class Catalog:
    """Makes the agents.  `providers` make what they are named for, and raise ConfigError where something is missing;
    `dialect` makes one for the name of an API.  `used` are models that the configuration names, wherever: these may be
    asked, whether their providers list them or not.
    """

    def __init__(
        self,
        providers: Mapping[str, Callable[[], Provider]],
        dialect: Callable[[str], Dialect],
        used: AbstractSet[str] = frozenset(),
    ) -> None:
        self._providers = providers
        self._dialect = dialect
        self._posts: dict[str, _Post] = {}
        self._used = used
        self._made: dict[tuple[str, str | None], Model] = {}

    def agent(self, name: str, system_prompt: str | None) -> Model:
        """The agent for `provider/model`, as the configuration of an agent says.  Raises ConfigError."""
        provider, _, model = name.partition("/")
        post = self._post(provider)
        return Model(post.dialect, post.provider, model, post.upstream, system_prompt=system_prompt)

    def check(self, wanted: str, own: str, param: str) -> str:
        """The full name, `provider/model`, of what a caller wants: that, or the id of a model at the provider `own`.

        Raises RequestError (404, model_not_found) that names `param`.
        """
        name, post = self._find(wanted, own)
        if isinstance(post, str):
            raise RequestError(404, post, param=param, code="model_not_found")
        return name

    def choose(self, wanted: str, own: str, system_prompt: str | None) -> Model:
        """The agent for the model that a run names.  Raises AgentError."""
        name, post = self._find(wanted, own)
        if isinstance(post, str):
            raise AgentError(post, code="model_not_found", status=404)
        key = (name, system_prompt)
        made = self._made.pop(key, None) or self.agent(name, system_prompt)
        self._made[key] = made
        if len(self._made) > MADE:
            del self._made[next(iter(self._made))]
        return made

    def provider(self, name: str) -> Provider | None:
        """What is known of a provider; None for one that is not set up, or that there is not."""
        try:
            return self._post(name).provider if name in self._providers else None
        except ConfigError:
            return None

    async def listed(self, provider: str) -> list[str]:
        """The ids of a provider's models, as it says itself.  Raises AgentError, or ConfigError: no such provider."""
        if provider not in self._providers:
            known = ", ".join(sorted(self._providers))
            raise ConfigError(f"models: there is no provider '{provider}'. Use one of: {known}")
        post = self._post(provider)
        return await list_models(post.provider, post.dialect, post.upstream)

    def reach(self, name: str) -> tuple[Provider, Upstream, str]:
        """Where the model `provider/model` is, and what it is called there.  Raises AgentError (404)."""
        provider, _, model = name.partition("/")
        post: _Post | str = f"There is no provider of the model `{name[:64]}` here."
        if provider in self._providers:
            post = self._find(name, provider)[1]
        if isinstance(post, str):
            raise AgentError(post, code="model_not_found", status=404)
        return post.provider, post.upstream, model

    async def aclose(self) -> None:
        """Close all connections."""
        for post in self._posts.values():
            await post.upstream.aclose()

    def _find(self, wanted: str, own: str) -> tuple[str, _Post | str]:
        """(full name, the provider's or what is wrong)."""
        wanted = wanted.strip()
        provider, slash, model = wanted.partition("/")
        if not slash or (provider not in self._providers and wanted in self._post(own).provider.models):
            provider, model = own, wanted
        name = f"{provider}/{model}"
        if not provider or not model or not model.isprintable() or len(name) > NAME_CHARACTERS:
            return name, f"`{wanted[:64]}` names no model. Use `provider/model`."
        if provider not in self._providers:
            known = ", ".join(f"`{one}`" for one in sorted(self._providers)[:SHOWN])
            return name, f"There is no provider `{provider}` of models here. Use one of: {known}."
        try:
            post = self._post(provider)
        except ConfigError:  # what is missing is the operator's to know
            return name, f"The provider `{provider}` is not set up at this gateway."
        listed = post.provider.models
        if listed and model not in listed and name not in self._used:
            return name, f"The provider `{provider}` has no model `{model}`.{_hint(model, listed)}"
        return name, post

    def _post(self, name: str) -> _Post:
        post = self._posts.get(name)
        if post is None:
            provider = self._providers[name]()
            post = self._posts[name] = _Post(provider, self._dialect(provider.api), Upstream(provider.timeouts))
        return post


def _hint(wanted: str, known: Mapping[str, object]) -> str:
    import difflib  # noqa: PLC0415 - only mistakes need it, and it costs the start a millisecond

    close = difflib.get_close_matches(wanted, known, n=1)
    if close:
        return f" Did you mean `{close[0]}`?"
    return f" Use one of: {', '.join(f'`{one}`' for one in sorted(known)[:SHOWN])}."
