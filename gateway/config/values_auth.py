"""What single values of the keys must look like.  See `values`."""

from __future__ import annotations

import re
from typing import Any

from .fields import Reading, Secret, Section, Wrong
from .tree import Node, Path

__all__ = ["KeyHash", "RateOr", "key_id", "moment", "variable"]

_KEY_ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_KEY_HASH = r"sha256:[0-9A-Fa-f]{64}"
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
_RATE = r"([0-9]{1,9}) */ *(?:per )?([a-z]+)"
_SECONDS = {"s": 1, "sec": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86_400, "day": 86_400}


def key_id(text: str) -> str:
    """It stands in log lines, so it needs no quotes there."""
    if not re.fullmatch(_KEY_ID, text):
        raise Wrong("a key's id is 1 to 64 of the characters A-Z a-z 0-9 . _ -, the first a letter or a digit")
    return text


def variable(text: str) -> str:
    """The name of an environment variable."""
    if not re.fullmatch(_VARIABLE, text):
        raise Wrong("expected the name of an environment variable, without `$`")
    return text


def moment(text: str) -> str:
    """A moment as ISO 8601 has it, in UTC; a date alone is its beginning."""
    from datetime import UTC, datetime  # noqa: PLC0415 - for keys that expire; it costs the start 2 ms

    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None and len(text) == len("2027-01-31"):
            found = found.replace(tzinfo=UTC)
        if found.tzinfo is None:
            raise Wrong(f"the time has no zone. Write {text}Z for UTC, or its offset, like +02:00")
        return found.astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        raise Wrong('expected a date like "2027-01-31" or a time like "2027-01-31T18:00:00Z"') from None


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
