"""`sessions.*` over real sockets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asking import chat, serving
from dialogue import Client, RefusedError, talk
from results import conforms
from test_chat_methods import MAIN, Gate, gated, parrot, said, text_of, texts

from gateway import Gateway
from gateway.model.caller import Caller, Key
from gateway.model.run import RunInput, Usage

ADMIN = ("operator.admin",)


async def counting(run: RunInput) -> Any:
    yield run.request.messages[-1].text
    yield Usage(10, 5, 4)


async def listed(client: Client, **params: Any) -> list[str]:
    return [row["key"].rpartition(":")[2] for row in (await client.request("sessions.list", params))["sessions"]]


async def refused(client: Client, method: str, **params: Any) -> str:
    with pytest.raises(RefusedError) as caught:
        await client.request(method, params)
    assert caught.value.code == "INVALID_REQUEST"
    return str(caught.value)


# -- reading


def test_lists() -> None:
    now = 1_000_000.0

    async def test(gateway: Gateway) -> None:
        nonlocal now
        async with talk(gateway) as client:
            for number in range(5):
                now += 60
                await said(client, f"question {number}", f"s{number}")
            await client.request("sessions.patch", key="s1", label="Mine", pinned=True)
            await client.request("sessions.patch", key="s2", archived=True)
            await said(client, "other", "agent:other:x")
            answer = await client.request("sessions.list", agentId="main", limit=2)
            assert (answer["count"], answer["totalCount"], answer["hasMore"], answer["nextOffset"]) == (2, 4, True, 2)
            assert answer["defaults"] == {
                "modelProvider": "gateway",
                "model": "main",
                "modelSelectionTarget": "session",
            }
            assert await listed(client) == ["s1", "x", "s4", "s3", "s0"]
            assert await listed(client, sortBy="updatedAt", limit=1) == ["x"]
            assert await listed(client, offset=3) == ["s3", "s0"]
            assert await listed(client, archived=True) == ["s2"]
            assert len(await listed(client, archived="all")) == 6
            assert await listed(client, agentId="other") == ["x"]
            assert await listed(client, search="MINE") == ["s1"]
            assert await listed(client, search="main:s4") == ["s4"]
            assert await listed(client, label="Mine") == ["s1"]
            assert await listed(client, pinned=True) == ["s1"]
            assert await listed(client, activeOnly=True) == []
            now += 90
            assert await listed(client, activeMinutes=2) == ["s1", "x", "s4"]
            titled = {"includeDerivedTitles": True, "includeLastMessage": True}
            rows = (await client.request("sessions.list", titled, agentId="main", limit=2))["sessions"]
            assert [(row.get("displayName"), row["derivedTitle"], row["lastMessagePreview"]) for row in rows] == [
                ("Mine", "Mine", "question 1"), (None, "question 4", "question 4"),
            ]  # fmt: skip
            row = rows[0]
            assert row["pinned"] is True
            assert row["pinnedAt"] == (1_000_000 + 300) * 1000

    serving(test, agents={"main": parrot, "other": parrot}, clock=lambda: now)


def test_one_of_them() -> None:
    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as client:
            assert await client.request("sessions.describe", key="main") == {"session": None}
            await said(client, "hi")
            row = (await client.request("sessions.describe", key="main", includeLastMessage=True))["session"]
            known = {
                "key": MAIN, "kind": "direct", "agentId": "main", "isMain": True, "displayName": "main",
                "inputTokens": 10, "outputTokens": 5, "totalTokens": 10, "modelProvider": "gateway", "model": "main",
                "status": "done", "hasActiveRun": False, "activeRunIds": [], "lastMessagePreview": "hi",
            }  # fmt: skip
            assert {name: row[name] for name in known} == known
            assert row["createdAt"] <= row["updatedAt"]

    serving(test, agents={"main": counting})


def test_following() -> None:
    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as one, talk(gateway) as all_of_them, talk(gateway, scopes=()) as nobody:
            assert await one.request("sessions.messages.subscribe", key="main") == {"subscribed": True, "key": MAIN}
            assert await all_of_them.request("sessions.subscribe") == {"subscribed": True}
            answer = await all_of_them.request("sessions.subscribe", limit=3)
            assert (answer["subscribed"], answer["list"]["sessions"]) == (True, [])
            with pytest.raises(RefusedError, match="missing scope"):
                await nobody.request("sessions.subscribe")
            await said(one, "hi")
            await said(one, "ho", "other")
            assert [text_of(row["message"]) for row in one.seen("session.message")] == ["hi", "hi"]
            told = [text_of(row["message"]) for row in all_of_them.seen("session.message")]
            assert told == ["hi", "hi", "ho", "ho"]
            answer = await one.request("sessions.messages.unsubscribe", key="main")
            assert answer == {"subscribed": False, "key": MAIN}
            await said(one, "once more")
            assert len(one.seen("session.message")) == 2
            assert not nobody.seen("session.message")

    serving(test, agents={"main": parrot})


def test_previews() -> None:
    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as client:
            await said(client, "one\ntwo")
            await said(client, "long " * 100, run_id="k")
            await client.request("sessions.create", key="empty")
            answer = await client.request("sessions.preview", keys=["main", "empty", "nowhere"], limit=3, maxChars=20)
            main, empty, nowhere = answer["previews"]
            assert (main["key"], main["status"]) == ("main", "ok")
            long = {"text": "long long long long\u2026"}
            assert main["items"] == [
                {"role": "assistant", "text": "one two"}, {"role": "user", **long}, {"role": "assistant", **long},
            ]  # fmt: skip
            assert (empty["status"], nowhere["status"]) == ("empty", "missing")

    serving(test, agents={"main": parrot})


def test_names_are_resolved() -> None:
    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as client:
            made = await client.request("sessions.create", key="one", label="the one")
            found = {"ok": True, "key": "agent:main:one", "agentId": "main"}
            for params in ({"key": "one"}, {"sessionId": made["sessionId"]}, {"label": "the one"}):
                assert await client.request("sessions.resolve", params) == found
            assert await client.request("sessions.resolve", key="nope", allowMissing=True) == {"ok": False}
            assert await refused(client, "sessions.resolve", key="nope") == "No session found: nope"
            assert (await refused(client, "sessions.resolve")).startswith("Either key, sessionId, label")
            assert "not multiple" in await refused(client, "sessions.resolve", key="one", label="x")

    serving(test, agents={"main": parrot})


def test_tokens_by_sessions() -> None:
    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as client:
            await said(client, "hi")
            await said(client, "ho")
            await said(client, "he", "gone")
            await client.request("sessions.delete", key="gone")
            answer = await client.request("sessions.usage")
            assert [(row["key"], row["usage"]["totalTokens"]) for row in answer["sessions"]] == [(MAIN, 30)]
            assert (answer["totals"]["totalTokens"], answer["totals"]["input"]) == (45, 18)
            by_model = answer["aggregates"]["byModel"]
            assert [(row["model"], row["count"], row["totals"]["output"]) for row in by_model] == [("", 3, 15)]
            groups = answer["aggregates"]
            assert groups["sessionCount"] == 1
            assert (groups["messages"]["total"], groups["messages"]["user"]) == (6, 3)
            assert (groups["tools"]["tools"], groups["byChannel"]) == ([], []), "a page reads them"
            assert [row["totals"]["totalTokens"] for row in groups["byProvider"]] == [45]
            (day,), (costs,) = groups["daily"], groups["costDaily"]
            assert (day["tokens"], day["messages"], costs["totalTokens"]) == (45, 6, 45)
            usage = answer["sessions"][0]["usage"]
            assert [(row["date"], row["tokens"], row["input"]) for row in usage["dailyBreakdown"]] == [
                (day["date"], 30, 12)
            ]
            assert usage["messageCounts"]["total"] == usage["dailyMessageCounts"][0]["total"] == 4
            only = await client.request("sessions.usage", key="main")
            assert only["totals"]["totalTokens"] == 30

    serving(test, agents={"main": counting})


# -- changing


def test_made_and_told() -> None:
    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as client, talk(gateway) as other:
            await other.request("sessions.subscribe")
            await client.request("sessions.create", key="main")
            await client.request("sessions.patch", key="main", verboseLevel="on")
            params = {"key": "tui-1", "agentId": "main", "parentSessionKey": MAIN, "succeedsParent": True}
            made = await client.request("sessions.create", params, emitCommandHooks=True)
            conforms("SessionsCreateResult", made)
            assert (made["key"], made["runStarted"]) == ("agent:main:tui-1", False)
            assert made["entry"]["sessionId"] == made["sessionId"]
            assert (made["entry"]["verboseLevel"], made["entry"]["parentSessionKey"]) == ("on", MAIN)
            change = await other.event("sessions.changed", lambda payload: payload["sessionKey"] == made["key"])
            assert (change["reason"], change["session"]["sessionId"]) == ("create", made["sessionId"])
            again = await client.request("sessions.create", key="tui-1", label="not taken over")
            assert again["sessionId"] == made["sessionId"]
            assert "label" not in again["entry"]
            history = await client.request("chat.history", sessionKey="tui-1")
            assert (history["sessionId"], history["messages"]) == (made["sessionId"], [])
            unnamed = await client.request("sessions.create")
            assert unnamed["key"].startswith("agent:main:dashboard:")

    serving(test, agents={"main": parrot})


def test_made_with_a_message() -> None:
    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as client:
            made = await client.request("sessions.create", key="a", message="hi", idempotencyKey="k")
            assert (made["runStarted"], made["runId"]) == (True, "k")
            await client.event("chat", lambda payload: payload["state"] == "final")
            assert await texts(client, "a") == ["hi", "hi"]
            failed = await client.request("sessions.create", key="b", attachments=[{"content": "!"}])
            assert failed["runStarted"] is False
            assert failed["runError"] == {"code": "INVALID_REQUEST", "message": "attachment 0: content is not base64"}
            fork = await client.request("sessions.create", key="c", parentSessionKey="a", fork=True)
            assert fork["ok"]
            assert await texts(client, "c") == ["hi", "hi"]
            await said(client, "ho", "c")
            assert (await texts(client, "c"), await texts(client, "a")) == (["hi", "hi", "ho", "ho"], ["hi", "hi"])
            assert await refused(client, "sessions.create", fork=True) == "fork requires parentSessionKey"
            wrong = await refused(client, "sessions.create", fork=True, parentSessionKey="nowhere")
            assert wrong == "unknown parent session: nowhere"

    serving(test, agents={"main": parrot})


def test_patches() -> None:
    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as client, talk(gateway, scopes=("operator.write",)) as writer:
            await client.request("sessions.subscribe")
            patched = await client.request("sessions.patch", key="a", label="one", verboseLevel="on")
            assert (patched["ok"], patched["key"], patched["entry"]["label"]) == (True, "agent:main:a", "one")
            change = await client.event("sessions.changed", lambda payload: payload["reason"] == "patch")
            assert (change["session"]["label"], change["session"]["verboseLevel"]) == ("one", "on")
            await client.request("sessions.patch", key="a", label="one")
            assert await refused(client, "sessions.patch", key="b", label="one") == "label already in use: one"
            await client.request("sessions.patch", key="a", label=None, pinned=True)
            entry = (await client.request("sessions.patch", key="a", pinned=False))["entry"]
            assert "label" not in entry
            assert "pinned" not in entry
            assert "pinnedAt" not in entry
            await writer.request("sessions.patch", key="a", label="by a writer")
            with pytest.raises(RefusedError, match=r"missing scope: operator\.admin"):
                await writer.request("sessions.patch", key="a", verboseLevel="off")
            large = {"mcpServers": {f"server-{number}": True for number in range(1500)}}
            assert "16384 bytes" in await refused(client, "sessions.patch", key="a", toolOverrides=large)
            assert "has no model" in await refused(client, "sessions.patch", key="a", model="x/y")
            changed = await refused(client, "sessions.patch", key="a", label="x", expectedSessionId="another")
            assert changed == "Session a changed. Retry."

    serving(test, agents={"main": parrot})


def test_reset_ends_what_runs() -> None:
    async def test(gateway: Gateway, gate: Gate) -> None:
        async with talk(gateway) as client:
            await client.request("sessions.subscribe")
            await client.request("chat.send", sessionKey="main", message="hi", idempotencyKey="k")
            await client.event("chat")
            session_id = (await client.request("chat.history", sessionKey="main"))["sessionId"]
            await client.request("sessions.patch", key="main", verboseLevel="on")
            reset = await client.request("sessions.reset", key="main", reason="reset")
            assert (reset["key"], reset["entry"]["verboseLevel"]) == (MAIN, "on")
            assert reset["entry"]["sessionId"] == session_id, "as the product does"
            aborted = await client.event("chat", lambda payload: payload["state"] == "aborted")
            assert aborted["stopReason"] == "reset"
            await client.event("sessions.changed", lambda payload: payload["reason"] == "reset")
            assert await texts(client) == []
            assert (await client.request("sessions.reset", key="new"))["ok"]
            gate.open.set()
            await said(client, "anew")
            rows = (await client.request("chat.history", sessionKey="main"))["messages"]
            assert [row["__openclaw"]["seq"] for row in rows] == [1, 2]

    gated(test)


def test_deletion() -> None:
    async def test(gateway: Gateway, gate: Gate) -> None:
        async with talk(gateway) as client:
            await client.request("sessions.subscribe")
            assert await refused(client, "sessions.delete", key="main") == f"Cannot delete the main session ({MAIN})."
            await client.request("chat.send", sessionKey="a", message="hi", idempotencyKey="k")
            await client.event("chat")
            assert "is not archived" in await refused(client, "sessions.delete", key="a", archivedOnly=True)
            deleted = {"ok": True, "key": "agent:main:a", "deleted": True, "archived": []}
            assert await client.request("sessions.delete", key="a") == deleted
            await client.event("sessions.changed", lambda payload: payload["reason"] == "delete")
            assert await client.request("sessions.describe", key="a") == {"session": None}
            assert await client.request("sessions.delete", key="a") == {**deleted, "deleted": False}
            assert not gateway.runs.active

    gated(test)


def test_what_was_said_first_goes() -> None:
    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as client:
            nothing = await client.request("sessions.compact", key="main", maxLines=1)
            assert (nothing["compacted"], nothing["reason"]) == (False, "no transcript")
            for number in range(3):
                await said(client, f"m{number}")
            unable = await client.request("sessions.compact", key="main")
            assert (unable["ok"], unable["compacted"]) == (False, False)
            whole = await client.request("sessions.compact", key="main", maxLines=6)
            assert (whole["compacted"], whole["kept"]) == (False, 6)
            compacted = await client.request("sessions.compact", key="main", maxLines=3)
            assert (compacted["compacted"], compacted["kept"]) == (True, 4)
            rows = (await client.request("chat.history", sessionKey="main"))["messages"]
            assert [(text_of(row), row["__openclaw"]["seq"]) for row in rows] == [
                ("m1", 3), ("m1", 4), ("m2", 5), ("m2", 6),
            ]  # fmt: skip

    serving(test, agents={"main": parrot})


def test_sent_and_ended_by_the_key() -> None:
    async def test(gateway: Gateway, gate: Gate) -> None:
        async with talk(gateway) as client:
            assert await refused(client, "sessions.send", key="a", message="hi") == "session not found: a"
            await client.request("sessions.create", key="a")
            started = await client.request("sessions.send", key="a", message="hi")
            assert started["status"] == "started"
            delta = await client.event("chat")
            assert delta["runId"] == started["runId"]
            again = await client.request("sessions.send", key="a", message="hi", idempotencyKey=started["runId"])
            assert again["status"] == "in_flight"
            await client.request("sessions.send", key="a", message="ho", idempotencyKey="second")
            answer = await client.request("sessions.abort", key="a", clearQueued=True)
            assert answer == {"ok": True, "abortedRunId": started["runId"], "status": "aborted"}
            for _ in range(2):
                await client.event("chat", lambda payload: payload["state"] == "aborted")
            idle = {"ok": True, "abortedRunId": None, "status": "no-active-run"}
            assert await client.request("sessions.abort", key="a") == idle
            assert await client.request("sessions.abort", runId="second") == idle
            assert await refused(client, "sessions.abort") == "key required"

    gated(test)


def test_keys_have_sessions_of_their_own() -> None:
    scopes = frozenset({"operator", "operator.read", "operator.write", "operator.admin"})
    keys = {
        "secret-of-alice": Key(Caller("alice", None, scopes)),
        "secret-of-bob": Key(Caller("bob", frozenset({"other"}), scopes)),
    }

    async def test(gateway: Gateway) -> None:
        async with (
            talk(gateway, "secret-of-alice") as alice,
            talk(gateway, "secret-of-bob") as bob,
            talk(gateway) as own,
        ):
            await alice.request("sessions.create", key="a", label="hers")
            await own.request("sessions.create", key="a", label="hers")
            assert await listed(bob) == []
            assert "may not use the agent `main`" in await refused(bob, "sessions.describe", key="agent:main:a")
            assert (await bob.request("sessions.create", key="agent:other:a", label="hers"))["key"] == "agent:other:a"
            assert (await bob.request("sessions.create", key="b"))["key"] == "agent:other:b", "the only one it may use"
            assert (await alice.request("sessions.resolve", label="hers"))["key"] == "agent:main:a"
            assert (await alice.request("sessions.delete", key="a"))["deleted"]
            assert await listed(own) == ["b", "a", "a"]

    serving(test, agents={"main": parrot, "other": parrot}, keys=keys)


def test_a_session_of_an_agent_that_is_gone() -> None:
    from gateway.sessions.store import MemoryStore

    store = MemoryStore()

    async def before(gateway: Gateway) -> None:
        headers = {"x-openclaw-session-key": "foo", "x-openclaw-agent-id": "old"}
        assert (await chat(gateway, "hi", headers)).status == 200

    async def after(gateway: Gateway) -> None:
        async with talk(gateway) as client:
            assert await texts(client, "foo") == ["hi", "hi"]
            sent = {"key": "foo", "message": "still there?"}
            assert await refused(client, "sessions.send", **sent) == 'Agent "old" no longer exists in configuration'

    serving(before, agents={"old": parrot, "main": parrot}, store=store)
    serving(after, agents={"main": parrot}, store=store)


def test_many_at_once() -> None:
    async def test(gateway: Gateway) -> None:
        async with talk(gateway) as client:
            await client.request("sessions.subscribe")
            await asyncio.gather(*(client.request("sessions.create", key=f"s{number}") for number in range(100)))
            await client.until(lambda: len(client.seen("sessions.changed")) == 100)
            assert len({payload["sessionKey"] for payload in client.seen("sessions.changed")}) == 100
            page = await client.request("sessions.list")
            assert (page["count"], page["totalCount"], page["hasMore"]) == (100, 100, False)

    serving(test, agents={"main": parrot})
