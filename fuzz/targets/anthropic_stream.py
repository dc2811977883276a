"""A stream of Anthropic's Messages API: every cutting gives the same, and what is kept of its thoughts is bounded."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from itertools import takewhile
from typing import Any

from fuzz.answers import PROVIDER, Read, check, numbered, read_stream, read_whole
from fuzz.invariants import every_cutting_gives
from gateway.model.run import ReasoningDelta, ToolCallDelta
from gateway.providers import anthropic_stream
from gateway.providers.anthropic_stream import MessageReader
from gateway.providers.thoughts import Thoughts

__all__ = ["one_input"]

THINKING = 400
"""A limit that inputs can reach."""


def one_input(data: bytes) -> None:
    module: Any = anthropic_stream
    before, module.THINKING_CHARACTERS = module.THINKING_CHARACTERS, THINKING
    try:
        check(every_cutting_gives(data, _read))
        check(read_whole(MessageReader(PROVIDER, "m", partial(Thoughts().keep, 0), numbered()), data))
    finally:
        module.THINKING_CHARACTERS = before


def _read(cut: Iterable[bytes]) -> Read:
    thoughts = Thoughts()
    read = read_stream(MessageReader(PROVIDER, "m", partial(thoughts.keep, 0), numbered()), cut)
    for blocks, size in thoughts._kept.values():
        kinds = {"thinking": {"type", "thinking", "signature"}, "redacted_thinking": {"type", "data"}}
        assert all(block.keys() == kinds[block["type"]] for block in blocks), "a thought that the API would refuse"
        assert _before_the_first_call(read) <= THINKING, "a thought was cut, which the API would refuse"
        assert size <= THINKING + sum(len(block["type"]) for block in blocks), "more is kept than the limit says"
        json.dumps(blocks)
    return read


def _before_the_first_call(read: Read) -> int:
    before = takewhile(lambda piece: not isinstance(piece, ToolCallDelta), read.pieces)
    return sum(len(piece.text) for piece in before if isinstance(piece, ReasoningDelta))
