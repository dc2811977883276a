"""gateway sessions."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from gateway.cli.console import FAILED, WRONG_CONFIG, WRONG_USAGE, legible, moment
from gateway.model.chat import Image, Message, ToolCall
from gateway.model.session import Turn
from gateway.sessions.sqlite import SqliteStore

KEY = "agent:main:openai-user:ann"
EVIL = "\x1b[31mred\x07\n\u202eeman\ud800"


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for family in ("OPENCLAW", "CLAWDBOT", "MOLTBOT", "GATEWAY"):
        for suffix in ("CONFIG_PATH", "STATE_DIR"):
            monkeypatch.delenv(f"{family}_{suffix}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLAWDBOT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state"


def keep(folder: Path, *work: Callable[[SqliteStore], Awaitable[object]]) -> list[Any]:
    async def whole() -> list[Any]:
        store = SqliteStore(str(folder / "sessions.sqlite3"))
        try:
            return [await one(store) for one in work]
        finally:
            await store.aclose()

    return asyncio.run(whole())


def fill(folder: Path) -> None:
    picture = Image("image/png", b"\x89PNG" * 10, "low")
    first = Turn(
        "r1",
        (Message("user", "look\n  at this", "Ann", parts=("look\n  at this", picture)),),
        (
            Message("assistant", "", tool_calls=(ToolCall("c1", "weigh", '{"x":1}'),)),
            Message("tool", "7 kg", None, "c1"),
            Message("assistant", "heavy"),
        ),
        1_000_000_000.0,
    )
    other = Turn(EVIL, (Message("user", EVIL),), (Message("assistant", f"run of all\n{moment(1)}  run r9"),), 1.0)
    keep(
        folder,
        lambda store: store.commit(KEY, first),
        lambda store: store.choose_model(KEY, "up/m"),
        lambda store: store.commit(EVIL, other),
    )


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["sessions", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_nothing_is_there_yet(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "list") == (0, "", f"no sessions: there is no {state}/sessions.sqlite3 yet\n")
    assert run(capsys, "list", "--json") == (0, "[]\n", "")
    assert run(capsys, "export") == (0, "", "")
    for action in ("show", "export", "delete", "reset"):
        code, out, err = run(capsys, action, "x")
        assert (code, out) == (FAILED, "")
        assert err.startswith("gateway: there is no session 'x' in ")
    assert not state.exists(), "looking makes no file"


def test_list(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(state)
    code, out, err = run(capsys, "list")
    assert (code, err) == (0, "")
    head, second, first = out.splitlines()
    assert head.split() == ["LAST", "USED", "TURNS", "CHARACTERS", "MODEL", "KEY"]
    assert second.endswith(r"-      \x1b[31mred\x07\n\u202eeman\ud800")
    listed = json.loads(run(capsys, "list", "--json")[1])
    assert first.split()[2:] == ["1", str(listed[1]["characters"]), "up/m", KEY]
    assert listed[1]["characters"] > len("look at this Ann c1 weigh 7 kg c1 heavy")
    assert [info["key"] for info in listed] == [EVIL, KEY]
    assert len(listed[1]["id"]) == 36
    assert listed[1] | {"id": "", "created_at": 0, "updated_at": 0, "characters": 0} == {
        "key": KEY, "id": "", "agent": "", "turns": 1, "characters": 0, "created_at": 0, "updated_at": 0,
        "model": "up/m",
    }  # fmt: skip


def test_show(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(state)
    code, out, err = run(capsys, "show", KEY)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"session    {KEY}"
    assert out.splitlines()[1] == "model      up/m"
    assert out.partition("\n\n")[2].splitlines() == [
        f"{moment(1_000_000_000)}  run r1",
        "  user Ann:",
        "    look",
        "      at this",
        "    [image/png, 40 bytes]",
        "  assistant:",
        '    calls weigh({"x":1}) (c1)',
        "  tool (c1):",
        "    7 kg",
        "  assistant:",
        "    heavy",
    ]


def test_nothing_in_a_session_reaches_the_terminal_raw(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(state)
    for action in ("list", "show", "export", "delete", "show"):
        arguments = [] if action == "list" else [EVIL]
        for form in ([], ["--json"]):
            if action in {"delete", "export"} and form:
                continue
            _, out, err = run(capsys, action, *arguments, *form)
            assert not set(out + err) & set("\x1b\x07\u202e\ud800")
            if action == "show" and not form and out:
                begins = [line for line in out.splitlines() if line and not line.startswith(" ")]
                assert len(begins) == 5, "a text looks like the beginning of a turn"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain \u00e4\u20ac \U0001f600 \u0645", "plain \u00e4\u20ac \U0001f600 \u0645"),
        ("a\tb\nc\r", r"a\tb\nc\r"),
        ("\x00\x7f\x9b", r"\x00\x7f\x9b"),
        ("\u2028\u2066\u200f\udfff", r"\u2028\u2066\u200f\udfff"),
    ],
)
def test_legible(text: str, shown: str) -> None:
    assert legible(text) == shown


def test_export(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(state)
    code, out, _ = run(capsys, "export")
    assert code == 0
    assert out.isascii()
    first, second = map(json.loads, out.splitlines())
    assert (first["key"], second["key"]) == (KEY, EVIL)
    assert first == json.loads(run(capsys, "show", KEY, "--json")[1])
    assert first == json.loads(run(capsys, "export", KEY)[1])
    assert (first["model"], first["trimmed"], len(first["turns"])) == ("up/m", False, 1)
    url = "data:image/png;base64," + base64.b64encode(b"\x89PNG" * 10).decode()
    assert first["turns"][0] == {
        "run_id": "r1",
        "at": 1_000_000_000.0,
        "messages": [
            {
                "role": "user",
                "name": "Ann",
                "content": [
                    {"type": "text", "text": "look\n  at this"},
                    {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
                ],
            },
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "weigh", "arguments": '{"x":1}'}}],
            },
            {"role": "tool", "content": "7 kg", "tool_call_id": "c1"},
            {"role": "assistant", "content": "heavy"},
        ],
    }


def test_delete_and_reset(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(state)
    assert run(capsys, "reset", KEY) == (0, "", f"reset: {KEY}\n")
    loaded = keep(state, lambda store: store.load(KEY))[0]
    assert (loaded.turns, loaded.model) == ((), "up/m")
    assert run(capsys, "delete", KEY, "--json") == (0, f'{{"key":"{KEY}","deleted":true}}\n', "")
    assert run(capsys, "delete", KEY)[0] == FAILED
    assert [info.key for info in keep(state, lambda store: store.sessions())[0]] == [EVIL]


def test_where_the_configuration_keeps_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.json5"
    path.write_text('{session: {store: "./own/my.db"}}', encoding="utf-8")
    assert f"there is no {tmp_path}/own/my.db yet" in run(capsys, "list", "--config", str(path))[2]
    path.write_text('{session: {store: "memory"}}', encoding="utf-8")
    code, out, err = run(capsys, "list", "--config", str(path))
    assert (code, out) == (WRONG_CONFIG, "")
    assert 'session.store is "memory"' in err


def test_a_file_that_is_none(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state.mkdir()
    (state / "sessions.sqlite3").write_text("a letter " * 1000, encoding="utf-8")
    code, out, err = run(capsys, "list")
    assert (code, out) == (FAILED, "")
    assert "file is not a database" in err
    assert "sessions.sqlite3" in err


def test_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys)[0] == WRONG_USAGE
    for action in ("show", "delete", "reset"):
        code, out, err = run(capsys, action)
        assert (code, out) == (WRONG_USAGE, "")
        assert "Give its KEY" in err
    assert run(capsys, "list", "x")[0] == WRONG_USAGE
    assert run(capsys, "forget", "x")[0] == WRONG_USAGE
    assert run(capsys, "--help")[0] == 0
