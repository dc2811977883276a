"""Which session a request belongs to, and which model it wants, as the configuration and the caller allow."""

from __future__ import annotations

from typing import Any, cast

import pytest
from asking import chat, serving

from gateway import Gateway, RunInput
from gateway.agents.registry import AgentEntry, Registry
from gateway.api.planning import Planner
from gateway.config.schema import Config
from gateway.config.schema_session import Session
from gateway.errors import RequestError
from gateway.model.caller import OPERATOR, Caller
from gateway.model.chat import ChatRequest, Message
from gateway.model.http import RequestHead
from gateway.ports import Exchange
from gateway.testing import ScriptedAgent, counting_ids

ASKED = ChatRequest((Message("user", "hi"),))
DEFAULTS = Session()
ALL = ("header", "chat-id", "user")


class Asking:
    """As much of an exchange as planning looks at."""

    def __init__(self, headers: dict[str, str], caller: Caller) -> None:
        fields = {name.encode(): value.encode() for name, value in headers.items()}
        self.head = RequestHead(
            method="POST", target="/", path="/", query="", version="1.1", headers=(), fields=fields, content_length=0,
            chunked=False, keep_alive=True, expects_continue=False,
        )  # fmt: skip
        self.caller = caller


def check_model(wanted: str, param: str) -> str:
    if wanted.strip() != "local/small":
        raise RequestError(404, "no such model", param=param, code="model_not_found")
    return "local/small"


def plan(
    headers: dict[str, str] | None = None,
    *,
    sources: tuple[str, ...] = DEFAULTS.sources,
    chat_headers: tuple[str, ...] = DEFAULTS.chat_id_headers,
    caller: Caller = OPERATOR,
    user: str | None = None,
    **arguments: Any,
) -> RunInput:
    registry = Registry([AgentEntry(name, ScriptedAgent(), check_model=check_model) for name in ("main", "beta")])
    planner = Planner(registry, counting_ids(), sources, chat_headers)
    exchange = cast("Exchange", Asking(headers or {}, caller))
    return planner.plan(exchange, ASKED._replace(user=user), **arguments)[1]


KEY = {"x-openclaw-session-key": "mine"}
CHAT = {"x-openwebui-chat-id": "c1"}
UUID = "agent:main:openai:00000000-0000-0000-0000-000000000001"


@pytest.mark.parametrize(
    ("sources", "headers", "user", "key"),
    [
        # The contract of the family is what holds where nothing is configured.
        (DEFAULTS.sources, KEY, "Ann", "mine"),
        (DEFAULTS.sources, CHAT, "Ann", "agent:main:openai-user:Ann"),
        (DEFAULTS.sources, CHAT, None, None),
        (ALL, {**KEY, **CHAT}, "Ann", "mine"),
        (ALL, CHAT, "Ann", "agent:main:chat:c1"),
        (ALL, {}, "Ann", "agent:main:openai-user:Ann"),
        (ALL, {"x-openwebui-chat-id": "local"}, "Ann", "agent:main:openai-user:Ann"),
        (ALL, {"x-openwebui-chat-id": "local"}, None, None),
        (ALL, {"x-thread-id": "t", "x-chat-id": "c"}, None, "agent:main:chat:c"),
        (ALL, {"x-conversation-id": "c", "x-openclaw-agent-id": "beta"}, None, "agent:beta:chat:c"),
        (("user", "chat-id", "header"), {**KEY, **CHAT}, "Ann", "agent:main:openai-user:Ann"),
        (("user", "chat-id", "header"), {**KEY, **CHAT}, None, "agent:main:chat:c1"),
        # What is left out is off.
        (("chat-id", "user"), KEY, None, None),
        (("header", "chat-id"), CHAT, "Ann", "agent:main:chat:c1"),
        (("header", "chat-id"), {}, "Ann", None),
        (("header",), {"x-clawdbot-agent": "beta", **CHAT}, "Ann", None),
        ((), {**KEY, **CHAT}, "Ann", None),
    ],
)
def test_sources(sources: tuple[str, ...], headers: dict[str, str], user: str | None, key: str | None) -> None:
    assert plan(headers, sources=sources, user=user).session == key


def test_headers_of_ones_own() -> None:
    assert plan({"x-my-chat": "7"}, sources=ALL, chat_headers=("X-My-Chat",)).session == "agent:main:chat:7"
    assert plan(CHAT, sources=ALL, chat_headers=("X-My-Chat",)).session is None


@pytest.mark.parametrize("headers", [{}, KEY, CHAT])
def test_sessions_belong_to_the_key_that_made_them(headers: dict[str, str]) -> None:
    own = plan(headers, sources=ALL, user="Ann").session
    ann = plan(headers, sources=ALL, user="Ann", caller=Caller("ann")).session
    bob = plan(headers, sources=ALL, user="Ann", caller=Caller("bob")).session
    assert ann == f"key:ann:{own}"
    assert bob == f"key:bob:{own}"
    assert own is not None
    for caller in (OPERATOR, Caller("bob"), Caller("ann")):
        with pytest.raises(RequestError, match="reserved"):
            plan({"x-openclaw-session-key": ann}, caller=caller)
    run = plan(caller=Caller("ann"))
    assert (run.session, run.caller.id) == (None, "ann")


def test_a_session_of_its_own() -> None:
    assert plan(keep="always").session == UUID
    assert plan(keep="always", caller=Caller("ann")).session == f"key:ann:{UUID}"
    assert plan(KEY, keep="always").session == "mine"
    going_on = plan(KEY, keep="always", after="f" * 32)
    assert (going_on.session, going_on.after) == (UUID, "f" * 32), "the run it goes on from tells the session"


def test_other_endpoints_have_namespaces_of_their_own() -> None:
    assert plan(user="Ann", namespace="openresponses").session == "agent:main:openresponses-user:Ann"
    assert plan(namespace="openresponses", keep="always").session == UUID.replace("openai", "openresponses")
    assert plan(KEY, user="Ann", namespace="openresponses", keep="never", after="f" * 32).session is None


def test_a_conversation_that_the_body_names() -> None:
    by_conversation = "agent:main:openresponses-conversation:c7"
    for headers in ({}, CHAT, {"x-openclaw-agent-id": "main"}):
        run = plan(headers, sources=ALL, user="Ann", conversation="c7", namespace="openresponses")
        assert run.session == by_conversation
    assert plan(KEY, sources=ALL, conversation="c7").session == "mine"
    assert (
        plan(conversation="c7", caller=Caller("ann"), namespace="openresponses").session == f"key:ann:{by_conversation}"
    )


def test_agents_that_the_caller_may_use() -> None:
    caller = Caller("ann", frozenset({"beta"}))
    assert plan({"x-openclaw-agent-id": "beta"}, caller=caller).agent_id == "beta"
    for headers in ({}, {"x-openclaw-agent-id": "main"}):
        with pytest.raises(RequestError) as caught:
            plan(headers, caller=caller)
        assert (caught.value.status, caught.value.code) == (403, "agent_not_allowed")


@pytest.mark.parametrize("header", ["x-openclaw-model", "x-gateway-model"])
def test_another_model(header: str) -> None:
    assert plan({header: " local/small "}).model == "local/small"
    assert plan(KEY).model is None
    with pytest.raises(RequestError) as caught:
        plan({header: "a/b"})
    assert (caught.value.status, caught.value.param) == (404, header)
    with pytest.raises(RequestError) as caught:
        plan({header: "local/small"}, caller=Caller("ann", scopes=frozenset({"chat"})))
    assert (caught.value.status, caught.value.code) == (403, "insufficient_scope")
    able = Caller("ann", scopes=frozenset({"chat", "model"}))
    assert plan({header: "local/small"}, caller=able).model == "local/small"


def test_from_the_configuration() -> None:
    agent = ScriptedAgent("ok")
    config = Config(session=Session(sources=("chat-id",), chat_id_headers=("X-My-Chat",)))
    gateway = config.gateway
    endpoints = gateway.http.endpoints
    endpoints = endpoints.replace(chat_completions=endpoints.chat_completions.replace(enabled=True))
    config = config.replace(gateway=gateway.replace(http=gateway.http.replace(endpoints=endpoints)))

    async def test(gateway: Gateway) -> None:
        for headers in ({"X-My-Chat": "7"}, {"X-Openclaw-Session-Key": "8"}, {}):
            assert (await chat(gateway, headers=headers, user="Ann")).status == 200
        assert [run.session for run in agent.runs] == ["agent:main:chat:7", None, None]

    serving(test, agents={"main": agent}, config=config)
