"""Gateways as processes of their own, for tests that talk to them over real sockets."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any, TypeAlias

import pytest

__all__ = [
    "TOKEN",
    "Chain",
    "Launch",
    "Running",
    "UnixConnection",
    "alive",
    "chain",
    "command",
    "configuration",
    "launch",
    "python_agent",
    "refused",
    "until",
]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TOKEN = "e2e-secret"
ADDRESS = re.compile(r"(https?)://([\w.]+|\[[0-9a-f:]+\]):(\d+)|unix:(/\S+)")


def until(what: str, condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until `condition()` is true; fail the test, telling `what` was waited for, when it does not come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s in vain until {what}"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether a process is there, and no zombie that its parent has not looked at yet."""
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except ProcessLookupError:  # also of a read, when it ends in the middle of it
        return False
    except FileNotFoundError:
        return not Path("/proc/self").exists()
    return stat.rpartition(")")[2].split()[0] != "Z"


class UnixConnection(http.client.HTTPConnection):
    """To a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=20)
        self.path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(self.path)


def command(module: str, *arguments: str) -> list[str]:
    """The command line of a module of ours.  With `pytest --loop uvloop`, what serves does so on uvloop."""
    program = ["-m", module]
    if os.environ.get("TESTS_LOOP") == "uvloop":
        if arguments[:1] == ("run",):
            arguments = (*arguments, "--loop", "uvloop")
        elif arguments[:1] in {("demo",), ("echo",)}:  # have no such option
            program = [str(HERE / "on_uvloop.py"), module]
    return [sys.executable, "-u", *program, *arguments]


@dataclass
class Running:
    """A gateway process that listens."""

    process: subprocess.Popen[bytes]
    log: Path
    marks: Path
    scheme: str = ""
    port: int = 0
    path: str = ""
    """The unix socket, where it listens on one."""

    @property
    def origin(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.origin}/v1"

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def marked(self, name: str, what: str) -> bool:
        """Whether the agent got as far as `what`: started, cancelled or finished."""
        return (self.marks / name).with_suffix(f".{what}").exists()

    def memory(self) -> int:
        """Resident memory in bytes (Linux)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) * 1024

    def peak_memory(self) -> int:
        """The most resident memory it ever had, in bytes (Linux)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024

    def end(self) -> int:
        """Ask it once to end, and give it the time it takes."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def stop(self) -> int:
        """End it: a second signal where the first one has to wait for runs."""
        for patience in (0.5, 5):
            self.process.send_signal(signal.SIGTERM)
            try:
                return self.process.wait(patience)
            except subprocess.TimeoutExpired:
                continue
        self.process.kill()
        return self.process.wait()


def refused(running: Running) -> bool:
    """Whether nobody listens there any more."""
    try:
        socket.create_connection(("127.0.0.1", running.port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def environment(folder: Path, more: Mapping[str, str]) -> dict[str, str]:
    """Ours, without what would configure a gateway; agents of these tests can be imported."""
    family = ("OPENCLAW", "CLAWDBOT", "MOLTBOT", "GATEWAY", "OPENAI", "OPENROUTER")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(family)}
    own = {"HOME": str(folder), "PYTHONPATH": f"{HERE}{os.pathsep}{ROOT}", "E2E_MARKS": str(folder)}
    return {**kept, **own, **more}


@dataclass
class Launch:
    """Starts gateways, and ends them when the test is over.  Their files stand in `folder`."""

    folder: Path
    running: list[Running] = field(default_factory=list)

    def spawn(
        self,
        *arguments: str,
        stdout: int | IO[bytes],
        stderr: int | IO[bytes],
        env: Mapping[str, str] | None = None,
        module: str = "gateway",
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command(module, *arguments),
            cwd=self.folder,
            env=environment(self.folder, env or {}),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )

    def command(
        self, *arguments: str, env: Mapping[str, str] | None = None, patience: float = 30
    ) -> subprocess.CompletedProcess[str]:
        """Run a gateway command to its end, which has to come within `patience` seconds."""
        with self.spawn(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as process:
            try:
                out, err = process.communicate(timeout=patience)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, out.decode(), err.decode())

    def file(self, config: Mapping[str, Any] | str) -> Path:
        """Write a configuration; its name is new each time."""
        path = self.folder / f"config-{len(list(self.folder.glob('config-*')))}.json5"
        path.write_text(config if isinstance(config, str) else json.dumps(config, indent=2), encoding="utf-8")
        return path

    def __call__(
        self, config: Mapping[str, Any] | Path, *arguments: str, env: Mapping[str, str] | None = None
    ) -> Running:
        """Start `gateway run` on a free port and wait until it listens."""
        path = config if isinstance(config, Path) else self.file(config)
        return self.start("run", "--config", str(path), *arguments, env=env)

    def start(self, *arguments: str, env: Mapping[str, str] | None = None, module: str = "gateway") -> Running:
        """Start a server and wait until it tells its address."""
        log = self.folder / f"log-{len(self.running)}"
        with log.open("wb") as output:
            process = self.spawn(*arguments, stdout=output, stderr=output, env=env, module=module)
        started = Running(process, log, self.folder)
        self.running.append(started)
        until("the gateway tells its address", lambda: ADDRESS.search(started.text()) or process.poll() is not None, 20)
        found = ADDRESS.search(started.text())
        assert found, f"the gateway did not start:\n{started.text()}"
        started.scheme, started.port, started.path = found[1] or "", int(found[3] or 0), found[4] or ""
        return started

    def close(self) -> None:
        for one in self.running:
            one.stop()
        for one in self.running:
            assert "Traceback" not in one.text(), f"a gateway logged a traceback:\n{one.text()}"


def python_agent(name: str, **more: Any) -> dict[str, Any]:
    """An entry of `agents.list` for an agent of `e2e_agents`; its id has dashes where the function has underscores."""
    return {"id": name.replace("_", "-"), "runtime": {"type": "python", "target": f"e2e_agents:{name}"}, **more}


Configuration: TypeAlias = dict[str, Any]


def configuration(*agents: Mapping[str, Any], **gateway: Any) -> Configuration:
    """A configuration with the endpoint on, a free port, and the agents `main` (echo) and `agents`."""
    return {
        "gateway": {
            "port": 0,
            "auth": {"mode": "token", "token": TOKEN},
            "http": {"endpoints": {"chatCompletions": {"enabled": True}}},
            **gateway,
        },
        "agents": {"list": [{"id": "main", "runtime": {"type": "echo"}}, *agents]},
    }


@dataclass
class Chain:
    """`front` relays to `back`, a server over a real socket; each runs its own agents as well."""

    front: Running
    back: Running


AGENTS = ("words", "forever", "flood", "silent", "pause", "fail", "fail_late", "remember", "tell_key", "verbatim")


REFUSALS = (400, 401, 404, 429, 500, 503, 504)


class Refuser(BaseHTTPRequestHandler):
    """An upstream that answers every request with the status its model asks for, and repeats the key it was given."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        body = json.dumps({"error": {"message": f"no, {self.headers['authorization']}", "type": "x", "code": None}})
        self.send_response(int(asked["model"]))
        self.send_header("Retry-After", "3")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Say nothing."""


def chain_configuration(upstream: str, refuser: str) -> Configuration:
    relays = [
        {"id": f"relay-{name.replace('_', '-')}", "model": f"up/openclaw/{name.replace('_', '-')}"} for name in AGENTS
    ]
    config = configuration(
        *(python_agent(name) for name in AGENTS),
        *relays,
        *({"id": f"refused-{status}", "model": f"refuser/{status}"} for status in REFUSALS),
        {"id": "nowhere", "model": "closed/any"},
        {"id": "aliased", "runtime": {"type": "echo"}, "aliases": ["gpt-4o"]},
    )
    config["models"] = {
        "providers": {
            "up": {"baseUrl": upstream, "apiKey": TOKEN, "maxRetries": 0},
            "refuser": {"baseUrl": refuser, "apiKey": "key-of-the-operator", "maxRetries": 0},
            "closed": {"baseUrl": "http://127.0.0.1:9/v1", "apiKey": "none", "maxRetries": 0},
        }
    }
    return config


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    launcher = Launch(tmp_path)
    try:
        yield launcher
    finally:
        launcher.close()


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    launcher = Launch(tmp_path_factory.mktemp("chain"))
    refuser = ThreadingHTTPServer(("127.0.0.1", 0), Refuser)
    thread = threading.Thread(target=refuser.serve_forever, daemon=True)
    thread.start()
    try:
        back = launcher(configuration(*(python_agent(name) for name in AGENTS)))
        refusing = f"http://127.0.0.1:{refuser.server_port}/v1"
        yield Chain(launcher(chain_configuration(back.base_url, refusing)), back)
    finally:
        refuser.shutdown()
        thread.join()
        refuser.server_close()
        launcher.close()
