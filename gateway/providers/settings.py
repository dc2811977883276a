"""Providers of models: who they are, how they are reached, what is known of their models.  Pure data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from re import fullmatch
from types import MappingProxyType

from ..addresses import base_url_fault
from ..errors import ConfigError
from ..records import NamedTuple

__all__ = ["APIS", "COMPLETIONS", "DEFAULTS", "ModelSettings", "Provider", "ProviderDefault", "Timeouts", "provider"]

COMPLETIONS = "openai-completions"
APIS = (COMPLETIONS, "openai-responses", "anthropic-messages")
"""What a provider may speak, under the names of OpenClaw's configuration."""


MAX_RETRIES = 2
"""What the OpenAI SDKs have; a caller who retries too makes nine attempts of it."""


class Timeouts(NamedTuple):
    """In seconds; 0 or less switches a limit off.

    `connect`: name look-up, TCP and TLS together; a provider that takes longer is down.  `first_byte`: from the request
    to the first byte of the answer's body; a local server may have to load the model before.  `idle`: between bytes
    after that; reasoning models are silent for minutes.
    """

    connect: float = 10.0
    first_byte: float = 300.0
    idle: float = 180.0


class ModelSettings(NamedTuple):
    """What is known of a model.  `id` is its name at the provider.

    `images`: whether it takes them, None where nobody said.  `max_tokens`: the most of an answer, where the request
    names no number.  `reasoning`: whether it thinks before it answers, None where nobody said.
    """

    id: str
    images: bool | None = None
    max_tokens: int | None = None
    reasoning: bool | None = None


class ProviderDefault(NamedTuple):
    """What is known of a provider.  `key_variable` is the environment variable its users keep the key in."""

    base_url: str
    key_variable: str
    needs_key: bool = False
    api: str = COMPLETIONS


_HEADER_NAME = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_HEADER_VALUE = r"[\t\x20-\x7e]*"

DEFAULTS: Mapping[str, ProviderDefault] = {
    "openai": ProviderDefault("https://api.openai.com/v1", "OPENAI_API_KEY", needs_key=True),
    "anthropic": ProviderDefault("https://api.anthropic.com", "ANTHROPIC_API_KEY", True, "anthropic-messages"),
    "google": ProviderDefault("https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY", True),
    "openrouter": ProviderDefault("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", needs_key=True),
    "mistral": ProviderDefault("https://api.mistral.ai/v1", "MISTRAL_API_KEY", needs_key=True),
    "deepseek": ProviderDefault("https://api.deepseek.com", "DEEPSEEK_API_KEY", needs_key=True),
    "groq": ProviderDefault("https://api.groq.com/openai/v1", "GROQ_API_KEY", needs_key=True),
    "xai": ProviderDefault("https://api.x.ai/v1", "XAI_API_KEY", needs_key=True),
    "litellm": ProviderDefault("http://127.0.0.1:4000", "LITELLM_API_KEY"),
    "ollama": ProviderDefault("http://127.0.0.1:11434/v1", "OLLAMA_API_KEY"),
    "lmstudio": ProviderDefault("http://127.0.0.1:1234/v1", "LMSTUDIO_API_KEY"),
    "llama.cpp": ProviderDefault("http://127.0.0.1:8080/v1", "LLAMA_API_KEY"),
    "vllm": ProviderDefault("http://127.0.0.1:8000/v1", "VLLM_API_KEY"),
}


class Provider(NamedTuple):
    """A provider, ready to use.  `headers` are sent with each request; `base_url` has no slash at its end.

    `api` is one of APIS.  `models` are those that were listed, by id; where there are none, any may be asked for.

    `key_hint` tells an operator where the key comes from.  Neither the key nor the headers, which may hold one, show
    in `repr`.
    """

    name: str
    base_url: str
    api_key: str | None = None
    headers: Mapping[str, str] = MappingProxyType({})
    timeouts: Timeouts = Timeouts()
    max_retries: int = MAX_RETRIES
    key_hint: str = ""
    api: str = COMPLETIONS
    models: Mapping[str, ModelSettings] = MappingProxyType({})

    def model(self, model_id: str) -> ModelSettings:
        """What is known of one of its models."""
        return self.models.get(model_id) or ModelSettings(model_id)

    def __repr__(self) -> str:
        return f"Provider(name={self.name!r}, base_url={self.base_url!r})"


def provider(
    name: str,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeouts: Timeouts | None = None,
    max_retries: int | None = None,
    environment: Mapping[str, str] | None = None,
    api: str | None = None,
    models: Iterable[ModelSettings] = (),
) -> Provider:
    """The provider `name`: what is given here, else what `environment` and the built-in defaults say.

    The environment's key is used only for the provider's own address: with a `base_url` of one's own, the key has to
    be given too, so that it never goes to another server by accident.  Raises ConfigError.
    """
    place = f"models.providers.{name}"
    default = DEFAULTS.get(name)
    key_hint = f"{place}.apiKey"
    if default is not None and base_url is None:
        base_url = default.base_url
        key_hint += f" or the environment variable {default.key_variable}"
        api_key = api_key or (environment or {}).get(default.key_variable) or None
        if default.needs_key and not api_key:
            raise ConfigError(f"{place}.apiKey: {name} needs a key; set it, or {default.key_variable}")
    if not base_url:
        known = ", ".join(DEFAULTS)
        raise ConfigError(f"{place}.baseUrl: is missing; only {known} have a default")
    if fault := base_url_fault(base_url):
        raise ConfigError(f"{place}.baseUrl: {fault}")
    for header, value in (headers or {}).items():
        if not fullmatch(_HEADER_NAME, header) or not fullmatch(_HEADER_VALUE, value):
            raise ConfigError(f"{place}.headers.{header}: is not a header that can be sent")
    if api_key and not fullmatch(_HEADER_VALUE, api_key):
        raise ConfigError(f"{key_hint}: holds characters that no key has; is it quoted or cut wrongly?")
    return Provider(
        name=name,
        base_url=base_url.rstrip("/"),
        api_key=api_key or None,
        headers=dict(headers or {}),
        timeouts=timeouts or Timeouts(),
        max_retries=MAX_RETRIES if max_retries is None else max_retries,
        key_hint=key_hint,
        api=api or (default.api if default else COMPLETIONS),
        models={model.id: model for model in models},
    )
