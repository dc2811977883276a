"""Options: the models, and where they are.  See `schema`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from . import kinds, product, values
from .fields import (
    REQUIRED,
    Boolean,
    Choice,
    Integer,
    ListOf,
    MapOf,
    Secret,
    Section,
    SectionClass,
    Text,
    option,
    section,
)
from .kinds import milliseconds

__all__ = ["Cost", "Models", "Provider", "ProviderModel"]


class Cost(SectionClass):
    OPEN = True  # of large contexts, and the like

    input: float | None = option(None, "Dollars for a million tokens that it reads.", kinds.Price(), shown="not known")
    output: float | None = option(None, "The same of those that it says.", kinds.Price(), shown="not known")
    cache_read: float | None = option(
        None, "The same of those that it had read before.", kinds.Price(), shown="as `input`"
    )


class ProviderModel(SectionClass):
    OPEN = True  # descriptions that nothing here needs

    id: str = option(REQUIRED, "The model's id at the provider.", Text(), shown="required")
    name: str | None = option(None, "A name for people.", Text())
    input: tuple[str, ...] = option(
        (),
        "What it reads; without `image`, pictures are refused.",
        ListOf(Choice(("text", "image", "audio", "video"))),
        shown="not known",
    )
    max_tokens: int | None = option(
        None, "The most of an answer, where the request names no number.", Integer(1, 10_000_000), shown="the model's"
    )
    context_window: int | None = option(
        None,
        "The tokens of a conversation that it takes; clients show it.",
        Integer(1, 1_000_000_000),
        shown="not known",
    )
    cost: Cost = section(Cost)
    reasoning: bool | None = option(None, "Whether it thinks before it answers.", Boolean(), shown="not known")


class Provider(SectionClass):
    IGNORED = product.PROVIDER

    api: str | None = option(
        None,
        "The API it speaks.",
        Choice(
            values.APIS,
            dict.fromkeys(values.OTHER_APIS, 'Most servers speak "openai-completions" as well.'),
        ),
        shown='the built-in provider\'s, else "openai-completions"',
    )
    base_url: str | None = option(
        None,
        "Its base URL, with the version (with or without: Anthropic).",
        Text("URL", values.base_url),
        shown="built-in providers only",
    )
    api_key: str | None = option(
        None, "The key, sent as the API wants it.", Secret(ascii_only=True), shown="the provider's variable"
    )
    headers: Mapping[str, str] = option(
        MappingProxyType({}), "More headers.", MapOf(Secret(ascii_only=True), values.header_name), shown="none"
    )
    models: tuple[ProviderModel, ...] = option(
        (), "Models it has; names or objects with `id`.", ListOf(kinds.NameOr(Section(ProviderModel))), shown="none"
    )
    connect_timeout_ms: int = milliseconds(10_000, "To connect, TLS included.")
    first_byte_timeout_ms: int = milliseconds(
        300_000, "Up to the first byte of the answer; a local server may load a model first."
    )
    idle_timeout_ms: int = milliseconds(
        180_000, "Between two pieces of the answer; reasoning models are silent for minutes."
    )
    max_retries: int = option(2, "Retries before the first token.", Integer(0, 10))


class Models(SectionClass):
    IGNORED = product.MODELS

    providers: Mapping[str, Provider] = option(
        MappingProxyType({}), "Providers by name.", MapOf(Section(Provider), values.provider_name), shown="none"
    )
