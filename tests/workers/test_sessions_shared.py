"""Sessions whose requests come to several processes."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from pathlib import Path

import pytest
from crew import crew
from processes import Launch, until
from talking import BrokenError, Talk

from gateway.sessions.sqlite import SqliteStore

if not hasattr(socket, "AF_UNIX"):
    pytest.skip("several processes need unix sockets", allow_module_level=True)

CLIENTS, TURNS = 20, 5


async def said(path: Path, key: str) -> list[str]:
    """What was asked in a session, by its file."""
    store = SqliteStore(str(path / "sessions.db"))
    turns = (await store.load(key)).turns
    assert len({turn.run_id for turn in turns}) == len(turns), "none is there twice"
    await store.aclose()
    return [turn.asked[0].text for turn in turns]


@pytest.mark.timeout(180)
def test_no_turn_is_lost_or_doubled_or_out_of_order(launch: Launch, tmp_path: Path) -> None:
    made = crew(launch, tmp_path)
    answers: list[list[str]] = []

    async def client(number: int) -> None:
        for turn in range(TURNS):
            async with await Talk.to(made.port) as talk:  # each time with another process
                text = f"{number} {turn}"
                answer = await talk.say("one", text, model="openclaw/recall", stream=turn % 2 == 0)
                answers.append([*filter(None, answer.split("|")), text])

    async def main() -> None:
        await made.meet()
        await asyncio.gather(*map(client, range(CLIENTS)))
        stored = await said(tmp_path, "one")
        assert sorted(stored) == sorted(f"{number} {turn}" for number in range(CLIENTS) for turn in range(TURNS))
        for number in range(CLIENTS):
            own = [text for text in stored if text.startswith(f"{number} ")]
            assert own == [f"{number} {turn}" for turn in range(TURNS)], "in the order in which they were said"
        for known in answers:
            assert known == stored[: len(known)], "each run knew all that was said before it, and nothing else"
        assert sorted(map(len, answers)) == list(range(1, CLIENTS * TURNS + 1)), "one after another"

    asyncio.run(main())
    log = made.gateway.text()
    for worker in (1, 2):
        assert log.count(f"worker={worker} ") > CLIENTS, "each has done a part"
    assert made.gateway.end() == 0


@pytest.mark.timeout(180)
def test_no_turn_is_lost_while_all_workers_are_replaced(launch: Launch, tmp_path: Path) -> None:
    made = crew(launch, tmp_path, session={"maxTurns": 10_000, "maxChars": 10_000_000})
    replaced = asyncio.Event()
    told: dict[int, int] = {}
    answers: list[list[str]] = []

    async def client(number: int) -> None:
        turn = 0
        while not replaced.is_set() or turn < 3:
            async with await Talk.to(made.port) as talk:
                text = f"{number} {turn}"
                answer = await talk.say("one", text, model="openclaw/recall")
                answers.append([*filter(None, answer.split("|")), text])
            turn += 1
            told[number] = turn
            await asyncio.sleep(0.05)

    async def main() -> None:
        clients = [asyncio.create_task(client(number)) for number in range(4)]
        await asyncio.sleep(0.5)
        made.gateway.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(until, "they are replaced", lambda: "read anew" in made.gateway.text(), 60.0)
        replaced.set()
        await asyncio.gather(*clients)
        stored = await said(tmp_path, "one")
        assert sorted(stored) == sorted(f"{number} {turn}" for number in told for turn in range(told[number]))
        assert sorted(map(len, answers)) == list(range(1, len(stored) + 1))
        for known in answers:
            assert known == stored[: len(known)], "each run knew all that was said before it"

    asyncio.run(main())


def test_a_dead_worker_holds_no_session(launch: Launch, tmp_path: Path) -> None:
    made = crew(launch, tmp_path)

    async def main() -> None:
        await made.meet()
        for holder, other in ((2, 1), (1, 2)):
            async with made.at(holder) as held, made.at(other) as waiting:
                lost = asyncio.create_task(held.say("k", f"held{holder}", model="openclaw/forever", stream=True))
                await made.until_marked(f"held{holder}", "started")
                answer = asyncio.create_task(waiting.say("k", f"after{holder}", model="openclaw/recall"))
                await asyncio.sleep(0.3)
                assert not answer.done(), "it waits for the run in the other process"
                begun = time.monotonic()
                made.kill(holder)
                with pytest.raises(BrokenError):
                    await lost
                assert f"held{holder}" not in await answer
                assert time.monotonic() - begun < 10
            await made.meet() if holder == 2 else None
        assert await said(tmp_path, "k") == ["after2", "after1"]

    asyncio.run(main())


def test_who_leaves_while_it_waits_does_not_come_in_later(launch: Launch, tmp_path: Path) -> None:
    made = crew(launch, tmp_path)

    async def main() -> None:
        await made.meet()
        async with made.at(1) as inside, made.at(2) as leaving, made.at(2) as staying:
            first = asyncio.create_task(inside.say("k", "first", model="openclaw/pause"))
            await made.until_marked("first", "started")
            gone = asyncio.create_task(leaving.say("k", "gone", model="openclaw/words", stream=True))
            await asyncio.sleep(0.2)
            await leaving.close()
            gone.cancel()
            last = asyncio.create_task(staying.say("k", "last", model="openclaw/words"))
            await asyncio.gather(first, last)
        assert await said(tmp_path, "k") == ["first", "last"]

    asyncio.run(main())


@pytest.mark.parametrize("mode", ["reject", "interrupt"])
def test_modes_reach_the_other_process(launch: Launch, tmp_path: Path, mode: str) -> None:
    made = crew(launch, tmp_path, session={"queue": {"mode": mode}})

    async def main() -> None:
        await made.meet()
        async with made.at(1) as inside, made.at(2) as outside:
            first = asyncio.create_task(inside.post("k", "first", model="openclaw/forever", stream=True))
            await made.until_marked("first", "started")
            if mode == "reject":
                status, answer = await outside.post("k", "second", model="openclaw/words")
                assert status == 409
                assert json.loads(answer)["error"]["code"] == "session_busy"
                first.cancel()
            else:
                assert await outside.say("k", "second", model="openclaw/words") == "second "
                status, answer = await first
                assert b'"interrupted"' in answer
                assert await said(tmp_path, "k") == ["second"]

    asyncio.run(main())


def test_a_run_in_another_process_is_stopped_by_command(launch: Launch, tmp_path: Path) -> None:
    made = crew(launch, tmp_path, session={"slashCommands": True})

    async def main() -> None:
        await made.meet()
        async with made.at(2) as inside, made.at(1) as outside:
            first = asyncio.create_task(inside.post("k", "first", model="openclaw/forever", stream=True))
            await made.until_marked("first", "started")
            assert await outside.say("k", "/stop") == "The run was stopped."
            assert b'"interrupted"' in (await first)[1]
            assert await outside.say("k", "/stop") == "Nothing is running in this session."

    asyncio.run(main())


def test_sessions_in_memory_are_refused(launch: Launch, tmp_path: Path) -> None:
    path = launch.file({
        "gateway": {"port": 0, "workers": 2, "auth": {"mode": "none"}}, "session": {"store": "memory"},
        "agents": {"list": [{"id": "main", "runtime": {"type": "echo"}}]},
    })  # fmt: skip
    done = launch.command("run", "--config", str(path))
    assert done.returncode != 0
    assert done.stderr.count("session.store") == 1
    assert '"sqlite"' in done.stderr
    assert "listening" not in done.stdout + done.stderr
    assert not list(tmp_path.glob("*.db"))
