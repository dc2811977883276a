"""The gateway inside another program: on its sockets, in its loop, beside a second one, in a thread."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from gateway import AgentError, ConfigError, Gateway, GatewayError, RunInput
from gateway.ports import Agent


async def shout(run: RunInput) -> AsyncIterator[str]:
    for word in run.request.messages[-1].text.split():
        yield word.upper() + " "


async def whole(run: RunInput) -> str:
    return run.request.messages[-1].text[::-1]


async def broken(_: RunInput) -> AsyncIterator[str]:
    yield "so far"
    raise ZeroDivisionError("a secret of the agent")


def ask(origin: str, model: str, text: str = "hello", token: str = "t") -> tuple[int, Any]:
    client = http.client.HTTPConnection(origin.removeprefix("http://"), timeout=10)
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}]})
    client.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {token}"})
    answer = client.getresponse()
    parsed = json.loads(answer.read())
    client.close()
    return answer.status, parsed["choices"][0]["message"]["content"] if answer.status == 200 else parsed["error"]


def test_two_gateways_in_one_loop() -> None:
    async def main() -> None:
        async with (
            Gateway(agents={"one": shout}, listen="127.0.0.1:0", token="t") as first,
            Gateway(agents={"two": whole}, listen=["127.0.0.1:0", "127.0.0.1:0"], token="u") as second,
        ):
            assert await asyncio.to_thread(ask, first.urls[0], "agent:one") == (200, "HELLO ")
            for url in second.urls:
                assert await asyncio.to_thread(ask, url, "agent:two", token="u") == (200, "olleh")
            assert len({*first.urls, *second.urls}) == 3
            assert (await asyncio.to_thread(ask, first.urls[0], "agent:two"))[0] == 404
            assert (await asyncio.to_thread(ask, second.urls[0], "agent:two", token="t"))[0] == 401

    asyncio.run(main())


def test_a_socket_of_the_caller() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        gateway = Gateway(agents={"main": shout}, listen=[], token="t")
        await gateway.start()
        listening = socket.create_server(("127.0.0.1", 0))
        server = await loop.create_server(gateway.protocol, sock=listening)
        origin = f"http://127.0.0.1:{listening.getsockname()[1]}"
        assert await asyncio.to_thread(ask, origin, "openclaw") == (200, "HELLO ")
        assert gateway.urls == []
        server.close()
        await gateway.aclose()

    asyncio.run(main())


def test_in_a_thread() -> None:
    urls: list[str] = []
    ready = threading.Event()
    holder: dict[str, Any] = {}

    async def main() -> None:
        async with Gateway(agents={"main": shout}, listen="127.0.0.1:0", token="t") as gateway:
            holder.update(gateway=gateway, loop=asyncio.get_running_loop())
            urls.extend(gateway.urls)
            ready.set()
            await gateway.serve_forever()

    thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    assert ask(urls[0], "openclaw") == (200, "HELLO ")
    asyncio.run_coroutine_threadsafe(holder["gateway"].aclose(), holder["loop"]).result(10)
    thread.join(10)
    assert not thread.is_alive(), "aclose ends serve_forever"


def test_life_is_idempotent() -> None:
    async def main() -> None:
        gateway = Gateway(agents={"main": shout}, listen="127.0.0.1:0", token="t")
        await gateway.drain(0)
        await gateway.start()
        await gateway.start()
        assert len(gateway.urls) == 1
        assert await asyncio.to_thread(ask, gateway.urls[0], "openclaw") == (200, "HELLO ")
        await gateway.drain(0.1)
        await gateway.drain(0.1)
        await gateway.aclose()
        await gateway.aclose()
        with pytest.raises(GatewayError):
            await gateway.start()
        assert asyncio.all_tasks() == {asyncio.current_task()}, "something was left running"

    asyncio.run(main())


def test_closing_before_starting() -> None:
    async def main() -> None:
        await Gateway(agents={"main": shout}, listen="127.0.0.1:0", token="t").aclose()

    asyncio.run(main())


def test_closing_cancels_runs() -> None:
    seen: list[str] = []

    async def patient(_: RunInput) -> str:
        seen.append("started")
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        return "never"

    async def main() -> None:
        gateway = Gateway(agents={"main": patient}, listen="127.0.0.1:0", token="t")
        await gateway.start()
        asking = asyncio.create_task(asyncio.to_thread(ask, gateway.urls[0], "openclaw"))
        while not seen:
            await asyncio.sleep(0.01)
        await gateway.aclose()
        assert seen == ["started", "cancelled"], "aclose returns when the runs are over"
        await asyncio.gather(asking, return_exceptions=True)

    asyncio.run(main())


def test_a_deadline_of_draining() -> None:
    async def patient(_: RunInput) -> str:
        await asyncio.sleep(3600)
        return "never"

    async def main() -> None:
        async with Gateway(agents={"main": patient}, listen="127.0.0.1:0", token="t") as gateway:
            asking = asyncio.create_task(asyncio.to_thread(ask, gateway.urls[0], "openclaw"))
            while not gateway.connections:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            await gateway.drain(0.2)
            status, error = await asking
            assert status == 503
            assert set(error) == {"message", "type", "param", "code"}

    asyncio.run(main())


def test_what_agents_raise(caplog: pytest.LogCaptureFixture) -> None:
    async def refuses(_: RunInput) -> str:
        raise AgentError("not now", code="later", status=429, retry_after=1.2)

    async def main() -> None:
        agents: dict[str, Agent] = {"broken": broken, "refuses": refuses, "main": shout}
        async with Gateway(agents=agents, listen="127.0.0.1:0", token="t") as gateway:
            status, error = await asyncio.to_thread(ask, gateway.urls[0], "agent:refuses")
            assert (status, error["message"], error["code"]) == (429, "not now", "later")
            status, error = await asyncio.to_thread(ask, gateway.urls[0], "agent:broken")
            assert status == 500
            assert "secret" not in json.dumps(error), "an exception's text is for the log, not for the client"
            assert await asyncio.to_thread(ask, gateway.urls[0], "openclaw") == (200, "HELLO ")

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert "ZeroDivisionError" in caplog.text, "a broken agent must leave a trace in the log"


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The environment variables that the gateway reads by itself."""
    read: list[str] = []

    class Environment(dict[str, str]):
        def __getitem__(self, key: str) -> str:
            note(key)
            return super().__getitem__(key)

        def get(self, key: str, default: Any = None) -> Any:
            note(key)
            return super().get(key, default)

    def note(key: str) -> None:
        caller: Any = sys._getframe(2)
        if str(caller.f_globals.get("__name__")).split(".", maxsplit=1)[0] == "gateway":
            read.append(key)

    monkeypatch.setattr(os, "environ", Environment(os.environ))
    return read


def test_it_leaves_the_program_alone(watched: list[str]) -> None:
    handlers = list(logging.root.handlers)

    async def main() -> None:
        before = (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
        async with Gateway(agents={"main": shout}, listen="127.0.0.1:0", token="t") as gateway:
            assert await asyncio.to_thread(ask, gateway.urls[0], "openclaw") == (200, "HELLO ")
            assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before

    asyncio.run(main())
    assert not watched, f"an embedded gateway read {watched} from the environment"
    assert logging.root.handlers == handlers


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"agents": {"main": shout}, "listen": "0.0.0.0:0"}, "token"),
        ({"agents": {}, "listen": "127.0.0.1:0", "token": "t"}, "agent"),
        ({"agents": {"not an id": shout}, "listen": "127.0.0.1:0", "token": "t"}, "not an id"),
        ({"agents": {"main": shout}, "listen": "127.0.0.1:99999", "token": "t"}, "99999"),
        ({"agents": {"main": shout}, "listen": "127.0.0.1:0", "token": ""}, "token"),
    ],
)
def test_parts_that_do_not_make_a_gateway(arguments: Mapping[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Gateway(**arguments)


def test_a_port_that_is_taken() -> None:
    async def main() -> None:
        async with Gateway(agents={"main": shout}, listen="127.0.0.1:0", token="t") as gateway:
            taken = gateway.urls[0].removeprefix("http://")
            second = Gateway(agents={"main": shout}, listen=taken, token="t")
            with pytest.raises(ConfigError, match=taken.split(":")[1]):
                await second.start()
            await second.aclose()

    asyncio.run(main())
