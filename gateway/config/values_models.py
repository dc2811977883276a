"""What single values of models and their providers must look like.  See `values`."""

from __future__ import annotations

import re
from typing import Self

from .fields import MISSING, ListOf, Reading, Wrong
from .tree import Node, Path

__all__ = ["ModelChoice", "ModelName", "embeddings_name", "model_name", "models_of", "provider_name"]

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
            return ModelChoice(_model_name(node, reading))
        members = node.value
        for key, member in members.items():
            if key not in {"primary", "fallbacks"}:
                message = "there is no such option. Known here: primary, fallbacks"
                reading.problem(member.key_place, (*path, key), message)
        if "primary" not in members:
            raise Wrong("'primary' is missing")
        choice = ModelChoice(_model_name(members["primary"], reading))
        if "fallbacks" in members:
            found = reading.read(_FALLBACKS, members["fallbacks"], (*path, "fallbacks"))
            others = () if found is MISSING else dict.fromkeys(found)
            choice = ModelChoice(choice, tuple(one for one in others if one != choice))
        return choice


class _OneModel:
    shown = '"provider/model"'

    def read(self, node: Node, _path: Path, reading: Reading) -> str:
        return _model_name(node, reading)


_FALLBACKS = ListOf(_OneModel())


def _model_name(node: Node, reading: Reading) -> str:
    text = reading.text(node)
    if not re.fullmatch(_MODEL_NAME, text):
        raise Wrong('expected "provider/model", like "openai/gpt-4o-mini"')
    return text
