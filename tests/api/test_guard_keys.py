"""Keys of single clients: who gets in, with what, and how often."""

from __future__ import annotations

import asyncio
import logging
from random import Random
from typing import Any

import pytest
from asking import CHAT, TOKEN, Answer, ask, say, serving

from gateway import AgentError, Caller, ChatRequest, ConfigError, Gateway, Key, Message, Rate, RunFailed, RunInput
from gateway.agents.function import echo
from gateway.api.keys import Keyring, Rates, keyring
from gateway.config import Auth, Config
from gateway.config import Gateway as Settings
from gateway.config import Key as KeyOptions
from gateway.errors import RequestError
from gateway.model.caller import API_SCOPES, SCOPES
from gateway.testing import ScriptedAgent

A, B = "the-secret-of-a", "the-secret-of-b"
API = frozenset(API_SCOPES)
AGENTS: dict[str, Any] = {"main": echo, "other": echo, "third": echo}


def keys(**more: Any) -> dict[str, Key]:
    return {A: Key(Caller("a", None, API), **more), B: Key(Caller("b", frozenset({"other"}), API))}


async def asked(gateway: Gateway, token: str | None, text: str = "hi", **members: Any) -> Answer:
    return await ask(gateway, body=say(text, **members), token=token)


@pytest.mark.parametrize("token", [TOKEN, None])
def test_a_key_is_as_good_as_the_secret(token: str | None) -> None:
    async def test(gateway: Gateway) -> None:
        assert (await asked(gateway, A)).status == 200
        assert (await asked(gateway, TOKEN)).status == (200 if token else 401)
        for wrong in ("nothing", A[:-1], f"{A}x", A.upper(), ""):
            refused = await asked(gateway, wrong)
            assert refused.status == 401
            assert refused.error["code"] == "invalid_api_key"
        assert (await asked(gateway, None)).status == 401
        empty = await ask(gateway, body=say(), token=None, headers={"authorization": ""})
        assert empty.status == 401, "no secret is no secret"

    serving(test, agents=AGENTS, token=token, keys=keys())


def test_no_keys_at_all_let_nobody_in() -> None:
    async def test(gateway: Gateway) -> None:
        assert (await asked(gateway, None)).status == 401
        assert (await asked(gateway, A)).status == 401

    serving(test, agents=AGENTS, token=None, keys={})


def test_keys_alone_may_listen_to_the_network() -> None:
    Gateway(agents=AGENTS, listen="0.0.0.0:0", keys=keys())
    with pytest.raises(ConfigError, match="without a token"):
        Gateway(agents=AGENTS, listen="0.0.0.0:0")


def test_its_agents() -> None:
    async def test(gateway: Gateway) -> None:
        assert (await asked(gateway, B, model="openclaw/other")).status == 200
        for refused in (
            await asked(gateway, B),
            await asked(gateway, B, model="openclaw/third"),
            await ask(gateway, body=say(model="openclaw/other"), token=B, headers={"x-openclaw-agent-id": "main"}),
        ):
            assert refused.status == 403
            assert refused.error["code"] == "agent_not_allowed"
            assert "It may use: openclaw/other." in refused.error["message"]
        unknown = await asked(gateway, B, model="openclaw/thirt")
        assert unknown.status == 404
        assert "third" not in unknown.error["message"], "what it may not use is not told"

    serving(test, agents=AGENTS, keys=keys())


def test_no_run_begins_for_a_key_that_may_not_use_the_agent() -> None:
    """Whatever asks for it: routes look at the caller, and the run looks again."""
    caller, request = Caller("b", frozenset({"other"}), API), ChatRequest((Message("user", "hi"),))

    async def test(gateway: Gateway) -> None:
        refused = await gateway.runs.answer(RunInput("1" * 32, "main", None, request, caller=caller))
        assert isinstance(refused.ending, RunFailed)
        assert (refused.ending.status, refused.ending.code) == (403, "agent_not_allowed")
        with pytest.raises(AgentError, match="may not use the agent `main`"):
            gateway.runs.run(RunInput("2" * 32, "main", None, request, caller=caller))
        allowed = await gateway.runs.answer(RunInput("3" * 32, "other", None, request, caller=caller))
        assert allowed.text == "Echo: hi"

    serving(test, agents=AGENTS)


def test_it_sees_the_models_that_it_may_use() -> None:
    async def test(gateway: Gateway) -> None:
        async def models(token: str) -> list[str]:
            answer = await ask(gateway, "/v1/models", method="GET", token=token)
            return [row["id"] for row in answer.json["data"]]

        everything = ["openclaw", "openclaw/default", "openclaw/main", "openclaw/other", "openclaw/third"]
        assert await models(TOKEN) == await models(A) == everything
        assert await models(B) == ["openclaw/other"]
        assert (await ask(gateway, "/v1/models/openclaw/other", method="GET", token=B)).status == 200
        assert (await ask(gateway, "/v1/models/openclaw/third", method="GET", token=B)).status == 404

    serving(test, agents=AGENTS, keys=keys())


def test_its_scopes() -> None:
    only = {scope: Key(Caller(scope, None, frozenset({scope}))) for scope in SCOPES}

    async def test(gateway: Gateway) -> None:
        for scope in SCOPES:
            chat = await asked(gateway, scope)
            listed = await ask(gateway, "/v1/models", method="GET", token=scope)
            assert chat.status == (200 if scope == "chat" else 403)
            assert listed.status == (200 if scope == "models" else 403)
            if scope != "chat":
                assert (chat.error["type"], chat.error["code"]) == ("permission_error", "insufficient_scope")
                assert "`chat`" in chat.error["message"]
        assert (await ask(gateway, "/nowhere", method="GET", token="chat")).status == 404

    serving(test, agents=AGENTS, keys=only)


def test_a_websocket_needs_the_operator() -> None:
    async def link(_: Any) -> None:
        raise AssertionError("it must not be opened")

    async def test(gateway: Gateway) -> None:
        assert (await ask(gateway, "/ws", method="GET", token=A)).status == 403
        assert (await ask(gateway, "/ws", method="GET")).status == 426, "past the guard: it is no handshake"

    serving(test, agents=AGENTS, keys=keys(), links={"/ws": link})


def test_its_end_is_told_to_those_who_know_it() -> None:
    now = [1000.0]

    async def test(gateway: Gateway) -> None:
        assert (await asked(gateway, A)).status == 200
        now[0] = 1500.0
        expired = await asked(gateway, A)
        assert (expired.status, expired.error["code"]) == (401, "key_expired")
        assert expired.headers["www-authenticate"].startswith("Bearer")
        wrong = await asked(gateway, f"{A}x")
        assert (wrong.status, wrong.error["code"]) == (401, "invalid_api_key")
        assert (await asked(gateway, B, model="openclaw/other")).status == 200

    serving(test, agents=AGENTS, keys=keys(expires=1500.0), clock=lambda: now[0])


def test_its_rate() -> None:
    async def test(gateway: Gateway) -> None:
        first = await asked(gateway, A)
        assert first.status == 200
        assert first.headers["x-ratelimit-limit-requests"] == "2"
        assert first.headers["x-ratelimit-remaining-requests"] == "1"
        assert first.headers["x-ratelimit-reset-requests"] in {"5m0s", "4m60s"}
        stream = await asked(gateway, A, stream=True)
        assert stream.status == 200
        assert stream.headers["x-ratelimit-remaining-requests"] == "0"
        refused = await asked(gateway, A)
        assert refused.status == 429
        assert (refused.error["type"], refused.error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
        assert 290 <= int(refused.headers["retry-after"]) <= 300
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        other = await asked(gateway, B, model="openclaw/other")
        assert other.status == 200
        assert "x-ratelimit-limit-requests" not in other.headers

    serving(test, agents=AGENTS, keys=keys(rate=Rate(2, 600.0)))


def test_a_bucket_fills_evenly_and_to_its_brim() -> None:
    now = [0.0]
    rates, rate = Rates(lambda: now[0]), Rate(3, 30.0)

    def left() -> int | None:
        try:
            return int(dict(rates.take("a", rate))[b"x-ratelimit-remaining-requests"])
        except RequestError:
            return None

    assert [left(), left(), left(), left()] == [2, 1, 0, None]
    now[0] = 9.0
    assert left() is None
    now[0] = 10.0
    assert [left(), left()] == [0, None], "what was refused costs nothing"
    now[0] = 1000.0
    assert [left(), left(), left(), left()] == [2, 1, 0, None]
    assert dict(rates.take("b", rate))[b"x-ratelimit-remaining-requests"] == b"2"
    assert dict(rates.take("a", Rate(9, 30.0)))[b"x-ratelimit-remaining-requests"] == b"8", "another rate since"


@pytest.mark.parametrize("seed", range(20))
def test_in_no_stretch_of_time_is_more_granted_than_the_rate_says(seed: int) -> None:
    random = Random(seed)
    rate = Rate(random.randint(1, 10), random.choice((1.0, 7.0, 60.0)))
    now, granted = [0.0], []
    rates = Rates(lambda: now[0])
    for _ in range(400):
        now[0] += random.choice((0.0, 0.01, 0.3, 5.0)) * random.random()
        try:
            rates.take("a", rate)
        except RequestError as error:
            now[0] += int(dict(error.headers)[b"retry-after"])
            rates.take("a", rate)  # who waits as told is let in
        granted.append(now[0])
    for first, begin in enumerate(granted):
        for last in range(first, len(granted)):
            most = rate.requests + (granted[last] - begin) * rate.requests / rate.seconds
            assert last - first + 1 <= most + 1e-6


@pytest.mark.parametrize(
    ("rate", "reset"),
    [
        (Rate(60, 60.0), b"1s"),
        (Rate(5, 1.0), b"200ms"),
        (Rate(7, 60.0), b"8.57s"),
        (Rate(10, 3600.0), b"6m0s"),
        (Rate(1, 86_400.0), b"1440m0s"),
    ],
)
def test_how_long_until_it_is_full(rate: Rate, reset: bytes) -> None:
    assert dict(Rates(lambda: 0.0).take("a", rate))[b"x-ratelimit-reset-requests"] == reset


def test_the_buckets_are_bounded() -> None:
    rates = Rates(lambda: 0.0, most=10)
    for number in range(100):
        rates.take(f"key-{number}", Rate(1, 60.0))
        if number:
            with pytest.raises(RequestError):
                rates.take(f"key-{number - 1}", Rate(1, 60.0))
    assert len(rates) == 10


def test_a_lookup_of_ones_own() -> None:
    shown: list[str] = []

    def lookup(secret: str) -> Key | None:
        shown.append(secret)
        return Key(Caller("looked-up", frozenset({"main"}), API)) if secret == "pässwörd" else None

    async def test(gateway: Gateway) -> None:
        assert (await asked(gateway, "pässwörd")).status == 200
        assert (await asked(gateway, "password")).status == 401
        assert (await asked(gateway, TOKEN)).status == 200
        assert shown == ["pässwörd", "password"], "the gateway's own secret is looked up nowhere"

    serving(test, agents=AGENTS, keys=lookup)
    assert keyring(lookup).find(b"\xff") is None


def test_the_run_knows_its_caller() -> None:
    agent = ScriptedAgent("x")

    async def test(gateway: Gateway) -> None:
        for token in (TOKEN, A):
            assert (await asked(gateway, token)).status == 200

    serving(test, agents={"main": agent}, keys=keys())
    assert [run.caller for run in agent.runs] == [Caller(), Caller("a", None, API)]


def test_the_log_has_its_id_and_never_its_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    settings = Settings(http=Settings().http.replace(access_log=True))
    config = Config(gateway=settings.replace(http=settings.http.replace(endpoints=_endpoints())))

    async def test(gateway: Gateway) -> None:
        for token in (A, TOKEN, f"{A}-wrong"):
            await asked(gateway, token)
        assert A not in repr(gateway)

    serving(test, config=config, agents=AGENTS, keys=keys())
    lines = [message for message in caplog.messages if '"POST' in message]
    assert [line.partition(" key=")[2] for line in lines] == ["a", "", ""]
    assert A not in caplog.text
    assert "a" in repr(Keyring({b"": keys()[A]}))


def test_a_run_that_fails_is_logged_with_its_key(caplog: pytest.LogCaptureFixture) -> None:
    agent = ScriptedAgent(AgentError("too hot"))

    async def test(gateway: Gateway) -> None:
        for token in (A, TOKEN):
            assert (await asked(gateway, token)).status == 500

    serving(test, agents={"main": agent}, keys=keys())
    first, second = (message for message in caplog.messages if "too hot" in message)
    assert first == f"run {agent.runs[0].run_id} of agent main (key a) failed: too hot"
    assert second == f"run {agent.runs[1].run_id} of agent main failed: too hot"


def _endpoints() -> Any:
    endpoints = Settings().http.endpoints
    return endpoints.replace(chat_completions=endpoints.chat_completions.replace(enabled=True))


def test_who_has_a_key_may_not_guess_the_secret() -> None:
    """A right key does not make good for wrong secrets before it."""

    async def test(gateway: Gateway) -> None:
        outcomes = [(await asked(gateway, token)).status for token in ("guess-1", "guess-2", A) * 3]
        assert outcomes == [401, 401, 200, 401, 401, 429, 429, 429, 429]

    limit = Auth().rate_limit.replace(max_attempts=4, exempt_loopback=False)
    config = Config(gateway=Settings(auth=Auth(rate_limit=limit), http=Settings().http.replace(endpoints=_endpoints())))
    serving(test, config=config, agents=AGENTS, keys=keys())


def configured(*options: KeyOptions) -> Config:
    return Config(gateway=Settings(auth=Auth(keys=options), http=Settings().http.replace(endpoints=_endpoints())))


def test_keys_of_the_configuration_are_renewed() -> None:
    one, two = KeyOptions(id="one", secret="first-secret"), KeyOptions(id="two", env="SECOND", rate=None)

    async def test(gateway: Gateway) -> None:
        assert (await asked(gateway, "first-secret")).status == 200
        assert (await asked(gateway, "second-secret")).status == 401
        assert gateway.reload(configured(two), {"SECOND": "second-secret"}) == ("keys",)
        assert (await asked(gateway, "first-secret")).status == 401, "revoked"
        assert (await asked(gateway, "second-secret")).status == 200
        for bad in (KeyOptions(id="x", env="NOT_SET"), KeyOptions(id="x", secret="s", agents=("nobody",))):
            with pytest.raises(ConfigError, match=r"gateway\.auth\.keys: x: "):
                gateway.reload(configured(bad))
        assert (await asked(gateway, "second-secret")).status == 200, "a bad file changes nothing"
        assert gateway.reload(configured()) == ("keys",)
        assert (await asked(gateway, "second-secret")).status == 401
        assert (await asked(gateway, None)).status == 401, "no keys are not: no authentication"
        assert gateway.reload() == ()

    serving(test, config=configured(one), agents=AGENTS, token=None)


def test_keys_of_the_program_stay() -> None:
    async def test(gateway: Gateway) -> None:
        assert gateway.reload(configured(KeyOptions(id="one", secret="first-secret"))) == ()
        assert (await asked(gateway, A)).status == 200
        assert (await asked(gateway, "first-secret")).status == 401

    serving(test, agents=AGENTS, keys=keys())


def test_a_key_is_not_the_gateways_own_secret() -> None:
    with pytest.raises(ConfigError, match="one: it is the gateway's own secret"):
        Gateway(configured(KeyOptions(id="one", secret=TOKEN)), agents=AGENTS, token=TOKEN, listen=())
    with pytest.raises(ConfigError, match=r"one: there is no agent nobody\. There are: main, other, third"):
        Gateway(
            configured(KeyOptions(id="one", secret="x", agents=("nobody", "main"))),
            agents=AGENTS,
            token=TOKEN,
            listen=(),
        )


def test_strangers_with_a_key_are_none() -> None:
    """What a key proves counts for the limits of connections, also when it may not do what it asks for."""

    async def test(gateway: Gateway) -> None:
        host, _, port = gateway.urls[0].removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer models\r\n\r\n".encode())
        assert b" 403 " in await reader.readline()
        writer.close()

    serving(test, agents=AGENTS, keys={"models": Key(Caller("m", None, frozenset({"models"})))})
