"""Messages, turns and keys of all kinds, for Hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from gateway.model.chat import Image, Message, ToolCall
from gateway.model.session import Turn

__all__ = ["KEYS", "MESSAGES", "TEXTS", "messages_alone"]

TEXTS = st.text(st.characters(exclude_categories=()) | st.sampled_from("\ud83d\ude00\x00\x7f\u2028\\\"'"), max_size=20)
KEYS = st.sampled_from(
    ["a", "b", "agent:main:x", "\u00e4\u20ac", "\ud800", "\ud83d\ude00"[0] + "\ude00", "nul\x00", ""]
)
OPTIONAL = st.none() | TEXTS
IMAGES = st.builds(
    Image,
    st.sampled_from(["image/png", "image/gif"]),
    st.binary(max_size=20),
    st.none() | st.just("low"),
    st.none() | TEXTS,
)
CALLS = st.lists(st.builds(ToolCall, TEXTS, TEXTS, TEXTS), max_size=3).map(tuple)
PARTS = st.lists(TEXTS | IMAGES, max_size=4).map(tuple)
ROLES = st.sampled_from(["system", "user", "assistant", "tool", "function"])
MESSAGES = st.lists(st.builds(Message, ROLES, TEXTS, OPTIONAL, OPTIONAL, CALLS, PARTS), max_size=3).map(tuple)


def messages_alone(turn: Turn) -> tuple[object, ...]:
    """A turn without its run."""
    return turn.asked, turn.answered
