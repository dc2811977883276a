"""The official SDK's own retries: with `Idempotency-Key` they cost no second run."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from asking import TOKEN, serving, until
from openai import AsyncOpenAI

from gateway import AgentError, Gateway, RunInput

SAY: Any = [{"role": "user", "content": "hi"}]


class Slow:
    """An agent that takes longer than its client wants to wait."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.runs = 0
        self.cancelled = 0

    async def __call__(self, run: RunInput) -> AsyncIterator[str]:
        self.runs += 1
        number = self.runs
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        yield f"run {number}"


def client(gateway: Gateway, **options: Any) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{gateway.urls[0]}/v1", api_key=TOKEN, **options)


@pytest.mark.parametrize("keyed", [True, False])
def test_a_retry_after_a_time_out_attaches(keyed: bool) -> None:
    agent = Slow(2.5)

    async def test(gateway: Gateway) -> None:
        headers = {"Idempotency-Key": str(uuid.uuid4())} if keyed else {}
        async with client(gateway, max_retries=3, timeout=1.5) as sdk:
            if keyed:
                answer = await sdk.chat.completions.create(model="openclaw", messages=SAY, extra_headers=headers)
                assert answer.choices[0].message.content == "run 1"
                assert (agent.runs, agent.cancelled) == (1, 0)
            else:
                with pytest.raises(openai.APITimeoutError):
                    await sdk.chat.completions.create(model="openclaw", messages=SAY, extra_headers=headers)
                assert agent.runs == 4, "each try is a run of its own, and none comes to its end"
                await until(lambda: agent.cancelled == 4)

    serving(test, agents={"main": agent})


def test_a_replay_is_the_same_answer() -> None:
    agent = Slow(0)

    async def test(gateway: Gateway) -> None:
        headers = {"Idempotency-Key": "once"}
        async with client(gateway, max_retries=0) as sdk:
            create = sdk.chat.completions.with_raw_response.create
            first = await create(model="openclaw", messages=SAY, extra_headers=headers)
            again = await create(model="openclaw", messages=SAY, extra_headers=headers)
            assert first.parse() == again.parse()
            assert again.headers["idempotent-replayed"] == "true"
            with pytest.raises(openai.ConflictError) as caught:
                await create(model="openclaw", messages=SAY, extra_headers=headers, seed=1)
            assert caught.value.code == "idempotency_key_reused"
        assert agent.runs == 1

    serving(test, agents={"main": agent})


def test_a_replayed_stream() -> None:
    agent = Slow(0.3)

    async def test(gateway: Gateway) -> None:
        async with client(gateway, max_retries=0) as sdk:

            async def read(seen: int | None = None) -> list[Any]:
                stream = await sdk.chat.completions.create(
                    model="openclaw",
                    messages=SAY,
                    stream=True,
                    stream_options={"include_usage": True},
                    extra_headers={"Idempotency-Key": "stream"},
                )
                async with stream:
                    chunks = []
                    async for chunk in stream:
                        chunks.append(chunk)
                        if len(chunks) == seen:
                            break
                return chunks

            cut = await read(1)
            joined = await read()
            replayed = await read()
        assert cut == joined[:1]
        assert joined == replayed
        assert joined[-1].usage is not None
        assert (agent.runs, agent.cancelled) == (1, 0)

    serving(test, agents={"main": agent})


def test_a_retry_after_a_failure_runs_again() -> None:
    runs = 0

    async def agent(run: RunInput) -> str:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise AgentError("overloaded", status=503 if runs == 1 else 429, retry_after=0.1)
        return f"run {runs}"

    async def test(gateway: Gateway) -> None:
        async with client(gateway, max_retries=2) as sdk:
            answer = await sdk.chat.completions.create(
                model="openclaw", messages=SAY, extra_headers={"Idempotency-Key": "again"}
            )
        assert answer.choices[0].message.content == "run 3"

    serving(test, agents={"main": agent})
