"""gateway chat, with a gateway that says what it is told to: through a pipe, and on a pseudo-terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from screen import ROOT, on_terminal
from scripted_gateway import Scripted, Wire, scripted

from gateway.cli.chat_view import ChatView, text_of
from gateway.cli.console import FAILED, INTERRUPTED, UNAVAILABLE, WRONG_USAGE

KEY = "agent:main:main"
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}


def assistant(text: str, run: str | None = None) -> dict[str, Any]:
    content = [{"type": "text", "text": text}]
    return {"role": "assistant", "content": content, **({"__openclaw": {"runId": run}} if run else {})}


def user(text: str, run: str | None = None) -> dict[str, Any]:
    return {"role": "user", "content": text, **({"idempotencyKey": f"{run}:user"} if run else {})}


def open_session(wire: Wire, *messages: Mapping[str, Any], key: str = KEY, **more: object) -> None:
    """Up to what the client says first."""
    wire.greet()
    request = wire.request("chat.history")
    assert request["params"]["sessionKey"] == key
    wire.answer(request, {"sessionKey": key, "messages": messages, **more})


def said(wire: Wire, text: str | None = None) -> str:
    """Take what is said; the run's id."""
    request = wire.request("chat.send")
    assert text is None or request["params"]["message"] == text, request
    run: str = request["params"]["idempotencyKey"]
    wire.answer(request, {"runId": run, "status": "started"})
    return run


def tell(wire: Wire, run: str, *texts: str, end: str = "final", key: str = KEY, **more: object) -> None:
    """An answer that grows to these texts, one after the other, and how it ends, if it does."""
    for seq, text in enumerate(texts):
        delta = text.removeprefix(texts[seq - 1]) if seq else text
        common = {"runId": run, "sessionKey": key, "seq": seq}
        wire.event("chat", **common, state="delta", deltaText=delta, message=assistant(text))
    if end:
        message = {"message": assistant(texts[-1])} if texts else {}
        wire.event("chat", runId=run, sessionKey=key, seq=len(texts), state=end, **message, **more)


@contextmanager
def piped(gateway: Scripted, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "chat", *gateway.flags, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        encoding="utf-8",
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def chat(gateway: Scripted, text: str, *arguments: str) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of a conversation through a pipe."""
    with piped(gateway, *arguments) as process:
        out, err = process.communicate(text, timeout=30)
        return process.returncode, out, err


def test_a_conversation_through_a_pipe() -> None:
    def script(wire: Wire) -> None:
        open_session(wire, user("earlier\nand on"), {"role": "system", "content": "x"}, assistant("an answer"))
        run = said(wire, "hello  there")
        wire.event("chat", runId=run, sessionKey=KEY, seq=1, state="status", phase="starting_model")
        wire.event("chat", runId="other", sessionKey="agent:main:else", seq=1, state="delta", message=assistant("no"))
        tell(wire, run, "Hel", "Hello", "Hello \x1b[31myou")
        tell(wire, said(wire, "and?"), "More\n")
        tell(wire, said(wire, "last"))
        wire.connection.recv()

    with scripted(script) as gateway:
        code, out, err = chat(gateway, "hello  there\n\nand?\r\nlast")
    assert out == "> earlier\n  and on\nan answer\nHello \x1b[31myou\nMore\n"
    assert (code, err) == (0, f"[session {KEY}; /help tells the commands]\n")
    scopes = gateway.seen[0]["params"]["scopes"]
    assert scopes == ["operator.read", "operator.write"]
    assert gateway.seen[1]["params"] == {"sessionKey": KEY, "limit": 20}
    assert gateway.seen[2]["params"].keys() == {"sessionKey", "message", "idempotencyKey", "deliver"}


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--agent", "other"], {"sessionKey": "agent:other:main", "agentId": "other"}),
        (["--session-key", "trip"], {"sessionKey": "trip"}),
        (["--session-key", "trip", "--agent", "other"], {"sessionKey": "trip", "agentId": "other"}),
    ],
)
def test_which_session(flags: list[str], named: dict[str, str]) -> None:
    def script(wire: Wire) -> None:
        wire.greet()
        wire.answer(wire.request("chat.history"), {"sessionKey": "agent:canonical:trip", "messages": []})
        run = said(wire, "hi")
        tell(wire, run, "by run", key="whatever")
        tell(wire, "foreign", "by key", key="agent:canonical:trip")
        tell(wire, said(wire, "bye"), "bye", key=named["sessionKey"])
        wire.connection.recv()

    with scripted(script) as gateway:
        assert chat(gateway, "hi\nbye\n", *flags)[1] == "by run\nby key\nbye\n"
    for frame in gateway.seen[1:]:
        assert frame["params"].items() >= named.items()


def test_history_as_it_is_wanted() -> None:
    messages = [user("1"), assistant("2"), user("3"), assistant("4")]

    def script(wire: Wire) -> None:
        open_session(wire, *messages)
        wire.connection.recv()

    with scripted(script) as gateway:
        assert chat(gateway, "", "--history", "0")[1] == ""
        assert chat(gateway, "", "--history", "2")[1] == "> 3\n4\n"
        assert gateway.seen[-1]["params"]["limit"] == 20
        assert chat(gateway, "", "--history", "900")[1] == "> 1\n2\n> 3\n4\n"
        assert gateway.seen[-1]["params"]["limit"] == 900
        assert chat(gateway, "", "--history", "1001")[0] == WRONG_USAGE


def test_commands_in_a_pipe() -> None:
    def script(wire: Wire) -> None:
        open_session(wire)
        tell(wire, said(wire, "first"), "one")
        request = wire.request("sessions.create")
        assert request["params"]["key"].startswith("chat-")
        assert request["params"]["agentId"] == "main"
        wire.answer(request, {"ok": True, "key": "agent:main:new"})
        request = wire.request("chat.send")
        assert request["params"]["sessionKey"] == "agent:main:new"
        wire.answer(request, {"status": "started"})
        tell(wire, "old", "of the old session", key=KEY)
        tell(wire, request["params"]["idempotencyKey"], "two", key="agent:main:new")
        wire.refuse(wire.request("sessions.create"), "INVALID_REQUEST", "no more sessions")
        tell(wire, said(wire, "/status"), "well")
        wire.connection.recv()

    with scripted(script) as gateway:
        code, out, err = chat(gateway, "first\n/new\n /help \nsecond\n/new\n/status\n/exit\nnever\n")
    assert out == "one\ntwo\nwell\n"
    assert "[new session agent:main:new]\n[/abort ends the answer" in err
    assert "[no more sessions]" in err
    assert code == FAILED


ENDS = [
    ({"end": "error", "errorMessage": "LLM request failed: \x1b[31m"}, "so far\n", r"[LLM request failed: \x1b[31m]", FAILED),
    ({"end": "error"}, "so far\n", "[the run failed]", FAILED),
    ({"end": "aborted", "stopReason": "rpc"}, "so far\n", "[aborted]", 0),
]  # fmt: skip


@pytest.mark.parametrize(("end", "shown", "note", "code"), ENDS, ids=range(len(ENDS)))
def test_how_a_run_ends(end: dict[str, Any], shown: str, note: str, code: int) -> None:
    def script(wire: Wire) -> None:
        open_session(wire)
        run = said(wire)
        tell(wire, run, "so far", **end)
        tell(wire, run, "so far", end="error", errorMessage="told again")
        wire.connection.recv()

    with scripted(script) as gateway:
        found = chat(gateway, "hi\n")
    assert (found[0], found[1]) == (code, shown)
    assert found[2].endswith(f"{note}\n")


def test_what_is_refused() -> None:
    def script(wire: Wire) -> None:
        open_session(wire)
        wire.refuse(wire.request("chat.send"), "INVALID_REQUEST", "unknown agent id")
        tell(wire, said(wire, "b"), "fine")
        wire.connection.recv()

    def closed(wire: Wire) -> None:
        wire.greet()
        wire.refuse(wire.request("chat.history"), "FORBIDDEN", "missing scope: operator.read")
        wire.connection.recv()

    with scripted(script) as gateway:
        code, out, err = chat(gateway, "a\nb\n")
        assert (code, out) == (FAILED, "fine\n")
        assert "[unknown agent id]" in err
    with scripted(closed) as gateway:
        assert chat(gateway, "a\n") == (FAILED, "", "gateway: missing scope: operator.read\n")
    code, out, err = chat(gateway, "a\n")
    assert (code, out) == (UNAVAILABLE, "")
    assert "cannot be reached" in err


def test_abort_through_a_pipe() -> None:
    """At once, although an answer is under way; what stands behind it waits for the end of that answer."""

    def script(wire: Wire) -> None:
        open_session(wire)
        run = said(wire, "long")
        tell(wire, run, "begun", end="")
        request = wire.request("chat.abort")
        assert request["params"] == {"sessionKey": KEY}
        wire.answer(request, {"ok": True, "aborted": True, "runIds": [run]})
        tell(wire, run, "begun", end="aborted")
        tell(wire, said(wire, "next"), "done")
        wire.connection.recv()

    with scripted(script) as gateway, piped(gateway) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("long\nnext\n")
        process.stdin.flush()
        assert process.stdout.read(5) == "begun"
        process.stdin.write("/abort\n")
        process.stdin.flush()
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (0, "\ndone\n")
        assert err.endswith("[aborted]\n")


def test_what_is_typed(tmp_path: Path) -> None:
    """More lines than are read ahead, bytes that are no text, and a line without an end; from a file."""

    def script(wire: Wire) -> None:
        open_session(wire)
        while True:
            request = wire.request("chat.send")
            seen.append(request["params"]["message"])
            wire.answer(request, {"status": "started"})
            tell(wire, request["params"]["idempotencyKey"], "ok")

    seen: list[str] = []
    path = tmp_path / "lines"
    path.write_bytes(b"".join(b"%d\n" % number for number in range(150)) + b"\xff\xfe caf\xc3\xa9\n" + b"y" * 5_000_000)
    with scripted(script) as gateway, path.open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "chat", *gateway.flags],
            stdin=file,
            capture_output=True,
            env=ENVIRONMENT,
            timeout=50,
            check=False,
        )
    assert (done.returncode, done.stdout) == (0, b"ok\n" * 153)
    assert seen[:150] == [str(number) for number in range(150)]
    assert seen[150] == "\ufffd\ufffd caf\u00e9"
    assert [len(text) for text in seen[151:]] == [4 << 20, 5_000_000 - (4 << 20)]


def test_nobody_reads_the_answers() -> None:
    def script(wire: Wire) -> None:
        open_session(wire)
        run = said(wire)
        for number in range(1, 10_000):
            tell(wire, run, "on " * number, end="")
            time.sleep(0.001)

    with scripted(script) as gateway, piped(gateway) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("hi\n")
        process.stdin.flush()
        process.stdout.read(2)
        process.stdout.close()
        assert process.wait(30) == FAILED
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_an_abort_that_comes_too_late() -> None:
    """The end of the answer was missed."""

    def script(wire: Wire) -> None:
        open_session(wire)
        run = said(wire)
        wire.answer(wire.request("chat.abort"), {"ok": True, "aborted": False})
        wire.answer(wire.request("chat.history"), {"messages": [user("a", run), assistant("there", run)]})
        said(wire)
        wire.answer(wire.request("chat.abort"), {"ok": True, "aborted": False})
        wire.answer(wire.request("chat.history"), {"messages": []})
        wire.connection.recv()

    with scripted(script) as gateway, piped(gateway) as process:
        assert process.stdin is not None
        process.stdin.write("a\n")
        process.stdin.flush()
        wait_for(gateway, "chat.send")
        process.stdin.write("/abort\n")
        process.stdin.write("b\n")
        process.stdin.flush()
        wait_for(gateway, "chat.send", 2)
        out, err = process.communicate("/abort\n", timeout=30)
    assert (process.returncode, out) == (FAILED, "there\n")
    assert err.count("[nothing is under way any more]") == 2
    assert err.endswith("[the answer is not kept; say it again]\n")


def test_standard_input_that_is_closed() -> None:
    command = f"exec {sys.executable} -m gateway chat --url ws://127.0.0.1:1 --token t <&-"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, env=ENVIRONMENT, timeout=30, check=False)
    assert done.returncode == WRONG_USAGE
    assert done.stderr == b"gateway: standard input is closed: there is nobody to talk with\n"


# A gateway that goes, and comes back


def test_a_restart_in_the_middle_of_an_answer() -> None:
    """What was shown already is not shown again."""

    def first(wire: Wire) -> None:
        open_session(wire, user("before"))
        runs.append(said(wire, "hi"))
        tell(wire, runs[0], "Hello", end="")
        wire.event("shutdown", reason="gateway stopping")
        wire.close(1012, "service restart")

    def second(wire: Wire) -> None:
        flight = {"runId": runs[0], "text": "Hello wor", "startedAt": 1}
        open_session(wire, user("before"), user("hi", runs[0]), inFlightRun=flight)
        tell(wire, runs[0], "Hello world")
        tell(wire, said(wire, "more"), "!")
        wire.connection.recv()

    runs: list[str] = []
    with scripted(first, second) as gateway:
        code, out, err = chat(gateway, "hi\nmore\n")
    assert (code, out) == (0, "> before\nHello\n wor" + "ld\n!\n")
    assert err.endswith("[gateway stopping]\n[the gateway restarts; trying again]\n")


def test_an_answer_that_was_completed_meanwhile() -> None:
    def first(wire: Wire) -> None:
        open_session(wire)
        runs.append(said(wire, "hi"))
        wire.connection.socket.close()

    def second(wire: Wire) -> None:
        open_session(wire, user("hi", runs[0]), assistant("All of it", runs[0]), assistant(" and more", "other"))
        wire.connection.recv()

    runs: list[str] = []
    with scripted(first, second) as gateway:
        code, out, err = chat(gateway, "hi\n")
    assert (code, out) == (0, "All of it\n")
    assert "[the connection to the gateway was lost" in err


def test_an_answer_that_waits_for_its_turn() -> None:
    """The connection was lost, and the gateway goes on with another run of the session first."""

    def first(wire: Wire) -> None:
        open_session(wire)
        runs.append(said(wire, "hi"))
        wire.connection.socket.close()

    def second(wire: Wire) -> None:
        open_session(wire, inFlightRun={"runId": "other", "text": "Theirs"})
        request = wire.request("chat.send")
        assert request["params"]["idempotencyKey"] == runs[0]
        wire.answer(request, {"runId": runs[0], "status": "in_flight"})
        tell(wire, "other", "Theirs")
        tell(wire, runs[0], "Mine")
        wire.connection.recv()

    runs: list[str] = []
    with scripted(first, second) as gateway:
        assert chat(gateway, "hi\n")[:2] == (0, "Theirs\nMine\n")


def test_an_answer_that_is_not_kept() -> None:
    def first(wire: Wire) -> None:
        open_session(wire)
        runs.append(said(wire, "hi"))
        wire.connection.socket.close()

    def second(wire: Wire) -> None:
        open_session(wire)
        wire.answer(wire.request("chat.send"), {"runId": runs[0], "status": "ok"})
        wire.answer(wire.request("chat.history"), {"messages": [user("hi", runs[0])]})
        wire.connection.recv()

    runs: list[str] = []
    with scripted(first, second) as gateway:
        code, out, err = chat(gateway, "hi\n")
    assert (code, out) == (FAILED, "")
    assert err.endswith("[the answer is not kept; say it again]\n")


def test_an_answer_that_is_lost() -> None:
    def first(wire: Wire) -> None:
        open_session(wire)
        said(wire, "hi")
        wire.close(1012, "service restart")

    def second(wire: Wire) -> None:
        wire.greet(snapshot={"uptimeMs": 1})
        wire.answer(wire.request("chat.history"), {"messages": []})
        tell(wire, said(wire, "next"), "here")
        wire.connection.recv()

    with scripted(first, second) as gateway:
        code, out, err = chat(gateway, "hi\nnext\n")
    assert (code, out) == (FAILED, "here\n")
    assert err.endswith("[the gateway restarted before the answer was there; say it again]\n")


def test_what_never_arrived_is_sent_again() -> None:
    """With the same idempotency key: should it have arrived, there is no second run."""

    def first(wire: Wire) -> None:
        open_session(wire)
        runs.append(wire.request("chat.send")["params"]["idempotencyKey"])
        wire.close(1012, "service restart")

    def second(wire: Wire) -> None:
        open_session(wire)
        request = wire.request("chat.send")
        assert request["params"]["idempotencyKey"] == runs[0]
        assert request["params"]["message"] == "hi"
        wire.answer(request, {"runId": runs[0], "status": "ok"})
        wire.answer(wire.request("chat.history"), {"messages": [user("hi", runs[0]), assistant("yes", runs[0])]})
        wire.connection.recv()

    runs: list[str] = []
    with scripted(first, second) as gateway:
        assert chat(gateway, "hi\n")[:2] == (0, "yes\n")


def test_a_gateway_that_lets_nobody_in_any_more() -> None:
    def first(wire: Wire) -> None:
        open_session(wire)
        wire.close(1012, "service restart")

    def second(wire: Wire) -> None:
        wire.refuse(wire.challenge(), "INVALID_REQUEST", "unauthorized: gateway token mismatch")
        wire.close(1008)

    with scripted(first, second) as gateway, piped(gateway) as process:
        assert process.wait(30) == FAILED
        assert process.stderr is not None
        assert process.stderr.read().endswith("gateway: unauthorized: gateway token mismatch\n")


# On a terminal


def test_a_terminal(tmp_path: Path) -> None:
    def script(wire: Wire) -> None:
        open_session(wire, user("before \x1b[2J"), assistant("then\x07"))
        tell(wire, said(wire, "hi"), "He", "Hello \x1b]0;title\x07\x1b[31mred\r\u202e")
        run = said(wire, "long")
        tell(wire, run, "going on", end="")
        request = wire.request("chat.abort")
        wire.answer(request, {"ok": True, "aborted": True})
        tell(wire, run, "going on", end="aborted")
        wire.answer(wire.request("sessions.create"), {"key": "agent:main:n"})
        wire.connection.recv()

    with scripted(script) as gateway, on_terminal(tmp_path, "chat", *gateway.flags) as screen:
        screen.until(lambda seen: seen.endswith(b"commands]\r\n> "))
        screen.type(b"hi\n")
        screen.until(lambda seen: b"red" in seen and seen.endswith(b"\r\n> "))
        screen.type(b"long\n")
        screen.until(lambda seen: seen.endswith(b"going on"))
        screen.type(b"\x03")
        screen.until(lambda seen: seen.endswith(b"[aborted]\r\n> "))
        screen.type(b"/new\n")
        screen.until(lambda seen: seen.endswith(b"[new session agent:main:n]\r\n> "))
        screen.type(b"/abort\n")
        screen.until(lambda seen: seen.endswith(b"[nothing is under way]\r\n> "))
        screen.type(b"/exit\n")
        assert screen.end() == 0
        assert b"\x1b" not in screen.seen
        assert b"\x07" not in screen.seen
        assert screen.seen.replace(b"\r\n", b"\n").decode() == (
            f"> before [2J\nthen\n[session {KEY}; /help tells the commands]\n"
            "> hi\nHello ]0;title[31mred\n> long\ngoing on^C\n[aborted]\n"
            "> /new\n[new session agent:main:n]\n> /abort\n[nothing is under way]\n> /exit\n"
        )


def test_leaving_a_terminal(tmp_path: Path) -> None:
    def quiet(wire: Wire) -> None:
        open_session(wire)
        wire.connection.recv()

    for keys, code in ((b"\x04", 0), (b"\x03", INTERRUPTED), (b"/exit\n", 0)):
        with scripted(quiet) as gateway, on_terminal(tmp_path, "chat", *gateway.flags) as screen:
            screen.until(lambda seen: seen.endswith(b"> "))
            screen.type(keys)
            assert screen.end() == code
            assert screen.seen.endswith(b"\r\n")


def test_a_second_interrupt_leaves(tmp_path: Path) -> None:
    """Where the gateway does not abort, and says nothing."""

    def deaf(wire: Wire) -> None:
        open_session(wire)
        said(wire)
        wire.request("chat.abort")
        wire.connection.recv()

    with scripted(deaf) as gateway, on_terminal(tmp_path, "chat", *gateway.flags) as screen:
        screen.until(lambda seen: seen.endswith(b"> "))
        screen.type(b"hi\n")
        wait_for(gateway, "chat.send")
        screen.type(b"\x03")
        wait_for(gateway, "chat.abort")
        screen.type(b"\x03")
        assert screen.end() == INTERRUPTED


def test_exit_while_an_answer_is_under_way(tmp_path: Path) -> None:
    def script(wire: Wire) -> None:
        open_session(wire)
        tell(wire, said(wire), "on and on", end="")
        wire.connection.recv()

    with scripted(script) as gateway, on_terminal(tmp_path, "chat", *gateway.flags) as screen:
        screen.until(lambda seen: seen.endswith(b"> "))
        screen.type(b"hi\n")
        screen.until(lambda seen: seen.endswith(b"on and on"))
        screen.type(b"/exit\n")
        assert screen.end() == 0
    assert "chat.abort" not in gateway.methods()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals(number: int) -> None:
    def script(wire: Wire) -> None:
        open_session(wire)
        said(wire)
        wire.connection.recv()

    with scripted(script) as gateway, piped(gateway) as process:
        assert process.stdin is not None
        process.stdin.write("hi\n")
        process.stdin.flush()
        wait_for(gateway, "chat.send")
        process.send_signal(number)
        assert process.wait(20) == 128 + number


def test_someone_else_in_the_same_session(tmp_path: Path) -> None:
    """Their answers come between, on lines of their own."""

    def script(wire: Wire) -> None:
        open_session(wire, inFlightRun={"runId": "theirs", "text": "already"})
        tell(wire, "theirs", "already there")
        mine = said(wire)
        tell(wire, mine, "mine", end="")
        tell(wire, "other", "other", end="")
        tell(wire, mine, "mine too")
        tell(wire, "other", "other too")
        wire.connection.recv()

    with scripted(script) as gateway, on_terminal(tmp_path, "chat", *gateway.flags) as screen:
        screen.until(lambda seen: seen.endswith(b"already there\r\n> "))
        screen.type(b"hi\n")
        screen.until(lambda seen: seen.endswith(b"too\r\n> "))
        shown = screen.seen.replace(b"\r\n", b"\n").decode()
        assert shown.endswith("> hi\nmine\nother\n too\n too\n> ")


def test_what_others_say(tmp_path: Path) -> None:
    def script(wire: Wire) -> None:
        wire.greet(features={"methods": ["sessions.messages.subscribe"]})
        wire.answer(wire.request("chat.history"), {"sessionKey": KEY, "messages": [user("before")]})
        request = wire.request("sessions.messages.subscribe")
        assert request["params"] == {"key": KEY}
        wire.answer(request, {"subscribed": True})
        wire.event("session.message", sessionKey="agent:main:else", message=user("elsewhere", "r1"))
        wire.event("session.message", sessionKey=KEY, message=user("two\nlines\x1b[31m", "r2"))
        tell(wire, "r2", "an answer")
        wire.event("session.message", sessionKey=KEY, message=assistant("an answer", "r2"))
        run = said(wire)
        wire.event("session.message", sessionKey=KEY, message=user("hi", run))
        tell(wire, run, "yes")
        wire.answer(wire.request("sessions.create"), {"key": "agent:main:n"})
        request = wire.request("sessions.messages.subscribe")
        assert request["params"] == {"key": "agent:main:n"}
        wire.refuse(request, "FORBIDDEN", "not for you")
        wire.connection.recv()

    with scripted(script) as gateway, on_terminal(tmp_path, "chat", *gateway.flags) as screen:
        screen.until(lambda seen: seen.endswith(b"an answer\r\n> "))
        screen.type(b"hi\n")
        screen.until(lambda seen: seen.endswith(b"yes\r\n> "))
        screen.type(b"/new\n")
        screen.until(lambda seen: seen.endswith(b"[not for you]\r\n> "))
        shown = screen.seen.replace(b"\r\n", b"\n").decode()
        assert shown.endswith(
            "> two\n  lines[31m\nan answer\n> hi\nyes\n> /new\n[new session agent:main:n]\n[not for you]\n> "
        )
        assert "elsewhere" not in shown


def wait_for(gateway: Scripted, method: str, times: int = 1) -> None:
    end = time.monotonic() + 20
    while gateway.methods().count(method) < times:
        assert time.monotonic() < end, gateway.methods()
        time.sleep(0.01)


# The view


def test_texts_of_messages() -> None:
    assert text_of({"content": "x"}) == "x"
    assert text_of(assistant("a")) == "a"
    contents: list[Any] = [
        None,
        1,
        {},
        [],
        [1, None, "x", {}],
        [{"type": "image"}],
        [{"type": "thinking", "text": "no"}],
    ]
    for content in contents:
        assert text_of({"content": content}) == ""
    assert text_of({}) == ""


def test_answers_that_are_written_anew(capsys: pytest.CaptureFixture[str]) -> None:
    view = ChatView()
    view.grow("r", "one")
    view.grow("r", "one two")
    view.grow("r", "one")  # came late
    view.grow("r", "another")
    view.finish("r")
    view.grow("r2", "")
    view.finish("r2")
    assert capsys.readouterr().out == "one two\nanother\n"
    for number in range(100):
        view.begin(str(number))
    assert len(view._shown) == 64
    view.keep("99", "7")
    assert list(view._shown) == ["99"]
