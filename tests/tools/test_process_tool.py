"""Programs as tools: real ones, with arguments that try to be more than that, without an end, and with children."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import ConfigError, ToolError
from gateway.processes import bare_environment
from gateway.tools.process import Command, ProcessTool

HERE = {"PATH": os.environ["PATH"]}


def python(code: str, *arguments: str, **options: Any) -> ProcessTool:
    parameters = options.pop("parameters", None)
    command = Command((sys.executable, "-I", "-S", "-c", code, *arguments), HERE, **options)
    return ProcessTool(command, name="program", description=None, parameters=parameters)


def call(tool: ProcessTool, **arguments: Any) -> str:
    return asyncio.run(tool.call(arguments))


def fails(tool: ProcessTool, **arguments: Any) -> str:
    with pytest.raises(ToolError) as caught:
        call(tool, **arguments)
    return caught.value.message


def has_ended(pid: int, seconds: float = 10) -> bool:
    """Whether the process is gone, or soon will be; one that nobody has buried yet is."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.02)
    return False


TEXTS = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}, "n": {"type": "number"}}}
SHOW = "import json, sys; print(json.dumps(sys.argv[1:]), end='')"


def test_arguments_come_as_json_on_standard_input() -> None:
    tool = python("import json, sys; print(json.load(sys.stdin)['a'] * 2, end='')")
    assert call(tool, a="é\0x") == "é\0xé\0x"


@pytest.mark.skipif(not Path("/dev/stdin").exists(), reason="there is no /dev/stdin here")
def test_standard_input_can_be_opened_by_its_name() -> None:
    assert call(python("print(open('/dev/stdin').read(), end='')"), a=1) == '{"a": 1}'


def test_a_program_that_does_not_read() -> None:
    assert call(python("print('done')"), a="x" * 1_000_000) == "done\n"


def test_arguments_in_their_places() -> None:
    tool = python(SHOW, "{a}", "--b={b}", "{n}", "{print}", "$(id)", parameters=TEXTS)
    assert json.loads(call(tool, a="x; rm -rf / $(id) `id`", b="-v", n=-5)) == [
        "x; rm -rf / $(id) `id`", "--b=-v", "-5", "{print}", "$(id)",
    ]  # fmt: skip
    assert json.loads(call(tool, a="")) == ["", "{print}", "$(id)"]


def test_no_option_in_the_place_of_a_word() -> None:
    tool = python(SHOW, "{a}", "--", "{b}", parameters=TEXTS)
    assert fails(tool, a="--exec=id") == "`a` must not begin with a dash"
    assert json.loads(call(tool, a="x", b="--exec=id")) == ["x", "--", "--exec=id"]
    assert "NUL" in fails(tool, a="x\0y")
    assert "longer than" in fails(tool, a="x" * 200_000)


@settings(max_examples=15)
@given(a=st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_an_argument_is_one_argument(a: str) -> None:
    tool = python(SHOW, "{a}{b}", parameters=TEXTS)
    if a.startswith("-") or "\0" in a:
        fails(tool, a=a, b="")
    else:
        assert json.loads(call(tool, a=a, b="")) == [a]


def test_arguments_are_checked() -> None:
    assert "`a` has to be a string" in fails(python("", parameters=TEXTS), a=1)


def test_what_it_is_not_told() -> None:
    tool = python("import os; print(sorted(os.environ))")
    os.environ["A_SECRET_OF_THE_GATEWAY"] = "x"
    try:
        assert "SECRET" not in call(tool)
    finally:
        del os.environ["A_SECRET_OF_THE_GATEWAY"]
    environ = {"PATH": "/x", "HOME": "/h", "OPENAI_API_KEY": "sk"}
    assert bare_environment(environ, {"B": "1"}) == {"PATH": "/x", "HOME": "/h", "B": "1"}
    assert bare_environment({}, {})["PATH"] == os.defpath


def test_a_failure_is_told_with_the_end_of_its_errors() -> None:
    tool = python("import sys; print('x' * 5000 + 'the reason', file=sys.stderr); sys.exit(3)")
    told = fails(tool)
    assert told.startswith("program ended with status 3:\n")
    assert told.endswith("xthe reason")
    assert len(told) < 2100
    assert (
        fails(python("import sys; print('what went wrong'); sys.exit(1)"))
        == "program ended with status 1:\nwhat went wrong"
    )
    assert fails(python("import os; os.kill(os.getpid(), 9)")) == "program was ended by signal 9"


def test_a_program_that_is_not_there() -> None:
    tool = ProcessTool(Command(("/no/such/program",), HERE), name="x", description=None)
    assert fails(tool) == "the program of x cannot be started"


def test_time_limit() -> None:
    tool = python("import time; time.sleep(60)", seconds=0.3)
    begun = time.monotonic()
    assert fails(tool) == "program took longer than 0.3 s and was stopped"
    assert time.monotonic() - begun < 20


def test_output_limit() -> None:
    tool = python("while True: print('y')", output_bytes=10_000)
    told = fails(tool)
    assert told.startswith("program wrote more than 10000 bytes and was stopped. It began:\ny\n")
    assert len(told) < 2200
    assert call(python("print('y' * 9999)", output_bytes=10_000)) == "y" * 9999 + "\n"


def test_errors_without_end_are_read_and_forgotten() -> None:
    assert call(python("import sys; sys.stderr.write('e' * 5_000_000); print('ok', end='')")) == "ok"


CHILD = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open(sys.argv[1], "w").write(f"{os.getpid()} {child.pid}")
time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize("how", ["cancelled", "time", "left behind"])
def test_its_children_end_with_it(how: str, tmp_path: Path) -> None:
    file = tmp_path / "pids"
    tool = python(CHILD, str(file), "0" if how == "left behind" else "60", seconds=4 if how == "time" else 60)

    async def main() -> None:
        running = asyncio.ensure_future(tool.call({}))
        deadline = time.monotonic() + 20
        while not (file.exists() and file.read_text(encoding="utf-8")) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        if how == "cancelled":
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        elif how == "time":
            with pytest.raises(ToolError, match="took longer"):
                await running
        else:
            assert await running == ""

    asyncio.run(main())
    for pid in map(int, file.read_text(encoding="utf-8").split()):
        assert has_ended(pid)


def test_many_at_once_leave_nothing_open() -> None:
    before = len([*Path("/proc/self/fd").iterdir()])

    async def main() -> None:
        tool = python("print('ok', end='')")
        assert set(await asyncio.gather(*(tool.call({}) for _ in range(10)))) == {"ok"}

    asyncio.run(main())
    assert len([*Path("/proc/self/fd").iterdir()]) <= before


def test_what_makes_no_tool() -> None:
    with pytest.raises(ConfigError, match="argv is empty"):
        ProcessTool(Command((), HERE), name="x", description=None)
    with pytest.raises(ConfigError, match="cannot be chosen by an argument"):
        ProcessTool(Command(("{a}",), HERE), name="x", description=None, parameters=TEXTS)
    with pytest.raises(ConfigError, match="1 to 64"):
        ProcessTool(Command(("x",), HERE), name="x y", description=None)
