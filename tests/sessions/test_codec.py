"""Turns as bytes, and back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sessions_data import MESSAGES, TEXTS

from gateway.model.chat import Image, Message, ToolCall
from gateway.model.run import Usage
from gateway.model.session import Turn
from gateway.sessions.codec import UnreadableError, decode, encode

PICTURE = Image("image/png", b"\x89PNG", "low")


TIMES = st.floats(0, 1e12)
COUNTS = st.integers(0, 10**9)
USAGES = st.builds(Usage, COUNTS, COUNTS, st.none() | COUNTS, st.none() | COUNTS)


@given(
    st.builds(Turn, TEXTS, MESSAGES, MESSAGES, TIMES, TIMES, COUNTS, TEXTS, st.none() | TEXTS, USAGES, TEXTS)
    | st.tuples(TEXTS, MESSAGES, MESSAGES).map(lambda members: Turn(*members))
)
def test_there_and_back(turn: Turn) -> None:
    coded = encode(turn)
    assert decode(coded.payload, coded.images, turn.run_id, turn.at) == turn
    assert coded.size >= len(coded.payload)


def test_how_it_looks() -> None:
    """Written once by a version that was in use, it has to be readable for ever."""
    asked = (Message("user", "look", "Ann", parts=("look", PICTURE, Image("image/gif", b"GIF", None, "https://x/y"))),)
    answered = (
        Message("assistant", "", tool_calls=(ToolCall("c1", "f", '{"x":1}'),)),
        Message("tool", "\u00e4\ud800", None, "c1"),
    )
    coded = encode(Turn("r", asked, answered, 1.0))
    assert coded.images == (b"\x89PNG", b"GIF")
    assert json.loads(coded.payload.decode("utf-8", "surrogatepass")) == {
        "v": 1,
        "asked": [
            {
                "role": "user",
                "text": "look",
                "name": "Ann",
                "parts": [
                    "look",
                    {"image": 0, "media_type": "image/png", "detail": "low"},
                    {"image": 1, "media_type": "image/gif", "url": "https://x/y"},
                ],
            }
        ],
        "answered": [
            {"role": "assistant", "text": "", "tool_calls": [{"id": "c1", "name": "f", "arguments": '{"x":1}'}]},
            {"role": "tool", "text": "\u00e4\ud800", "tool_call_id": "c1"},
        ],
    }


@pytest.mark.parametrize(
    "payload",
    [
        b'{"v":1,"asked":[],"answered":[],"usage":1}', b'{"v":1,"asked":[],"answered":[],"usage":[1]}',
        b'{"v":1,"asked":[],"answered":[],"usage":["1",2]}', b'{"v":1,"asked":[],"answered":[],"began":"x"}',
        b'{"v":1,"asked":[],"answered":[],"first":1e999}', b'{"v":1,"asked":[],"answered":[],"agent":1}',
        b'{"v":1,"asked":[],"answered":[],"model":1}', b'{"v":1,"asked":[],"answered":[],"finish":null}',
        b"", b"{", b"[]", b"null", b"1", b"{}", b'{"v":1}', b'{"v":1,"asked":[],"answered":1}', b"\xff",
        b'{"v":1,"asked":[{}],"answered":[]}', b'{"v":1,"asked":[1],"answered":[]}', b"[" * 100_000,
        b'{"v":1,"asked":[{"role":"user","text":1}],"answered":[]}',
        b'{"v":1,"asked":[{"role":"user","text":"","parts":[{"image":3,"media_type":"x"}]}],"answered":[]}',
    ],
)  # fmt: skip
def test_damaged(payload: bytes) -> None:
    with pytest.raises(UnreadableError, match="damaged"):
        decode(payload, (), "r", 0.0)


def test_of_a_newer_version() -> None:
    with pytest.raises(UnreadableError, match="version 2"):
        decode(b'{"v":2,"asked":[],"answered":[]}', (), "r", 0.0)


@given(st.binary(max_size=200))
def test_anything_at_all(payload: bytes) -> None:
    with pytest.raises(UnreadableError):
        decode(payload, (), "r", 0.0)
