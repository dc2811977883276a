"""A configuration without its secrets, and with them again: cases in tests/data/config/redactions.txt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import redact as redact_module
from gateway.config.json5 import loads, parse
from gateway.config.redact import SentinelError, redact, redact_text, restore, restore_text
from gateway.model.names import REDACTED

CASES = Path(__file__).parents[1] / "data" / "config" / "redactions.txt"


def cases() -> list[Any]:
    _, *texts = CASES.read_text(encoding="utf-8").split("=== ")
    found = []
    for text in texts:
        title, _, rest = text.partition("\n")
        before, _, shown = rest.partition("--- shown\n")
        found.append(pytest.param(before, shown, id=title))
    return found


@pytest.mark.parametrize(("text", "shown"), cases())
def test_cases(text: str, shown: str) -> None:
    document = parse(text)
    assert redact_text(text, document) == shown
    assert redact(document.value) == loads(shown)
    assert restore_text(shown, parse(shown), text, document) == text
    assert restore(loads(shown), document.value) == document.value


KEYS = {"gateway": {"auth": {"keys": [{"id": "a", "secret": "s-a"}, {"id": "b", "secret": "s-b"}]}}}


def keys(value: Any) -> Any:
    return value["gateway"]["auth"]["keys"]


def test_secrets_follow_their_element() -> None:
    shown = redact(KEYS)
    keys(shown).reverse()
    keys(shown).insert(1, {"id": "new", "secret": "s-n"})
    assert keys(restore(shown, KEYS)) == [
        {"id": "b", "secret": "s-b"},
        {"id": "new", "secret": "s-n"},
        {"id": "a", "secret": "s-a"},
    ]
    del keys(shown)[:2]
    assert keys(restore(shown, KEYS)) == [{"id": "a", "secret": "s-a"}]


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ({"gateway": {"auth": {"keys": [{"id": "c", "secret": REDACTED}]}}}, "gateway.auth.keys[0].secret"),
        ({"gateway": {"auth": {"token": REDACTED}}}, "gateway.auth.token"),
        ({"gateway": {"auth": {"keys": [{"id": "a", "secret": f"x{REDACTED}"}]}}}, "gateway.auth.keys[0].secret"),
        ({"gateway": {"bind": REDACTED}}, "gateway.bind"),
        ({"gateway": {"auth": {"keys": {"a": REDACTED}}}}, "gateway.auth.keys.a"),
    ],
)
def test_a_sentinel_stands_only_for_a_secret_that_is_there(wanted: Any, path: str) -> None:
    """Written as it is, it would be a secret that everybody knows."""
    with pytest.raises(SentinelError) as caught:
        restore(wanted, KEYS)
    assert f"({path})" in str(caught.value)
    stored = json.dumps(KEYS)
    text = json.dumps(wanted)
    with pytest.raises(SentinelError):
        restore_text(text, parse(text), stored, parse(stored))


def test_of_two_members_of_one_key_nothing_is_shown() -> None:
    """The one that is not read may be a secret too, and no path leads to it."""
    text = "{gateway: {auth: {token: 'old-secret', token: '${T}'}}}"
    assert redact_text(text, parse(text)) is None
    twice = f"{{gateway: {{port: 1, port: '{REDACTED}', port: 2}}}}"
    with pytest.raises(SentinelError):
        restore_text(twice, parse(twice), text, parse(text))


def test_a_text_is_restored_as_it_was_written() -> None:
    stored = "{gateway: {auth: {token: 'a\\x62c'}}}"
    text = f'{{gateway: {{port: 1, auth: {{token: "{REDACTED}"}}}}}} // changed'
    assert restore_text(text, parse(text), stored, parse(stored)) == (
        "{gateway: {port: 1, auth: {token: 'a\\x62c'}}} // changed"
    )


def test_comments_get_their_own_secrets_back() -> None:
    stored = "{ // token: 'old-one'\n // token: 'old-two'\n a: 1 /* token: 'old-one' */ }"
    document = parse(stored)
    shown = redact_text(stored, document)
    assert shown is not None
    assert "old" not in shown
    for text, back in (
        (shown, stored),
        (shown.replace(f"// token: '{REDACTED}'\n ", "// new\n ", 1), stored.replace("// token: 'old-one'", "// new")),
        (shown.replace("/* ", "/* not "), stored.replace("/* token: 'old-one' */", f"/* not token: '{REDACTED}' */")),
    ):
        assert restore_text(text, parse(text), stored, document) == back


def test_too_many_secrets_and_comments_are_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redact_module, "MAX_SEARCHED", 100)
    text = "{gateway: {auth: {token: 'the-token', password: 'the-password'}}} // " + "x" * 60
    assert redact_text(text, parse(text)) is None
    assert redact_text(text[:-30], parse(text[:-30])) is not None


SECRET = "s3cr3t-"
values = st.recursive(
    st.sampled_from([1, True, None, "x", "${A}", SECRET + "1", SECRET + "22"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["token", "apiKey", "password", "name", "env", "id"]), inner, max_size=3)
    ),
    max_leaves=8,
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "channels": values,
        "gateway": st.fixed_dictionaries({}, optional={"auth": values, "port": st.just(1), "remote": values}),
        "models": st.fixed_dictionaries({"providers": st.dictionaries(st.sampled_from(["a", "b"]), values)}),
        "own": values,
    },
)


@settings(database=None, deadline=None, max_examples=200)
@given(documents)
def test_what_is_shown_can_be_written_back(value: Any) -> None:
    assert restore(redact(value), value) == value
    text = json.dumps(value, indent=1)
    document = parse(text)
    shown = redact_text(text, document)
    assert shown is not None
    assert loads(shown) == redact(value)
    assert restore_text(shown, parse(shown), text, document) == text
    assert SECRET not in json.dumps(redact({"gateway": {"auth": value}, "own": value}))
