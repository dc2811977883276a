"""The probes of supervisors and load balancers."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, cast

import pytest
from asking import TOKEN, ask, serving

from gateway import Gateway, RunInput
from gateway.agents.function import echo
from gateway.api.health import Health
from gateway.model.http import Headers
from gateway.ports import Exchange


@pytest.mark.parametrize("path", ["/healthz", "/health"])
def test_alive(path: str) -> None:
    async def test(gateway: Gateway) -> None:
        answer = await ask(gateway, path, method="GET", token=None)
        assert (answer.status, answer.json) == (200, {"ok": True, "status": "live"})
        assert answer.headers["cache-control"] == "no-store"
        head = await ask(gateway, path, method="HEAD", token=None)
        assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(answer.body)))

    serving(test, agents={"main": echo})


@pytest.mark.parametrize("path", ["/readyz", "/ready"])
def test_ready(path: str) -> None:
    async def test(gateway: Gateway) -> None:
        answer = await ask(gateway, path, method="GET", token=None)
        assert (answer.status, answer.json) == (200, {"ready": True, "failing": []})
        assert answer.headers["cache-control"] == "no-store"

    serving(test, agents={"main": echo})


class Answered:
    """The part of an exchange that a probe uses."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any]] = []

    def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        assert (b"cache-control", b"no-store") in headers
        self.answers.append((status, json.loads(body)))


def test_what_keeps_it_from_being_ready() -> None:
    failing: list[str] = ["starting"]
    health, exchange = Health(lambda: failing), Answered()

    async def main() -> None:
        await health.ready(cast("Exchange", exchange))
        failing[:] = []
        await health.ready(cast("Exchange", exchange))
        failing[:] = ["draining"]
        await health.ready(cast("Exchange", exchange))
        await health.live(cast("Exchange", exchange))

    asyncio.run(main())
    assert exchange.answers == [
        (503, {"ready": False, "failing": ["starting"]}),
        (200, {"ready": True, "failing": []}),
        (503, {"ready": False, "failing": ["draining"]}),
        (200, {"ok": True, "status": "live"}),
    ]


def test_what_a_gateway_says_of_itself() -> None:
    async def main() -> None:
        gateway = Gateway(agents={"main": echo}, listen="127.0.0.1:0", token=TOKEN)
        assert gateway._failing() == ["starting"]
        await gateway.start()
        assert gateway._failing() == []
        await gateway.drain(0)
        assert gateway._failing() == ["draining"]
        await gateway.aclose()
        assert gateway._failing() == ["draining"]

    asyncio.run(main())


def test_while_another_process_takes_over() -> None:
    """It serves as ever, once more on each connection; those on which nothing comes are closed in the end."""

    async def test(gateway: Gateway) -> None:
        host, _, port = gateway.urls[0].removeprefix("http://").rpartition(":")
        kept, fresh, silent = [await asyncio.open_connection(host, int(port)) for _ in range(3)]
        ask = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"
        kept[1].write(ask)
        assert b"200 OK" in await kept[0].readuntil(b"\r\n\r\n")
        started = asyncio.get_running_loop().time()
        draining = asyncio.create_task(gateway.drain(10, patience=1.0))
        await asyncio.sleep(0.2)
        for reader, writer in (kept, fresh):
            writer.write(ask)
            answer = await asyncio.wait_for(reader.read(), 0.7)
            assert b"HTTP/1.1 200 OK" in answer
            assert b"connection: close" in answer.lower()
            writer.close()
        assert not draining.done()
        assert await asyncio.wait_for(silent[0].read(), 5) == b""
        assert asyncio.get_running_loop().time() - started > 0.9
        await draining
        silent[1].close()

    serving(test, agents={"main": echo})


def test_no_longer_than_there_are_connections() -> None:
    async def test(gateway: Gateway) -> None:
        started = asyncio.get_running_loop().time()
        await gateway.drain(30, patience=20)
        assert asyncio.get_running_loop().time() - started < 5

    serving(test, agents={"main": echo})


def test_while_it_drains() -> None:
    """Asked behind a run that holds the drain, on its connection: there are no new ones by then."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def held(_: RunInput) -> str:
        begun.set()
        await go_on.wait()
        return "done"

    async def test(gateway: Gateway) -> None:
        host, _, port = gateway.urls[0].removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        body = b'{"messages":[{"role":"user","content":"hi"}]}'
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b"
            b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            % (TOKEN.encode(), len(body), body)
        )
        await begun.wait()
        draining = asyncio.create_task(gateway.drain(5))
        await asyncio.sleep(0.01)
        go_on.set()
        got = await asyncio.wait_for(reader.read(), 5)
        await draining
        writer.close()
        statuses = re.findall(rb"HTTP/1\.1 (\d+)", got)
        assert statuses in ([b"200"], [b"200", b"503", b"200"]), got
        if len(statuses) == 1:
            assert b"connection: close" in got.lower(), "what follows is not answered: the answer has to say so"

    serving(test, agents={"main": held})
