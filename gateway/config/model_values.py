"""What names of models and providers must look like, and the choice of a model with its fallbacks."""

from __future__ import annotations

import re
from typing import Self

from .fields import MISSING, ListOf, Reading, Text, Wrong
from .tree import Node, Path

__all__ = [
    "APIS",
    "BUILT_IN_PROVIDERS",
    "OTHER_APIS",
    "ModelChoice",
    "ModelName",
    "embeddings_name",
    "model_name",
    "models_of",
    "provider_name",
]

BUILT_IN_PROVIDERS = (
    "openai", "anthropic", "google", "openrouter", "mistral", "deepseek", "groq", "xai",
    "litellm", "ollama", "lmstudio", "llama.cpp", "vllm",
)  # fmt: skip
"""Providers that need no configuration: their base URLs and key variables are known."""

APIS = ("openai-completions", "openai-responses", "anthropic-messages")
"""What providers may speak."""

OTHER_APIS = (
    "openai-chatgpt-responses",
    "openai-codex-responses",
    "azure-openai-responses",
    "google-generative-ai",
    "google-vertex",
    "github-copilot",
    "bedrock-converse-stream",
    "ollama",
    "pi-messages",
)

_PROVIDER_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_MODEL_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}/[!-~]{1,256}"


def provider_name(text: str) -> None:
    if not re.fullmatch(_PROVIDER_NAME, text):
        raise Wrong("a provider's name is 1 to 64 of the characters A-Z a-z 0-9 . _ -, the first a letter or a digit")


def embeddings_name(text: str) -> None:
    if not 0 < len(text) <= 128 or not text.isprintable() or text != text.strip():
        raise Wrong("is not a name for a model: 1 to 128 printable characters")


def model_name(text: str) -> str:
    if not re.fullmatch(_MODEL_NAME, text):
        raise Wrong('expected "provider/model", like "openai/gpt-4o-mini"')
    return text


class ModelChoice(str):
    """`provider/model`, as text.  `fallbacks` are those that are asked, in order, where it fails."""

    __slots__ = ("fallbacks",)

    fallbacks: tuple[str, ...]

    def __new__(cls, text: str, fallbacks: tuple[str, ...] = ()) -> Self:
        choice = super().__new__(cls, text)
        choice.fallbacks = fallbacks
        return choice


def models_of(choice: str) -> tuple[str, ...]:
    """All models of a choice, in the order in which they are asked."""
    return (str(choice), *choice.fallbacks) if isinstance(choice, ModelChoice) else (choice,)


class ModelName:
    """`"provider/model"`, or the product's `{primary, fallbacks}`."""

    shown = '"provider/model" or {primary, fallbacks}'

    def read(self, node: Node, path: Path, reading: Reading) -> ModelChoice:
        if not isinstance(node.value, dict):
            return ModelChoice(_NAME.read(node, path, reading))
        members = node.value
        for key, member in members.items():
            if key not in {"primary", "fallbacks"}:
                message = "there is no such option. Known here: primary, fallbacks"
                reading.problem(member.key_place, (*path, key), message)
        if "primary" not in members:
            raise Wrong("'primary' is missing")
        choice = ModelChoice(_NAME.read(members["primary"], path, reading))
        if "fallbacks" in members:
            found = reading.read(_FALLBACKS, members["fallbacks"], (*path, "fallbacks"))
            others = () if found is MISSING else dict.fromkeys(found)
            choice = ModelChoice(choice, tuple(one for one in others if one != choice))
        return choice


_NAME = Text('"provider/model"', model_name)
_FALLBACKS = ListOf(_NAME)
