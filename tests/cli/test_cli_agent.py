"""gateway agent: the same answers from a running gateway as from this process, and clear errors from neither."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from gateway import Gateway
from gateway.cli import main
from gateway.cli.console import FAILED, INTERRUPTED, UNAVAILABLE, WRONG_CONFIG, WRONG_USAGE
from gateway.config import load

HERE = Path(__file__).parent
CERTIFICATE = HERE.parent / "data" / "tls" / "localhost.pem"
TOKEN = "hidden-token"
NAMES = ("before", "say", "words", "key", "colours", "fail", "fail_late", "silent", "endless")

Run: TypeAlias = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.endswith(("GATEWAY_TOKEN", "GATEWAY_PASSWORD", "CONFIG_PATH"))]:
        monkeypatch.delenv(name)
    monkeypatch.syspath_prepend(str(HERE))


def write_config(folder: Path, port: int, **gateway: Any) -> Path:
    agents: list[dict[str, Any]] = [
        {
            "id": name.replace("_", "-"),
            "default": name == "say",
            "runtime": {"type": "python", "target": f"cli_agents:{name}"},
        }
        for name in NAMES
    ]
    document = {
        "gateway": {
            "port": port,
            "auth": {"token": TOKEN},
            "http": {"endpoints": {"chatCompletions": {"enabled": True}}},
            **gateway,
        },
        "agents": {"list": agents},
    }
    path = folder / f"gateway-{port}.json5"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@contextmanager
def serving(path: Path) -> Iterator[Gateway]:
    """A gateway on this configuration, in a thread of its own."""
    gateway = Gateway(load(str(path), environ={}).config, token=TOKEN)

    async def end() -> None:
        # A connection that is being accepted while its listener closes is lost by asyncio (Server._attach).
        await asyncio.sleep(0.01)
        await gateway.aclose()
        await asyncio.sleep(0.01)  # for the end of a TLS handshake

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(gateway.start(), loop).result(10)
        yield gateway
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(params=["running", "local"])
def ask(request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """`gateway agent` in this process, asking a running gateway or with --local; (exit code, stdout, stderr)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["agent", "--config", str(path), *more, *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    path = write_config(tmp_path, free_port())
    more = ["--local"] if request.param == "local" else []
    if more:
        yield run
    else:
        with serving(path):
            yield run


def test_text(ask: Run) -> None:
    assert ask("--message", "hi there") == (0, "hi there\n", "")
    assert ask("--message", "hi there\n") == (0, "hi there\n", ""), "one line feed at the end, not two"
    assert ask("--message", "a b", "--agent", "WORDS") == (0, "a b \n", "")
    assert ask("--message", "a b", "--agent", "words", "--stream") == (0, "a b \n", "")


def test_json(ask: Run) -> None:
    code, out, _ = ask("--message", "caf\u00e9", "--json")
    assert code == 0
    completion = json.loads(out)
    assert completion["object"] == "chat.completion"
    assert completion["choices"][0]["message"]["content"] == "caf\u00e9"


def test_json_lines(ask: Run) -> None:
    code, out, _ = ask("--message", "a b", "--agent", "words", "--stream", "--json")
    assert code == 0
    chunks = [json.loads(line) for line in out.splitlines()]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    deltas = [chunk["choices"][0]["delta"].get("content") for chunk in chunks]
    assert deltas == ["", "a ", "b ", None]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_session_key(ask: Run) -> None:
    assert ask("--message", "?", "--agent", "key", "--session-key", "My:Key") == (0, "My:Key\n", "")
    assert re.fullmatch(r"agent:key:openai:[0-9a-f-]{36}\n", ask("--message", "?", "--agent", "key")[1])
    code, _, err = ask("--message", "?", "--session-key", "cron:x")
    assert code == FAILED
    assert "reserved" in err


def test_a_session_is_continued(ask: Run) -> None:
    """Also from one process to the next: with --local there is no gateway that could remember."""
    more = ("--agent", "before", "--session-key", "mine")
    assert ask("--message", "one", *more)[1] == "nothing\n"
    assert ask("--message", "two", *more, "--stream")[1] == "one / nothing\n"
    assert ask("--message", "three", *more)[1] == "one / nothing / two / one / nothing\n"
    assert ask("--message", "one", "--agent", "before")[1] == "nothing\n"


def test_a_failure(ask: Run) -> None:
    assert ask("--message", "x", "--agent", "fail") == (FAILED, "", "gateway: out of order\n")
    assert ask("--message", "x", "--agent", "fail", "--stream") == (FAILED, "", "gateway: out of order\n")
    assert ask("--message", "x", "--agent", "fail-late") == (FAILED, "", "gateway: out of order\n")


def test_a_failure_in_the_middle(ask: Run) -> None:
    assert ask("--message", "x", "--agent", "fail-late", "--stream") == (FAILED, "so far\n", "gateway: out of order\n")
    code, out, err = ask("--message", "x", "--agent", "fail-late", "--stream", "--json")
    assert (code, err) == (FAILED, "gateway: out of order\n")
    last = json.loads(out.splitlines()[-1])
    assert last["error"]["code"] == "broken"


def test_an_agent_that_is_not_there(ask: Run) -> None:
    code, out, err = ask("--message", "x", "--agent", "wrods")
    assert (code, out) == (FAILED, "")
    assert err.startswith("gateway: ")
    assert "words" in err, "did you mean"


def test_nothing_to_say(ask: Run) -> None:
    code, _, err = ask("--message", "")
    assert code == FAILED
    assert "messages" in err


@pytest.mark.parametrize("more", [(), ("--stream",)])
def test_timeout(ask: Run, more: tuple[str, ...]) -> None:
    code, _, err = ask("--message", "x", "--agent", "silent", "--timeout", "0.2", *more)
    assert code == FAILED
    assert "within 0.2 s" in err
    assert "--timeout" in err


class Pipe(io.TextIOWrapper):
    pass


def test_standard_input(ask: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Pipe(io.BytesIO("one\ntw\u00f6\n".encode())))
    assert ask("--message", "-") == (0, "one\ntw\u00f6\n", "")
    monkeypatch.setattr(sys, "stdin", Pipe(io.BytesIO(b"\xff")))
    code, _, err = ask("--message", "-")
    assert code == WRONG_USAGE
    assert "UTF-8" in err
    monkeypatch.setattr("gateway.cli.console.INPUT_BYTES", 1 << 20)
    monkeypatch.setattr(sys, "stdin", Pipe(io.BytesIO(b"x" * (1 << 20) + b"x")))
    code, _, err = ask("--message", "-")
    assert code == WRONG_USAGE
    assert "1 MiB" in err


def test_an_answer_with_controls_on_a_terminal(ask: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask("--message", "x", "--agent", "colours")[1] == "\x1b[31mred\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert ask("--message", "x", "--agent", "colours")[1] == "[31mred\n"
    assert ask("--message", "x", "--agent", "colours", "--stream")[1] == "[31mred\n"


def test_an_interrupt_ends_the_run(ask: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    def write(text: str) -> None:
        written.append(text)
        if len(written) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("gateway.cli.terminal.write", write)
    code, _, err = ask("--message", "x", "--agent", "endless", "--stream")
    assert (code, err) == (INTERRUPTED, "")
    assert written[:3] == ["on ", "on ", "on "]
    assert written[-1] == "\n", "the shell's prompt comes on a line of its own"


# Where to ask.


@pytest.fixture
def running(tmp_path: Path) -> Iterator[str]:
    with serving(write_config(tmp_path, 0)) as gateway:
        yield gateway.urls[0]


@pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/"])
def test_url_and_token(running: str, tail: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agent", "--message", "hi", "--url", running + tail, "--token", TOKEN]) == 0
    assert capsys.readouterr().out == "hi\n"


def test_the_token_of_the_environment(
    running: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLAWDBOT_GATEWAY_TOKEN", TOKEN)
    assert main(["agent", "--message", "hi", "--url", running]) == 0
    assert capsys.readouterr().out == "hi\n"


@pytest.mark.parametrize("more", [(), ("--token", "wrong-one")])
def test_not_let_in(running: str, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agent", "--message", "hi", "--url", running, *more]) == FAILED
    err = capsys.readouterr().err
    assert "--token" in err
    assert "wrong-one" not in err


def test_a_gateway_whose_endpoint_is_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(write_config(tmp_path, 0, http={})) as gateway:
        assert main(["agent", "--message", "hi", "--url", gateway.urls[0], "--token", TOKEN]) == FAILED
    assert "chatCompletions.enabled" in capsys.readouterr().err


@pytest.mark.parametrize("bind", ["127.0.0.1", "lan"])
def test_nobody_there(bind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    path = write_config(tmp_path, port, bind=bind)
    assert main(["agent", "--message", "hi", "--config", str(path)]) == UNAVAILABLE
    err = capsys.readouterr().err
    assert f"http://127.0.0.1:{port}" in err
    assert "gateway run" in err


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:80", "http://u:p@h", "http://h:x"])
def test_no_url(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agent", "--message", "hi", "--url", url, "--token", "t"]) == WRONG_USAGE
    assert capsys.readouterr().err.startswith("gateway: ")


def test_a_header_that_cannot_be_sent(running: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["agent", "--message", "hi", "--url", running, "--token", TOKEN, "--session-key", "a\nb"]
    assert main(arguments) == WRONG_USAGE
    assert "session-key" in capsys.readouterr().err


def test_a_port_that_nobody_knows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agent", "--message", "hi", "--config", str(write_config(tmp_path, 0))]) == WRONG_CONFIG
    assert "--url" in capsys.readouterr().err


def test_no_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agent", "--message", "hi", "--config", str(write_config(tmp_path, 1, auth={}))]) == WRONG_CONFIG
    assert "gateway.auth" in capsys.readouterr().err


def test_over_a_unix_socket(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_config(tmp_path, 1, bind=f"unix:{tmp_path / 'gw'}")
    with serving(path) as gateway:
        assert main(["agent", "--message", "hi", "--config", str(path)]) == 0
        assert main(["agent", "--message", "hi", "--url", gateway.urls[0], "--token", TOKEN, "--stream"]) == 0
        assert capsys.readouterr().out == "hi\nhi\n"
    assert main(["agent", "--message", "hi", "--config", str(path)]) == UNAVAILABLE
    assert "gateway run" in capsys.readouterr().err


def test_over_a_unix_socket_with_tls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {"certPath": str(CERTIFICATE), "keyPath": str(CERTIFICATE)}
    path = write_config(tmp_path, 1, bind=f"unix:{tmp_path / 'gw'}", tls=files)
    with serving(path):
        assert main(["agent", "--message", "hi", "--config", str(path)]) == 0
        assert capsys.readouterr().out == "hi\n"


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")
def test_over_an_abstract_socket(tmp_path: Path) -> None:
    """The command in a process of its own, where it has asyncio's loop, as ever; uvloop connects to no abstract name."""
    path = write_config(tmp_path, 1, bind=f"unix:@gateway-test-{os.getpid()}")
    command = [sys.executable, "-m", "gateway", "agent", "--message", "hi", "--config", str(path)]
    with serving(path):
        done = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hi\n", "")


def test_our_own_certificate_is_trusted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {"certPath": str(CERTIFICATE), "keyPath": str(CERTIFICATE)}
    port = free_port()
    path = write_config(tmp_path, port, tls=files)
    with serving(path) as gateway:
        assert main(["agent", "--message", "hi", "--config", str(path)]) == 0
        assert capsys.readouterr().out == "hi\n"
        assert main(["agent", "--message", "hi", "--url", gateway.urls[0], "--token", TOKEN]) == UNAVAILABLE
        assert "TLS" in capsys.readouterr().err, "but only where the configuration says that it is ours"


# What may answer instead of a gateway.


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that says `answer` to whoever asks, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(10)
                while not connection.recv(65536).endswith(b"}"):
                    pass
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            thread.join(10)


def plain(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


def stream(events: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + events


@pytest.mark.parametrize(
    ("answer", "more", "said"),
    [
        (plain(200, b"<html>"), (), "no gateway"),
        (plain(200, b"[1]"), (), "no gateway"),
        (plain(200, b"{}"), (), "not a completion"),
        (plain(401, b'{"error": {"message": "m", "code": []}}'), (), "gateway: m"),
        (plain(200, b"[" * 100_000), (), "no gateway"),
        (plain(404, b"<html>"), (), "status 404"),
        (plain(500, b'{"error": 1}'), (), "status 500"),
        (b"SSH-2.0-x\r\n", (), "http://127.0.0.1"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", (), "closed the connection"),
        (stream(b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'), ("--stream",), "cut off"),
        (stream(b"data: <html>\n\n"), ("--stream",), "no gateway"),
        (stream(b'data: {"error": {}}\n\n'), ("--stream",), "no gateway"),
        (stream(b"data: " + b"x" * 2_000_000), ("--stream",), "larger than"),
    ],
)
def test_no_gateway(answer: bytes, more: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with answering(answer) as url:
        assert main(["agent", "--message", "hi", "--url", url, "--token", "t", *more]) == FAILED
    err = capsys.readouterr().err
    assert said in err
    assert len(err) < 1000


def test_answers_that_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    events = b'data: {"choices": []}\n\ndata: {"choices": [{"delta": {"content": "a"}}]}\n\ndata: [DONE]\n\ndata: x\n\n'
    with answering(stream(events)) as url:
        assert main(["agent", "--message", "hi", "--url", url, "--token", "t", "--stream"]) == 0
    assert capsys.readouterr().out == "a\n"
