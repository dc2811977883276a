"""POST /v1/chat/completions, through a gateway on a real socket."""

from __future__ import annotations

import asyncio
import json
import select
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from asking import CHAT, TOKEN, Answer, ask, chat, say, serving, until
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway import AgentError, Gateway, Limits, RunDone, RunFailed, RunInput, Usage
from gateway.agents.function import echo
from gateway.model.run import RunEvent
from gateway.ports import Agent
from gateway.sessions.store import MemoryStore
from gateway.testing import ScriptedAgent, counting_ids

FAMILIES = ("openclaw", "clawdbot", "moltbot", "gateway")


async def tell(run: RunInput) -> str:
    """Everything about the run, as JSON."""
    request = run.request
    return json.dumps(
        {
            "agent": run.agent_id,
            "key": run.session_key,
            "stateless": run.stateless,
            "history": [list(message[:4]) for message in run.history],
            "parameters": dict(request.parameters),
            "user": request.user,
        }
    )


def told(answer: Answer) -> Any:
    assert answer.status == 200, answer.body
    return json.loads(answer.text)


# The answer as one object.


def test_the_answer_as_a_whole() -> None:
    agent = ScriptedAgent("Hello", ", ", Usage(3, 1), "world", Usage(4, 2), RunDone("length"))

    async def test(gateway: Gateway) -> None:
        answer = await chat(gateway, model="OpenClaw/Main")
        assert answer.status == 200
        assert answer.json == {
            "id": answer.json["id"],
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": "OpenClaw/Main",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "Hello, world", "refusal": None},
                    "logprobs": None,
                    "finish_reason": "length",
                }
            ],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
        }
        ChatCompletion.model_validate(answer.json, strict=True)
        again = await chat(gateway)
        for one in (answer, again):
            assert one.json["id"].startswith("chatcmpl-")
            assert len(one.json["id"]) == len("chatcmpl-") + 32
        assert again.json["id"] != answer.json["id"]

    serving(test, agents={"main": agent}, clock=lambda: 1_700_000_000.99)


@pytest.mark.parametrize("script", [(), ("",), (Usage(1, 0),)])
def test_an_empty_answer(script: tuple[RunEvent, ...]) -> None:
    async def test(gateway: Gateway) -> None:
        answer = await chat(gateway)
        assert (answer.status, answer.text, answer.json["choices"][0]["finish_reason"]) == (200, "", "stop")
        streamed = await chat(gateway, stream=True)
        assert len(streamed.events) == 3
        assert streamed.events[1]["choices"][0]["finish_reason"] == "stop"

    serving(test, agents={"main": ScriptedAgent(*script)})


@pytest.mark.parametrize("stream", [False, True])
def test_text_of_any_kind_comes_through(stream: bool) -> None:
    text = ' "quoted" \\ \r\n\t\x00\x7f \u2028 \U0001f980 data: x\n\n'

    async def same(run: RunInput) -> str:
        return run.request.messages[-1].text + "\ud83d"

    async def test(gateway: Gateway) -> None:
        answer = await chat(gateway, text, stream=stream)
        said = answer.events[1]["choices"][0]["delta"]["content"] if stream else answer.text
        assert said == text + "?", "half of a surrogate pair cannot be sent"

    serving(test, agents={"main": same})


def test_parameters_reach_the_agent() -> None:
    async def test(gateway: Gateway) -> None:
        members: dict[str, Any] = {"temperature": 0.5, "max_tokens": 7, "stop": ["a"], "seed": 1}
        got = told(await chat(gateway, **members, top_p=None, frobnicate=1, n=1, tools=[]))
        assert got["parameters"] == members

    serving(test, agents={"main": tell})


@pytest.mark.parametrize(
    "members", [{"n": 2}, {"n": []}, {"tools": [{}]}, {"temperature": 3}, {"messages": [{"role": []}]}]
)
def test_a_bad_request_runs_nothing(members: dict[str, Any]) -> None:
    agent = ScriptedAgent("never")

    async def test(gateway: Gateway) -> None:
        for stream in (False, True):
            answer = await chat(gateway, **{**members, "stream": stream})
            assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
            assert answer.error["param"].partition("[")[0] == next(iter(members))

    serving(test, agents={"main": agent})
    assert not agent.runs


# Streams.


@pytest.mark.parametrize("asked", [None, False, True])
def test_the_grammar_of_a_stream(asked: bool | None) -> None:
    agent = ScriptedAgent("Hello", ", ", Usage(3, 1), "world", Usage(4, 2))
    options: dict[str, Any] = {} if asked is None else {"stream_options": {"include_usage": asked}}

    async def test(gateway: Gateway) -> None:
        answer = await chat(gateway, model="openclaw", stream=True, **options)
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache, no-transform"
        assert answer.headers["x-accel-buffering"] == "no"
        assert "content-length" not in answer.headers
        assert "content-encoding" not in answer.headers
        *chunks, last = answer.events
        assert last == "[DONE]"
        for chunk in chunks:
            ChatCompletionChunk.model_validate(chunk, strict=True)
        assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
        usage = chunks.pop() if asked else None
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
        assert deltas[0] == {"role": "assistant", "content": ""}
        assert deltas[1:] == [{"content": "Hello"}, {"content": ", "}, {"content": "world"}, {}]
        assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * 4 + ["stop"]
        assert all(("usage" in chunk) is bool(asked) for chunk in chunks)
        assert all(chunk.get("usage") is None for chunk in chunks)
        if usage is not None:
            assert usage["choices"] == []
            assert usage["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}

    serving(test, agents={"main": agent})


class Client:
    """A chat request whose answer is read as it comes, and which may leave at any time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.seen = b""

    @classmethod
    async def open(cls, gateway: Gateway, **members: Any) -> Client:
        host, _, port = gateway.urls[0].removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        body = json.dumps(say(**members)).encode()
        head = (
            f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        return cls(reader, writer)

    async def see(self, wanted: bytes) -> None:
        """Read until `wanted` has come."""
        async with asyncio.timeout(5):
            while wanted not in self.seen:
                piece = await self.reader.read(65_536)
                assert piece, f"the answer ended without {wanted!r}: {self.seen!r}"
                self.seen += piece

    def leave(self) -> None:
        self.writer.transport.abort()

    async def rest(self) -> bytes:
        self.seen += await asyncio.wait_for(self.reader.read(), 5)
        self.writer.close()
        return self.seen


def test_the_role_comes_before_the_agent_says_anything() -> None:
    go_on = asyncio.Event()

    async def waits(_: RunInput) -> AsyncIterator[str]:
        await go_on.wait()
        yield "at last"

    async def test(gateway: Gateway) -> None:
        client = await Client.open(gateway, stream=True)
        await client.see(b'"delta":{"role":"assistant","content":""}')
        assert b"text/event-stream" in client.seen
        go_on.set()
        await client.see(b"data: [DONE]\n\n")
        client.writer.close()

    serving(test, agents={"main": waits})


def test_the_role_leaves_before_an_agent_that_thinks_without_waiting() -> None:
    seen: list[bytes] = []

    async def test(gateway: Gateway) -> None:
        client = await Client.open(gateway, stream=True, text="think")
        sockets.append(client.writer.get_extra_info("socket").fileno())
        await client.see(b"[DONE]")
        client.writer.close()

    sockets: list[int] = []

    async def thinks(_: RunInput) -> AsyncIterator[str]:
        assert sockets
        readable = select.select(sockets, [], [], 1)[0]  # the loop stands still meanwhile
        seen.append(b"there" if readable else b"late")
        yield "thought"

    serving(test, agents={"main": thinks})
    assert seen == [b"there"]


def test_each_piece_leaves_when_it_is_made() -> None:
    steps = [asyncio.Event() for _ in range(3)]

    async def in_steps(_: RunInput) -> AsyncIterator[str]:
        for number, step in enumerate(steps):
            await step.wait()
            yield f"piece-{number}"

    async def test(gateway: Gateway) -> None:
        client = await Client.open(gateway, stream=True)
        for number, step in enumerate(steps):
            step.set()
            await client.see(f"piece-{number}".encode())
            assert f"piece-{number + 1}".encode() not in client.seen
        await client.see(b"[DONE]")
        client.writer.close()

    serving(test, agents={"main": in_steps})


def test_silence_is_bridged_by_comments() -> None:
    agent = ScriptedAgent(0.2, "one", 0.2, "two")

    async def test(gateway: Gateway) -> None:
        answer = await chat(gateway, stream=True)
        blocks = answer.body.decode().split("\n\n")
        comments = [index for index, block in enumerate(blocks) if block == ": keep-alive"]
        said = next(index for index, block in enumerate(blocks) if '"one"' in block)
        assert min(comments) < said < max(comments), "in both silences"
        assert len(answer.events) == 5, "role, two pieces, the end, [DONE]: comments are no events"

    serving(test, agents={"main": agent}, limits=Limits(silence=0.05))


def test_no_comments_where_they_are_off() -> None:
    async def test(gateway: Gateway) -> None:
        assert b": keep-alive" not in (await chat(gateway, stream=True)).body

    serving(test, agents={"main": ScriptedAgent(0.1, "one")}, limits=Limits(silence=0))


# Runs that fail.

FAILURES: list[tuple[Any, int, str, str | None]] = [
    (AgentError("not now", code="later", status=429, retry_after=1.2), 429, "later", "2"),
    (AgentError("bad gateway", code="upstream_error", status=502), 502, "upstream_error", None),
    (AgentError("too slow", code="timeout", status=504), 504, "timeout", None),
    (AgentError("no reason"), 500, "agent_error", None),
    (AgentError("overloaded", code="overloaded", status=529), 500, "overloaded", None),
    (AgentError("fine", code="odd", status=200), 500, "odd", None),
    (AgentError("never", code="never", status=503, retry_after=float("inf")), 503, "never", None),
    (RunFailed("it says so itself", "said", 503), 503, "said", None),
    (ValueError("s3cret-of-the-agent"), 500, "agent_error", None),
    (ZeroDivisionError(), 500, "agent_error", None),
    (17, 500, "agent_error", None),
    (b"bytes", 500, "agent_error", None),
    (None, 500, "agent_error", None),
]


def failing(failure: Any, before: str) -> Agent:
    async def fails(_: RunInput) -> AsyncIterator[Any]:
        if before:
            yield before
        if isinstance(failure, Exception):
            raise failure
        yield failure
        yield "never said"

    return fails


@pytest.mark.parametrize("before", ["", "so far"])
@pytest.mark.parametrize(("failure", "status", "code", "retry"), FAILURES)
def test_a_failed_run(failure: Any, status: int, code: str, retry: str | None, before: str) -> None:
    async def test(gateway: Gateway) -> None:
        answer = await chat(gateway)
        assert (answer.status, answer.error["code"], answer.headers.get("retry-after")) == (status, code, retry)
        assert answer.error["param"] is None
        streamed = await chat(gateway, stream=True, stream_options={"include_usage": True})
        assert streamed.status == 200
        *chunks, document, last = streamed.events
        assert last == "[DONE]"
        assert document["error"]["code"] == code
        assert list(document["error"]) == ["message", "type", "param", "code"]
        assert len(chunks) == (2 if before else 1)
        assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks), "a failure is no ending"
        for body in (answer.body, streamed.body):
            assert b"s3cret-of-the-agent" not in body
            assert b"never said" not in body
        assert (await ask(gateway, "/healthz", method="GET")).status == 200

    serving(test, agents={"main": failing(failure, before)})


def test_a_coroutine_that_fails() -> None:
    async def refuses(_: RunInput) -> str:
        raise AgentError("not now", code="later", status=429)

    async def nothing(_: RunInput) -> str:
        return None  # type: ignore[return-value]  # that is the fault

    def no_agent(_: RunInput) -> str:
        return "sync"

    async def test(gateway: Gateway) -> None:
        assert (await chat(gateway, model="agent:refuses")).error["code"] == "later"
        answer = await chat(gateway, model="agent:nothing")
        assert (answer.status, answer.error["code"]) == (500, "agent_error")
        assert "NoneType" in answer.error["message"]
        assert (await chat(gateway, model="agent:no_agent")).status == 500

    serving(test, agents={"refuses": refuses, "nothing": nothing, "no_agent": no_agent})


def test_what_comes_after_the_end_is_not_said() -> None:
    async def goes_on(_: RunInput) -> AsyncIterator[RunEvent]:
        yield "said"
        yield RunDone("length")
        yield "not said"
        yield RunDone("stop")

    async def test(gateway: Gateway) -> None:
        answer = await chat(gateway)
        assert (answer.text, answer.json["choices"][0]["finish_reason"]) == ("said", "length")
        streamed = await chat(gateway, stream=True)
        assert b"not said" not in streamed.body
        assert [event["choices"][0]["finish_reason"] for event in streamed.events[:-1]] == [None, None, "length"]

    serving(test, agents={"main": goes_on})


def test_clean_up_that_fails_does_not_cost_the_answer() -> None:
    async def fails_at_last(_: RunInput) -> AsyncIterator[RunEvent]:
        try:
            yield "said"
            yield RunDone()
        finally:
            raise ValueError("too late")

    async def test(gateway: Gateway) -> None:
        assert (await chat(gateway)).text == "said"
        streamed = await chat(gateway, stream=True)
        assert streamed.events[-1] == "[DONE]"
        assert streamed.events[-2]["choices"][0]["finish_reason"] == "stop"

    serving(test, agents={"main": fails_at_last})


async def connected(gateway: Gateway, number: int) -> None:
    await until(lambda: gateway.connections == number)


def test_an_answer_without_an_end() -> None:
    closed: list[str] = []

    async def endless(run: RunInput) -> AsyncIterator[str]:
        try:
            for _ in range(60):
                yield "x" * 100_000
                await asyncio.sleep(0)
        finally:
            closed.append(run.request.messages[-1].text)

    store = MemoryStore()

    async def test(gateway: Gateway) -> None:
        whole = await chat(gateway, "whole")
        assert (whole.status, whole.error["code"]) == (500, "answer_too_long")
        kept = await chat(gateway, "kept", stream=True, user="Ann")
        assert kept.events[-2]["error"]["code"] == "answer_too_long"
        assert closed == ["whole", "kept"]
        passed_on = await chat(gateway, stream=True)
        assert len(passed_on.events) == 63, "what is not held in memory may be as long as it likes"
        assert len(store) == 0

    serving(test, agents={"main": endless}, store=store)


# Which agent.


@pytest.mark.parametrize("family", FAMILIES)
def test_a_header_wins_over_the_model(family: str) -> None:
    async def test(gateway: Gateway) -> None:
        for name in (f"x-{family}-agent-id", f"X-{family.title()}-Agent-Id", f"x-{family}-agent"):
            for model in ("openclaw/main", "gpt-nothing", None):
                answer = await chat(gateway, model=model, headers={name: "Beta"})
                assert told(answer)["agent"] == "beta"
                assert answer.json["model"] == (model or "openclaw"), "the answer repeats the request's model"
        unknown = await chat(gateway, headers={f"x-{family}-agent-id": "beat"})
        assert (unknown.status, unknown.error["code"]) == (404, "model_not_found")
        assert unknown.error["param"] == f"x-{family}-agent-id"
        assert "Did you mean `openclaw/beta`?" in unknown.error["message"]
        assert told(await chat(gateway, headers={f"x-{family}-agent-id": ""}))["agent"] == "main"

    serving(test, agents={"main": tell, "beta": tell})


def test_the_precedence_of_headers() -> None:
    async def test(gateway: Gateway) -> None:
        both = {"x-clawdbot-agent-id": "main", "x-openclaw-agent-id": "beta"}
        assert told(await chat(gateway, headers=both))["agent"] == "beta"
        keys = {"x-clawdbot-session-key": "one", "x-openclaw-session-key": "two"}
        assert told(await chat(gateway, headers=keys))["key"] == "two"

    serving(test, agents={"main": tell, "beta": tell})


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["gpt-4o", "openclaw/nobody", "beta", "openclaw/", "x/default", "openclaw/beta/x"])
def test_a_model_that_does_not_exist(model: str, stream: bool) -> None:
    async def test(gateway: Gateway) -> None:
        answer = await chat(gateway, model=model, stream=stream)
        assert (answer.status, answer.error["code"], answer.error["param"]) == (404, "model_not_found", "model")
        assert f"`{model}`" in answer.error["message"]

    serving(test, agents={"main": tell, "beta": tell})


@pytest.mark.parametrize("header", ["x-openclaw-agent-id", "x-openclaw-session-key"])
def test_a_header_that_is_not_utf_8(header: str) -> None:
    async def test(gateway: Gateway) -> None:
        body = json.dumps(say()).encode()
        host, _, port = gateway.urls[0].removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n"
        head += f"Content-Length: {len(body)}\r\n{header}: "
        writer.write(head.encode() + b"\xff\r\n\r\n" + body)
        got = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        assert got.startswith(b"HTTP/1.1 400 ")
        assert f"`{header}` is not UTF-8.".encode() in got

    serving(test, agents={"main": tell})


# Which session.


def test_session_keys() -> None:
    async def test(gateway: Gateway) -> None:
        async def key(headers: dict[str, str] | None = None, **members: Any) -> tuple[str, bool]:
            got = told(await chat(gateway, headers=headers, **members))
            return got["key"], got["stateless"]

        assert await key(user=" Ann ") == ("agent:main:openai-user:Ann", False)
        assert await key(user="Ann", model="agent:beta") == ("agent:beta:openai-user:Ann", False)
        assert await key({"x-openclaw-agent-id": "beta"}, user="ann") == ("agent:beta:openai-user:ann", False)
        for family in FAMILIES:
            header = {f"x-{family}-session-key": "Agent:Main: My Key"}
            assert await key(header, user="Ann") == ("Agent:Main: My Key", False)
        fresh = [await key() for _ in range(3)]
        assert len(set(fresh)) == 3
        for value, stateless in fresh:
            assert stateless
            prefix, _, uuid = value.rpartition(":")
            assert prefix == "agent:main:openai"
            assert [len(part) for part in uuid.split("-")] == [8, 4, 4, 4, 12]
        assert (await key(user="  "))[1], "a blank user is none"

    serving(test, agents={"main": tell, "beta": tell})


@pytest.mark.parametrize("value", ["subagent:x", "CRON:x", "Acp:", "agent:main:cron:x", "agent:x:SUBAGENT:y"])
@pytest.mark.parametrize("family", ["openclaw", "clawdbot"])
def test_reserved_session_keys(value: str, family: str) -> None:
    header = f"x-{family}-session-key"

    async def test(gateway: Gateway) -> None:
        answer = await chat(gateway, headers={header: value})
        assert (answer.status, answer.error["param"]) == (400, header)
        assert "reserved" in answer.error["message"]

    serving(test, agents={"main": tell})


def test_a_session_remembers() -> None:
    store = MemoryStore()

    async def test(gateway: Gateway) -> None:
        async def history(text: str, **members: Any) -> Any:
            return told(await chat(gateway, text, **members))["history"]

        first = await chat(gateway, "one", user="Ann")
        assert told(first)["history"] == []
        second = await ask(
            gateway,
            body={
                "user": "Ann",
                "messages": [
                    {"role": "system", "content": "be brief"},
                    {"role": "developer", "content": "be kind"},
                    {"role": "user", "content": "two", "name": "Ann"},
                ],
            },
        )
        turn = [["user", "one", None, None], ["assistant", first.text, None, None]]
        assert told(second)["history"] == turn
        both = [*turn, ["user", "two", "Ann", None], ["assistant", second.text, None, None]]
        assert await history("three", user=" Ann ") == both, "instructions are not repeated"
        assert await history("four", user="ann") == []
        assert await history("five", user="Ann", model="agent:beta") == []
        assert await history("six") == []
        assert (await history("seven", headers={"x-openclaw-session-key": "agent:main:openai-user:Ann"}))[0] == turn[0]
        assert len(store) == 3, "what is stateless is not kept"

    serving(test, agents={"main": tell, "beta": tell}, store=store)


@pytest.mark.parametrize("stream", [False, True])
def test_what_failed_is_not_remembered(stream: bool) -> None:
    agent = ScriptedAgent("so far", AgentError("no"))
    store = MemoryStore()

    async def test(gateway: Gateway) -> None:
        await chat(gateway, user="Ann", stream=stream)
        await chat(gateway, user="Ann", stream=stream)
        assert [run.history for run in agent.runs] == [(), ()]
        assert len(store) == 0

    serving(test, agents={"main": agent}, store=store)


class Gauge:
    """An agent that counts how many of its runs are under way, and ends one each time it is told to."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0
        self.order: list[str] = []
        self.go_on = asyncio.Semaphore(0)

    async def __call__(self, run: RunInput) -> AsyncIterator[str]:
        self.now += 1
        self.most = max(self.most, self.now)
        self.order.append(run.request.messages[-1].text)
        try:
            await self.go_on.acquire()
            yield "done"
        finally:
            self.now -= 1


def test_runs_of_one_session_take_turns() -> None:
    agent = Gauge()

    async def test(gateway: Gateway) -> None:
        tasks = []
        for number in range(5):
            tasks.append(asyncio.create_task(chat(gateway, str(number), user="Ann", stream=number % 2 == 1)))
            await connected(gateway, number + 1)
            await asyncio.sleep(0.01)
        assert agent.order == ["0"]
        for _ in range(5):
            agent.go_on.release()
        assert [answer.status for answer in await asyncio.gather(*tasks)] == [200] * 5
        assert agent.order == ["0", "1", "2", "3", "4"]
        assert agent.most == 1

    serving(test, agents={"main": agent})


def test_runs_of_different_sessions_do_not_wait() -> None:
    agent = Gauge()

    async def test(gateway: Gateway) -> None:
        users: list[dict[str, Any]] = [{"user": "Ann"}, {"user": "ann"}, {}, {}, {"user": "Ann", "model": "agent:beta"}]
        tasks = [asyncio.create_task(chat(gateway, **members)) for members in users]
        await until(lambda: agent.now == 5)
        for _ in users:
            agent.go_on.release()
        assert [answer.status for answer in await asyncio.gather(*tasks)] == [200] * 5

    serving(test, agents={"main": agent, "beta": agent})


def test_a_session_too_many_wait_for() -> None:
    agent = Gauge()

    async def test(gateway: Gateway) -> None:
        tasks = [asyncio.create_task(chat(gateway, user="Ann")) for _ in range(65)]
        await until(lambda: gateway.connections == 65)
        await asyncio.sleep(0.1)
        refused = await chat(gateway, user="Ann")
        assert (refused.status, refused.error["code"], refused.headers["retry-after"]) == (409, "session_busy", "1")
        streamed = await chat(gateway, user="Ann", stream=True)
        assert streamed.events[-2]["error"]["code"] == "session_busy"
        for _ in tasks:
            agent.go_on.release()
        assert {answer.status for answer in await asyncio.gather(*tasks)} == {200}

    serving(test, agents={"main": agent})


# The client leaves.


class Patient:
    """An agent that tells what happens to it."""

    def __init__(self, kind: str) -> None:
        self.seen: list[str] = []
        self._kind = kind

    def __call__(self, run: RunInput) -> Any:
        return {"generator": self._generator, "talking": self._talking, "coroutine": self._coroutine}[self._kind](run)

    async def _generator(self, run: RunInput) -> AsyncIterator[str]:
        yield await self._coroutine(run)

    async def _talking(self, run: RunInput) -> AsyncIterator[str]:
        self.seen.append("started")
        try:
            while True:
                yield "on and on "
                await asyncio.sleep(0.001)
        except (asyncio.CancelledError, GeneratorExit):
            self.seen.append("cancelled")
            raise

    async def _coroutine(self, _: RunInput) -> str:
        self.seen.append("started")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.seen.append("cancelled")
            raise
        return "never"


@pytest.mark.parametrize("members", [{}, {"user": "Ann"}])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ["generator", "coroutine", "talking"])
def test_a_client_that_leaves_ends_its_run(kind: str, stream: bool, members: dict[str, str]) -> None:
    agent = Patient(kind)
    store = MemoryStore()

    async def test(gateway: Gateway) -> None:
        client = await Client.open(gateway, stream=stream, **members)
        await until(lambda: agent.seen)
        assert gateway.runs.active == 1
        client.leave()
        await until(lambda: agent.seen == ["started", "cancelled"])
        await until(lambda: gateway.connections == 0)
        assert gateway.runs.active == 0
        assert len(store) == 0
        quick = await Client.open(gateway, **members, model="agent:quick")  # its session is free again
        await quick.see(b"Echo: hi")
        quick.leave()

    serving(test, agents={"main": agent, "quick": echo}, store=store)


def test_a_client_that_leaves_its_queue() -> None:
    agent = Gauge()

    async def test(gateway: Gateway) -> None:
        first = await Client.open(gateway, user="Ann")
        await until(lambda: agent.now == 1)
        second = await Client.open(gateway, user="Ann")
        await until(lambda: gateway.connections == 2)
        third = await Client.open(gateway, user="Ann", text="third")
        await until(lambda: gateway.connections == 3)
        await asyncio.sleep(0.02)
        second.leave()
        await until(lambda: gateway.connections == 2)
        agent.go_on.release()
        agent.go_on.release()
        await first.see(b"done")
        await third.see(b"done")
        assert agent.order == ["hi", "third"]
        first.leave()
        third.leave()

    serving(test, agents={"main": agent})


# The gateway stops.


def stopped(agent: Agent, check: Callable[[list[bytes]], None], *requests: dict[str, Any]) -> None:
    """Drain a gateway whose runs do not end by themselves, and check what their clients got."""

    async def test(gateway: Gateway) -> None:
        clients = []
        for number, members in enumerate(requests):
            clients.append(await Client.open(gateway, **members))
            await connected(gateway, number + 1)
            await asyncio.sleep(0.02)
        reading = [asyncio.create_task(client.rest()) for client in clients]
        await asyncio.sleep(0.05)
        await gateway.drain(0.05)
        check(await asyncio.gather(*reading))

    serving(test, agents={"main": agent})


def shut_down(got: list[bytes]) -> None:
    for data in got:
        if b"text/event-stream" in data:
            assert data.startswith(b"HTTP/1.1 200 ")
            assert b'"code": "shutting_down"' in data or b'"code":"shutting_down"' in data
            assert data.index(b"shutting_down") < data.index(b"data: [DONE]")
            assert b'"finish_reason":"stop"' not in data
        else:
            assert data.startswith(b"HTTP/1.1 503 "), data
            assert b"shutting_down" in data


@pytest.mark.parametrize("kind", ["generator", "coroutine", "talking"])
def test_stopping_tells_the_clients(kind: str) -> None:
    agent = Patient(kind)
    stopped(agent, shut_down, {}, {"stream": True}, {"user": "Ann", "stream": True}, {"user": "Bob"})
    assert agent.seen.count("cancelled") == 4


def test_stopping_tells_those_who_wait_for_their_session() -> None:
    agent = Patient("coroutine")
    stopped(agent, shut_down, *({"user": "Ann", "stream": stream} for stream in (False, True, False)))
    assert agent.seen == ["started", "cancelled"], "no run begins once all were stopped"


def test_stopping_an_agent_that_never_waits() -> None:
    ended: list[str] = []

    async def flood(_: RunInput) -> AsyncIterator[str]:
        try:
            while True:
                yield "x" * 1000
        finally:
            ended.append("closed")

    stopped(flood, shut_down, {"stream": True})
    assert ended == ["closed"]


def test_ids_are_injected() -> None:
    async def test(gateway: Gateway) -> None:
        answer = await chat(gateway)
        assert set(answer.json["id"].removeprefix("chatcmpl-")) <= set("0123456789abcdef")
        assert answer.json["id"].removeprefix("chatcmpl-").startswith("0" * 24)

    serving(test, agents={"main": echo}, ids=counting_ids())
