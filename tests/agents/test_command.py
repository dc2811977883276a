"""A command as an agent: real programs, what they are given, what they say, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from processes import alive

from gateway import processes
from gateway.agents.command import Command, CommandAgent
from gateway.agents.conversation import Conversations
from gateway.agents.limits import NO_LIMITS, RunLimits
from gateway.agents.registry import AgentEntry, Registry
from gateway.agents.run import Runs
from gateway.errors import ConfigError
from gateway.model.chat import ChatRequest, Image, Message, ToolCall
from gateway.model.run import Answer, RunDone, RunEvent, RunFailed, RunInput
from gateway.processes import ChildLimits
from gateway.sessions.lanes import Lanes
from gateway.sessions.store import MemoryStore

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="these programs are POSIX shell")

LIMITS = ChildLimits(20, 1 << 20)
HI = (Message("user", "hi there"),)


def command(*argv: str, **more: Any) -> CommandAgent:
    settings = {"limits": LIMITS, "environ": {"PATH": os.environ["PATH"], "HOME": "/nowhere"}, **more}
    return CommandAgent(Command("agents: main: runtime", argv, **settings))


def shell(script: str, *arguments: str, **more: Any) -> CommandAgent:
    return command("/bin/sh", "-c", script, *arguments, **more)


def python(code: str, **more: Any) -> CommandAgent:
    return command(sys.executable, "-c", code, **more)


def asking(
    messages: tuple[Message, ...] = HI, history: tuple[Message, ...] = (), session: str | None = None
) -> RunInput:
    return RunInput("r" * 32, "main", session, ChatRequest(messages), history)


def runs_of(agent: CommandAgent, limits: RunLimits = NO_LIMITS) -> Runs:
    registry = Registry([AgentEntry("main", agent, limits=limits)])
    return Runs(registry, Conversations(MemoryStore(), Lanes(), time.time, 400_000))


def answer(agent: CommandAgent, run: RunInput | None = None) -> Answer:
    """One run; nothing may be left behind."""

    async def main() -> Answer:
        errors: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = await runs_of(agent).answer(run or asking())
            assert not agent._children
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not errors
        return found

    before = descriptors()
    found = asyncio.run(main())
    assert descriptors() == before, "a pipe is still open"
    assert not zombies()
    return found


def said(agent: CommandAgent, run: RunInput | None = None) -> str:
    found = answer(agent, run)
    assert found.ending == RunDone(), found
    return found.text


def failure(agent: CommandAgent, run: RunInput | None = None) -> RunFailed:
    ending = answer(agent, run).ending
    assert isinstance(ending, RunFailed)
    return ending


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0


def zombies() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG) != (0, 0)
    except ChildProcessError:
        return False


def until(what: str, condition: Callable[[], object], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.01)


def pid_in(path: Path) -> int:
    until(f"{path.name} is written", lambda: path.exists() and path.read_text(encoding="ascii").endswith("\n"))
    return int(path.read_text(encoding="ascii"))


# What it is given.


def test_the_last_message_on_standard_input() -> None:
    messages = (
        Message("system", "be brief"),
        Message("user", "one"),
        Message("assistant", "1"),
        Message("user", "two\n"),
    )
    assert said(command("cat"), asking(messages)) == "two", "without the line end, as in a shell's $(...)"
    assert said(shell("cat /dev/stdin; wc -c < /dev/stdin"), asking(messages)) == "two\n0", (
        "a pipe, which can be opened"
    )
    assert said(command("cat", system_prompt="Be kind."), asking(messages)) == "Be kind.\n\ntwo"


def test_the_conversation() -> None:
    history = (
        Message("user", "hi"),
        Message("assistant", "", tool_calls=(ToolCall("c1", "look", '{"at": 1}'),)),
        Message("tool", "42", tool_call_id="c1"),
        Message("assistant", "it is 42"),
    )
    run = asking((Message("system", "be brief"), Message("user", "sure?", name="ann")), history)
    assert said(command("cat", input="conversation"), run) == (
        'System: be brief\n\nUser: hi\n\nAssistant: \n[calls look {"at": 1}]\n\nTool: 42\n\n'
        "Assistant: it is 42\n\nUser ann: sure?"
    )
    assert said(command("cat", input="conversation")) == "hi there", "one message stands for itself"
    document = json.loads(said(command("cat", input="json", system_prompt="s"), run._replace(model="a/b")))
    assert document.pop("messages") == [
        {"role": "system", "content": "s"},
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}],
        },
        {"role": "tool", "content": "42", "tool_call_id": "c1"},
        {"role": "assistant", "content": "it is 42"},
        {"role": "user", "content": "sure?", "name": "ann"},
    ]
    assert document == {"agent": "main", "session": None, "run": "r" * 32, "model": "a/b"}


SHOW = 'for argument; do printf "[%s]" "$argument"; done; printf "<%s>" "$(cat)"'


def arguments(*argv: str, text: str = "hi there", session: str | None = "key") -> str:
    return said(shell(SHOW, "sh", *argv), asking((Message("user", text),), session=session))


def test_placeholders() -> None:
    assert arguments("-p", "{prompt}", "--as={agent}") == "[-p][hi there][--as=main]<>", "then it is not on the input"
    assert arguments("{agent}", "{other}", "{{agent}}") == "[main][{other}][{main}]<hi there>"
    assert arguments("{prompt}", text="{session} $(id) `id` ; rm \"x'") == "[{session} $(id) `id` ; rm \"x']<>", (
        "no shell"
    )


def test_a_prompt_is_no_option() -> None:
    assert arguments("{prompt}", text="--yolo") == "[ --yolo]<>"
    assert arguments("--say={prompt}", "-{prompt}", text="-x") == "[--say=-x][--x]<>", "the author has begun it"


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("agent:main:custom", "agent:main:custom"),
        ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
        ("-rf", "%2Drf"),
        ("a b\u00e9%", "a%20b%C3%A9%25"),
        (".", "%2E"),
    ],
)
def test_a_session_key_is_no_path(key: str, shown: str) -> None:
    assert arguments("{session}", session=key) == f"[{shown}]<hi there>"


def test_what_no_argument_can_hold() -> None:
    ending = failure(shell(SHOW, "sh", "{prompt}"), asking((Message("user", "a\0b"),)))
    assert (ending.code, ending.status) == ("invalid_prompt", 400)
    ending = failure(shell(SHOW, "sh", "{prompt}"), asking((Message("user", "x" * 4_000_000),)))
    assert (ending.code, ending.status) == ("prompt_too_long", 413)
    assert said(shell("wc -c"), asking((Message("user", "x" * 4_000_000),))).strip() == "4000000"
    picture = Message("user", "look", parts=("look", Image("image/png", b"x")))
    assert failure(command("cat"), asking((picture,))).status == 400


def test_the_environment() -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": "/h",
        "LANG": "C",
        "GATEWAY_TOKEN": "s",
        "OPENAI_API_KEY": "k",
        "EXTRA": "e",
    }
    plain = said(command("env", environ=environ)).splitlines()
    names = {line.partition("=")[0] for line in plain}
    assert names <= {"PATH", "HOME", "LANG", "TERM", "NO_COLOR", "PWD", "SHLVL", "_"}
    assert "HOME=/h" in plain
    more = said(command("env", environ=environ, inherited=("OPENAI_API_KEY",), variables={"TERM": "x", "MINE": "m"}))
    assert {"OPENAI_API_KEY=k", "TERM=x", "MINE=m"} <= set(more.splitlines())
    assert "EXTRA" not in more


def test_the_folder(tmp_path: Path) -> None:
    program = tmp_path / "here"
    program.write_text("#!/bin/sh\npwd\n", encoding="ascii")
    program.chmod(0o755)
    assert said(command("pwd", folder=str(tmp_path))) == str(tmp_path)
    assert said(command("./here", folder=str(tmp_path))) == str(tmp_path)


def test_what_cannot_be_run_is_told_at_the_start(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("no program", encoding="ascii")
    wrong: list[tuple[Callable[[], Any], str]] = [
        (lambda: command("no-such-program-anywhere"), "argv: there is no program 'no-such-program-anywhere'"),
        (lambda: command(str(plain)), "may not be run"),
        (lambda: command("cat", environ={"PATH": "/nowhere"}), "set PATH"),
        (lambda: command("cat", folder=str(tmp_path / "gone")), "cwd: there is no folder"),
        (lambda: command("cat", inherited=("NOT_SET",)), "inheritEnv: the environment has no NOT_SET"),
    ]
    for make, message in wrong:
        with pytest.raises(ConfigError, match="agents: main: runtime") as raised:
            make()
        assert message in str(raised.value)


def test_a_program_that_has_gone_since(tmp_path: Path) -> None:
    program = tmp_path / "soon-gone"
    program.write_text("#!/bin/sh\n", encoding="ascii")
    program.chmod(0o755)
    agent = command(str(program))
    program.unlink()
    ending = failure(agent)
    assert (ending.code, ending.status) == ("command_not_started", 502)
    assert "No such file" in ending.message


def test_input_that_nobody_reads() -> None:
    long = asking((Message("user", "x" * 3_000_000),))
    assert said(shell("echo fine"), long) == "fine"
    assert said(shell("exec 0<&-; sleep 0.1; echo fine"), long) == "fine"


@pytest.mark.parametrize("script", ["exit 7", "exec 0<&-; exit 7", "head -c 1 >&2; exit 7", "cat >&2; exit 7"])
def test_input_is_closed_once_however_it_ends(script: str) -> None:
    for size in (1, 100_000) * 8:
        ending = failure(shell(script), asking((Message("user", "x" * size),)))
        assert ending.message.startswith("the command ended with exit code 7")


# What it says.


def test_text_comes_as_it_is_written(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    agent = shell(f'printf "so far"; while [ ! -e {gate} ]; do sleep 0.02; done; printf " and on"')

    async def main() -> None:
        async with aclosing(runs_of(agent).run(asking())) as events:
            assert await anext(events) == "so far", "without waiting for the end of the line"
            gate.touch()
            assert [event async for event in events] == [" and on", RunDone()]

    asyncio.run(main())


def test_json_lines() -> None:
    lines = 'printf \'{"text": "a"}\\n{"usage": {"input_tokens": 1, "output_tokens": 2}}\\n{"done": true, "finish_reason": "length"}\\n\''
    found = answer(shell(lines, output="jsonl"))
    assert (found.text, found.ending, found.usage[:2]) == ("a", RunDone("length"), (1, 2))


def test_who_says_that_it_is_done_may_end_by_itself(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    script = f'echo \'{{"text": "a"}}\'; echo \'{{"done": true}}\'; sleep 0.3; echo kept > {kept}'
    assert said(shell(script, output="jsonl")) == "a"
    assert kept.exists()


def test_a_failure_tells_the_end_of_standard_error(caplog: pytest.LogCaptureFixture) -> None:
    script = 'echo half; i=0; while [ $i -lt 3000 ]; do echo "line $i" >&2; i=$((i+1)); done; printf "\\033[31mno key $KEY\\033[0m\\n" >&2; exit 3'
    with caplog.at_level(logging.WARNING, "gateway"):
        found = answer(shell(script, variables={"KEY": "hidden-key"}))
    ending = found.ending
    assert isinstance(ending, RunFailed)
    assert (ending.code, ending.status) == ("command_failed", 502)
    assert ending.message.startswith("the command ended with exit code 3: ")
    assert ending.message.endswith("line 2999 no key ***")
    assert len(ending.message) < 600
    assert ending.message.isprintable()
    assert "hidden-key" not in caplog.text
    assert max(map(len, caplog.messages)) < 10_000


def test_a_death_by_signal() -> None:
    assert failure(shell("kill -SEGV $$")).message == "the command ended by SIGSEGV"
    assert failure(shell("exit 1")).message == "the command ended with exit code 1"


def test_a_flood_is_cut() -> None:
    for script in ("yes", "yes >&2"):
        ending = failure(shell(script))
        assert (ending.code, ending.status) == ("command_output_too_long", 502)
        assert "1048576 bytes" in ending.message
        assert "maxOutputBytes" in ending.message


def test_a_client_that_reads_slowly_stops_the_program(tmp_path: Path) -> None:
    """It writes a number for each 64 KiB; what it could not write yet it has not counted."""
    count = tmp_path / "count"
    code = f"import sys\nfor at in range(256):\n sys.stdout.write('x' * 65536); sys.stdout.flush()\n open({str(count)!r}, 'w').write(str(at))"
    agent = python(code, limits=ChildLimits(30, 64 << 20))

    async def main() -> None:
        size = 0
        async with aclosing(runs_of(agent).run(asking())) as events:
            first = await anext(events)
            assert isinstance(first, str)
            size += len(first)
            await asyncio.sleep(1.0)
            stopped = int(count.read_text(encoding="ascii"))
            assert stopped < 64, "of 16 MiB less than 4 have left the program"
            await asyncio.sleep(0.3)
            assert int(count.read_text(encoding="ascii")) == stopped
            async for event in events:
                if isinstance(event, str):
                    size += len(event)
                else:
                    assert event == RunDone()
        assert size == 256 * 65536

    asyncio.run(main())


def test_a_slow_client_gets_what_a_program_said_before_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LINGER_TIME", 0.1)
    agent = python("import sys; sys.stdout.write('x' * 330_000)", limits=ChildLimits(30, 64 << 20))

    async def main() -> int:
        size = 0
        async with aclosing(runs_of(agent).run(asking())) as events:
            async for event in events:
                size += len(event) if isinstance(event, str) else 0
                await asyncio.sleep(0.3)
        return size

    assert asyncio.run(main()) == 330_000


# How it ends.


def test_a_program_that_takes_too_long() -> None:
    begun = time.monotonic()
    ending = failure(shell("echo so far; sleep 60", limits=ChildLimits(0.3, 1 << 20)))
    assert (ending.code, ending.status) == ("command_timeout", 504)
    assert "0.3 s" in ending.message
    assert time.monotonic() - begun < 10
    ending = failure(shell("exec >&- 2>&-; sleep 60", limits=ChildLimits(0.3, 1 << 20)))
    assert ending.code == "command_timeout", "also where it has closed its output"


@pytest.mark.parametrize("trap", ["", 'trap "" TERM HUP INT; '])
def test_cancelling_ends_the_whole_group(tmp_path: Path, trap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its children and theirs, also those that take no notice of being asked."""
    monkeypatch.setattr(processes, "TERM_TIME", 0.5)
    files = [tmp_path / name for name in ("leader", "child", "grandchild")]
    inner = f"{trap}echo $$ > {files[2]}; sleep 60; sleep 60"
    middle = f"{trap}echo $$ > {files[1]}; sh -c '{inner}' & sleep 60; sleep 60"
    (tmp_path / "middle").write_text(middle, encoding="ascii")
    agent = shell(f"{trap}echo $$ > {files[0]}; sh {tmp_path / 'middle'} & sleep 60; sleep 60")

    async def main() -> list[int]:
        task = asyncio.create_task(runs_of(agent).answer(asking()))
        pids = [await asyncio.to_thread(pid_in, file) for file in files]
        assert all(map(alive, pids))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return pids

    before = descriptors()
    for pid in asyncio.run(main()):
        until(f"{pid} is gone", lambda pid=pid: not alive(pid))  # type: ignore[misc]  # a default binds the loop's value
    assert descriptors() == before


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc")
def test_cancelling_while_it_starts_leaves_nothing() -> None:
    """At each step of its start: what it has begun by then is ended too."""
    mark = f"61.{os.getpid()}"
    agent = shell(f"sleep {mark} & sleep {mark}")

    async def main() -> None:
        for steps in range(40):
            task = asyncio.create_task(runs_of(agent).answer(asking()))
            for _ in range(steps):
                await asyncio.sleep(0.001 if steps > 20 else 0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    def left() -> list[str]:
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal():
                with contextlib.suppress(OSError):
                    found.append((folder / "cmdline").read_text(encoding="utf-8", errors="replace"))
        return [line for line in found if mark in line]

    before = descriptors()
    asyncio.run(main())
    until("they are gone", lambda: not left())
    assert descriptors() == before


def test_a_limit_of_the_run_ends_it(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    agent = shell(f"echo $$ > {file}; sleep 60")

    async def main() -> Answer:
        return await runs_of(agent, RunLimits(first_token=1.0)).answer(asking())

    ending = asyncio.run(main()).ending
    assert isinstance(ending, RunFailed)
    assert ending.code == "first_token_timeout"
    assert not alive(pid_in(file))


def test_being_asked_it_may_clean_up(tmp_path: Path) -> None:
    file = tmp_path / "cleaned"
    ready = tmp_path / "ready"
    agent = shell(f"trap 'echo done > {file}; exit 0' TERM; echo 1 > {ready}; while :; do sleep 0.05; done")

    async def main() -> None:
        task = asyncio.create_task(runs_of(agent).answer(asking()))
        await asyncio.to_thread(pid_in, ready)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert file.read_text(encoding="ascii") == "done\n"


def test_who_holds_the_output_after_its_end_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LINGER_TIME", 0.3)
    file = tmp_path / "pid"
    begun = time.monotonic()
    agent = shell(f"echo fine; (echo $$ > /dev/null; sleep 60) & echo $! > {file}")
    assert said(agent) == "fine"
    until("it is gone", lambda: not alive(pid_in(file)))
    # One in a group of its own outlives it: only the pipe is taken back.
    free = tmp_path / "free"
    agent = python(
        "import subprocess, sys; print('fine'); "
        f"child = subprocess.Popen(['sleep', '30'], start_new_session=True); open({str(free)!r}, 'w').write(f'{{child.pid}}\\n')"
    )
    assert said(agent) == "fine"
    assert time.monotonic() - begun < 15
    os.kill(pid_in(free), signal.SIGKILL)


def test_what_is_said_after_the_end_is_heard() -> None:
    assert said(shell("echo one; (sleep 0.3; echo two) &")) == "one\ntwo"


def test_many_at_a_time() -> None:
    agent = shell("read line; echo $line $line")

    async def main() -> list[str]:
        runs = runs_of(agent)
        inputs = [RunInput(f"r{at}", "main", None, ChatRequest((Message("user", f"{at}\n"),))) for at in range(20)]
        return [found.text for found in await asyncio.gather(*map(runs.answer, inputs))]

    before = descriptors()
    assert asyncio.run(main()) == [f"{at} {at}" for at in range(20)]
    assert descriptors() == before
    assert not zombies()


def test_closing_ends_what_is_being_started() -> None:
    agent = shell("sleep 60")

    async def main() -> RunEvent:
        task = asyncio.create_task(runs_of(agent).answer(asking()))
        while not agent._starting:
            await asyncio.sleep(0)
        await agent.aclose()
        return (await asyncio.wait_for(task, 10)).ending

    ending = asyncio.run(main())
    assert isinstance(ending, RunFailed)
    assert ending.message == "the command ended by SIGTERM"


def test_closing_ends_what_runs(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    agent = shell(f"echo $$ > {file}; sleep 60")

    async def main() -> RunEvent:
        task = asyncio.create_task(runs_of(agent).answer(asking()))
        pid = await asyncio.to_thread(pid_in, file)
        await agent.aclose()
        assert not alive(pid)
        return (await task).ending

    ending = asyncio.run(main())
    assert isinstance(ending, RunFailed)
    assert ending.message == "the command ended by SIGTERM"
