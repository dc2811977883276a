"""Which agent a request means."""

from __future__ import annotations

from collections.abc import AsyncIterator
from time import perf_counter

import pytest

from gateway.agents.registry import AgentEntry, Registry
from gateway.errors import ConfigError, RequestError
from gateway.model.run import RunInput

FAMILIES = ("openclaw", "clawdbot", "moltbot", "gateway")


async def agent(_: RunInput) -> AsyncIterator[str]:
    yield ""


def registry(*ids: str, default: str | None = None, aliases: dict[str, tuple[str, ...]] | None = None) -> Registry:
    return Registry(AgentEntry(one, agent, (aliases or {}).get(one, ()), one == default) for one in ids)


THREE = registry("main", "beta", "code-review_2", aliases={"beta": ("gpt-4o", "GPT-4.1-Mini", "vendor/model:free")})

SPELLINGS = [(f"{family}{mark}beta", "beta") for family in FAMILIES for mark in ":/"]
SPELLINGS += [(f"{family}{mark}code-review_2", "code-review_2") for family in FAMILIES for mark in ":/"]
SPELLINGS += [(name, "main") for family in FAMILIES for name in (family, f"{family}/default", f"{family}/main")]
SPELLINGS += [("", "main"), ("  ", "main"), ("agent:main", "main"), ("agent:beta", "beta")]
SPELLINGS += [("gpt-4o", "beta"), ("gpt-4.1-mini", "beta"), ("vendor/model:free", "beta")]


@pytest.mark.parametrize(("model", "agent_id"), SPELLINGS)
def test_models(model: str, agent_id: str) -> None:
    for spelling in (model, model.upper(), model.title(), f" {model}\t"):
        assert THREE.by_model(spelling).id == agent_id


def test_no_model_is_the_default_agent() -> None:
    assert THREE.by_model(None).id == "main"


NOBODY = ["gpt-4", "main", "beta", "openclaw/", "openclaw:", "openclaw/nobody", "agent:", "agent/beta", "agent:default"]
NOBODY += [
    "openclaw/beta/x",
    "openclaw:main:x",
    "open claw",
    "openclaw/ beta",
    "gpt-4o ,",
    "x/default",
    "/default",
    "İ",
]


@pytest.mark.parametrize("model", NOBODY)
def test_models_that_do_not_exist(model: str) -> None:
    with pytest.raises(RequestError) as caught:
        THREE.by_model(model)
    error = caught.value
    assert (error.status, error.code, error.param) == (404, "model_not_found", "model")
    assert f"The model `{model}` does not exist." in error.message


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        ("openclaw/bta", "Did you mean `openclaw/beta`?"),
        ("clawdbot:BETTA", "Did you mean `openclaw/beta`?"),
        ("agent:mian", "Did you mean `openclaw/main`?"),
        ("code-review", "Did you mean `openclaw/code-review_2`?"),
        ("gpt-9", "Use one of: openclaw, openclaw/default, openclaw/main, openclaw/beta, openclaw/code-review_2."),
    ],
)
def test_hints(model: str, hint: str) -> None:
    with pytest.raises(RequestError) as caught:
        THREE.by_model(model)
    assert caught.value.message.endswith(hint)


def test_a_hint_among_many() -> None:
    many = registry(*(f"agent-number-{number}" for number in range(500)))
    with pytest.raises(RequestError) as caught:
        many.by_model("zzz")
    assert len(caught.value.message) < 1000
    began = perf_counter()
    with pytest.raises(RequestError):
        many.by_model("x" * 512)
    assert perf_counter() - began < 1


@pytest.mark.parametrize(
    ("ids", "default", "found"),
    [
        (("a", "main", "b"), "b", "b"),
        (("a", "main", "b"), None, "main"),
        (("only",), None, "only"),
        (("a", "b"), "a", "a"),
        (("a", "b"), None, None),
        ((), None, None),
    ],
)
def test_the_default_agent(ids: tuple[str, ...], default: str | None, found: str | None) -> None:
    made = registry(*ids, default=default)
    assert (made.default.id if made.default else None) == found
    names = ["", *FAMILIES, *(f"{family}/default" for family in FAMILIES)]
    for name in names:
        if found is not None:
            assert made.by_model(name).id == found
        else:
            with pytest.raises(RequestError, match="no default agent") as caught:
                made.by_model(name)
            assert (caught.value.status, caught.value.code) == (404, "model_not_found")
    assert ("openclaw" in made.models) is (found is not None)


def test_an_agent_called_default() -> None:
    assert registry("default", "main").by_model("openclaw/default").id == "main"
    assert registry("default", "main").by_model("agent:default").id == "default"
    assert registry("default", "main").models == ["openclaw", "openclaw/default", "openclaw/main"]
    assert registry("default", "other").by_model("openclaw/default").id == "default"


@pytest.mark.parametrize("value", ["beta", "BETA", " Beta\t"])
def test_headers(value: str) -> None:
    assert THREE.by_header(value, "x-openclaw-agent-id").id == "beta"


@pytest.mark.parametrize("value", ["nobody", "openclaw/beta", "gpt-4o", "main, beta", "default"])
def test_headers_that_name_nobody(value: str) -> None:
    with pytest.raises(RequestError) as caught:
        THREE.by_header(value, "x-openclaw-agent-id")
    error = caught.value
    assert (error.status, error.code, error.param) == (404, "model_not_found", "x-openclaw-agent-id")
    assert f"The agent `{value}` of `x-openclaw-agent-id` does not exist." in error.message


def test_what_is_not_unique() -> None:
    with pytest.raises(ConfigError, match="two agents with the id 'a'"):
        registry("a", "a")
    with pytest.raises(ConfigError, match="two agents have the alias 'GPT'"):
        registry("a", "b", aliases={"a": ("gpt",), "b": ("GPT",)})
    assert registry("a", aliases={"a": ("gpt", "GPT")}).by_model("Gpt").id == "a"


def test_by_id() -> None:
    assert THREE.by_id["beta"].id == "beta"
    with pytest.raises(KeyError):
        THREE.by_id["nobody"]
