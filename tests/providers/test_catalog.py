"""Which models there are, and which of them a caller may mean."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from gateway.agents.registry import AgentEntry
from gateway.errors import AgentError, ConfigError, RequestError
from gateway.model.caller import OPERATOR, Caller
from gateway.providers.anthropic import Messages
from gateway.providers.catalog import MADE, Catalog
from gateway.providers.openai import Completions
from gateway.providers.settings import ModelSettings, Provider, provider

LISTED = {"gpt-4o": ModelSettings("gpt-4o", images=True), "org/llama": ModelSettings("org/llama", images=False)}
PROVIDERS: dict[str, Callable[[], Provider]] = {
    "local": lambda: Provider("local", "http://127.0.0.1:1"),
    "mine": lambda: Provider("mine", "http://127.0.0.1:2", models=LISTED),
    "claude": lambda: Provider("claude", "http://127.0.0.1:3", api="anthropic-messages"),
    "openai": partial(provider, "openai", environment={}),
}


def catalog() -> Catalog:
    return Catalog(PROVIDERS, lambda api: Messages() if api == "anthropic-messages" else Completions())


@pytest.mark.parametrize(
    ("wanted", "own", "name"),
    [
        ("local/anything", "mine", "local/anything"),
        ("local/org/model:free", "mine", "local/org/model:free"),
        ("anything", "local", "local/anything"),
        ("gpt-4o", "mine", "mine/gpt-4o"),
        ("mine/gpt-4o", "local", "mine/gpt-4o"),
        ("org/llama", "mine", "mine/org/llama"),
        ("mine/org/llama", "local", "mine/org/llama"),
        (" local/x ", "mine", "local/x"),
    ],
)
def test_what_is_meant(wanted: str, own: str, name: str) -> None:
    assert catalog().check(wanted, own, "x") == name


@pytest.mark.parametrize(
    ("wanted", "own", "words"),
    [
        ("nobody/x", "local", "no provider `nobody` of models here. Use one of: `claude`, `local`, `mine`, `openai`."),
        ("org/llama", "local", "no provider `org`"),
        ("mine/gpt-4", "local", "no model `gpt-4`. Did you mean `gpt-4o`?"),
        ("zzz", "mine", "no model `zzz`. Use one of: `gpt-4o`, `org/llama`."),
        ("openai/gpt-4o", "local", "`openai` is not set up at this gateway."),
        ("local/", "mine", "names no model"),
        ("", "local", "names no model"),
        ("local/a\nb", "local", "names no model"),
        ("/x", "local", "names no model"),
        ("local/" + "x" * 400, "mine", f"`local/{'x' * 58}` names no model"),
    ],
)
def test_what_is_not_there(wanted: str, own: str, words: str) -> None:
    with pytest.raises(RequestError) as caught:
        catalog().check(wanted, own, "x-openclaw-model")
    error = caught.value
    assert (error.status, error.code, error.param) == (404, "model_not_found", "x-openclaw-model")
    assert words in error.message
    with pytest.raises(AgentError) as failed:
        catalog().choose(wanted, own, None)
    assert (failed.value.status, failed.value.code, failed.value.message) == (404, "model_not_found", error.message)


def test_what_an_agent_uses_is_there_though_it_is_not_listed() -> None:
    made = Catalog(PROVIDERS, lambda _: Completions(), {"mine/special"})
    assert made.check("special", "mine", "x") == "mine/special"


def test_agents_are_made_once_and_not_without_end() -> None:
    made = catalog()
    first = made.choose("local/m", "local", "prompt")
    assert made.choose("m", "local", "prompt") is first
    assert made.choose("m", "local", "another prompt") is not first
    for number in range(MADE):
        made.choose(f"m{number}", "local", None)
        assert made.choose("m", "local", "prompt") is first  # used, and so kept
    assert len(made._made) == MADE
    assert len(made._posts) == 1


def test_a_missing_key_is_told_when_the_configuration_is_read() -> None:
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        catalog().agent("openai/gpt-4o", None)


def test_it_is_closed() -> None:
    made = catalog()
    made.agent("local/x", None)
    asyncio.run(made.aclose())
    assert made._posts["local"].upstream.closed


# -- who may choose


def entry(check: Any = None) -> AgentEntry:
    return AgentEntry("main", lambda _: None, check_model=check)  # type: ignore[arg-type, return-value]  # it is not run


def test_who_may_choose() -> None:
    made = catalog()
    main = entry(lambda wanted, param: made.check(wanted, "local", param))
    for caller in (OPERATOR, Caller("k1"), Caller("k2", scopes=frozenset({"model"}))):
        assert main.model("x", caller, "h") == "local/x"
    with pytest.raises(RequestError) as caught:
        main.model("x", Caller("k3", scopes=frozenset({"chat"})), "h")
    assert (caught.value.status, caught.value.param) == (403, "h")


def test_an_agent_without_a_model() -> None:
    with pytest.raises(RequestError) as caught:
        entry().model("local/x", OPERATOR, "h")
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "model_not_supported", "h")
