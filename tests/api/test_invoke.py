"""POST /tools/invoke, through a gateway on a real socket."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from asking import Answer, ask, serving, until

from gateway import AgentError, Gateway
from gateway.agents.function import echo
from gateway.api.invoke import BODY_BYTES, Invoke
from gateway.config import Config
from gateway.errors import ToolError
from gateway.model.caller import Caller, Key
from gateway.tools.function import FunctionTool
from gateway.tools.invoker import Invoker

PATH = "/tools/invoke"
begun: list[str] = []


async def weather(city: str, days: int = 1) -> dict[str, Any]:
    """The weather."""
    return {"city": city, "days": days}


def plain(action: str = "none") -> str:
    return f"[not JSON] {action}"


async def slow(name: str) -> str:
    begun.append(name)
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        begun.remove(name)
        raise
    return "never"


async def fails(how: str) -> str:
    raise {"tool": ToolError("no such place"), "run": AgentError("no credit", code="no_credit", status=402)}.get(
        how, ValueError("a secret")
    )


TOOLS = (weather, plain, slow, fails)


async def invoke(gateway: Gateway, tool: str, args: Any = None, **members: Any) -> Answer:
    return await ask(gateway, PATH, body={"tool": tool, "args": args, **members})


def serve(test: Any, **arguments: Any) -> None:
    serving(test, **{"agents": {"main": echo}, "tools": TOOLS, **arguments})


def refusal(answer: Answer, status: int, kind: str) -> str:
    assert answer.status == status, answer.body
    assert list(answer.json) == ["ok", "error"]
    assert answer.json["ok"] is False
    assert answer.json["error"]["type"] == kind
    message: str = answer.json["error"]["message"]
    return message


def test_a_call() -> None:
    async def test(gateway: Gateway) -> None:
        answer = await invoke(gateway, "weather", {"city": "Rome"}, sessionKey="main", dryRun=False)
        assert answer.status == 200
        text = '{"city": "Rome", "days": 1}'
        result = {"content": [{"type": "text", "text": text}], "details": {"city": "Rome", "days": 1}}
        assert answer.json == {"ok": True, "result": result}
        answer = await ask(gateway, PATH, body={"name": "plain", "action": "json"})
        assert answer.json["result"] == {"content": [{"type": "text", "text": "[not JSON] json"}]}
        answer = await ask(gateway, PATH, body={"name": "plain", "action": "json", "args": {"action": "mine"}})
        assert answer.json["result"]["content"][0]["text"] == "[not JSON] mine"

    serve(test)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "The request body is empty."),
        (b"[]", "The request body has to be a JSON object, not an array."),
        (b"{}", "tools.invoke requires `tool`"),
        (b'{"tool": 1}', "tools.invoke requires `tool`"),
        (b'{"tool": " "}', "tools.invoke requires `tool`"),
        (b'{"tool": "plain", "args": []}', "`args` has to be an object, not an array."),
        (b'{"tool": "plain", "action": 1}', "`action` has to be a string, not a number."),
        (b'{"tool": "plain", "dryRun": true}', "`dryRun` is not served"),
        (b'{"tool": "plain"', "not valid JSON"),
    ],
)
def test_what_is_no_call(body: bytes, told: str) -> None:
    async def test(gateway: Gateway) -> None:
        assert told in refusal(await ask(gateway, PATH, body=body), 400, "invalid_request_error")

    serve(test)


def test_errors() -> None:
    async def test(gateway: Gateway) -> None:
        assert refusal(await invoke(gateway, "exec"), 404, "not_found") == "Tool not available: exec"
        told = refusal(await invoke(gateway, "weather", {"town": "Rome"}), 400, "tool_error")
        assert told == "The arguments are not right: `city` is missing; there is no `town`; there are city, days."
        assert refusal(await invoke(gateway, "fails", {"how": "tool"}), 400, "tool_error") == "no such place"
        assert refusal(await invoke(gateway, "fails", {"how": "run"}), 402, "no_credit") == "no credit"
        told = refusal(await invoke(gateway, "fails", {"how": "other"}), 500, "tool_error")
        assert "secret" not in told
        for token in (None, "wrong"):
            answer = await ask(gateway, PATH, body={"tool": "plain"}, token=token)
            assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
        answer = await ask(gateway, PATH, method="GET")
        assert (answer.status, answer.headers["allow"]) == (405, "POST")
        answer = await invoke(gateway, "plain", {"x": "y" * BODY_BYTES})
        assert answer.status == 413

    serve(test)


def test_only_where_there_are_tools() -> None:
    async def test(gateway: Gateway) -> None:
        assert (await invoke(gateway, "plain")).status == 404
        assert PATH not in (await ask(gateway, "/", method="GET")).body.decode()

    serve(test, tools=())


def test_so_many_calls_at_a_time_and_who_leaves_ends_theirs() -> None:
    config = Config()
    config = config.replace(tools=config.tools.replace(max_invocations=2))

    async def test(gateway: Gateway) -> None:
        begun.clear()
        waiting = [asyncio.ensure_future(invoke(gateway, "slow", {"name": name})) for name in "ab"]
        await until(lambda: len(begun) == 2)
        answer = await invoke(gateway, "plain")
        assert "2 calls are under way" in refusal(answer, 429, "rate_limited")
        assert answer.headers["retry-after"] == "1"
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await until(lambda: not begun)
        assert (await invoke(gateway, "plain")).status == 200

    serve(test, config=config)


def test_a_call_has_limited_time() -> None:
    config = Config()
    config = config.replace(tools=config.tools.replace(timeout_ms=50))

    async def test(gateway: Gateway) -> None:
        told = refusal(await invoke(gateway, "slow", {"name": "a"}), 504, "timeout")
        assert told == "The tool took longer than 0.05 s."
        assert not begun

    serve(test, config=config)


class _Asked:
    """What the handler uses of an exchange."""

    def __init__(self, caller: Caller, tool: str) -> None:
        self.caller = caller
        self.data = json.dumps({"tool": tool}).encode()
        self.head = type("Head", (), {"content_length": len(self.data), "chunked": False})
        self.status = 0

    async def body(self, _limit: int) -> bytes:
        return self.data

    def respond(self, status: int, _headers: Any, _body: bytes) -> None:
        self.status = status


def test_a_key_calls_what_its_agents_have() -> None:
    tools = {name: FunctionTool(lambda: "x", name=name, parameters={}) for name in ("one", "two")}

    async def everything() -> Any:
        return tools

    async def of_one() -> Any:
        return {"one": tools["one"]}

    def status(caller: Caller, tool: str) -> int:
        handler = Invoke(Invoker(everything, {"one": of_one, "all": everything}, 1, None))
        exchange: Any = _Asked(caller, tool)
        asyncio.run(handler.create(exchange))
        found: int = exchange.status
        return found

    assert status(Caller("k"), "two") == 200
    assert status(Caller("k", agents=frozenset({"one"})), "one") == 200
    assert status(Caller("k", agents=frozenset({"one"})), "two") == 404
    assert status(Caller("k", agents=frozenset({"one", "all"})), "two") == 200


def test_a_secret_is_not_asked_where_there_is_none() -> None:
    async def test(gateway: Gateway) -> None:
        assert (await ask(gateway, PATH, body={"tool": "plain"}, token=None)).status == 200

    serve(test, token=None)


def test_a_key_needs_the_scope() -> None:
    keys = {"sk-chat-0123456789": Key(Caller("chat", scopes=frozenset({"chat"})))}
    keys["sk-tools-0123456789"] = Key(Caller("tools", scopes=frozenset({"tools"})))

    async def test(gateway: Gateway) -> None:
        answer = await ask(gateway, PATH, body={"tool": "plain"}, token="sk-chat-0123456789")
        assert (answer.status, answer.error["code"]) == (403, "insufficient_scope")
        assert (await ask(gateway, PATH, body={"tool": "plain"}, token="sk-tools-0123456789")).status == 200

    serve(test, keys=keys)


def test_sent_again_it_is_one_call() -> None:
    calls: list[str] = []

    async def spend(what: str) -> str:
        calls.append(what)
        if len(calls) == 1:
            raise RuntimeError("not now")
        return f"call {len(calls)}"

    async def once(gateway: Gateway, what: str) -> Answer:
        body = {"tool": "spend", "args": {"what": what}}
        return await ask(gateway, PATH, body=body, headers={"Idempotency-Key": "once"})

    async def test(gateway: Gateway) -> None:
        assert (await once(gateway, "it")).status == 500
        first, second = await once(gateway, "it"), await once(gateway, "it")
        assert first.status == second.status == 200
        assert first.body == second.body
        assert second.headers["idempotent-replayed"] == "true"
        assert (await once(gateway, "more")).status == 409
        assert calls == ["it", "it"]

    serve(test, tools=[spend])
