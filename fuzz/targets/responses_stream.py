"""A stream of OpenAI's Responses API: every cutting gives the same."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial

from fuzz.answers import PROVIDER, Read, check, numbered, read_stream, read_whole
from fuzz.invariants import every_cutting_gives
from gateway.providers.responses_stream import ITEMS, ResponseReader
from gateway.providers.thoughts import Thoughts

__all__ = ["one_input"]


def one_input(data: bytes) -> None:
    check(every_cutting_gives(data, _read))
    check(read_whole(ResponseReader(PROVIDER, "m", partial(Thoughts().keep, 0), numbered()), data))


def _read(cut: Iterable[bytes]) -> Read:
    thoughts = Thoughts()
    reader = ResponseReader(PROVIDER, "m", partial(thoughts.keep, 0), numbered())
    read = read_stream(reader, cut)
    assert len(reader._items) <= ITEMS + 1
    for blocks, _ in thoughts._kept.values():
        assert all(block["type"] == "reasoning" and block["encrypted_content"] for block in blocks)
        json.dumps(blocks)
    return read
