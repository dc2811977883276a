"""The JSON5 reader as the runner of the public corpora calls one, for texts that are to be read from their bytes."""

from __future__ import annotations

from typing import Any

from gateway.config.json5 import loads


def loads_encoded(text: str) -> Any:
    return loads(text.encode("utf-8", "surrogatepass"))
