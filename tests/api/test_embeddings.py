"""POST /v1/embeddings: requests out of their bytes, and a whole gateway between the official SDK and a provider."""

from __future__ import annotations

import asyncio
import json
from array import array
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest
from asking import TOKEN, Answer, ask
from openai import AsyncOpenAI
from openai.types import CreateEmbeddingResponse

from gateway import Gateway
from gateway.api.embeddings import Embeddings as Handler
from gateway.api.embeddings_parse import INPUTS, TOKENS, embeddings_request
from gateway.config import Config, Embeddings, Endpoints, Http, Models, Provider
from gateway.config import Gateway as GatewayConfig
from gateway.errors import ConfigError, RequestError
from gateway.model.caller import Caller
from gateway.model.embeddings import EmbeddingsRequest
from gateway.providers import embeddings as provider_embeddings

DATA = Path(__file__).parent.parent / "data" / "embeddings"
PATH = "/v1/embeddings"
KEY = "sk-of-the-provider"


def refused() -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in json.loads((DATA / "refused.json").read_text("utf-8"))]


@pytest.mark.parametrize("case", refused())
def test_what_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        embeddings_request(case["text"].encode() if "text" in case else json.dumps(case["body"]).encode())
    error = caught.value
    assert case["says"] in error.message
    assert (error.status, error.param, error.code) == (400, case.get("param"), case.get("code"))


@pytest.mark.parametrize(("given", "vectors"), [("a", 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1, 2], [3]], 2)])
def test_what_is_accepted(given: Any, vectors: int) -> None:
    body = {"input": given, "model": "m", "encoding_format": "base64", "dimensions": 3, "user": "me", "zzz": 1}
    assert embeddings_request(json.dumps(body).encode()) == EmbeddingsRequest(given, vectors, "m", True, 3, "me")
    plain = embeddings_request(json.dumps({"input": given, "encoding_format": None}).encode())
    assert plain == EmbeddingsRequest(given, vectors)


def test_limits() -> None:
    most = embeddings_request(json.dumps({"input": ["a"] * INPUTS}).encode())
    assert most.vectors == INPUTS
    tokens = embeddings_request(json.dumps({"input": [[7] * (TOKENS // 100)] * 100}).encode())
    assert tokens.vectors == 100
    for given in (["a"] * (INPUTS + 1), [[7] * TOKENS, [7]], [7] * (TOKENS + 1)):
        with pytest.raises(RequestError, match="more than") as caught:
            embeddings_request(json.dumps({"input": given}).encode())
        assert caught.value.param == "input"
    with pytest.raises(RequestError, match="512 characters"):
        embeddings_request(json.dumps({"input": "a", "model": "m" * 513}).encode())
    with pytest.raises(RequestError, match="values and keys"):
        embeddings_request(json.dumps({"input": [7] * (TOKENS * 2)}).encode())


# A provider.


def vector(number: int) -> list[float]:
    """Numbers that 32 bits hold exactly."""
    return [number + 0.5, -number / 4, 2.0**-number]


@dataclass
class Provided:
    """A provider of embeddings.  `kind`: what it does with `encoding_format`.  `before`: answers that it gives first."""

    kind: str = "both"
    before: list[bytes] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    url: str = ""

    def answer(self, asked: dict[str, Any]) -> bytes:
        if self.before:
            return self.before.pop(0)
        form = asked.get("encoding_format", "float")
        if self.kind == "refuses" and form != "float":
            return http(400, {"error": {"message": "encoding_format: unknown value", "type": "x", "code": None}})
        given = asked["input"]
        count = 1 if isinstance(given, str) or isinstance(given[0], int) else len(given)
        rows: list[Any] = [vector(number) for number in range(count)]
        if self.kind == "only base64" or (self.kind == "both" and form == "base64"):
            rows = [b64encode(array("f", row).tobytes()).decode() for row in rows]
        data = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
        return http(
            200,
            {"object": "list", "data": data, "model": "e-1", "usage": {"prompt_tokens": 5, "total_tokens": 5}},
        )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
                self.heads.append(head)
                self.asked.append(json.loads(await reader.readexactly(length)))
                writer.write(self.answer(self.asked[-1]))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def http(status: int, document: Any, headers: str = "") -> bytes:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return (
        f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )


@asynccontextmanager
async def gateway_of(provided: Provided, **settings: Any) -> AsyncIterator[Gateway]:
    server = await asyncio.start_server(provided.serve, "127.0.0.1", 0)
    provided.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    embeddings = Embeddings(enabled=True, **{"model": "acme/e-1", "models": {"ada": "acme/e-2"}, **settings})
    config = Config(
        gateway=GatewayConfig(http=Http(endpoints=Endpoints(embeddings=embeddings))),
        models=Models(providers={"acme": Provider(base_url=provided.url, api_key=KEY, max_retries=1)}),
    )

    async def agent(_: Any) -> str:
        return "never asked"

    async with Gateway(config, agents={"main": agent}, listen="127.0.0.1:0", token=TOKEN) as gateway:
        yield gateway
    server.close()


def embedding(provided: Provided, test: Callable[[Gateway], Awaitable[None]], **settings: Any) -> None:
    async def main() -> None:
        async with asyncio.timeout(20), gateway_of(provided, **settings) as gateway:
            await test(gateway)

    asyncio.run(main())


async def embed(gateway: Gateway, given: Any = "hi", **members: Any) -> Answer:
    return await ask(gateway, PATH, body={"input": given, **members})


KINDS = ["both", "only float", "refuses", "only base64"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["float", "base64", None])
def test_the_official_sdk(kind: str, form: Any) -> None:
    """`None` is base64 on the wire, which the SDK asks for by default and turns into numbers."""
    provided = Provided(kind)

    async def test(gateway: Gateway) -> None:
        async with AsyncOpenAI(base_url=f"{gateway.urls[0]}/v1", api_key=TOKEN, max_retries=0) as client:
            more = {} if form is None else {"encoding_format": form}
            for given in ("one", ["one", "two"], [1, 2, 3], [[1], [2, 3]]):
                answer = await client.embeddings.create(model="ada", input=given, dimensions=3, user="me", **more)
                vectors: list[Any] = [one.embedding for one in answer.data]
                wanted = [vector(number) for number in range(len(vectors))]
                if form == "base64":
                    assert vectors == [b64encode(array("f", one).tobytes()).decode() for one in wanted]
                else:
                    assert vectors == wanted
                assert (answer.usage.prompt_tokens, answer.usage.total_tokens, answer.model) == (5, 5, "e-1")
            assert provided.asked[-1]["input"] == [[1], [2, 3]]
            assert {**provided.asked[-1], "encoding_format": ""} == {
                "model": "e-2",
                "input": [[1], [2, 3]],
                "dimensions": 3,
                "user": "me",
                "encoding_format": "",
            }
            assert f"authorization: Bearer {KEY}".encode() in provided.heads[-1]

    embedding(provided, test)


def test_the_answer_of_the_provider_is_passed_as_it_came() -> None:
    body = b'{"object": "list", "data":[ {"object":"embedding","index":0,"embedding":[0.1, 1e-7]} ], "model": "x", "more": 1}'
    provided = Provided(before=[http(200, body)])

    async def test(gateway: Gateway) -> None:
        answer = await embed(gateway)
        assert (answer.status, answer.body) == (200, body)
        CreateEmbeddingResponse.model_validate((await embed(gateway)).json, strict=True)

    embedding(provided, test)


def test_which_model_is_asked() -> None:
    provided = Provided()

    async def test(gateway: Gateway) -> None:
        for model, asked in (
            (None, "e-1"),
            ("openclaw", "e-1"),
            ("ada", "e-2"),
            ("acme/e-3", "e-3"),
            ("acme/a/b", "a/b"),
        ):
            assert (await embed(gateway, model=model)).status == 200
            assert provided.asked[-1]["model"] == asked
        for model in ("text-embedding-3-small", "nobody/e-1", "openai/e-1"):
            answer = await embed(gateway, model=model)
            assert (answer.status, answer.error["code"]) == (404, "model_not_found"), model
        assert (await ask(gateway, PATH, body={"input": "hi"}, token=None)).status == 401
        assert (await ask(gateway, body={"messages": []})).status == 404

    embedding(provided, test)


def test_without_a_default() -> None:
    async def test(gateway: Gateway) -> None:
        answer = await embed(gateway)
        assert (answer.status, answer.error["param"]) == (400, "model")
        assert (await embed(gateway, model="openclaw")).status == 404

    embedding(Provided(), test, model=None)


def test_a_key_without_the_scope_gets_the_names_of_the_configuration_only() -> None:
    async def never(_: str, __: Any) -> bytes:
        raise AssertionError

    handler = Handler(never, "acme/e-1", {"ada": "acme/e-2"}, 1000)
    few, all_ = Caller("k", scopes=frozenset({"embeddings"})), Caller("k", scopes=frozenset({"embeddings", "model"}))
    for name in (None, "ada", "acme/e-1", "acme/e-2"):
        assert handler._find(name, few).startswith("acme/")
    assert handler._find("acme/e-3", all_) == "acme/e-3"
    with pytest.raises(RequestError) as caught:
        handler._find("acme/e-3", few)
    assert (caught.value.status, caught.value.code) == (403, "insufficient_scope")


def test_a_provider_that_fails_for_a_moment() -> None:
    provided = Provided(before=[http(503, {"error": {"message": "busy"}}, "Retry-After: 0\r\n")])

    async def test(gateway: Gateway) -> None:
        assert (await embed(gateway)).status == 200
        assert len(provided.asked) == 2

    embedding(provided, test)


@pytest.mark.parametrize(
    ("answers", "status", "code"),
    [
        (
            [http(400, {"error": {"message": "too long", "code": "context_length_exceeded"}})],
            400,
            "context_length_exceeded",
        ),
        ([http(401, {"error": {"message": f"bad key {KEY}"}})], 502, "upstream_auth"),
        ([http(404, {"error": {"message": "no such model"}})], 502, "upstream_not_found"),
        ([http(429, {"error": {"message": "slow down"}}, "Retry-After: 60\r\n")], 429, "upstream_rate_limited"),
        ([http(500, b"")] * 2, 502, "upstream_error"),
        ([http(200, b"<html>")], 502, "upstream_protocol_error"),
        ([http(200, b"[" * 100_000)], 502, "upstream_protocol_error"),
        ([http(200, {"object": "list"})], 502, "upstream_protocol_error"),
        ([http(200, {"data": [1]})], 502, "upstream_protocol_error"),
        ([http(200, {"data": []})], 502, "upstream_protocol_error"),
        ([http(200, {"data": [{"embedding": None}]})], 502, "upstream_protocol_error"),
        ([http(200, {"data": [{"embedding": "%%%"}]})], 502, "upstream_protocol_error"),
        ([http(200, {"data": [{"embedding": "AAAA"}]})], 502, "upstream_protocol_error"),
        ([http(200, {"data": [{"embedding": b64encode(b"\0\0\xc0\x7f").decode()}]})], 502, "upstream_protocol_error"),
        ([http(200, {"error": {"message": "out of memory"}})] * 2, 502, "upstream_error"),
    ],
)
def test_failures(answers: list[bytes], status: int, code: str) -> None:
    async def test(gateway: Gateway) -> None:
        answer = await embed(gateway)
        assert (answer.status, answer.error["code"]) == (status, code)
        assert KEY not in answer.error["message"]
        if status == 429:
            assert answer.headers["retry-after"] == "60"

    embedding(Provided(before=answers), test)


def test_numbers_that_are_none() -> None:
    async def test(gateway: Gateway) -> None:
        answer = await embed(gateway, encoding_format="base64")
        assert answer.error["code"] == "upstream_protocol_error"

    embedding(Provided(before=[http(200, {"data": [{"embedding": ["a"]}]})]), test)


def test_the_answer_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_embeddings, "ANSWER_BYTES", 100)

    async def test(gateway: Gateway) -> None:
        assert "more than 100 bytes" in (await embed(gateway, ["a"] * 50)).error["message"]

    embedding(Provided(), test)


def test_a_client_that_leaves_ends_the_request() -> None:
    provided = Provided(before=[b""])

    async def test(gateway: Gateway) -> None:
        async with AsyncOpenAI(base_url=f"{gateway.urls[0]}/v1", api_key=TOKEN, max_retries=0, timeout=0.3) as client:
            with pytest.raises(openai.APITimeoutError):
                await client.embeddings.create(model="ada", input="x")
        async with asyncio.timeout(5):
            while gateway.connections:
                await asyncio.sleep(0.01)

    embedding(provided, test)


def test_a_model_of_no_provider_is_told_at_the_start() -> None:
    config = Config(
        gateway=GatewayConfig(
            http=Http(endpoints=Endpoints(embeddings=Embeddings(enabled=True, models={"ada": "nobody/e-1"})))
        )
    )

    async def agent(_: Any) -> str:
        return ""

    async def main() -> None:
        with pytest.raises(ConfigError, match="nobody"):
            async with Gateway(config, agents={"main": agent}, listen="127.0.0.1:0"):
                pass

    asyncio.run(main())


def test_sent_again_the_provider_is_asked_once() -> None:
    provided = Provided(before=[http(500, {}), http(500, {})])

    async def test(gateway: Gateway) -> None:
        async def once() -> Answer:
            return await ask(gateway, PATH, body={"input": "hi"}, headers={"Idempotency-Key": "once"})

        assert (await once()).status == 502
        asked = len(provided.asked)
        first, second = await once(), await once()
        assert first.status == second.status == 200
        assert first.body == second.body
        assert second.headers["idempotent-replayed"] == "true"
        assert len(provided.asked) == asked + 1

    embedding(provided, test)
