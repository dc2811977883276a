"""The supervisor alone, with workers that serve nothing: small programs that behave as badly as they can."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from errno import EAGAIN
from pathlib import Path
from typing import Any

import pytest
from processes import ROOT

from gateway.server.listeners import TcpAddress
from gateway.workers import process as process_module
from gateway.workers import supervisor as module
from gateway.workers.process import Process, WorkerError
from gateway.workers.sockets import SocketSet
from gateway.workers.supervisor import Plan, Supervisor

if sys.platform != "linux":
    pytest.skip("looks at processes in /proc", allow_module_level=True)

WORKER = """
import asyncio, os, signal, sys
sys.path.insert(0, {root!r})
from gateway.workers.worker import worker_here

async def main():
    worker = worker_here(os.environ)
    stop = asyncio.Event()
    def drain(patience):
        stop.set()
        return 1
    await worker.join(drain)
    {before}
    worker.ready("")
    while not stop.is_set():
        if worker.watchdog:
            worker.alive()
        try:
            await asyncio.wait_for(stop.wait(), worker.watchdog or None)
        except TimeoutError:
            pass
    {after}
    await worker.aclose()

asyncio.run(main())
"""


def plan(before: str = "pass", after: str = "pass", *, drain: float = 5.0, silence: float = 0.0) -> Plan:
    code = WORKER.format(root=str(ROOT), before=before, after=after)
    return Plan([sys.executable, "-c", code], drain, silence)


def pids(supervisor: Supervisor) -> list[int]:
    return [slot.serving.pid for slot in supervisor._slots if slot.serving is not None]


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@asynccontextmanager
async def supervised(given: Plan, workers: int = 2) -> AsyncIterator[Supervisor]:
    sockets = SocketSet([TcpAddress("127.0.0.1", 0)], workers)
    supervisor = Supervisor(given, sockets, os.environ)
    seen: list[int] = []
    begin = supervisor._launch

    async def launch(slot: Any) -> Process:
        process = await begin(slot)
        seen.append(process.pid)
        return process

    supervisor._launch = launch  # type: ignore[method-assign]  # to know them all
    try:
        yield supervisor
    finally:
        await supervisor.aclose()
        assert not any(map(alive, seen)), "no process is left"
        assert not supervisor._processes


def run(test: Coroutine[Any, Any, None]) -> None:
    async def main() -> None:
        async with asyncio.timeout(50):
            await test

    asyncio.run(main())


def test_one_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(process_module, "GRACE", 0.2)

    async def test() -> None:
        async with supervised(plan(after="await asyncio.sleep(3600)", drain=0.2)) as supervisor:
            await supervisor.start()
            before = pids(supervisor)
            assert await supervisor.drain() == 2, "each said that one run is under way"
            started = time.monotonic()
            await supervisor.aclose()
            assert time.monotonic() - started < 10
            assert not any(map(alive, before))
        assert caplog.text.count("does not end: killed") == 2

    run(test())


def test_one_that_hears_nothing_is_killed_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "GRACE", 0.2)
    monkeypatch.setattr(process_module, "DRAIN_ANSWER", 0.2)

    async def test() -> None:
        async with supervised(plan(drain=0.1)) as supervisor:
            await supervisor.start()
            os.kill(pids(supervisor)[0], 19)  # SIGSTOP
            assert await supervisor.drain() == 1

    run(test())


def test_one_that_never_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "START_TIME", 1.0)

    async def test() -> None:
        async with supervised(plan("if worker.number == 2: await asyncio.sleep(3600)")) as supervisor:
            with pytest.raises(WorkerError) as caught:
                await supervisor.start()
            assert caught.value.problems == ("worker 2 did not come to serve within 1 seconds",)

    run(test())


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("os._exit(0)", "worker 1 has ended with exit code 0 before it could serve"),
        ("os.kill(os.getpid(), 9)", "worker 1 was ended by SIGKILL before it could serve"),
        ("os.kill(os.getpid(), 34)", "worker 1 was ended by "),
        ("worker._pipe.end(); await asyncio.sleep(3600)", "worker 1 has closed its channel before it could serve"),
        ("worker.fail(['one', 'two']); os._exit(78)", "one\ntwo"),
    ],
)
def test_one_that_ends_before_it_serves(before: str, said: str) -> None:
    async def test() -> None:
        async with supervised(plan(before), workers=1) as supervisor:
            with pytest.raises(WorkerError) as caught:
                await supervisor.start()
            assert str(caught.value).startswith(said)

    run(test())


def test_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(EAGAIN, "Resource temporarily unavailable")

    async def test() -> None:
        async with supervised(plan()) as supervisor:
            await supervisor.start()
            first, second = pids(supervisor)
            with monkeypatch.context() as patch:
                patch.setattr(subprocess, "Popen", refuse)
                with pytest.raises(WorkerError, match="worker 1 cannot be started: Resource temporarily unavailable"):
                    await supervisor.reload()
                assert pids(supervisor) == [first, second]
                os.kill(second, 9)
                await until(lambda: caplog.text.count("could not be started again") == 2)
            await until(lambda: pids(supervisor)[0] == first and alive(pids(supervisor)[1]))
            assert pids(supervisor)[1] != second

    run(test())


def test_pauses_grow_and_a_reload_ends_them(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(module, "LEAST_PAUSE", 0.05)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 30.0)

    async def test() -> None:
        async with supervised(plan()) as supervisor:
            await supervisor.start()
            good, supervisor.plan = supervisor.plan, plan("os._exit(3)")
            os.kill(pids(supervisor)[1], 9)
            started = time.monotonic()
            await until(lambda: caplog.text.count("could not be started again") == 5)
            assert time.monotonic() - started > 0.05 + 0.1 + 0.2 + 0.4
            supervisor.plan = good
            monkeypatch.setattr(module, "LEAST_PAUSE", 1000.0)  # the pause of now is still a short one
            await supervisor.reload()
            await until(lambda: all(map(alive, pids(supervisor))) and len(supervisor.switch.serving) == 2)
            assert caplog.text.count("takes its place") == 1

    with caplog.at_level(logging.INFO):
        run(test())


def test_one_that_closes_its_channel_is_replaced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process_module, "GRACE", 0.3)
    monkeypatch.setattr(process_module, "LAST_WORDS", 0.1)

    async def test() -> None:
        mute = "if worker.number == 2: asyncio.get_running_loop().call_later(0.5, worker._pipe.end)"
        async with supervised(plan(mute, "await asyncio.sleep(3600)", drain=0.1)) as supervisor:
            await supervisor.start()
            before = pids(supervisor)
            supervisor.plan = plan()
            await until(lambda: pids(supervisor)[1] != before[1])
            assert "has closed its channel; another one takes its place" in caplog.text
            await until(lambda: not alive(before[1]))
            assert pids(supervisor)[0] == before[0]

    run(test())


def test_no_more_than_two_processes_of_one_worker() -> None:
    async def test() -> None:
        async with supervised(plan(after="await asyncio.sleep(0.5)"), workers=1) as supervisor:
            await supervisor.start()
            most = 0
            for _ in range(3):
                await supervisor.reload()
                most = max(most, len(supervisor._processes))
            assert most == 2

    run(test())


def test_signs_of_life(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with supervised(plan(silence=1.0)) as supervisor:
            await supervisor.start()
            before = pids(supervisor)
            await asyncio.sleep(2)
            time.sleep(2)  # it is the supervisor that stands still, and has heard nobody
            await asyncio.sleep(1)
            assert pids(supervisor) == before
            assert caplog.text == ""
            os.kill(before[0], 19)  # SIGSTOP
            await until(lambda: pids(supervisor)[0] != before[0])
            assert "has stood still for 1 seconds: killed" in caplog.text
            assert pids(supervisor)[1] == before[1]

    run(test())
