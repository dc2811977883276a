"""The operators' protocol where several processes serve: all its clients are with one of them, and see all runs."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from crew import Crew, crew
from dialogue import Client, params_of
from processes import TOKEN, Launch, until
from serving import CERTIFICATE, trusting
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

if not hasattr(socket, "AF_UNIX"):
    pytest.skip("several processes need unix sockets", allow_module_level=True)

TLS = {"enabled": True, "certPath": CERTIFICATE, "keyPath": CERTIFICATE}


@asynccontextmanager
async def client_of(port: int, *, tls: bool = False) -> AsyncIterator[Client]:
    """An operator who was let in."""
    url = f"{'wss' if tls else 'ws'}://localhost:{port}/"
    context = trusting() if tls else None
    async with connect(url, proxy=None, max_size=None, close_timeout=1, ssl=context) as link:
        client = Client(link)
        try:
            await client.until(lambda: client.events)
            client.challenge = client.events.pop(0)["payload"]
            client.hello = await client.request("connect", params_of(TOKEN))
            yield client
        finally:
            client._reader.cancel()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_all_sockets_are_with_one_process(launch: Launch, tmp_path: Path, tls: bool) -> None:
    more: dict[str, Any] = {"tls": TLS} if tls else {}
    made = crew(launch, tmp_path, **more)

    async def main() -> None:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            boots: set[str] = set()
            here = asyncio.Event()

            async def visit(number: int) -> None:
                async with client_of(made.port, tls=tls) as client:
                    boots.add(client.hello["server"]["bootId"])
                    big = "x" * (1 + number * 50_000)
                    done = await client.request(
                        "chat.send", sessionKey="main", message=big, idempotencyKey=f"i{number}"
                    )
                    ended = await client.request("agent.wait", runId=done["runId"], timeoutMs=20_000)
                    assert ended["status"] == "ok"
                    if number == 11:
                        here.set()
                    await here.wait()
                    presence = await client.request("system-presence")
                    assert all(entry.get("host") or entry.get("text") for entry in presence)

            for number in range(12):
                group.create_task(visit(number))
        assert len(boots) == 1, "of one process"

    asyncio.run(main())
    until("each is told", lambda: made.gateway.text().count('"GET /" 101') >= 12)
    log = made.gateway.text()
    assert log.count('"GET /" 101') == 12, "once"
    assert log.count("worker=1 gateway.server.accesslog") == 12
    assert made.gateway.end() == 0


def test_a_bad_handshake_is_refused_by_whoever_gets_it(launch: Launch, tmp_path: Path) -> None:
    made = crew(launch, tmp_path)

    async def main() -> None:
        for _ in range(6):
            with pytest.raises(InvalidStatus) as caught:
                async with connect(
                    f"ws://localhost:{made.port}/", proxy=None, additional_headers={"Sec-WebSocket-Version": "7"}
                ):
                    pass
            assert caught.value.response.status_code in {400, 426}

    asyncio.run(main())


def test_sockets_outlive_other_workers_and_come_back_after_their_own(launch: Launch, tmp_path: Path) -> None:
    made = crew(launch, tmp_path)

    async def main() -> None:
        await made.meet()
        async with asyncio.timeout(60):
            async with client_of(made.port) as client:
                boot = client.hello["server"]["bootId"]
                made.kill(2)
                assert (await client.request("health"))["ok"]
                made.kill(1)
                await client.over()
            async with client_of(made.port) as client:  # handed over while nobody is there, or accepted later
                assert client.hello["server"]["bootId"] != boot
                assert (await client.request("health"))["ok"]

    asyncio.run(main())


def ours(payload: Mapping[str, Any]) -> bool:
    """Whether an event is not of a run that only asks with whom we talk."""
    return bool(payload["agentId"] != "which")


async def of_other(made: Crew, key: str, text: str, model: str) -> asyncio.Task[tuple[int, bytes]]:
    """A run over HTTP in worker 2, under way."""
    started = asyncio.Event()

    async def ask() -> tuple[int, bytes]:
        async with made.at(2) as talk:
            started.set()
            return await talk.post(key, text, model=model, stream=True)

    task = asyncio.create_task(ask())
    await started.wait()
    return task


def test_runs_of_other_workers_are_seen_and_stopped(launch: Launch, tmp_path: Path) -> None:
    made = crew(launch, tmp_path)

    async def main() -> None:
        await made.meet()
        async with asyncio.timeout(60), client_of(made.port) as client:
            await client.request("sessions.subscribe")
            async with made.at(2) as talk:
                await talk.say("k", "before", model="openclaw/words")
            await client.event("chat", lambda payload: payload["state"] == "final" and ours(payload))
            run = await of_other(made, "k", "watched", "openclaw/forever")
            delta = await client.event("chat", lambda payload: payload["state"] == "delta" and ours(payload))
            assert delta["deltaText"].startswith("on and on ")
            run_id, key = delta["runId"], delta["sessionKey"]
            began = await client.event("agent", lambda payload: payload["runId"] == run_id)
            assert began["data"]["phase"] == "start"
            assert began["runId"] == run_id
            asked = await client.event("session.message", lambda payload: payload["messageSeq"] == 3)
            assert asked["message"]["content"] == "watched"
            listed = await client.request("sessions.list", activeOnly=True)
            assert [row["key"] for row in listed["sessions"]] == [key]
            assert listed["sessions"][0]["activeRunIds"] == [run_id]
            assert (await client.request("agent.wait", runId=run_id, timeoutMs=50))["status"] == "timeout"
            later = await client.event("chat", lambda payload: payload["state"] == "delta")
            assert later["message"]["content"][0]["text"].startswith(delta["message"]["content"][0]["text"])
            stopped = await client.request("chat.abort", sessionKey=key)
            assert stopped["runIds"] == [run_id]
            _, answer = await run
            assert b'"run_aborted"' in answer
            over = await client.event("chat", lambda payload: payload["state"] == "aborted")
            assert over["runId"] == run_id
            ended = await client.request("agent.wait", runId=run_id, timeoutMs=5_000)
            assert ended["status"] != "timeout"
            listed = await client.request("sessions.list", activeOnly=True)
            assert listed["sessions"] == []

    asyncio.run(main())


def test_a_turn_that_another_worker_kept_is_told(launch: Launch, tmp_path: Path) -> None:
    made = crew(launch, tmp_path)

    async def main() -> None:
        await made.meet()
        async with asyncio.timeout(60), client_of(made.port) as client:
            await client.request("sessions.subscribe")
            async with made.at(2) as talk:
                assert await talk.say("k", "one two", model="openclaw/words") == "one two "
            rows = [await client.event("session.message") for _ in range(2)]
            assert [row["message"]["role"] for row in rows] == ["user", "assistant"]
            assert rows[1]["message"]["content"][0]["text"] == "one two "
            final = await client.event("chat", lambda payload: payload["state"] == "final" and ours(payload))
            assert final["message"]["content"][0]["text"] == "one two "
            history = await client.request("chat.history", sessionKey=rows[0]["sessionKey"])
            assert [row["role"] for row in history["messages"]] == ["user", "assistant"]

    asyncio.run(main())


def test_the_runs_of_a_worker_that_dies_are_over(launch: Launch, tmp_path: Path) -> None:
    made = crew(launch, tmp_path)

    async def main() -> None:
        await made.meet()
        async with asyncio.timeout(60), client_of(made.port) as client:
            run = await of_other(made, "k", "lost", "openclaw/forever")
            delta = await client.event("chat", lambda payload: payload["state"] == "delta" and ours(payload))
            made.kill(2)
            over = await client.event(
                "agent", lambda payload: payload["data"].get("phase") in {"end", "error"} and ours(payload)
            )
            assert over["runId"] == delta["runId"]
            await asyncio.wait([run])
            assert run.exception() is not None
            # Its successor is asked for its runs, too.
            await made.meet()
            run = await of_other(made, "k2", "found", "openclaw/forever")
            delta = await client.event("chat", lambda payload: payload["sessionKey"].endswith("k2"))
            await client.request("chat.abort", sessionKey=delta["sessionKey"])
            await run

    asyncio.run(main())


def test_nothing_is_told_where_nobody_looks(launch: Launch, tmp_path: Path) -> None:
    """Who has gone is told no more, and who comes later sees the runs that begin then."""
    made = crew(launch, tmp_path)

    async def main() -> None:
        await made.meet()
        async with asyncio.timeout(60):
            async with client_of(made.port):
                pass
            async with made.at(2) as talk:
                await talk.say("k", "unseen", model="openclaw/words")
            async with client_of(made.port) as client:
                async with made.at(2) as talk:
                    await talk.say("k", "seen", model="openclaw/words")
                final = await client.event("chat", lambda payload: payload["state"] == "final" and ours(payload))
                assert final["message"]["content"][0]["text"] == "seen "
                texts = [json.dumps(event) for event in client.seen("chat")]
                assert not any("unseen" in text for text in texts)

    asyncio.run(main())


def test_replacing_all_workers_loses_no_socket_that_comes(launch: Launch, tmp_path: Path) -> None:
    """A rolling reload while clients come and go: each gets in, at once or after the process it was with has left."""
    made = crew(launch, tmp_path)
    replaced = asyncio.Event()

    async def visits() -> int:
        count = 0
        while not replaced.is_set():
            try:
                async with client_of(made.port) as client:
                    await client.request("health")
                    count += 1
            except (AssertionError, ConnectionClosed) as error:  # it was closed as the protocol has it, while it asked
                if "1012" not in str(error):
                    raise
            except InvalidStatus as error:  # it was with the one that leaves
                assert error.response.status_code == 503  # noqa: PT017 - one of several things that may happen
        return count

    async def main() -> None:
        async with asyncio.timeout(90):
            visitors = [asyncio.create_task(visits()) for _ in range(3)]
            await asyncio.sleep(0.3)
            made.gateway.process.send_signal(1)
            await asyncio.to_thread(until, "they are replaced", lambda: "read anew" in made.gateway.text(), 60.0)
            replaced.set()
            assert sum(await asyncio.gather(*visitors)) > 3

    asyncio.run(main())
