"""A session belongs to the key that began it: another key cannot read it, nor go on with it, by whatever name."""

from __future__ import annotations

from typing import Any

import pytest
from asking import CHAT, TOKEN, Answer, ask, say, serving

from gateway import Caller, Gateway, Key, RunInput
from gateway.config import Config
from gateway.config import Gateway as Settings
from gateway.model.caller import API_SCOPES

A, B = "the-secret-of-a", "the-secret-of-b"
RESPONSES = "/v1/responses"
KEYS = {secret: Key(Caller(name, None, frozenset(API_SCOPES))) for secret, name in ((A, "a"), (B, "b"))}
EVERYBODY = (A, B, TOKEN)


async def recall(run: RunInput) -> str:
    """All that was said in this session."""
    return " | ".join(message.text for message in run.conversation if message.role == "user")


def config() -> Config:
    empty = Config()
    http = Settings().http
    on = http.endpoints.replace(
        chat_completions=http.endpoints.chat_completions.replace(enabled=True),
        responses=http.endpoints.responses.replace(enabled=True),
    )
    session = empty.session.replace(sources=("header", "chat-id", "user"))
    return empty.replace(gateway=Settings(http=http.replace(endpoints=on)), session=session)


WAYS: list[tuple[str, dict[str, str], dict[str, Any]]] = [
    ("the header", {"x-openclaw-session-key": "shared"}, {}),
    ("the header of another family", {"x-clawdbot-session-key": "agent:main:shared"}, {}),
    ("a chat id", {"X-OpenWebUI-Chat-Id": "0b5c7e1e-shared"}, {}),
    ("the user", {}, {"user": "shared"}),
    ("a user with a long name", {}, {"user": "shared" * 100}),
]


@pytest.mark.parametrize(("headers", "members"), [way[1:] for way in WAYS], ids=[way[0] for way in WAYS])
def test_the_same_name_is_another_session(headers: dict[str, str], members: dict[str, Any]) -> None:
    async def said(gateway: Gateway, token: str, text: str) -> str:
        answer = await ask(gateway, body=say(text, **members), headers=headers, token=token)
        assert answer.status == 200, answer.body
        return answer.text

    async def test(gateway: Gateway) -> None:
        for token in EVERYBODY:
            assert await said(gateway, token, f"first of {token}") == f"first of {token}"
        for token in EVERYBODY:
            assert await said(gateway, token, "second") == f"first of {token} | second"

    serving(test, config=config(), agents={"main": recall}, keys=KEYS)


@pytest.mark.parametrize("name", ["key:b:shared", "KEY:b:shared", "agent:main:key:b:shared", "key:b:agent:main:x"])
def test_a_session_of_another_cannot_be_spelt(name: str) -> None:
    async def test(gateway: Gateway) -> None:
        await ask(gateway, body=say("secret"), headers={"x-openclaw-session-key": "shared"}, token=B)
        for token in (A, TOKEN):
            answer = await ask(gateway, body=say("hi"), headers={"x-openclaw-session-key": name}, token=token)
            assert b"secret" not in answer.body
            assert answer.status == 400

    serving(test, config=config(), agents={"main": recall}, keys=KEYS)


def test_ids_that_begin_alike_share_nothing() -> None:
    keys = {name: Key(Caller(name, None, frozenset(API_SCOPES))) for name in ("a", "a:b", "a%3Ab", "A")}

    async def test(gateway: Gateway) -> None:
        for header, token in [("b:c", "a"), ("c", "a:b"), ("c", "a%3Ab"), ("b:c", "A"), ("c", "a")]:
            answer = await ask(gateway, body=say("hi"), headers={"x-openclaw-session-key": header}, token=token)
            assert answer.text == "hi", "nobody was there before"

    serving(test, config=config(), agents={"main": recall}, keys=keys)


def test_a_response_is_gone_on_with_by_its_own_key() -> None:
    async def respond(gateway: Gateway, token: str, text: str, after: str | None = None) -> Answer:
        more = {} if after is None else {"previous_response_id": after}
        return await ask(gateway, RESPONSES, body={"model": "openclaw", "input": text, **more}, token=token)

    def text_of(answer: Answer) -> str:
        assert answer.status == 200, answer.body
        text: str = answer.json["output"][0]["content"][0]["text"]
        return text

    async def test(gateway: Gateway) -> None:
        first = await respond(gateway, A, "secret")
        assert text_of(await respond(gateway, A, "more", first.json["id"])) == "secret | more"
        for token in (B, TOKEN):
            stolen = await respond(gateway, token, "more", first.json["id"])
            unknown = await respond(gateway, token, "more", "resp_" + "0" * 32)
            assert b"secret" not in stolen.body
            assert stolen.status == unknown.status
            assert stolen.status in {400, 404}
            assert stolen.error["code"] == unknown.error["code"], "not even that it exists is told"

    serving(test, config=config(), agents={"main": recall}, keys=KEYS)


def test_a_retry_with_a_key_of_its_own_is_in_the_session_of_its_caller() -> None:
    async def test(gateway: Gateway) -> None:
        for token in EVERYBODY:
            headers = {"x-openclaw-session-key": "shared", "Idempotency-Key": "same"}
            answers = [await ask(gateway, CHAT, body=say("once"), headers=headers, token=token) for _ in range(2)]
            assert [answer.text for answer in answers] == ["once", "once"]
            after = await ask(gateway, body=say("then"), headers={"x-openclaw-session-key": "shared"}, token=token)
            assert after.text == "once | then", "the turn was kept once"

    serving(test, config=config(), agents={"main": recall}, keys=KEYS)
