"""`chat.*` over real sockets: two clients at once, reconnects, aborts, a restart."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from asking import TOKEN, chat, serving, until
from dialogue import ADMIN, Client, RefusedError, talk
from results import conforms

from gateway import Gateway
from gateway.config import Config, load
from gateway.errors import AgentError
from gateway.model.caller import Caller, Key
from gateway.model.chat import Image, Message, ToolCall
from gateway.model.run import RunInput, Step, Usage
from gateway.sessions.sqlite import SqliteStore

MAIN = "agent:main:main"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


def final(payload: Any) -> bool:
    return bool(payload["state"] == "final")


def is_delta(event: Any) -> bool:
    return bool(event["event"] == "chat" and event["payload"]["state"] == "delta")


def text_of(row: Any) -> str:
    content = row["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


async def texts(client: Client, key: str = "main", **params: Any) -> list[str]:
    return [text_of(row) for row in (await client.request("chat.history", sessionKey=key, **params))["messages"]]


async def said(client: Client, text: str, key: str = "main", run_id: str | None = None, **params: Any) -> Any:
    """Send a message, and wait for its answer."""
    run_id = run_id or f"run of {text}"
    await client.request("chat.send", sessionKey=key, message=text, idempotencyKey=run_id, **params)
    return await client.event("chat", lambda payload: payload["runId"] == run_id and payload["state"] != "delta")


async def parrot(run: RunInput) -> str:
    return run.request.messages[-1].text


class Gate:
    """An agent that says something, and the rest when it is let."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.runs: list[RunInput] = []

    async def __call__(self, run: RunInput) -> Any:
        self.runs.append(run)
        yield "first "
        await self.open.wait()
        yield "second"
        yield Usage(10, 5, 4)


def gated(test: Any, **arguments: Any) -> None:
    gate = Gate()

    async def whole(gateway: Gateway) -> None:
        try:
            async with asyncio.timeout(30):
                await test(gateway, gate)
        finally:
            gate.open.set()
        await until(lambda: not gateway.runs.active)

    serving(whole, **arguments, agents={"main": gate})


def test_sent_streamed_and_kept() -> None:
    async def test(gateway: Gateway, gate: Gate) -> None:
        async with talk(gateway) as one, talk(gateway) as two:
            await one.request("sessions.subscribe")
            sent = {"sessionKey": "main", "message": "hi", "idempotencyKey": "k"}
            assert await one.request("chat.send", sent) == {"runId": "k", "status": "started"}
            assert await one.request("chat.send", sent) == {"runId": "k", "status": "in_flight"}
            delta = await two.event("chat")
            assert (delta["state"], delta["deltaText"], delta["sessionKey"]) == ("delta", "first ", MAIN)
            gate.open.set()
            for client in (one, two):
                ended = await client.event("chat", final)
                conforms("ChatEvent", ended)
                assert text_of(ended["message"]) == "first second"
            assert await one.request("chat.send", sent) == {"runId": "k", "status": "ok"}
            history = await two.request("chat.history", sessionKey="main")
            assert (history["sessionKey"], history["totalMessages"], history["hasMore"]) == (MAIN, 2, False)
            asked, answered = history["messages"]
            assert (asked["role"], asked["content"], asked["idempotencyKey"]) == ("user", "hi", "k:user")
            assert answered["content"] == [{"type": "text", "text": "first second"}]
            assert answered["usage"] == {"input": 10, "output": 5, "totalTokens": 15, "cacheRead": 4, "cacheWrite": 0}
            assert [row["__openclaw"]["seq"] for row in (asked, answered)] == [1, 2]
            assert answered["__openclaw"]["runId"] == "k"
            assert asked["timestamp"] <= answered["timestamp"]
            row = history["sessionInfo"]
            assert (row["sessionId"], row["inputTokens"], row["outputTokens"]) == (history["sessionId"], 10, 5)
            assert "inFlightRun" not in history

    gated(test)


def test_rows_are_told_once_and_before_the_end() -> None:
    """The Control UI takes the text of `final` and the row for two answers where the row does not come."""

    async def test(gateway: Gateway, gate: Gate) -> None:
        gate.open.set()
        async with talk(gateway) as client, talk(gateway) as other:
            await client.request("sessions.subscribe")
            await other.request("sessions.messages.subscribe", key="elsewhere")
            await said(client, "hi")
            names = [event["event"] for event in client.events]
            last = max(number for number, name in enumerate(names) if name == "session.message")
            ended = next(
                n for n, event in enumerate(client.events) if event["event"] == "chat" and final(event["payload"])
            )
            assert last < ended
            deltas = [n for n, event in enumerate(client.events) if is_delta(event)]
            assert deltas
            assert max(deltas) < last
            rows = client.seen("session.message")
            assert [row["message"]["role"] for row in rows] == ["user", "assistant"]
            assert [row["messageSeq"] for row in rows] == [1, 2]
            history = (await client.request("chat.history", sessionKey="main"))["messages"]
            assert [row["message"] for row in rows] == history or history[0]["timestamp"] != rows[0]["message"][
                "timestamp"
            ]
            assert [row["messageId"] for row in rows] == [row["__openclaw"]["id"] for row in history]
            changes = await client.event("sessions.changed", lambda payload: payload.get("phase") == "end")
            assert changes["session"]["key"] == MAIN
            assert changes["session"]["status"] == "done"
            assert not other.seen("session.message"), "it follows another session"
            assert not other.seen("sessions.changed")

    gated(test)


@pytest.mark.parametrize(("setting", "scopes", "is_command"), [
    (None, ADMIN, True), (True, ADMIN, True), (False, ADMIN, False),
    (None, ("operator.read", "operator.write"), False),
])  # fmt: skip
def test_slash_commands_are_answered_where_people_type(
    setting: bool | None, scopes: tuple[str, ...], is_command: bool
) -> None:
    config = Config()
    config = config.replace(session=config.session.replace(slash_commands=setting))

    async def test(gateway: Gateway) -> None:
        async with talk(gateway, scopes=scopes) as client:
            await client.request("chat.send", sessionKey="main", message="/status", idempotencyKey="a")
            said = text_of((await client.event("chat", final))["message"])
            assert (said != "/status") is is_command
            suppressed = {"suppressCommandInterpretation": True, "idempotencyKey": "b"}
            if setting is None:
                await client.request("chat.send", suppressed, sessionKey="main", message="/status")
                assert text_of((await client.event("chat", final))["message"]) == "/status"
            known = await texts(client, "agent:main:main")
            assert ("/status" in known) is (not is_command or setting is None), "commands are kept nowhere"

    serving(test, agents={"main": parrot}, config=config)


def test_runs_over_http_are_rows_too() -> None:
    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as client:
            await client.request("sessions.messages.subscribe", key="foo")  # not there yet
            headers = {"x-openclaw-session-key": "foo"}
            assert (await chat(gateway, "one", headers)).status == 200
            assert (await chat(gateway, "two", headers)).status == 200
            rows = await client.until(lambda: len(seen := client.seen("session.message")) >= 4 and seen)
            assert [(row["sessionKey"], row["messageSeq"], text_of(row["message"])) for row in rows] == [
                ("foo", 1, "one"), ("foo", 2, "one"), ("foo", 3, "two"), ("foo", 4, "two"),
            ]  # fmt: skip
            assert await texts(client, "foo") == ["one", "one", "two", "two"]
            listed = await client.request("sessions.list")
            assert [(row["key"], row["agentId"]) for row in listed["sessions"]] == [("foo", "main")]
            assert (await said(client, "three", "foo"))["sessionKey"] == "foo"
            assert await texts(client, "foo") == ["one", "one", "two", "two", "three", "three"]

    serving(test, agents={"main": parrot})


def test_a_run_goes_on_without_its_socket_and_is_found_again() -> None:
    async def test(gateway: Gateway, gate: Gate) -> None:
        async with talk(gateway) as client:
            await client.request("chat.send", sessionKey="main", message="hi", idempotencyKey="k")
            await client.event("chat")
        async with talk(gateway) as client:
            history = await client.request("chat.history", sessionKey="main")
            assert [text_of(row) for row in history["messages"]] == ["hi"]
            flying = history["inFlightRun"]
            assert (flying["runId"], flying["text"]) == ("k", "first ")
            assert history["sessionInfo"]["activeRunIds"] == ["k"]
            assert history["sessionInfo"]["status"] == "running"
            startup = await client.request("chat.startup", sessionKey="main")
            assert startup["inFlightRun"]["runId"] == "k"
            assert startup["pendingInputs"] == {"items": [], "total": 0}
            gate.open.set()
            assert text_of((await client.event("chat", final))["message"]) == "first second"
            assert await texts(client) == ["hi", "first second"]

    gated(test)


def test_anybody_with_the_scope_can_end_a_run() -> None:
    async def test(gateway: Gateway, gate: Gate) -> None:
        async with talk(gateway) as one, talk(gateway) as two, talk(gateway, scopes=("operator.read",)) as reader:
            await one.request("chat.send", sessionKey="main", message="hi", idempotencyKey="k")
            await one.event("chat")
            with pytest.raises(RefusedError, match=r"missing scope: operator\.write"):
                await reader.request("chat.abort", sessionKey="main")
            with pytest.raises(RefusedError, match="runId does not match sessionKey"):
                await two.request("chat.abort", sessionKey="other", runId="k")
            assert await two.request("chat.abort", sessionKey="other") == {"ok": True, "aborted": False, "runIds": []}
            ended = {"ok": True, "aborted": True, "runIds": ["k"]}
            assert await two.request("chat.abort", sessionKey="main") == ended
            aborted = await one.event("chat", lambda payload: payload["state"] == "aborted")
            conforms("ChatEvent", aborted)
            assert (aborted["stopReason"], text_of(aborted["message"])) == ("rpc", "first ")
            none = {"ok": True, "aborted": False, "runIds": []}
            assert await two.request("chat.abort", sessionKey="main", runId="k") == none
            rows = (await one.request("chat.history", sessionKey="main"))["messages"]
            assert [(text_of(row), row.get("stopReason")) for row in rows] == [("hi", None), ("first ", "aborted")]
            gate.open.set()
            await said(one, "go on")
            assert [message.text for message in gate.runs[-1].history] == ["hi", "first "], "the model is told, too"

    gated(test)


def test_a_run_over_http_can_be_ended() -> None:
    async def test(gateway: Gateway, gate: Gate) -> None:
        async with talk(gateway) as client:
            asking = asyncio.create_task(chat(gateway, "hi", {"x-openclaw-session-key": "foo"}))
            delta = await client.event("chat")
            ended = await client.request("chat.abort", sessionKey="foo")
            assert ended == {"ok": True, "aborted": True, "runIds": [delta["runId"]]}
            answer = await asking
            assert (answer.status, answer.error["code"]) == (410, "run_aborted")
            assert await texts(client, "foo") == [], "over HTTP only what was answered is kept"

    gated(test)


def test_a_run_has_its_own_time_limit() -> None:
    async def test(gateway: Gateway, gate: Gate) -> None:
        async with talk(gateway) as client:
            ended = await said(client, "hi", timeoutMs=50)
            assert (ended["state"], ended["stopReason"]) == ("aborted", "timeout")

    gated(test)


def test_a_question_without_an_answer_is_kept() -> None:
    async def failing(run: Any) -> Any:
        yield "so far"
        raise AgentError("no credit", code="no_credit", status=402)

    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as client:
            ended = await said(client, "hi", run_id="k")
            assert (ended["state"], ended["errorMessage"]) == ("error", "no credit")
            again = await client.request("chat.send", sessionKey="main", message="hi", idempotencyKey="k")
            assert again == {"runId": "k", "status": "error", "summary": "no credit"}
            rows = (await client.request("chat.history", sessionKey="main"))["messages"]
            assert [(text_of(row), row.get("stopReason")) for row in rows] == [("hi", None), ("so far", "error")]

    serving(test, agents={"main": failing})


def test_one_run_at_a_time_and_the_waiting_one_can_be_given_up() -> None:
    async def test(gateway: Gateway, gate: Gate) -> None:
        async with talk(gateway) as client:
            await client.request("sessions.subscribe")
            await client.request("chat.send", sessionKey="main", message="one", idempotencyKey="k1")
            await client.event("chat")
            await client.request("chat.send", sessionKey="main", message="two", idempotencyKey="k2")
            history = await client.request("chat.history", sessionKey="main")
            assert [text_of(row) for row in history["messages"]] == ["one"], "the other one waits"
            assert history["sessionInfo"]["activeRunIds"] == ["k1", "k2"]
            assert history["inFlightRun"]["runId"] == "k1"
            conforms("ChatPendingInputsPage", history["pendingInputs"])
            (waits,) = history["pendingInputs"]["items"]
            assert (waits["runId"], waits["state"], text_of(waits["message"])) == ("k2", "queued", "two")
            await client.request("chat.abort", sessionKey="main", runId="k2")
            await client.event("chat", lambda payload: payload["runId"] == "k2" and payload["state"] == "aborted")
            gate.open.set()
            await client.event("chat", final)
            assert await texts(client) == ["one", "first second"]
            assert [text_of(row["message"]) for row in client.seen("session.message")] == ["one", "first second"]

    gated(test)


def test_one_that_does_not_wait() -> None:
    async def test(gateway: Gateway, gate: Gate) -> None:
        async with talk(gateway) as client:
            await client.request("chat.send", sessionKey="main", message="one", idempotencyKey="k1")
            await client.event("chat")
            sent = {"sessionKey": "main", "message": "two", "idempotencyKey": "k2"}
            await client.request("chat.send", sent, queueMode="interrupt")
            aborted = await client.event("chat", lambda payload: payload["state"] == "aborted")
            assert (aborted["runId"], aborted["stopReason"]) == ("k1", "interrupt")
            gate.open.set()
            assert (await client.event("chat", final))["runId"] == "k2"

    gated(test)


def test_the_same_message_twice_at_once_is_one_run() -> None:
    async def test(gateway: Gateway, gate: Gate) -> None:
        async with talk(gateway) as one, talk(gateway) as two:
            sent = {"sessionKey": "main", "message": "hi", "idempotencyKey": "k"}
            answers = await asyncio.gather(*(client.request("chat.send", sent) for client in (one, two) * 4))
            assert sorted(answer["status"] for answer in answers) == ["in_flight"] * 7 + ["started"]
            gate.open.set()
            await one.event("chat", final)
            assert len(gate.runs) == 1

    gated(test)


def test_pictures() -> None:
    seen: list[Message] = []

    async def looking(run: RunInput) -> str:
        seen.append(run.request.messages[-1])
        return "a picture"

    async def test(gateway: Gateway) -> None:
        content = base64.b64encode(PNG).decode()
        attachments = [{"type": "image", "mimeType": "image/png", "fileName": "a.png", "content": content}]
        async with talk(gateway) as client:
            await said(client, "look", attachments=attachments)
            await said(client, "", run_id="alone", attachments=[{"content": f"data:image/png;base64,{content}"}])
            assert [message.parts for message in seen] == [
                ("look", Image("image/png", PNG)),
                (Image("image/png", PNG),),
            ]
            row = (await client.request("chat.history", sessionKey="main"))["messages"][0]
            shown = {"type": "image", "mimeType": "image/png", "omitted": True, "bytes": len(PNG)}
            assert row["content"] == [{"type": "text", "text": "look"}, shown]

    serving(test, agents={"main": looking})


BAD_ATTACHMENTS = [
    ([{"content": "AAAA"}], "attachment 0: is no image of the types PNG, JPEG, GIF and WebP, by its first bytes"),
    ([{"content": "!"}], "attachment 0: content is not base64"),
    ([{"content": "\u00e4"}], "attachment 0: content is not base64"),
    ([{"fileName": "x.png"}], "attachment 0 ('x.png'): content has to be base64 text"),
    ([{"content": 1}], "attachment 0: content has to be base64 text"),
    ([{"content": "AAAA"}] * 21, "a message may have 20 attachments; this one has 21"),
    ([{"content": "A" * 8_400_000}], "attachment 0: has more than 6291456 bytes"),
    ([], "message or attachment required"),
]


@pytest.mark.parametrize(("attachments", "message"), BAD_ATTACHMENTS, ids=[said for _, said in BAD_ATTACHMENTS])
def test_attachments_that_are_none(attachments: Any, message: str) -> None:
    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as client:
            with pytest.raises(RefusedError) as caught:
                await client.request(
                    "chat.send", sessionKey="main", message=" ", idempotencyKey="k", attachments=attachments
                )
            assert (caught.value.code, str(caught.value)) == ("INVALID_REQUEST", message)
            assert (await client.request("sessions.list"))["sessions"] == []

    serving(test, agents={"main": parrot})


REFUSED = [
    ("chat.send", {"message": "x", "idempotencyKey": "k" * 257}, "must not have more than 256 characters"),
    ("chat.send", {"message": "x", "idempotencyKey": "k", "sessionKey": "agent:nope:x"}, 'unknown agent id "nope"'),
    ("chat.send", {"message": "x", "idempotencyKey": "k", "agentId": "nope"}, 'unknown agent id "nope"'),
    ("chat.send", {"message": "x", "idempotencyKey": "k", "sessionKey": "cron:x"}, "reserved internal"),
    ("chat.send", {"message": "x", "idempotencyKey": "k", "sessionKey": "agent:main:"}, "is called agent:<id>:<name>"),
    ("chat.history", {"agentId": "other", "sessionKey": "agent:main:x"}, "session key agent does not match agentId"),
    ("chat.history", {"limit": 1001}, "must be <= 1000"),
    ("chat.inject", {"message": "x", "sessionKey": "nowhere"}, "session not found"),
]


@pytest.mark.parametrize(("method", "params", "message"), REFUSED)
def test_refused(method: str, params: Any, message: str) -> None:
    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as client:
            with pytest.raises(RefusedError, match=message) as caught:
                await client.request(method, {"sessionKey": "main", **params})
            assert caught.value.code == "INVALID_REQUEST"

    serving(test, agents={"main": parrot, "other": parrot})


def test_what_no_run_said() -> None:
    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as client, talk(gateway, scopes=("operator.write",)) as writer:
            await said(client, "hi")
            await client.request("sessions.subscribe")
            with pytest.raises(RefusedError, match=r"missing scope: operator\.admin"):
                await writer.request("chat.inject", sessionKey="main", message="by the way")
            injected = await client.request("chat.inject", sessionKey="main", message="by the way", label="note")
            event = await writer.event("chat", lambda payload: payload["runId"].startswith("inject-"))
            assert text_of(event["message"]) == "[note]\n\nby the way"
            rows = (await client.request("chat.history", sessionKey="main"))["messages"]
            assert [text_of(row) for row in rows] == ["hi", "hi", "[note]\n\nby the way"]
            assert rows[-1]["__openclaw"] == {"id": injected["messageId"], "seq": 3, "runId": event["runId"]}
            assert [row["messageId"] for row in client.seen("session.message")] == [injected["messageId"]]

    serving(test, agents={"main": parrot})


def test_pages_of_history() -> None:
    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as client:
            for number in range(5):
                await said(client, f"m{number}")
            everything = [f"m{number // 2}" for number in range(10)]
            assert await texts(client) == everything
            page = await client.request("chat.history", sessionKey="main", limit=4)
            assert [text_of(row) for row in page["messages"]] == everything[6:]
            assert (page["hasMore"], page["nextOffset"], page["totalMessages"]) == (True, 4, 10)
            found: list[str] = []
            offset = 0
            while True:
                page = await client.request("chat.history", sessionKey="main", limit=3, offset=offset)
                found = [text_of(row) for row in page["messages"]] + found
                if not page["hasMore"]:
                    break
                offset = page["nextOffset"]
            assert found == everything
            around = await client.request("chat.history", sessionKey="main", limit=3, messageId="run of m1:u1")
            assert [text_of(row) for row in around["messages"]] == ["m0", "m1", "m1"]
            assert await client.request("chat.history", sessionKey="main", cursor="x") == {"kind": "reset"}
            with pytest.raises(RefusedError, match="sessionId does not belong to sessionKey"):
                await client.request("chat.history", sessionKey="main", sessionId="another")

    serving(test, agents={"main": parrot})


def test_long_messages_are_cut_and_many_are_left_out() -> None:
    async def long(run: RunInput) -> str:
        return "\u00e4" * 100_000

    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as client:
            for number in range(2):
                await said(client, f"m{number}")
            asked, answered, *_ = await texts(client)
            assert asked == "m0"
            assert answered.endswith("\n...(truncated)...")
            assert 50_000 < len(answered) < 100_000
            assert await texts(client, maxChars=1) == ["m\n...(truncated)...", "\u00e4\n...(truncated)..."] * 2
            page = await client.request("chat.history", sessionKey="main", maxBytes=150_000)
            assert (len(page["messages"]), page["hasMore"], page["nextOffset"]) == (2, True, 2)
            assert len(json.dumps(page["messages"], ensure_ascii=False).encode()) < 150_000

    serving(test, agents={"main": long})


def test_tools_of_the_gateway_are_rows() -> None:
    async def using(run: RunInput) -> Any:
        calls = (ToolCall("c1", "clock", '{"zone": "UTC"}'), ToolCall("c2", "odd", "[1]"))
        results = (Message("tool", "noon", tool_call_id="c1"), Message("tool", "?", tool_call_id="c2"))
        yield Step((Message("assistant", "let me see", tool_calls=calls), *results))
        yield "it is noon"

    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as client:
            await said(client, "what time is it?", run_id="k")
            _, call, clock, odd, answer = (await client.request("chat.history", sessionKey="main"))["messages"]
            assert call["content"] == [
                {"type": "text", "text": "let me see"},
                {"type": "toolCall", "id": "c1", "name": "clock", "arguments": {"zone": "UTC"}},
                {"type": "toolCall", "id": "c2", "name": "odd", "arguments": {"input": "[1]"}},
            ]
            assert (call["stopReason"], answer["stopReason"]) == ("toolUse", "stop")
            assert [(row["role"], row["toolCallId"], row["toolName"]) for row in (clock, odd)] == [
                ("toolResult", "c1", "clock"), ("toolResult", "c2", "odd"),
            ]  # fmt: skip
            assert [row["__openclaw"]["id"] for row in (call, answer)] == ["k:a0", "k:a3"]

    serving(test, agents={"main": using})


def test_callers_see_and_touch_their_own() -> None:
    scopes = frozenset({"operator", "operator.read", "operator.write", "operator.admin"})
    keys = {f"secret-of-{name}": Key(Caller(name, None, scopes)) for name in ("alice", "bob")}

    async def test(gateway: Gateway) -> None:
        async with (
            talk(gateway, "secret-of-alice") as alice,
            talk(gateway, "secret-of-bob") as bob,
            talk(gateway) as operator,
        ):
            for client in (alice, bob, operator):
                await client.request("sessions.subscribe")
            ended = await said(alice, "hers", run_id="a")
            assert ended["sessionKey"] == MAIN
            await said(bob, "his", run_id="b")
            assert (await texts(alice), await texts(bob), await texts(operator)) == (["hers"] * 2, ["his"] * 2, [])
            for client, own in ((alice, "hers"), (bob, "his")):
                assert {text_of(row["message"]) for row in client.seen("session.message")} == {own}
                listed = (await client.request("sessions.list"))["sessions"]
                assert [row["key"] for row in listed] == [MAIN]
                change = await client.event("sessions.changed", lambda payload: payload.get("phase") == "end")
                assert (change["sessionKey"], change["session"]["key"]) == (MAIN, MAIN)
            keys_seen = [row["key"] for row in (await operator.request("sessions.list"))["sessions"]]
            assert keys_seen == [f"key:bob:{MAIN}", f"key:alice:{MAIN}"]
            assert await texts(operator, f"key:alice:{MAIN}") == ["hers"] * 2
            with pytest.raises(RefusedError, match="reserved internal"):
                await texts(bob, f"key:alice:{MAIN}")
            assert await bob.request("chat.abort", sessionKey="main", runId="a") == {
                "ok": True, "aborted": False, "runIds": [],
            }  # fmt: skip

    serving(test, agents={"main": parrot}, keys=keys)


def test_commands_are_answered_by_the_gateway(tmp_path: Path) -> None:
    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as client:
            await said(client, "hi")
            status = await said(client, "/status")
            assert "Agent: main" in text_of(status["message"])
            assert await texts(client) == ["hi", "hi"], "commands are kept nowhere"
            about = await client.request("chat.metadata", sessionKey="main")
            assert (about["agentId"], [model["id"] for model in about["models"]]) == ("main", ["main"])
            assert {command["name"] for command in about["commands"]} >= {"new", "status", "model"}
            startup = await client.request("chat.startup", sessionKey="main", limit=1)
            assert (startup["metadata"], len(startup["messages"])) == (about, 1)
            await said(client, "/new")
            assert await texts(client) == []

    file = tmp_path / "gateway.json5"
    file.write_text("{session: {slashCommands: true}}", encoding="utf-8")
    serving(test, agents={"main": parrot}, config=load(str(file), environ={}).config)


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    path = str(tmp_path / "sessions.sqlite3")

    async def first(gateway: Gateway) -> None:
        async with talk(gateway) as client:
            await said(client, "hi", run_id="k")
            await client.request("sessions.patch", key="main", label="mine", verboseLevel="on")
            kept.append(await client.request("chat.history", sessionKey="main"))
            listed.append(await client.request("sessions.list"))

    async def second(gateway: Gateway) -> None:
        async with talk(gateway) as client:
            again = await client.request("chat.history", sessionKey="main")
            assert again == kept[0]
            assert again["sessionInfo"]["label"] == "mine"
            assert (await client.request("sessions.list"))["sessions"] == listed[0]["sessions"]

    kept: list[Any] = []
    listed: list[Any] = []

    async def main() -> None:
        for test in (first, second):
            store = SqliteStore(path)
            async with Gateway(agents={"main": parrot}, listen="127.0.0.1:0", token=TOKEN, store=store) as gw:
                await test(gw)
            await store.aclose()

    asyncio.run(main())


def test_a_client_hears_that_its_run_begins_before_it_hears_of_the_run() -> None:
    """OpenClaw's terminal program waits for ever where all comes at once; a run that is aborted before it began is over."""

    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as client:
            for name in map(str, range(5)):
                await client.request("chat.send", sessionKey="main", message="hi", idempotencyKey=name)
                assert not [one for one in client.seen("agent") if one["runId"] == name]
                await client.event("chat", final)
            await client.request("chat.send", sessionKey="main", message="hi", idempotencyKey="k")
            answer = await client.request("chat.abort", sessionKey="main", runId="k")
            assert (answer["aborted"], answer["runIds"]) == (True, ["k"])
            await client.event("chat", lambda payload: (payload["runId"], payload["state"]) == ("k", "aborted"))
            waited = await client.request("agent.wait", runId="k")
            assert (waited["status"], waited["stopReason"]) == ("error", "rpc")

    serving(test, agents={"main": parrot})
