"""Which session a request belongs to."""

from __future__ import annotations

from hashlib import sha256
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import RequestError
from gateway.model.run import fresh_key
from gateway.sessions.keys import explicit_key, user_key

HEADER = "x-openclaw-session-key"


@pytest.mark.parametrize(
    "value",
    [
        "x", "Agent:Main:Main", " blanks within ", "agent:main:openai-user:Ann", "sub:agent", "my-subagent:x",
        "agent:cron", "agent:cron:x", "agent:subagent", "cronjob", "main:cron:x", "\u00e4\u20ac", "x" * 512, "agent:", "agent::",
    ],
)  # fmt: skip
def test_verbatim(value: str) -> None:
    assert explicit_key(value, HEADER) == value


@pytest.mark.parametrize("name", ["subagent:", "cron:", "acp:"])
@pytest.mark.parametrize("prefix", ["", "agent:main:", "AGENT:Main:", "agent::", "agent:agent:"])
def test_reserved(name: str, prefix: str) -> None:
    for value in (prefix + name, f"{prefix}{name}x", prefix + name.upper() + "x", prefix + name.title()):
        with pytest.raises(RequestError, match="reserved") as caught:
            explicit_key(value, HEADER)
        assert (caught.value.status, caught.value.param) == (400, HEADER)


def test_too_long() -> None:
    with pytest.raises(RequestError, match="512") as caught:
        explicit_key("x" * 513, HEADER)
    assert caught.value.param == HEADER


def test_users() -> None:
    assert user_key("main", "Ann") == "agent:main:openai-user:Ann"
    assert user_key("main", "u" * 128) == "agent:main:openai-user:" + "u" * 128
    long = "\u00e9" * 129
    assert user_key("main", long) == "agent:main:openai-user-sha256:" + sha256(long.encode()).hexdigest()


USERS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=140)


@given(USERS, USERS)
def test_two_users_never_share(one: str, other: str) -> None:
    assert (user_key("main", one) == user_key("main", other)) is (one == other)
    assert user_key("main", one) != user_key("beta", one)
    assert len(user_key("main", one)) < 200


@given(USERS)
def test_nobody_is_named_like_the_hash_of_another(user: str) -> None:
    hashed = user_key("main", user * 129)
    for name in (hashed, hashed.rpartition(":")[2], hashed.partition("user-")[2], hashed.removeprefix("agent:main:")):
        assert user_key("main", name) != hashed


def test_fresh() -> None:
    digits = "0123456789abcdef0123456789abcdef"
    key = fresh_key("main", digits)
    assert key == "agent:main:openai:01234567-89ab-cdef-0123-456789abcdef"
    assert UUID(key.rpartition(":")[2]).hex == digits
