"""The Gateway: how it is put together, begins and ends."""

from __future__ import annotations

import asyncio
import socket
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from asking import TOKEN, Answer, ask, chat, say, serving, until
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from gateway import ConfigError, Gateway, GatewayError, RunInput
from gateway.agents.function import echo
from gateway.config import load
from gateway.ids import random_ids
from gateway.ports import Agent, Link
from gateway.server.listeners import Listener, open_listener
from gateway.sessions.store import MemoryStore
from gateway.testing import ScriptedAgent, counting_ids


async def shout(run: RunInput) -> AsyncIterator[str]:
    yield run.request.messages[-1].text.upper()


# Life.


def test_it_begins_and_ends_once() -> None:
    async def main() -> None:
        gateway = Gateway(agents={"main": shout}, listen="127.0.0.1:0", token=TOKEN)
        assert gateway.urls == []
        assert gateway.connections == 0
        with pytest.raises(GatewayError, match="not been started"):
            gateway.protocol()
        await gateway.drain(0)
        await gateway.start()
        await gateway.start()
        (url,) = gateway.urls
        assert url.startswith("http://127.0.0.1:")
        assert int(url.rpartition(":")[2]) > 0, "port 0 tells what was bound"
        assert (await chat(gateway)).text == "HI"
        await gateway.drain(0)
        await gateway.drain(0)
        with pytest.raises(OSError):
            await chat(gateway)
        await gateway.aclose()
        await gateway.aclose()
        await gateway.drain(0)
        for again in (gateway.start, gateway.serve_forever):
            with pytest.raises(GatewayError, match="closed"):
                await again()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_two_tasks_do_not_start_it_twice() -> None:
    async def main() -> None:
        gateway = Gateway(agents={"main": shout}, listen="127.0.0.1:0", token=TOKEN)
        first, second = await asyncio.gather(gateway.start(), gateway.start(), return_exceptions=True)
        assert first is None
        assert isinstance(second, GatewayError)
        assert len(gateway.urls) == 1
        await gateway.aclose()

    asyncio.run(main())


def test_serving_forever_ends_with_the_gateway() -> None:
    async def main() -> None:
        gateway = Gateway(agents={"main": shout}, listen="127.0.0.1:0", token=TOKEN)
        serving = asyncio.create_task(gateway.serve_forever())
        await until(lambda: gateway.urls)
        assert (await chat(gateway)).text == "HI"
        await gateway.aclose()
        await asyncio.wait_for(serving, 1)

    asyncio.run(main())


def test_serving_forever_can_be_cancelled() -> None:
    async def main() -> None:
        async with Gateway(agents={"main": shout}, listen="127.0.0.1:0", token=TOKEN) as gateway:
            serving = asyncio.create_task(gateway.serve_forever())
            await asyncio.sleep(0.01)
            serving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await serving

    asyncio.run(main())


def test_draining_waits_for_the_runs_and_no_longer() -> None:
    async def test(gateway: Gateway) -> None:
        asking = asyncio.create_task(chat(gateway))
        await until(lambda: gateway.runs.active)
        began = asyncio.get_running_loop().time()
        await gateway.drain(5)
        assert asyncio.get_running_loop().time() - began < 1
        assert (await asking).text == "done"

    serving(test, agents={"main": ScriptedAgent(0.1, "done")})


def test_the_default_deadline_of_draining() -> None:
    async def test(gateway: Gateway) -> None:
        asking = asyncio.create_task(chat(gateway))
        await until(lambda: gateway.runs.active)
        await gateway.drain()
        answer = await asking
        assert (answer.status, answer.error["code"]) == (503, "shutting_down")

    serving(test, agents={"main": ScriptedAgent(60, "never")}, drain=0.05)


def test_closing_while_it_drains() -> None:
    async def test(gateway: Gateway) -> None:
        asking = asyncio.create_task(chat(gateway))
        await until(lambda: gateway.runs.active)
        draining = asyncio.create_task(gateway.drain(60))
        await asyncio.sleep(0.01)
        await gateway.aclose()
        await asyncio.wait_for(draining, 2)
        await asyncio.gather(asking, return_exceptions=True)

    serving(test, agents={"main": ScriptedAgent(60, "never")})


# Where it listens.


def test_several_addresses(tmp_path: Path) -> None:
    path = tmp_path / "g.sock"

    async def test(gateway: Gateway) -> None:
        assert len(set(gateway.urls)) == 3
        assert gateway.urls[2] == f"unix:{path}"
        for url in gateway.urls:
            assert (await chat(url)).text == "HI"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    serving(test, agents={"main": shout}, listen=["127.0.0.1:0", "localhost:0", f"unix:{path}"])
    assert not path.exists()


def test_a_failed_start_leaves_nothing_open() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            gateway = Gateway(agents={"main": shout}, listen=["127.0.0.1:0", f"127.0.0.1:{port}"], token=TOKEN)
            with pytest.raises(ConfigError, match=str(port)):
                await gateway.start()
            first = int(gateway.urls[0].rpartition(":")[2])
            with pytest.raises(OSError):
                await asyncio.open_connection("127.0.0.1", first)
            with pytest.raises(GatewayError):
                await gateway.start()

    asyncio.run(main())


def test_a_start_that_is_cancelled_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        gateway = Gateway(agents={"main": shout}, listen=["127.0.0.1:0", "some.host.invalid:0"], token=TOKEN)
        asked = asyncio.Event()

        async def slow(loop: Any, protocol: Any, address: Any, *more: Any) -> Listener:
            if address.host == "127.0.0.1":
                return await open_listener(loop, protocol, address, *more)
            asked.set()
            await asyncio.sleep(60)
            raise AssertionError

        monkeypatch.setattr("gateway.app.open_listener", slow)
        starting = asyncio.create_task(gateway.start())
        await asyncio.wait_for(asked.wait(), 5)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        monkeypatch.undo()
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", int(gateway.urls[0].rpartition(":")[2]))

    asyncio.run(main())


def test_sockets_that_the_caller_opened() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with Gateway(agents={"main": shout}, listen=[], token=TOKEN) as gateway:
            listening = socket.create_server(("127.0.0.1", 0))
            server = await loop.create_server(gateway.protocol, sock=listening)
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            assert (await chat(url)).text == "HI"
            assert gateway.urls == []
            ours, theirs = socket.socketpair()
            await loop.connect_accepted_socket(gateway.protocol, ours)
            reader, writer = await asyncio.open_connection(sock=theirs)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
            writer.close()
            server.close()

    asyncio.run(main())


def test_in_a_thread() -> None:
    holder: dict[str, Any] = {}
    ready = threading.Event()

    async def serve() -> None:
        async with Gateway(agents={"main": shout}, listen="127.0.0.1:0", token=TOKEN) as gateway:
            holder.update(gateway=gateway, loop=asyncio.get_running_loop())
            ready.set()
            await gateway.serve_forever()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    gateway: Gateway = holder["gateway"]
    assert asyncio.run(chat(gateway.urls[0])).text == "HI"
    asyncio.run_coroutine_threadsafe(gateway.aclose(), holder["loop"]).result(10)
    thread.join(10)
    assert not thread.is_alive()


def test_two_in_one_process_share_nothing() -> None:
    async def main() -> None:
        made = [
            Gateway(agents={name: shout}, listen="127.0.0.1:0", token=name, ids=counting_ids(), clock=lambda: 1.0)
            for name in ("one", "two")
        ]
        async with made[0] as one, made[1] as two:
            for gateway, name, other in ((one, "one", "two"), (two, "two", "one")):
                answer = await ask(gateway, body=say(user="Ann"), token=name)
                assert (answer.status, answer.json["created"]) == (200, 1)
                assert (await ask(gateway, body=say(), token=other)).status == 401
                assert (await ask(gateway, body=say(model=f"agent:{other}"), token=name)).status == 404

    asyncio.run(main())


# What makes a gateway.


@pytest.mark.parametrize(
    "listen",
    ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.com:0", "127.0.0.1.example.com:0", "127.evil.example:0", "::"],
)
def test_without_a_token_only_this_machine(listen: str) -> None:
    with pytest.raises(ConfigError, match="token"):
        Gateway(agents={"main": shout}, listen=listen)
    with pytest.raises(ConfigError, match="token"):
        Gateway(agents={"main": shout}, listen=["127.0.0.1:0", listen])
    Gateway(agents={"main": shout}, listen=listen, token=TOKEN)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.8.9.1:0", "localhost:0", "[::1]:0", "unix:/x", [], ":0"])
def test_local_addresses_need_no_token(listen: str | list[str]) -> None:
    Gateway(agents={"main": shout}, listen=listen)


@pytest.mark.parametrize("token", ["", " ", " x", "x\n", "\tx", "x\x00y", "x\r\ny"])
def test_tokens_that_nobody_could_send(token: str) -> None:
    with pytest.raises(ConfigError, match="token") as caught:
        Gateway(agents={"main": shout}, listen="127.0.0.1:0", token=token)
    assert not token.strip() or token.strip() not in str(caught.value).split()


@pytest.mark.parametrize("agent_id", ["", "two words", "a/b", "a:b", "-a", "x" * 65, "\u00e4", 'a"b'])
def test_ids_that_are_none(agent_id: str) -> None:
    with pytest.raises(ConfigError, match="an agent's id is"):
        Gateway(agents={agent_id: shout}, listen="127.0.0.1:0", token=TOKEN)


def test_ids_are_compared_without_case() -> None:
    async def test(gateway: Gateway) -> None:
        assert (await chat(gateway, model="agent:LOUD")).text == "HI"

    serving(test, agents={"Loud": shout})
    with pytest.raises(ConfigError, match="two agents"):
        Gateway(agents={"a": shout, "A": shout}, listen="127.0.0.1:0", token=TOKEN)


def test_no_agent_at_all() -> None:
    nobody: list[dict[str, Agent] | None] = [None, {}]
    for agents in nobody:
        with pytest.raises(ConfigError, match="there is no agent"):
            Gateway(agents=agents, listen="127.0.0.1:0", token=TOKEN)


def test_the_store_of_the_caller_is_used() -> None:
    store = MemoryStore()
    assert not len(store), "an empty one, too"

    async def test(gateway: Gateway) -> None:
        await chat(gateway, user="Ann")
        assert len((await store.load("agent:main:openai-user:Ann")).turns) == 1

    serving(test, agents={"main": shout}, store=store)


def test_what_is_injected() -> None:
    async def test(gateway: Gateway) -> None:
        answer = await chat(gateway)
        assert answer.headers["date"] == "Sun, 09 Sep 2001 01:46:40 GMT"
        assert answer.json["created"] == 1_000_000_000
        assert int(answer.headers["x-request-id"], 16) == 1
        assert answer.json["id"] == f"chatcmpl-{2:032x}"

    serving(test, agents={"main": shout}, ids=counting_ids(), clock=lambda: 1_000_000_000.5)


def test_random_ids() -> None:
    ids = random_ids()
    drawn = [ids(32) for _ in range(2000)]
    assert len(set(drawn)) == 2000
    assert all(len(one) == 32 and set(one) <= set("0123456789abcdef") for one in drawn)
    assert [len(ids(digits)) for digits in (0, 1, 7, 8191, 8192, 100_000)] == [0, 1, 7, 8191, 8192, 100_000]
    assert random_ids()(32) != random_ids()(32)


# From a configuration.

CONFIG = """{
  gateway: {
    http: { endpoints: { chatCompletions: { enabled: true, maxBodyBytes: 1000 } }, keepAliveCommentMs: 50 },
    port: 0,
    shutdown: { drainMs: 60 },
  },
  session: { maxSessions: 2 },
  agents: { list: [
    { id: "Parrot", runtime: { type: "echo" }, aliases: ["gpt-4o"] },
    { id: "own", default: true, runtime: { type: "python", target: "app_agents:loud" } },
  ] },
}"""


def configured(folder: Path, text: str = CONFIG) -> Any:
    (folder / "gateway.json5").write_text(text)
    return load(str(folder / "gateway.json5"), environ={}).config


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "app_agents.py").write_text(
        "import asyncio\nasync def loud(run):\n    await asyncio.sleep(0.12)\n"
        "    yield run.request.messages[-1].text.upper() + '!'\n"
    )
    return tmp_path


def test_agents_of_a_configuration(folder: Path) -> None:
    async def test(gateway: Gateway) -> None:
        assert gateway.urls[0].startswith("http://127.0.0.1:")
        assert (await chat(gateway)).text == "HI!"
        assert (await chat(gateway, model="openclaw/PARROT")).text == "Echo: hi"
        assert (await chat(gateway, model="gpt-4o")).text == "Echo: hi"
        assert (await chat(gateway, "x" * 1000)).status == 413
        assert b": keep-alive\n\n" in (await chat(gateway, stream=True)).body
        for user in "abc":
            await chat(gateway, user=user, model="gpt-4o")
        again = [await chat(gateway, user=user, model="gpt-4o") for user in "ca"]
        assert [answer.json["usage"]["prompt_tokens"] for answer in again] == [4, 1], "the third session cost the first"

    serving(test, config=configured(folder), listen=None)


def test_agents_of_both(folder: Path) -> None:
    async def test(gateway: Gateway) -> None:
        assert (await chat(gateway, model="agent:own")).text == "HI", "the program's own wins over the configured one"
        assert (await chat(gateway, model="agent:parrot")).text == "Echo: hi"

    serving(test, config=configured(folder), agents={"own": shout})


def test_the_drain_time_of_a_configuration(folder: Path) -> None:
    async def test(gateway: Gateway) -> None:
        asking = asyncio.create_task(chat(gateway, model="agent:slow"))
        await until(lambda: gateway.runs.active)
        await gateway.drain()
        assert (await asking).status == 503

    serving(test, config=configured(folder), agents={"slow": ScriptedAgent(60)})


def test_a_configuration_without_agents(folder: Path) -> None:
    config = configured(folder, "{}")
    with pytest.raises(ConfigError, match="there is no agent"):
        Gateway(config, listen="127.0.0.1:0", token=TOKEN)
    Gateway(config, agents={"main": shout}, listen="127.0.0.1:0", token=TOKEN)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ('{ id: "a", runtime: { type: "python", target: "app_agents:nothing" } }', "has no 'nothing'"),
        ('{ id: "a", runtime: { type: "python", target: "nowhere_at_all:x" } }', "cannot be imported"),
    ],
)
def test_targets_of_a_configuration(folder: Path, entry: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        Gateway(configured(folder, f"{{ agents: {{ list: [{entry}] }} }}"), listen="127.0.0.1:0", token=TOKEN)
    assert "agents" in str(caught.value)


# Links.


async def backwards(link: Link) -> None:
    async for message in link:
        await link.send(message[::-1])


def test_links_need_the_token() -> None:
    async def test(gateway: Gateway) -> None:
        url = gateway.urls[0].replace("http", "ws") + "/talk"
        async with connect(url, additional_headers={"Authorization": f"Bearer {TOKEN}"}, proxy=None) as client:
            await client.send("abc")
            assert await client.recv() == "cba"
            await client.send(b"\x00\x01")
            assert await client.recv() == b"\x01\x00"
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            with pytest.raises(InvalidStatus) as caught:
                await connect(url, additional_headers=headers, proxy=None)
            assert caught.value.response.status_code == 401
        plain = await ask(gateway, "/talk", method="GET")
        assert plain.status in {400, 426}
        assert (await ask(gateway, "/talk", method="POST", body=b"x")).status == 405
        elsewhere = gateway.urls[0].replace("http", "ws") + "/elsewhere"
        async with connect(elsewhere, proxy=None) as client:  # that is OpenClaw's protocol, which asks for it later
            assert "connect.challenge" in str(await client.recv())

    serving(test, agents={"main": echo}, links={"/talk": backwards})


def test_answers_carry_no_token() -> None:
    async def test(gateway: Gateway) -> None:
        answers: list[Answer] = [await chat(gateway), await ask(gateway, "/v1/models", method="GET")]
        for answer in answers:
            assert TOKEN.encode() not in answer.body
            assert TOKEN not in str(answer.headers)
        assert TOKEN not in repr(gateway)

    serving(test, agents={"main": echo})
