"""Which session a request belongs to."""

from __future__ import annotations

from hashlib import sha256
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import RequestError
from gateway.model.run import fresh_key
from gateway.sessions.keys import chat_key, explicit_key, owns, scoped, user_key

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


@pytest.mark.parametrize("name", ["subagent:", "cron:", "acp:", "key:"])
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


@pytest.mark.parametrize("value", ["a\tb", "a\x7f", "a\u202eb", "\u2028", "a\u00adb"])
def test_characters_that_nobody_sees(value: str) -> None:
    with pytest.raises(RequestError, match="cannot be seen") as caught:
        explicit_key(value, HEADER)
    assert (caught.value.status, caught.value.param) == (400, HEADER)
    for named in (user_key("main", value), chat_key("main", f"x{value}x")):
        assert named is not None
        assert named.isprintable()
        assert "sha256:" in named


def test_chats() -> None:
    assert chat_key("main", " 7f-ab ") == "agent:main:chat:7f-ab"
    assert chat_key("main", "c" * 129) == "agent:main:chat-sha256:" + sha256(b"c" * 129).hexdigest()


@pytest.mark.parametrize(
    "value", ["", " ", "local", "local:x7", "Local:X7", "new", "PENDING", "null", "undefined", "{{LIBRECHAT_X}}", "${chatId}"]
)  # fmt: skip
def test_what_is_no_chat(value: str) -> None:
    assert chat_key("main", value) is None


@given(USERS, USERS)
def test_a_chat_is_never_a_user(chat: str, user: str) -> None:
    assert chat_key("main", chat) != user_key("main", user)
    assert chat_key("main", chat) != user_key("main", f"x:chat:{user}")


IDS = st.text("ab:%3A", min_size=1, max_size=6)


@given(IDS, IDS, st.text("ab:key", max_size=8), st.text("ab:key", max_size=8))
def test_sessions_of_two_callers_are_apart(one: str, other: str, key: str, other_key: str) -> None:
    mine, theirs = scoped(one, key), scoped(other, other_key)
    assert (mine == theirs) is ((one, key) == (other, other_key))
    assert owns(one, mine)
    assert owns(other, mine) is (one == other)
    assert not owns("", mine)
    assert scoped("", key) == key
    assert owns("", key) is not key.startswith("key:")


@given(IDS, st.text("ab:key", max_size=8))
def test_nobody_can_name_the_session_of_another(caller: str, key: str) -> None:
    with pytest.raises(RequestError, match="reserved"):
        explicit_key(scoped(caller, key), HEADER)


def test_fresh() -> None:
    digits = "0123456789abcdef0123456789abcdef"
    key = fresh_key("main", digits)
    assert key == "agent:main:openai:01234567-89ab-cdef-0123-456789abcdef"
    assert UUID(key.rpartition(":")[2]).hex == digits
