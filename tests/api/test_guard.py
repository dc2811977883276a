"""Who may come in."""

from __future__ import annotations

import asyncio
import hmac
import logging
from typing import Any

import pytest
from asking import CHAT, TOKEN, ask, say, serving

from gateway import Gateway, Limits
from gateway.agents.function import echo
from gateway.api import guard

WRONG = "not-the-token-but-long-enough-to-be-seen"


def answers(headers: list[tuple[str, str]], token: str = TOKEN) -> tuple[int, dict[str, Any], str]:
    got: list[Any] = []

    async def test(gateway: Gateway) -> None:
        answer = await ask(gateway, body=say(), headers=headers, token=None)
        got.append((answer.status, answer.json, answer.headers.get("www-authenticate", "")))

    serving(test, agents={"main": echo}, token=token)
    result: tuple[int, dict[str, Any], str] = got[0]
    return result


@pytest.mark.parametrize(
    "value",
    [
        f"Bearer {TOKEN}",
        f"bearer {TOKEN}",
        f"BEARER {TOKEN}",
        f"Bearer   {TOKEN}",
        f"Bearer {TOKEN}  ",
        f" Bearer {TOKEN}",
    ],
)
def test_in(value: str) -> None:
    assert answers([("Authorization", value)])[0] == 200


@pytest.mark.parametrize("second", [TOKEN, WRONG])
def test_two_secrets_are_no_request(second: str) -> None:
    """Which of them counts would be for each reader to decide; that both are right does not matter."""
    assert answers([("Authorization", f"Bearer {TOKEN}"), ("Authorization", f"Bearer {second}")])[0] == 400


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ([], "You didn't provide an API key"),
        ([("Authorization", "")], "You didn't provide"),
        ([("Authorization", "Bearer")], "You didn't provide"),
        ([("Authorization", "Bearer  ")], "You didn't provide"),
        ([("Authorization", f"Basic {TOKEN}")], "You didn't provide"),
        ([("Authorization", TOKEN)], "You didn't provide"),
        ([("Authorization", f"Bearer{TOKEN}")], "You didn't provide"),
        ([("X-Api-Key", TOKEN)], "You didn't provide"),
        ([("Proxy-Authorization", f"Bearer {TOKEN}")], "You didn't provide"),
        ([("Authorization", f"Bearer {WRONG}")], "Incorrect API key provided"),
        ([("Authorization", f"Bearer {TOKEN.upper()}")], "Incorrect API key provided"),
        ([("Authorization", f"Bearer {TOKEN}x")], "Incorrect API key provided"),
        ([("Authorization", f"Bearer {TOKEN[:-1]}")], "Incorrect API key provided"),
        ([("Authorization", f"Bearer {TOKEN} x")], "Incorrect API key provided"),
        ([("Authorization", f'Bearer "{TOKEN}"')], "Incorrect API key provided"),
    ],
)
def test_out(headers: list[tuple[str, str]], says: str) -> None:
    status, document, challenge = answers(headers)
    assert status == 401
    assert challenge.startswith("Bearer")
    error = document["error"]
    assert says in error["message"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", None, "invalid_api_key")
    assert TOKEN not in str(document)
    assert WRONG not in str(document), "what was given is not repeated"


def test_a_token_in_the_query_is_none() -> None:
    async def test(gateway: Gateway) -> None:
        for name in ("token", "access_token", "key"):
            assert (await ask(gateway, f"{CHAT}?{name}={TOKEN}", body=say(), token=None)).status == 401

    serving(test, agents={"main": echo})


def test_a_token_beyond_ascii() -> None:
    assert answers([("Authorization", "Bearer pässwörd")], token="pässwörd")[0] == 200
    assert answers([("Authorization", "Bearer passwörd")], token="pässwörd")[0] == 401


def test_the_secret_is_told_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def test(gateway: Gateway) -> None:
        answers = [
            await ask(gateway, body=say(), token=WRONG),
            await ask(gateway, body=b"{", headers={"x-note": "1"}),
            await ask(gateway, "/v1/models", method="GET"),
            await ask(gateway, "/v1/models/nothing", method="GET"),
            await ask(gateway, "/nowhere", method="GET"),
            await ask(gateway, "/healthz", method="GET"),
        ]
        for answer in answers:
            assert TOKEN.encode() not in answer.body
            assert TOKEN not in str(answer.headers)
        assert TOKEN not in repr(gateway)

    serving(test, agents={"main": echo})
    assert TOKEN not in caplog.text
    assert WRONG not in caplog.text


def test_without_a_token_everybody_on_this_machine() -> None:
    async def test(gateway: Gateway) -> None:
        assert (await ask(gateway, body=say(), token=None)).status == 200
        assert (await ask(gateway, body=say(), token=WRONG)).status == 200

    serving(test, agents={"main": echo}, token=None)


def test_what_needs_no_token() -> None:
    async def test(gateway: Gateway) -> None:
        for path in ("/healthz", "/health", "/readyz", "/ready"):
            assert (await ask(gateway, path, method="GET", token=None)).status == 200
        for path in ("/v1/models", "/v1/models/openclaw", "/v1/models/nothing"):
            assert (await ask(gateway, path, method="GET", token=None)).status == 401

    serving(test, agents={"main": echo})


def test_who_has_shown_the_token_is_no_stranger() -> None:
    """The limit for strangers, of one connection here, counts those that have not authenticated."""

    async def held(gateway: Gateway, token: str) -> asyncio.StreamWriter:
        host, _, port = gateway.urls[0].removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        return writer

    async def test(gateway: Gateway) -> None:
        writers = [await held(gateway, TOKEN) for _ in range(3)]
        assert (await ask(gateway, "/v1/models", method="GET")).status == 200
        writers.append(await held(gateway, WRONG))
        refused = await ask(gateway, "/v1/models", method="GET")
        assert refused.status == 503
        assert "unauthenticated" in refused.error["message"]
        for writer in writers:
            writer.close()

    serving(test, agents={"main": echo}, limits=Limits(unauthenticated_per_peer=1, exempt_local=False))


@pytest.mark.parametrize("given", [b"", b"a", b"b", b"ab", b"secret", b"secreT", b"\xff", bytes(1000)])
@pytest.mark.parametrize("own", [b"", b"a", b"ab", b"secret", bytes(1000)])
def test_secrets_are_compared_as_hmac_does(given: bytes, own: bytes) -> None:
    """By what `hmac` itself takes where Python was built without OpenSSL; to import that costs the start 2 ms."""
    assert vars(guard)["compare_digest"](given, own) is hmac.compare_digest(given, own) is (given == own)
