"""Requests that are sent again, and wrong secrets, where several processes answer."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from asking import Answer, parse
from crew import Crew, crew
from processes import TOKEN, Launch
from serving import CERTIFICATE, trusting
from test_sockets_shared import client_of

if not hasattr(socket, "AF_UNIX"):
    pytest.skip("several processes need unix sockets", allow_module_level=True)

TLS = {"enabled": True, "certPath": CERTIFICATE, "keyPath": CERTIFICATE}


async def ask(
    made: Crew, key: str | None, text: str, model: str = "openclaw/which", *, token: str = TOKEN, tls: bool = False,
    **more: Any,
) -> Answer:  # fmt: skip
    """Over a connection of its own."""
    context: ssl.SSLContext | None = trusting() if tls else None
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", made.port, ssl=context, server_hostname="localhost" if tls else None
    )
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}], **more}).encode()
    again = "" if key is None else f"Idempotency-Key: {key}\r\n"
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{again}"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    try:
        return parse(await reader.read())
    finally:
        writer.close()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_repeated_request_is_one_run(launch: Launch, tmp_path: Path, tls: bool) -> None:
    more: dict[str, Any] = {"tls": TLS} if tls else {}
    made = crew(launch, tmp_path, workers=3, **more)

    async def main() -> None:
        owners = set()
        for key in range(8):
            text = "x" * (1 + key * 100_000)
            answers = await asyncio.gather(*(ask(made, f"k{key}", text, tls=tls) for _ in range(6)))
            assert {answer.status for answer in answers} == {200}
            assert len({answer.body for answer in answers}) == 1, "the same, to the last byte"
            late = await ask(made, f"k{key}", text, tls=tls)
            assert late.body == answers[0].body
            assert late.headers["idempotent-replayed"] == "true"
            owners.add(late.json["choices"][0]["message"]["content"])
            other = await ask(made, f"k{key}", "another", tls=tls)
            assert (other.status, other.error["code"]) == (409, "idempotency_key_reused")
        assert len(owners) > 1, "keys belong to different processes"

    asyncio.run(main())
    assert made.gateway.end() == 0


def test_a_stream_is_joined_from_any_process(launch: Launch, tmp_path: Path) -> None:
    made = crew(launch, tmp_path)

    async def main() -> None:
        first = asyncio.create_task(ask(made, "k", "slow", "openclaw/pause", stream=True))
        await made.until_marked("slow", "started")
        later = [asyncio.create_task(ask(made, "k", "slow", "openclaw/pause", stream=True)) for _ in range(5)]
        answers = [await task for task in (first, *later)]
        assert len({answer.body for answer in answers}) == 1
        assert answers[0].events[-1] == "[DONE]"
        assert b"before " in answers[0].body

    asyncio.run(main())


def test_a_client_that_leaves_ends_its_run_elsewhere(launch: Launch, tmp_path: Path) -> None:
    """The connection is the other process's: there its end is seen."""
    made = crew(launch, tmp_path)

    async def main() -> None:
        for key in range(4):  # some of them are handed over
            name = f"left{key}"
            task = asyncio.create_task(ask(made, f"k{key}", name, "openclaw/forever", stream=True))
            await made.until_marked(name, "started")
            task.cancel()
            await asyncio.wait([task])
        for key in range(4):
            await made.until_marked(f"left{key}", "cancelled")

    asyncio.run(main())


def test_wrong_secrets_count_in_all_processes(launch: Launch, tmp_path: Path) -> None:
    limits = {"maxAttempts": 6, "windowMs": 60_000, "lockoutMs": 60_000, "exemptLoopback": False}
    made = crew(launch, tmp_path, auth={"mode": "token", "token": TOKEN, "rateLimit": limits})

    async def main() -> None:
        await made.meet()
        statuses = []
        for _ in range(6):
            statuses.append((await ask(made, None, "hi", token="wrong")).status)
            await asyncio.sleep(0.05)  # it is told to the others meanwhile
        assert statuses == [401] * 6
        for _ in range(12):  # the right one, too, and wherever it is shown
            answer = await ask(made, None, "hi")
            assert (answer.status, answer.error["code"]) == (429, "rate_limited")
        before = made.gateway.text().count("takes its place")
        made.kill(2)
        async with asyncio.timeout(20):
            while made.gateway.text().count("takes its place") == before:
                await asyncio.sleep(0.05)
        for _ in range(12):  # what takes its place has heard of it
            assert (await ask(made, None, "hi")).status == 429

    asyncio.run(main())
    assert made.gateway.text().count("is locked out for") == 1, "told once"


def test_a_right_secret_makes_good_in_all_processes(launch: Launch, tmp_path: Path) -> None:
    limits = {"maxAttempts": 6, "windowMs": 60_000, "lockoutMs": 60_000, "exemptLoopback": False}
    made = crew(launch, tmp_path, auth={"mode": "token", "token": TOKEN, "rateLimit": limits})

    async def main() -> None:
        await made.meet()
        for _ in range(4):
            for _ in range(4):
                assert (await ask(made, None, "hi", token="wrong")).status == 401
                await asyncio.sleep(0.05)
            assert (await ask(made, None, "hi")).status == 200
            await asyncio.sleep(0.05)

    asyncio.run(main())


def a_key(secret: str, **more: Any) -> dict[str, Any]:
    return {"mode": "token", "token": TOKEN, "keys": [{"id": "one", "secret": secret, **more}]}


def test_the_rate_of_a_key_is_that_of_all_processes(launch: Launch, tmp_path: Path) -> None:
    secret = "a-secret-of-one-client-that-is-long-enough"
    made = crew(launch, tmp_path, auth=a_key(secret, rate="8/h"))

    async def main() -> None:
        statuses = []
        for number in range(12):
            statuses.append((await ask(made, f"k{number}", "hi", token=secret)).status)
            await asyncio.sleep(0.15)
        assert statuses == [200] * 8 + [429] * 4, "each counts once, also where it was handed over"

    asyncio.run(main())


def test_a_key_that_is_taken_back_opens_no_process(launch: Launch, tmp_path: Path) -> None:
    secret = "a-secret-of-one-client-that-is-long-enough"
    made = crew(launch, tmp_path, auth=a_key(secret))

    async def main() -> None:
        for _ in range(8):
            assert (await ask(made, None, "hi", token=secret)).status == 200
        async with client_of(made.port) as client:
            before = (await client.request("config.get"))["hash"]
            patch = json.dumps({"gateway": {"auth": {"keys": None}}})
            done = await client.request("config.patch", raw=patch, baseHash=before, replacePaths=["gateway.auth.keys"])
            assert done["ok"]
        await asyncio.sleep(0.3)
        for _ in range(12):
            assert (await ask(made, None, "hi", token=secret)).status == 401

    asyncio.run(main())


def test_runs_at_a_time_are_those_of_all_processes(launch: Launch, tmp_path: Path) -> None:
    path = launch.file({
        "gateway": {"port": 0, "workers": 3, "auth": {"mode": "none"}}, "session": {"store": str(tmp_path / "s.db")},
        "agents": {"list": [{"id": "main", "maxConcurrent": 2, "runtime": {"type": "echo"}}]},
    })  # fmt: skip
    done = launch.command("run", "--config", str(path))
    assert done.returncode != 0
    assert done.stderr.count("agents.list[0].maxConcurrent: 2 cannot be divided among 3 processes") == 1
