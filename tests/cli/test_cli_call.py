"""gateway call, health, status and logs, with a gateway that says what it is told to."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from scripted_gateway import Scripted, Wire, scripted

from gateway.cli import logs, main, rpc
from gateway.cli.console import FAILED, UNAVAILABLE, WRONG_CONFIG, WRONG_USAGE
from gateway.cli.outline import outline

Capture: TypeAlias = pytest.CaptureFixture[str]


def serving(**answers: object) -> Callable[[Wire], None]:
    def script(wire: Wire) -> None:
        wire.greet()
        wire.serve(**answers)

    return script


@pytest.fixture
def run(capsys: Capture) -> Callable[..., tuple[int, str, str]]:
    def run(gateway: Scripted, command: str, *arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([command, *gateway.flags, *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


Run: TypeAlias = Callable[..., tuple[int, str, str]]

OUTLINES: list[tuple[Any, list[str]]] = [
    ({"ok": True, "n": 1.5, "nothing": None, "empty": {}, "none": []}, ["ok: true", "n: 1.5", "nothing: none", "empty: none", "none: none"]),
    ([], ["none"]),
    ("text", ["text"]),
    ("", [""]),
    ({"a": {"b": {"c": 1}}}, ["a:", "  b:", "    c: 1"]),
    ([1, [2, 3], {"a": 1, "b": 2}], ["- 1", "- - 2", "  - 3", "- a: 1", "  b: 2"]),
    ({"text": "two\nlines", "bad": "\x1b[31m\u202ex\r"}, ["text:", "  two", "  lines", r"bad: \x1b[31m\u202ex\r"]),
    ({"k\n\x07": 1}, [r"k\n\x07: 1"]),
    (json.loads("[" * 200 + "]" * 200), ["- " * 100 + "..."]),
]  # fmt: skip


@pytest.mark.parametrize(("value", "lines"), OUTLINES, ids=range(len(OUTLINES)))
def test_outlines(value: Any, lines: list[str]) -> None:
    assert list(outline(value)) == lines


def test_call(run: Run) -> None:
    def echo(wire: Wire) -> None:
        wire.greet()
        wire.answer(request := wire.request(), {"method": request["method"], "params": request.get("params")})
        wire.connection.recv()

    with scripted(echo) as gateway:
        assert run(gateway, "call", "sessions.list") == (0, "method: sessions.list\nparams: none\n", "")
        assert run(gateway, "call", "x", "--params", '{"limit": 5}') == (0, "method: x\nparams:\n  limit: 5\n", "")
        assert run(gateway, "call", "x", "--json", "--params", '{"a": "\u00e9\x7f"}') == (
            0,
            '{"method":"x","params":{"a":"\\u00e9\\u007f"}}\n',
            "",
        )


def test_parameters_from_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(serving(a=lambda request: None)) as gateway:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"x": ')))
        assert run(gateway, "call", "a", "--params", "-")[0] == WRONG_USAGE
        assert not gateway.seen


@pytest.mark.parametrize(
    ("params", "why"), [("{", "not JSON"), ("[1]", "not a JSON object"), ("[" * 100_000, "not JSON"), ("", "not JSON")]
)
def test_bad_parameters(run: Run, params: str, why: str) -> None:
    with scripted(serving()) as gateway:
        code, out, err = run(gateway, "call", "x", "--params", params)
        assert (code, out) == (WRONG_USAGE, "")
        assert err.startswith(f"gateway: --params: {why}")
        assert not gateway.seen


def test_errors_are_told(run: Run) -> None:
    def refusing(wire: Wire) -> None:
        wire.refuse(wire.challenge(), "INVALID_REQUEST", "unauthorized: gateway token mismatch (try another)")
        wire.close(1008, "unauthorized: gateway token mismatch (try another)")

    with scripted(serving()) as gateway:
        assert run(gateway, "call", "no.such") == (FAILED, "", "gateway: unknown method: no.such\n")
        code, _, err = run(gateway, "call", "no.such", "--json")
        assert (code, err) == (FAILED, "gateway: unknown method: no.such\n")
    with scripted(refusing) as gateway:
        wanted = (FAILED, "", "gateway: unauthorized: gateway token mismatch (try another)\n")
        for command in ("health", "status", "logs"):
            assert run(gateway, command) == wanted
        assert run(gateway, "call", "health") == wanted
    for words in (["call", "health"], ["health"], ["status"], ["logs"]):
        code, out, err = run(gateway, *words)
        assert (code, out) == (UNAVAILABLE, "")
        assert "cannot be reached" in err


def test_two_stages(run: Run) -> None:
    def script(wire: Wire) -> None:
        wire.greet()
        request = wire.request("agent")
        wire.answer(request, {"status": "accepted"})
        wire.event("chat", state="delta")
        wire.answer(request, {"status": "ok", "result": {"payloads": [{"text": "hello"}]}})
        wire.connection.recv()

    with scripted(script) as gateway:
        assert run(gateway, "call", "agent") == (0, "status: accepted\n", "")
        code, out, _ = run(gateway, "call", "agent", "--expect-final")
        assert (code, out) == (0, "status: ok\nresult:\n  payloads:\n    - text: hello\n")


def test_a_time_limit(run: Run) -> None:
    with scripted(serving(slow=lambda request: None)) as gateway:
        code, _, err = run(gateway, "call", "slow", "--timeout", "0.05")
    assert (code, err) == (FAILED, "gateway: slow was not answered within 0.05 s\n")


def test_without_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """The port of a gateway that nobody has configured, and a file that is wrong."""
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "c.json5"
    path.write_text("{gateway: {port: 0}}")
    assert main(["health", "--config", str(path)]) == WRONG_CONFIG
    assert "gateway.port: 0" in capsys.readouterr().err


def test_health(run: Run) -> None:
    agents = [{"agentId": "main"}, {"agentId": "x\x1b[31m"}]
    with scripted(serving(health={"ok": True, "agents": agents})) as gateway:
        code, out, err = run(gateway, "health")
        assert (code, err) == (0, "")
        assert out.startswith("ok: answered in ")
        assert out.endswith(" ms, agents: main, x\\x1b[31m\n")
        assert (
            run(gateway, "health", "--json")[1]
            == '{"ok":true,"agents":[{"agentId":"main"},{"agentId":"x\\u001b[31m"}]}\n'
        )
    answers: list[Any] = [{"ok": False}, {}, None, [], "ok"]
    for answer in answers:
        with scripted(serving(health=answer)) as gateway:
            code, out, err = run(gateway, "health")
            assert (code, out) == (FAILED, "")
            assert "not well" in err


AGENTS: Mapping[str, Any] = {
    "defaultId": "main",
    "agents": [{"id": "main", "model": {"primary": "mock/m"}}, {"id": "other", "model": None}, 7],
}
PRESENCE = [
    {"host": "vm", "mode": "gateway", "ts": 1},
    {"host": "laptop", "version": "2026.9.6", "mode": "ui", "ts": 1795219958938},
    {"host": "bad\x1b]0;t\x07"},
]


def test_status(run: Run) -> None:
    answers = {"agents_list": AGENTS, "status": {"sessions": {"count": 3}}, "system_presence": PRESENCE}
    with scripted(serving(**answers)) as gateway:
        code, out, err = run(gateway, "status")
        assert (code, err) == (0, "")
        lines = out.splitlines()
        assert lines[:6] == [
            f"gateway   {gateway.url}",
            "version   9.9.9, protocol 4",
            "uptime    1 h 2 min",
            "agents    main (default) (mock/m), other, unknown",
            "sessions  3",
            "clients   2",
        ]
        assert lines[6].startswith("  laptop 2026.9.6 ui, 2026-11-2")
        assert lines[7] == "  bad\\x1b]0;t\\x07"
        document = json.loads(run(gateway, "status", "--json")[1])
        assert document["sessions"] == 3
        assert document["agents"][0] == {"id": "main", "default": True, "model": "mock/m"}
        assert len(document["clients"]) == 2
        assert document["problems"] == []


def test_status_shows_what_it_may_know(run: Run) -> None:
    def script(wire: Wire) -> None:
        wire.greet(snapshot=None, server="?")
        while True:
            wire.refuse(wire.request(), "FORBIDDEN", "missing scope: operator.read")

    with scripted(script) as gateway:
        code, out, err = run(gateway, "status")
    assert code == FAILED
    assert out == f"gateway   {gateway.url}\nversion   unknown, protocol 4\nuptime    unknown\n"
    assert err.count("missing scope: operator.read") == 3


META = {"date": "2026-11-21T18:02:05.288Z", "logLevelName": "INFO", "name": '{"subsystem": "gateway"}'}
LOG_LINES: list[tuple[str, str]] = [
    ("plain", "plain"),
    ("", ""),
    ("{", "{"),
    ("[1]", "[1]"),
    ('{"0": "x"}', '{"0": "x"}'),
    (json.dumps({"_meta": META}), json.dumps({"_meta": META})),
    (json.dumps({"0": "hi\x1b", "_meta": META, "time": "now"}), "now INFO gateway: hi\x1b"),
    (json.dumps({"0": "hi", "_meta": {"x": 1}}), "hi"),
    (
        json.dumps({"0": '{"subsystem":"gateway/ws"}', "1": "open", "2": {"a": 1}, "_meta": META}),
        '2026-11-21T18:02:05.288Z INFO gateway/ws: open {"a": 1}',
    ),
]


@pytest.mark.parametrize(("text", "shown"), LOG_LINES, ids=range(len(LOG_LINES)))
def test_lines_of_a_log(text: str, shown: str) -> None:
    assert logs.readable(text) == shown


def test_logs(run: Run) -> None:
    record = {"0": "\u00e9", "_meta": META}
    lines = ["one", "two \x1b[31m", json.dumps(record), 3]
    with scripted(
        serving(logs_tail={"file": "f", "cursor": 3, "size": 3, "lines": lines, "truncated": True})
    ) as gateway:
        told = "2026-11-21T18:02:05.288Z INFO gateway: \u00e9"
        assert run(gateway, "logs") == (0, f"one\ntwo \x1b[31m\n{told}\n", "")
        assert gateway.seen[-1]["params"] == {"limit": 200, "maxBytes": 1_000_000}
        out = run(gateway, "logs", "--json", "--lines", "5")[1]
        assert [json.loads(text) for text in out.splitlines()] == [{"line": "one"}, {"line": "two \x1b[31m"}, record]
        assert gateway.seen[-1]["params"]["limit"] == 5
        for number in ("0", "5001", "x", "-1"):
            assert run(gateway, "logs", "--lines", number)[0] == WRONG_USAGE


def test_logs_that_are_followed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Across a restart, after which the log begins anew."""
    monkeypatch.setattr(logs, "PACE", 0.01)
    monkeypatch.setattr(rpc, "PAUSES", (0.01,))
    monkeypatch.setattr(rpc, "TRIES", 3)

    def asked(wire: Wire, cursor: int | None) -> dict[str, Any]:
        request = wire.request("logs.tail")
        assert request["params"].get("cursor") == cursor
        return request

    def first(wire: Wire) -> None:
        wire.greet()
        wire.answer(asked(wire, None), {"file": "1", "cursor": 10, "lines": ["a"], "truncated": True})
        wire.answer(asked(wire, 10), {"file": "1", "cursor": 20, "lines": ["b", "c"]})
        wire.answer(asked(wire, 20), {"file": "1", "cursor": 20, "lines": []})
        wire.answer(asked(wire, 20), {"file": "1", "cursor": 90, "lines": ["z"], "truncated": True})
        gap = {"truncated": True, "reset": True, "skippedBytes": 7}
        wire.answer(asked(wire, 90), {"file": "1", "cursor": 95, "lines": ["y"], **gap})
        wire.answer(asked(wire, 95), {"file": "1", "cursor": 4, "lines": ["anew"], "reset": True})
        wire.close(1012, "service restart")

    def second(wire: Wire) -> None:
        wire.greet()
        wire.answer(asked(wire, 4), {"file": "2", "cursor": 90, "lines": ["the end only"]})
        wire.answer(asked(wire, None), {"file": "2", "cursor": 90, "lines": ["all", "of it"]})
        wire.answer(asked(wire, 90), {"file": "2", "lines": ["no cursor"]})
        wire.connection.recv()

    with scripted(first, second) as gateway:
        code, out, err = run(gateway, "logs", "--follow", "--lines", "1")
    assert out == "a\nb\nc\nz\ny\nanew\nall\nof it\nno cursor\n"
    assert err.splitlines() == [
        *["[lines are missing here: more was logged than can be fetched at once]"] * 2,
        "[the log begins anew]",
        "[the gateway restarts; trying again]",
        "[the log begins anew]",
        "gateway: the gateway does not say where its log goes on",
    ]
    assert code == FAILED
