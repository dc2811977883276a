"""What is known of providers, and what an operator may put over it."""

from __future__ import annotations

import pytest

from gateway.errors import ConfigError
from gateway.providers.settings import DEFAULTS, Timeouts, provider


def test_every_default_makes_a_provider() -> None:
    environment = {default.key_variable: f"key-of-{name}" for name, default in DEFAULTS.items()}
    for name, default in DEFAULTS.items():
        made = provider(name, environment=environment)
        assert (made.name, made.base_url, made.api_key) == (name, default.base_url, f"key-of-{name}")


@pytest.mark.parametrize("name", ["ollama", "lmstudio", "llama.cpp", "vllm"])
def test_local_ones_need_no_key(name: str) -> None:
    made = provider(name)
    assert made.api_key is None
    assert made.base_url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize(("name", "variable"), [("openai", "OPENAI_API_KEY"), ("openrouter", "OPENROUTER_API_KEY")])
def test_others_do(name: str, variable: str) -> None:
    with pytest.raises(ConfigError, match=variable):
        provider(name, environment={variable: ""})
    assert provider(name, api_key="k", environment={variable: "other"}).api_key == "k"


def test_the_key_of_the_environment_goes_only_to_its_provider() -> None:
    environment = {"OPENAI_API_KEY": "s3cret"}
    assert provider("openai", base_url="https://proxy.example/v1", environment=environment).api_key is None


def test_overrides() -> None:
    made = provider(
        "mine",
        base_url="https://[::1]:8443/api/v1/",
        api_key="k",
        headers={"X-A": "b"},
        timeouts=Timeouts(1, 2, 3),
        max_retries=0,
    )
    assert made.base_url == "https://[::1]:8443/api/v1"
    assert (made.api_key, made.headers, made.timeouts, made.max_retries) == ("k", {"X-A": "b"}, Timeouts(1, 2, 3), 0)


def test_an_unknown_provider_needs_an_address() -> None:
    with pytest.raises(ConfigError, match=r"models\.providers\.mine\.baseUrl"):
        provider("mine")


@pytest.mark.parametrize(
    "url",
    [
        "example.org/v1",
        "ftp://x",
        "http://",
        "http://user:s3cret@x/v1",
        "http://x/v1?key=s3cret",
        "http://x/#s3cret",
        "http://x/a b",
    ],
)
def test_an_address_that_is_none_is_not_shown(url: str) -> None:
    with pytest.raises(ConfigError, match=r"models\.providers\.mine\.baseUrl") as caught:
        provider("mine", base_url=url)
    assert "s3cret" not in str(caught.value)


def test_headers_and_keys_that_cannot_be_sent() -> None:
    for name, value in (("X A", "b"), ("X-A", "b\r\nc: d"), ("X-A", "é")):
        with pytest.raises(ConfigError, match="headers"):
            provider("mine", base_url="http://x", headers={name: value})
    with pytest.raises(ConfigError, match="apiKey") as caught:
        provider("mine", base_url="http://x", api_key="s3cret\n")
    assert "s3cret" not in str(caught.value)
