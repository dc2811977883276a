"""`Idempotency-Key`: one run, however often it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asking import CHAT, TOKEN, Answer, ask, parse, say, serving, until

from gateway import AgentError, Caller, Gateway, Key, RunDone, RunInput
from gateway.api.idempotency import IdempotencyLimits
from gateway.config import ChatCompletions, Config, Endpoints, Http
from gateway.config import Gateway as Settings
from gateway.model.caller import API_SCOPES

KEY = "4dd6e5a2-once"


class Counting:
    """An agent that tells how often it ran, and waits between its two words until `go` is set."""

    def __init__(self, *, waits: bool = False) -> None:
        self.runs: list[RunInput] = []
        self.cancelled = 0
        self.go = asyncio.Event()
        self._waits = waits

    async def __call__(self, run: RunInput) -> AsyncIterator[Any]:
        self.runs.append(run)
        number = len(self.runs)
        try:
            yield f"run {number} "
            if self._waits:
                await self.go.wait()
            yield "ended"
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise


def store(gateway: Gateway) -> Any:
    """The answers that a gateway keeps, once there was a request with the header."""
    return gateway._answers


async def once(gateway: Gateway, text: str = "hi", key: str = KEY, token: str = TOKEN, **more: Any) -> Answer:
    headers = {"Idempotency-Key": key, **more.pop("headers", {})}
    return await ask(gateway, body=say(text, **more), headers=headers, token=token)


async def begun(gateway: Gateway, key: str = KEY, **more: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request under way, on a connection that the test holds."""
    import json

    host, _, port = gateway.urls[0].removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps(say(**more)).encode()
    head = (
        f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nIdempotency-Key: {key}\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()
    return reader, writer


@pytest.mark.parametrize("stream", [False, True])
def test_a_complete_answer_is_replayed(stream: bool) -> None:
    agent = Counting()

    async def test(gateway: Gateway) -> None:
        first = await once(gateway, stream=stream)
        second = await once(gateway, stream=stream)
        assert first.status == second.status == 200
        assert first.body == second.body
        assert first.headers["content-type"] == second.headers["content-type"]
        assert first.headers["cache-control"] == second.headers["cache-control"]
        assert "idempotent-replayed" not in first.headers
        assert second.headers["idempotent-replayed"] == "true"
        assert first.headers["x-request-id"] != second.headers["x-request-id"]
        assert len(agent.runs) == 1
        assert (await once(gateway, key="another", stream=stream)).body != first.body
        assert (await ask(gateway, body=say())).text == "run 3 ended"
        assert len(agent.runs) == 3

    serving(test, agents={"main": agent})


@pytest.mark.parametrize("stream", [False, True])
def test_who_comes_while_it_is_under_way_gets_the_same_answer(stream: bool) -> None:
    agent = Counting(waits=True)

    async def test(gateway: Gateway) -> None:
        first = asyncio.create_task(once(gateway, stream=stream))
        await until(lambda: agent.runs)
        others = [asyncio.create_task(once(gateway, stream=stream)) for _ in range(5)]
        await until(lambda: [recording.readers for recording in store(gateway)._answers.values()] == [6])
        agent.go.set()
        answer = await first
        assert answer.status == 200
        for other in await asyncio.gather(*others):
            assert other.body == answer.body
            assert "idempotent-replayed" not in other.headers
        assert len(agent.runs) == 1

    serving(test, agents={"main": agent})


def test_who_comes_later_reads_a_stream_from_its_beginning() -> None:
    agent = Counting(waits=True)

    async def test(gateway: Gateway) -> None:
        reader, writer = await begun(gateway, stream=True)
        head = await reader.readuntil(b'"run 1 "')
        assert b"idempotent" not in head
        other, other_writer = await begun(gateway, stream=True)
        assert (await asyncio.wait_for(other.readuntil(b'"run 1 "'), 5)).count(b"chat.completion.chunk") == 2
        agent.go.set()
        rest, other_rest = await reader.read(), await other.read()
        assert rest == other_rest
        assert rest.endswith(b"0\r\n\r\n")
        for one in (writer, other_writer):
            one.close()

    serving(test, agents={"main": agent})


@pytest.mark.parametrize("stream", [False, True])
def test_the_first_may_leave(stream: bool) -> None:
    agent = Counting(waits=True)

    async def test(gateway: Gateway) -> None:
        _, writer = await begun(gateway, stream=stream)
        await until(lambda: agent.runs)
        second = asyncio.create_task(once(gateway, "hi", stream=stream))
        await until(lambda: next(iter(store(gateway)._answers.values())).readers == 2)
        writer.transport.abort()
        await until(lambda: next(iter(store(gateway)._answers.values())).readers == 1)
        agent.go.set()
        answer = await second
        assert answer.status == 200
        assert b"ended" in answer.body
        assert (len(agent.runs), agent.cancelled) == (1, 0)

    serving(test, agents={"main": agent})


def test_it_goes_on_for_a_while_when_all_have_left(short: IdempotencyLimits) -> None:
    agent = Counting(waits=True)

    async def test(gateway: Gateway) -> None:
        _, writer = await begun(gateway)
        await until(lambda: agent.runs)
        writer.transport.abort()
        await until(lambda: not next(iter(store(gateway)._answers.values())).readers)
        again = asyncio.create_task(once(gateway))
        await until(lambda: next(iter(store(gateway)._answers.values())).readers)
        await asyncio.sleep(short.grace * 2)
        agent.go.set()
        assert (await again).text == "run 1 ended"
        assert (len(agent.runs), agent.cancelled) == (1, 0)

    serving(test, agents={"main": agent})


def test_and_then_it_ends(short: IdempotencyLimits) -> None:
    assert short.grace < 1
    agent = Counting(waits=True)

    async def test(gateway: Gateway) -> None:
        _, writer = await begun(gateway, stream=True)
        await until(lambda: agent.runs)
        writer.transport.abort()
        await until(lambda: agent.cancelled)
        await until(lambda: not gateway.runs.active)
        assert len(store(gateway)) == store(gateway).size == 0
        agent.go.set()
        assert (await once(gateway)).text == "run 2 ended"

    serving(test, agents={"main": agent})


def test_an_answer_is_forgotten_in_the_end(short: IdempotencyLimits) -> None:
    agent = Counting()

    async def test(gateway: Gateway) -> None:
        assert (await once(gateway)).text == "run 1 ended"
        assert store(gateway).size > 100
        answers = store(gateway)
        await until(lambda: not len(answers))
        assert answers.size == 0
        assert (await once(gateway)).text == "run 2 ended"
        assert store(gateway) is answers

    serving(test, agents={"main": agent})


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> IdempotencyLimits:
    limits = IdempotencyLimits(grace=0.3, answer_kept=0.3)
    monkeypatch.setattr("gateway.api.idempotency.IdempotencyLimits", lambda: limits)
    return limits


@pytest.mark.parametrize(
    "other",
    [
        {"text": "something else"},
        {"stream": True},
        {"headers": {"x-openclaw-agent-id": "main"}},
        {"headers": {"x-clawdbot-session-key": "mine"}},
        {"headers": {"x-openclaw-model": "a/b"}},
        {"headers": {"x-chat-id": "c1"}},
    ],
)
def test_another_request_with_the_same_key(other: dict[str, Any]) -> None:
    agent = Counting()

    async def test(gateway: Gateway) -> None:
        assert (await once(gateway)).status == 200
        refused = await once(gateway, **other)
        assert refused.status == 409
        assert (refused.error["code"], refused.error["param"]) == ("idempotency_key_reused", "Idempotency-Key")
        assert (await once(gateway, headers={"x-stainless-retry-count": "1"})).headers["idempotent-replayed"]
        assert len(agent.runs) == 1

    session = Config().session.replace(sources=("header", "chat-id", "user"))
    endpoints = Endpoints(chat_completions=ChatCompletions(enabled=True))
    config = Config(gateway=Settings(http=Http(endpoints=endpoints)), session=session)
    serving(test, config=config, agents={"main": agent})


@pytest.mark.parametrize("key", ["", "a b", "ä", "x" * 256, "tab\there"])
def test_what_is_no_key(key: str) -> None:
    async def test(gateway: Gateway) -> None:
        refused = await once(gateway, key=key)
        assert refused.status == 400
        assert refused.error["param"] == "Idempotency-Key"
        both = await ask(gateway, body=say(), headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")])
        assert both.status == 400
        assert (await once(gateway, key="x" * 255)).status == 200

    serving(test, agents={"main": Counting()})


def test_each_caller_has_its_own() -> None:
    agent = Counting()
    keys = {name: Key(Caller(name, None, frozenset(API_SCOPES))) for name in ("a", "b")}

    async def test(gateway: Gateway) -> None:
        texts = [(await once(gateway, token=token)).text for token in ("a", "b", TOKEN, "a", "b", TOKEN)]
        assert texts == ["run 1 ended", "run 2 ended", "run 3 ended"] * 2
        assert (await once(gateway, token="nobody")).status == 401

    serving(test, agents={"main": agent}, keys=keys)


def test_failures_are_tried_again() -> None:
    outcomes: list[Any] = []

    async def agent(run: RunInput) -> AsyncIterator[Any]:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        yield outcome

    async def test(gateway: Gateway) -> None:
        for status in (429, 409, 500, 502, 503, 504):
            for stream in (False, True):
                outcomes[:] = [AgentError("not now", status=status), "well"]
                key = f"{status}-{stream}"
                failed = await once(gateway, key=key, stream=stream)
                assert failed.status == (200 if stream else status)
                assert b"not now" in failed.body
                assert b"well" in (await once(gateway, key=key, stream=stream)).body
                again = await once(gateway, key=key, stream=stream)
                assert again.headers["idempotent-replayed"] == "true"
        outcomes[:] = ["well"]
        assert (await once(gateway, key="bad", model="nothing")).status == 404
        assert (await once(gateway, key="bad")).status == 200, "a request that was refused has not used the key"
        assert len(store(gateway)) == 13

    serving(test, agents={"main": agent})


def test_refusals_look_as_ever() -> None:
    async def test(gateway: Gateway) -> None:
        broken = await ask(gateway, body=b"{", headers={"Idempotency-Key": KEY})
        assert (broken.status, broken.error["type"]) == (400, "invalid_request_error")
        assert len(store(gateway)) == 0
        assert (await ask(gateway, "/v1/models", method="GET", headers={"Idempotency-Key": KEY})).status == 200

    serving(test, agents={"main": Counting()})


def test_an_agent_that_is_broken(caplog: pytest.LogCaptureFixture) -> None:
    async def agent(run: RunInput) -> str:
        raise ValueError("a secret")

    async def test(gateway: Gateway) -> None:
        assert (await once(gateway)).status == 500
        assert len(store(gateway)) == 0

    serving(test, agents={"main": agent})
    assert caplog.text.count("Traceback") == 1


def limited(monkeypatch: pytest.MonkeyPatch, **limits: Any) -> None:
    monkeypatch.setattr("gateway.api.idempotency.IdempotencyLimits", lambda: IdempotencyLimits(**limits))


def test_an_answer_that_is_too_large_is_given_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, answer_bytes=20_000)
    runs = []

    async def agent(run: RunInput) -> AsyncIterator[str]:
        runs.append(run)
        for _ in range(400):
            yield "x" * 1000

    async def test(gateway: Gateway) -> None:
        for stream in (False, True):
            for _ in range(2):
                answer = await once(gateway, key=str(stream), stream=stream)
                assert answer.status == 200
                assert answer.body.count(b"x" * 1000) == 400
                assert store(gateway).size == len(store(gateway)) == 0
        assert len(runs) == 4

    serving(test, agents={"main": agent})


def test_a_slow_reader_holds_nobody_up_and_nothing_piles_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the answer is kept the others go on; beyond that it waits for who is slow, in bounded memory."""
    limited(monkeypatch, answer_bytes=4_000_000)
    said = 0
    go = asyncio.Event()

    async def agent(run: RunInput) -> AsyncIterator[str]:
        nonlocal said
        await go.wait()
        for _ in range(3000):
            yield "x" * 10_000
            said += 10_000

    async def test(gateway: Gateway) -> None:
        slow, writer = await begun(gateway, stream=True)
        quick, other = await begun(gateway, stream=True)
        await until(lambda: next(iter(store(gateway)._answers.values())).readers == 2)
        recording = next(iter(store(gateway)._answers.values()))
        go.set()
        read = 0
        while read < 3_500_000:  # the slow one reads nothing at all
            read += len(await asyncio.wait_for(quick.read(65_536), 5))

        async def drain() -> None:
            while await quick.read(65_536):
                pass

        draining = asyncio.create_task(drain())
        await until(lambda: recording.full)
        await asyncio.sleep(0.2)
        before = said
        await asyncio.sleep(0.2)
        assert said == before, "the agent waits for the slow one"
        assert recording._unread < 4_300_000
        writer.transport.abort()  # or is cut off by the time limit on writes
        await asyncio.wait_for(draining, 20)
        assert said == 30_000_000
        assert len(store(gateway)) == 0
        del slow
        other.close()

    serving(test, agents={"main": agent})


def test_all_of_them_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, answers_bytes=20_000, answers=50)

    async def agent(run: RunInput) -> str:
        return "x" * int(run.request.messages[-1].text)

    async def test(gateway: Gateway) -> None:
        for number in range(30):
            assert (await once(gateway, "1500", key=f"large-{number}")).status == 200
            assert store(gateway).size <= 20_000
        assert 5 < len(store(gateway)) < 14
        assert "idempotent-replayed" in (await once(gateway, "1500", key="large-29")).headers
        assert "idempotent-replayed" not in (await once(gateway, "1500", key="large-0")).headers
        for number in range(60):
            assert (await once(gateway, "1", key=f"small-{number}")).status == 200
            assert len(store(gateway)) <= 50
        assert (await once(gateway, "30000", key="huge")).status == 200
        assert store(gateway).size <= 20_000

    serving(test, agents={"main": agent})


def test_beyond_the_number_requests_run_as_without_the_header(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, answers=2)
    agent = Counting(waits=True)

    async def test(gateway: Gateway) -> None:
        tasks = [asyncio.create_task(once(gateway, key=key)) for key in ("a", "b", "c", "c")]
        await until(lambda: len(agent.runs) == 4)
        assert len(store(gateway)) == 2
        _, writer = await begun(gateway, key="d")
        await until(lambda: len(agent.runs) == 5)
        writer.transport.abort()
        await until(lambda: agent.cancelled == 1)
        agent.go.set()
        assert [answer.status for answer in await asyncio.gather(*tasks)] == [200] * 4

    serving(test, agents={"main": agent})


def test_a_drain_ends_it_like_others() -> None:
    agent = Counting(waits=True)

    async def test(gateway: Gateway) -> None:
        reader, writer = await begun(gateway, stream=True)
        whole = asyncio.create_task(once(gateway, key="whole"))
        await until(lambda: len(agent.runs) == 2)
        await gateway.drain(0.05)
        answer = parse(await asyncio.wait_for(reader.read(), 5))
        assert answer.events[-2]["error"]["code"] == "shutting_down"
        assert answer.events[-1] == "[DONE]"
        assert (await whole).status == 503
        writer.close()

    serving(test, agents={"main": agent})


def test_the_end_of_the_gateway_ends_what_nobody_waits_for() -> None:
    agent = Counting(waits=True)

    async def test(gateway: Gateway) -> None:
        _, writer = await begun(gateway)
        await until(lambda: agent.runs)
        writer.transport.abort()
        await until(lambda: not next(iter(store(gateway)._answers.values())).readers)
        await gateway.aclose()
        assert agent.cancelled == 1

    serving(test, agents={"main": agent})


def test_silence_is_bridged_for_everybody() -> None:
    from gateway import Limits

    async def agent(run: RunInput) -> AsyncIterator[Any]:
        await asyncio.sleep(0.5)
        yield RunDone()

    async def test(gateway: Gateway) -> None:
        answers = await asyncio.gather(*(once(gateway, stream=True) for _ in range(3)))
        for answer in answers:
            assert b": keep-alive\n\n" in answer.body
        assert b": keep-alive" not in (await once(gateway, stream=True)).body

    serving(test, agents={"main": agent}, limits=Limits(silence=0.1))


def test_a_run_that_outlasts_the_gateway(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It will not be cancelled: it ends in its own time, into nothing."""
    monkeypatch.setattr("gateway.api.idempotency.PATIENCE", 0.05)
    began, ended = asyncio.Event(), asyncio.Event()

    async def agent(run: RunInput) -> str:
        began.set()
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            await asyncio.sleep(0.3)
        ended.set()
        return "too late"

    async def test(gateway: Gateway) -> None:
        _, writer = await begun(gateway)
        await began.wait()
        writer.transport.abort()
        await gateway.aclose()
        answers = store(gateway)
        assert not ended.is_set()
        assert len(answers) == answers.size == 0
        await asyncio.wait_for(ended.wait(), 5)
        await until(lambda: not answers._tasks)
        assert len(answers) == answers.size == len(answers._kept) == 0

    serving(test, agents={"main": agent})
    assert "never retrieved" not in caplog.text
