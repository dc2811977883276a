"""Keys of single clients, as the official SDK meets them."""

from __future__ import annotations

import time
from typing import Any

import openai
import pytest
from asking import serving
from openai import AsyncOpenAI

from gateway import Caller, Gateway, Key, Rate
from gateway.agents.function import echo
from gateway.model.caller import API_SCOPES

SAY: Any = [{"role": "user", "content": "hi"}]
API = frozenset(API_SCOPES)
KEYS = {
    "writer-secret": Key(Caller("writer", frozenset({"writer"}), API)),
    "reader-secret": Key(Caller("reader", None, frozenset({"models"}))),
    "quick-secret": Key(Caller("quick", None, API), Rate(2, 2.0)),
    "old-secret": Key(Caller("old", None, API), expires=1.0),
}


def client(gateway: Gateway, key: str, **options: Any) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{gateway.urls[0]}/v1", api_key=key, timeout=20, **options)


def test_what_a_key_may_not_do() -> None:
    async def test(gateway: Gateway) -> None:
        async with client(gateway, "writer-secret") as sdk:
            assert [model.id for model in (await sdk.models.list()).data] == ["openclaw/writer"]
            answer = await sdk.chat.completions.create(model="openclaw/writer", messages=SAY)
            assert answer.choices[0].message.content == "Echo: hi"
            with pytest.raises(openai.PermissionDeniedError) as refused:
                await sdk.chat.completions.create(model="openclaw", messages=SAY, stream=True)
            assert refused.value.code == "agent_not_allowed"
        async with client(gateway, "reader-secret") as sdk:
            assert len((await sdk.models.list()).data) == 4
            with pytest.raises(openai.PermissionDeniedError) as refused:
                await sdk.chat.completions.create(model="openclaw", messages=SAY)
            assert refused.value.code == "insufficient_scope"
        for secret, code in (("old-secret", "key_expired"), ("no-secret", "invalid_api_key")):
            async with client(gateway, secret) as sdk:
                with pytest.raises(openai.AuthenticationError, match="Incorrect API key provided") as unknown:
                    await sdk.chat.completions.create(model="openclaw", messages=SAY)
                assert unknown.value.code == code

    serving(test, agents={"main": echo, "writer": echo}, keys=KEYS)


def test_the_sdk_waits_as_it_is_told() -> None:
    async def test(gateway: Gateway) -> None:
        began = time.monotonic()
        async with client(gateway, "quick-secret", max_retries=2) as sdk:
            for _ in range(3):
                answer = await sdk.chat.completions.create(model="openclaw", messages=SAY)
                assert answer.choices[0].message.content == "Echo: hi"
            assert time.monotonic() - began > 0.9
        async with client(gateway, "quick-secret", max_retries=0) as sdk:

            async def hurry() -> None:
                for _ in range(3):
                    await sdk.chat.completions.create(model="openclaw", messages=SAY)

            with pytest.raises(openai.RateLimitError) as refused:
                await hurry()
            assert refused.value.code == "rate_limit_exceeded"
            assert refused.value.response.headers["retry-after"] == "1"

    serving(test, agents={"main": echo, "writer": echo}, keys=KEYS)
