"""The kinds of values, and of options, that only this option table needs.  Those of any table stand in `fields`."""

from __future__ import annotations

import os
import re
from typing import Any, Self

from .env import expand_home
from .fields import MISSING, Integer, ListOf, Reading, Secret, Section, Wrong, option
from .tree import Node, Path
from .values import model_name

__all__ = [
    "DAY_MS",
    "GIB",
    "ById",
    "FileName",
    "KeyHash",
    "ModelChoice",
    "ModelName",
    "NameOr",
    "Price",
    "RateOr",
    "StoreName",
    "count",
    "milliseconds",
    "models_of",
]

DAY_MS = 86_400_000
GIB = 1 << 30

_KEY_HASH = r"sha256:[0-9A-Fa-f]{64}"
_RATE = r"([0-9]{1,9}) */ *(?:per )?([a-z]+)"
_NUMBER = r"[0-9]{1,7}(?:\.[0-9]{1,12})?"
_SECONDS = {"s": 1, "sec": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86_400, "day": 86_400}


class KeyHash(Secret):
    """A secret's digest.  It is hidden like a secret: of a weak one it would be as good to a guesser."""

    shown = '"sha256:..." (secret)'

    def read(self, node: Node, path: Path, reading: Reading) -> str | None:
        text = super().read(node, path, reading) or ""
        if not re.fullmatch(_KEY_HASH, text):
            raise Wrong("expected sha256: and 64 hexadecimal digits, as `gateway keys hash` prints them")
        return text.lower()


class RateOr(Section):
    """The section, or text like `60/min`."""

    shown = 'object, or text like "60/min"'

    def read(self, node: Node, path: Path, reading: Reading) -> Any:
        if isinstance(node.value, str):
            found = re.fullmatch(_RATE, reading.text(node))
            seconds = _SECONDS.get(found[2]) if found else None
            if found is None or seconds is None:
                raise Wrong('expected {requests, perSeconds}, or text like "5/s", "60/min", "1000/hour" or "5000/day"')
            members = {"requests": int(found[1]), "perSeconds": seconds}
            inner = {key: Node(value, node.place, node.key_place) for key, value in members.items()}
            node = Node(inner, node.place, node.key_place)
        return super().read(node, path, reading)


class Price:
    """Dollars for a million tokens."""

    shown = "number, 0 to 1000000"
    most = 1_000_000

    def read(self, node: Node, _path: Path, reading: Reading) -> float:
        value = node.value
        if isinstance(value, str) and "${" in value:
            text = reading.text(node)
            value = float(text) if re.fullmatch(_NUMBER, text) else text
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= self.most:
            raise Wrong("expected dollars for a million tokens, a number from 0 to 1000000")
        return float(value)


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
    return model_name(reading.text(node))


class FileName:
    """A path; a relative one starts at the folder of the file it is written in."""

    shown = "file name"

    def read(self, node: Node, _path: Path, reading: Reading) -> str:
        text = expand_home(reading.text(node), reading.environ)
        if not text or "\0" in text:
            raise Wrong("expected a file name")
        if not node.place.line:
            return text
        return os.path.join(os.path.dirname(node.place.file), text)  # noqa: PTH118, PTH120 - pathlib costs the start 3 ms


class StoreName:
    """`sqlite`, `memory`, or a file name; the product's own files, which are JSON, are not used."""

    shown = '"sqlite" or "memory" or file name'

    def read(self, node: Node, path: Path, reading: Reading) -> str | None:
        text = reading.text(node)
        if text in {"sqlite", "memory"}:
            return text
        if text.endswith((".json", ".jsonl")) or "{" in text:
            reading.ignore(node, path)
            return None
        if "/" not in text and os.sep not in text and "." not in text:
            raise Wrong('expected "sqlite", "memory", or a file name with a folder in it, like "./sessions.sqlite3"')
        return FileName().read(node, path, reading)


class NameOr:
    """The section, or its `id` alone."""

    shown = "text or object"

    def __init__(self, section: Section) -> None:
        self.section = section

    def read(self, node: Node, path: Path, reading: Reading) -> Any:
        if isinstance(node.value, str):
            node = Node({"id": node}, node.place, node.key_place)
        return self.section.read(node, path, reading)


class ById:
    """An object of sections whose keys are the sections' ids."""

    shown = "object: id to object"

    def __init__(self, section: Section) -> None:
        self.section = section

    def read(self, node: Node, path: Path, reading: Reading) -> tuple[Any, ...]:
        if not isinstance(node.value, dict):
            raise Wrong("expected an object with the ids as keys")
        values = []
        for key, member in node.value.items():
            inner = member
            if isinstance(member.value, dict):
                given = member.value.get("id")
                if given is not None and given.value != key:
                    reading.problem(
                        given.place, (*path, key, "id"), "the id is the key. Remove this, or make both equal"
                    )
                name = Node(key, member.key_place, member.key_place)
                inner = Node({**member.value, "id": name}, member.place, member.key_place)
            value = reading.read(self.section, inner, (*path, key))
            if value is not MISSING:
                values.append(value)
        return tuple(values)


def count(default: int, help: str, least: int = 1, most: int = 1_000_000) -> Any:  # noqa: A002 - as in `option`
    return option(default, help, Integer(least, most))


def milliseconds(default: int, help: str, least: int = 0) -> Any:  # noqa: A002 - as in `option`
    return option(default, f"{help} In milliseconds; 0 for no limit." if least == 0 else help, Integer(least, DAY_MS))
