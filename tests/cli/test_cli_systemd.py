"""gateway run as a service: these tests act the part of systemd, with real sockets."""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from processes import HERE as E2E
from processes import ROOT, UnixConnection, command, environment, until
from serving import Authority, needs_openssl, trusting

from gateway.cli.console import StartError
from gateway.cli.systemd import FIRST_FD, Notifier, inherited_sockets

if sys.platform != "linux":
    pytest.skip("systemd is Linux's", allow_module_level=True)

TOKEN = "hidden-token"
CERTIFICATE = ROOT / "tests" / "data" / "tls" / "localhost.pem"

# What systemd does between fork and exec: the sockets from 3 on, and the pid that they are for.
EXEC = """
import os, sys
for target, source in enumerate(map(int, sys.argv[1].split(",")) if sys.argv[1] else [], 3):
    os.dup2(source, target)
if "LISTEN_FDS" in os.environ:
    os.environ.setdefault("LISTEN_PID", str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""

AGENTS = """
import os, subprocess, sys, time
from gateway import RunInput

async def environment(run):
    code = "import os; print(*(key for key in os.environ if key.startswith(('LISTEN', 'NOTIFY', 'WATCHDOG'))))"
    return "own:" + subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

async def stuck(run):
    time.sleep(1.5)
    return "at last"

async def still(run):
    time.sleep(30)
    return "never"
"""


class Manager:
    """Starts a gateway with sockets of its own and hears what it says."""

    def __init__(self, folder: Path, *, abstract: bool = False) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.said: list[str] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        name = f"gateway-test-{os.getpid()}-{folder.name}"
        self.address = f"@{name}" if abstract else str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{name}" if abstract else self.address)
        self._socket.setblocking(False)
        (folder / "agents_here.py").write_text(AGENTS, encoding="ascii")

    def start(self, *sockets: socket.socket, env: Mapping[str, str] | None = None, **gateway: Any) -> int:
        """The pid of the gateway."""
        config = {
            "gateway": {
                "port": 0,
                "auth": {"token": TOKEN},
                "http": {"endpoints": {"chatCompletions": {"enabled": True}}},
                **gateway,
            },
            "agents": {
                "list": [
                    {"id": "main", "runtime": {"type": "echo"}},
                    *(
                        {"id": name, "runtime": {"type": "python", "target": f"agents_here:{name}"}}
                        for name in ("environment", "stuck", "still")
                    ),
                ]
            },
        }
        path = self.folder / "gateway.json5"
        path.write_text(json.dumps(config), encoding="utf-8")
        given = {"NOTIFY_SOCKET": self.address, **({"LISTEN_FDS": str(len(sockets))} if sockets else {})}
        # Far away from 3, where they are put in the end.
        far = [os.dup(one.fileno()) for one in sockets for _ in range(8)][7::8]
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    EXEC,
                    ",".join(map(str, far)),
                    *command("gateway", "run", "--config", str(path)),
                ],
                cwd=self.folder,
                env={**environment(self.folder, {}), "PYTHONPATH": f"{E2E}:{ROOT}", **given, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=far,
            )
        self.processes.append(process)
        return process.pid

    def heard(self, line: str, seconds: float = 10) -> bool:
        """Whether some message holds this line, by the end of `seconds`."""
        end = time.monotonic() + seconds
        while not any(line in message.split("\n") for message in self.said):
            if not select.select([self._socket], [], [], max(0, end - time.monotonic()))[0]:
                return False
            self.said.append(self._socket.recv(65536).decode())
        return True

    def stop(self) -> int:
        process = self.processes[-1]
        process.send_signal(signal.SIGTERM)
        return process.wait(20)

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path)
    try:
        yield made
        assert "Traceback" not in made.text()
    finally:
        made.close()


def ask(connect: Callable[[], http.client.HTTPConnection], model: str = "openclaw") -> str:
    """The text of an answer."""
    client = connect()
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}]})
    client.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {TOKEN}"})
    text: str = json.loads(client.getresponse().read())["choices"][0]["message"]["content"]
    client.close()
    return text


def at(port: int) -> Callable[[], http.client.HTTPConnection]:
    return lambda: http.client.HTTPConnection("127.0.0.1", port, timeout=20)


# Sockets.


def test_a_client_that_comes_before_the_gateway_is_answered(manager: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as early:
        port = listener.getsockname()[1]
        early.connect(("127.0.0.1", port))
        early.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        manager.start(listener, bind="unix:/nowhere/at/all")
        early.settimeout(20)
        assert early.recv(1000).startswith(b"HTTP/1.1 200")
        assert manager.heard("READY=1")
        assert manager.heard(f"STATUS=listening on http://127.0.0.1:{port}")
        assert ask(at(port)) == "Echo: hi"
        assert manager.stop() == 0
        # The socket stays, and so do clients that come in between.
        with socket.create_connection(("127.0.0.1", port)):
            manager.start(listener)
            assert ask(at(port)) == "Echo: hi"


def test_a_unix_socket_and_another_one(manager: Manager) -> None:
    path = manager.folder / "gw"
    with socket.socket(socket.AF_UNIX) as unix, socket.create_server(("127.0.0.1", 0)) as tcp:
        unix.bind(str(path))
        unix.listen()
        manager.start(unix, tcp, env={"LISTEN_FDNAMES": "local:net"})
        assert ask(lambda: UnixConnection(path)) == "Echo: hi"
        assert ask(at(tcp.getsockname()[1])) == "Echo: hi"
        assert manager.stop() == 0
        assert path.is_socket(), "it is the manager's"
        assert f"listening on unix:{path}" in manager.text()


def test_tls_on_a_socket_that_was_handed_in(manager: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        manager.start(listener, tls={"certPath": str(CERTIFICATE), "keyPath": str(CERTIFICATE)})
        assert ask(lambda: http.client.HTTPSConnection("localhost", port, context=trusting(), timeout=20)) == "Echo: hi"
        assert f"listening on https://127.0.0.1:{port}" in manager.text()


def test_the_sockets_of_another_process_are_not_ours(manager: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        manager.start(listener, env={"LISTEN_PID": str(os.getpid())})
        assert manager.heard("READY=1")
        found = re.search(r"listening on http://127\.0\.0\.1:(\d+)", manager.text())
        assert found
        assert int(found[1]) != listener.getsockname()[1]


def test_what_an_agent_starts_gets_none_of_it(manager: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        more = {"LISTEN_FDNAMES": "x", "WATCHDOG_USEC": "60000000"}
        manager.start(listener, env=more)
        assert ask(at(listener.getsockname()[1]), "openclaw/environment") == "own:\n"


def test_a_socket_for_everybody_needs_a_secret(manager: Manager) -> None:
    with socket.create_server(("0.0.0.0", 0)) as listener:
        manager.start(listener, auth={"mode": "none"})
        assert manager.processes[-1].wait(20) == 78
    assert "without a token everyone who reaches 0.0.0.0 could use the agents" in manager.text()


def test_a_connected_socket_is_refused(manager: Manager) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        manager.start(theirs)
        assert manager.processes[-1].wait(20) == 78, "another start would not help"
    assert "ListenStream=, and Accept=no" in manager.text()


@pytest.mark.parametrize("count", ["", "0", "x", "-1", "65", "\u0663", "9" * 5000])
def test_a_count_that_is_none(count: str) -> None:
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count, "OTHER": "stays"}
    with pytest.raises(StartError, match=r"LISTEN_FDS is .* not a number from 1 to 64"):
        inherited_sockets(environ)
    assert environ == {"OTHER": "stays"}


def test_a_descriptor_that_is_no_socket(manager: Manager) -> None:
    with (manager.folder / "file").open("wb") as file:
        manager.start(file, env={"LISTEN_FDNAMES": "gw.fifo"})  # type: ignore[arg-type]  # that is the mistake
        assert manager.processes[-1].wait(20) == 1
    assert f"the file descriptor {FIRST_FD} (gw.fifo) of LISTEN_FDS is no socket" in manager.text()


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@pytest.mark.skipif(shutil.which("systemd-socket-activate") is None, reason="needs systemd-socket-activate")
def test_as_systemd_itself_does_it(manager: Manager) -> None:
    path = manager.folder / "gw"
    manager.start()  # for its configuration
    manager.stop()
    activate = ["systemd-socket-activate", "--listen", str(path), "--fdname", "local", "-E", "HOME", "-E", "PYTHONPATH"]
    with manager.log.open("wb") as log:
        process = subprocess.Popen(
            [*activate, *command("gateway", "run", "--config", str(manager.folder / "gateway.json5"))],
            cwd=manager.folder,
            env={**environment(manager.folder, {}), "PYTHONPATH": f"{E2E}:{ROOT}"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    manager.processes.append(process)
    until("it listens", lambda: connects(path))  # a socket is there before it listens
    assert ask(lambda: UnixConnection(path)) == "Echo: hi"
    assert manager.stop() == 0
    assert f"listening on unix:{path}" in manager.text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_units_of_the_readme(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    units = re.findall(r"`/etc/systemd/system/(gateway\.\w+)`:\n\n```ini\n(.*?)```", text, re.DOTALL)
    assert [name for name, _ in units] == ["gateway.service", "gateway.socket"]
    for name, unit in units:
        (tmp_path / name).write_text(unit.replace("/opt/gateway/bin/gateway", sys.executable), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", *(str(tmp_path / name) for name, _ in units)], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


# Messages.


@pytest.mark.parametrize("abstract", [False, True])
def test_what_the_manager_hears(tmp_path: Path, abstract: bool) -> None:
    manager = Manager(tmp_path, abstract=abstract)
    try:
        manager.start()
        assert manager.heard("READY=1")
        found = re.search(r"^STATUS=listening on http://127\.0\.0\.1:(\d+)$", manager.said[0], re.MULTILINE)
        assert found, manager.said
        assert ask(at(int(found[1]))) == "Echo: hi", "who says so listens"
        assert manager.stop() == 0
        assert manager.heard("STOPPING=1")
        assert "STATUS=stopping, runs under way: 0" in manager.said[-1]
        assert len(manager.said) == 2
    finally:
        manager.close()


def test_signs_of_life_come_while_the_loop_turns(manager: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        manager.start(listener, env={"WATCHDOG_USEC": "400000"})
        times = []
        for _ in range(5):
            assert manager.heard("WATCHDOG=1", 5)
            manager.said.clear()
            times.append(time.monotonic())
        assert times[-1] - times[0] < 4 * 0.4, "in time"
        client = at(listener.getsockname()[1])()
        body = json.dumps({"model": "openclaw/stuck", "messages": [{"role": "user", "content": "hi"}]})
        client.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {TOKEN}"})
        time.sleep(0.3)
        while select.select([manager._socket], [], [], 0)[0]:
            manager._socket.recv(65536)
        manager.said.clear()
        assert not manager.heard("WATCHDOG=1", 0.8), "a loop that is stuck gives none"
        assert client.getresponse().status == 200
        assert manager.heard("WATCHDOG=1", 5)
        client.close()


def test_the_watchdog_of_another_process_is_not_ours(manager: Manager) -> None:
    manager.start(env={"WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"})
    assert manager.heard("READY=1")
    assert not manager.heard("WATCHDOG=1", 0.5)


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({"WATCHDOG_USEC": "3000000"}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "x"}, 0),
        ({}, 0),
    ],
)
def test_half_of_what_it_was_told(environ: dict[str, str], interval: float) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": "@x", **environ})
    assert notifier.watchdog == interval
    notifier.close()
    assert Notifier(environ).watchdog == 0, "nobody listens"


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "@nobody-listens-here", "vsock:2:1234", "relative"])
def test_a_manager_that_is_not_there_stops_nothing(address: str) -> None:
    environ = {"NOTIFY_SOCKET": address}
    notifier = Notifier(environ)
    assert environ == {}
    for tell in (notifier.alive, notifier.reloading):
        tell()
    notifier.ready("x")
    notifier.stopping("x")
    notifier.close()
    notifier.alive()


def test_a_manager_that_does_not_listen_costs_no_more_than_its_time(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(path)
        notifier = Notifier({"NOTIFY_SOCKET": path})
        notifier._socket.settimeout(0.1)  # type: ignore[union-attr]  # there is one
        started = time.monotonic()
        while time.monotonic() - started < 0.1:  # until its queue is full, and one message beyond
            notifier.alive()
        assert time.monotonic() - started < 2
        notifier.close()


# New certificates.


@needs_openssl
def test_reload(manager: Manager) -> None:
    authority = Authority(manager.folder)
    certificate, key = manager.folder / "cert.pem", manager.folder / "key.pem"

    def put(name: str) -> None:
        for made, place in zip(authority.issue(name, f"/CN={name}"), (certificate, key), strict=True):
            shutil.copy(made, place)

    put("first")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        pid = manager.start(listener, tls={"certPath": str(certificate), "keyPath": str(key)})
        assert manager.heard("READY=1")

        def connect() -> http.client.HTTPSConnection:
            context = trusting(authority.path)
            return http.client.HTTPSConnection("localhost", port, context=context, timeout=20)

        def name_shown() -> str:
            client = connect()
            client.connect()
            assert isinstance(client.sock, ssl.SSLSocket)
            shown = client.sock.getpeercert()
            client.close()
            assert shown
            subject: Any = shown["subject"]
            return str(subject[0][0][1])

        kept = connect()
        kept.request("GET", "/healthz")
        assert kept.getresponse().read()
        assert name_shown() == "first"
        manager.said.clear()
        put("second")
        os.kill(pid, signal.SIGHUP)
        assert manager.heard("RELOADING=1")
        stamp = re.search(r"^MONOTONIC_USEC=(\d+)$", manager.said[0], re.MULTILINE)
        assert stamp, "Type=notify-reload asks for it"
        assert abs(int(stamp[1]) - time.monotonic_ns() // 1000) < 20_000_000
        assert manager.heard("READY=1")
        assert name_shown() == "second"
        key.write_text("broken", encoding="ascii")
        os.kill(pid, signal.SIGHUP)
        until("it is told", lambda: "holds no private key" in manager.text())
        assert "; what is in use stays" in manager.text()
        assert name_shown() == "second"
        kept.request("GET", "/healthz")
        assert kept.getresponse().status == 200, "the connection has not noticed"
        kept.close()
        assert manager.stop() == 0


def test_a_hang_up_without_certificates_ends_nothing(manager: Manager) -> None:
    pid = manager.start()
    assert manager.heard("READY=1")
    manager.said.clear()
    os.kill(pid, signal.SIGHUP)
    assert manager.heard("READY=1")
    assert "there is no certificate to read anew" in manager.text()
    assert manager.stop() == 0


def test_the_end_of_its_terminal_ends_the_gateway(manager: Manager) -> None:
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("gateway", "demo", "--port", "0"),
        cwd=manager.folder, env=environment(manager.folder, {}), stdin=theirs, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    manager.log.touch()
    assert process.stdout is not None
    with process.stdout as out:
        assert b"listens on" in out.readline()
        process.send_signal(signal.SIGHUP)
        assert process.wait(10) == -signal.SIGHUP
    os.close(ours)
    os.close(theirs)


# Several processes.


def test_several_processes_as_a_service(manager: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        pid = manager.start(listener, workers=2)
        assert manager.heard("READY=1", 30)
        assert manager.heard(f"STATUS=listening on http://127.0.0.1:{port}, workers: 2")
        assert ask(at(port), "openclaw/environment") == "own:\n"
        manager.said.clear()
        os.kill(pid, signal.SIGHUP)
        assert manager.heard("RELOADING=1")
        assert re.search(r"^MONOTONIC_USEC=\d+$", manager.said[0], re.MULTILINE)
        assert not any("READY=1" in message for message in manager.said)
        assert manager.heard("READY=1", 30)
        assert "read anew: 2 workers were replaced" in manager.text()
        assert ask(at(port)) == "Echo: hi"
        assert manager.stop() == 0
        assert manager.heard("STOPPING=1")
        assert len(manager.said) == 3, "all of it comes from the main process"
        # The socket stays, and so do clients that come in between.
        with socket.create_connection(("127.0.0.1", port)):
            manager.start(listener, workers=2)
            assert ask(at(port)) == "Echo: hi"


def test_a_worker_that_is_stuck_is_replaced_and_the_service_lives_on(manager: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        manager.start(listener, workers=2, env={"WATCHDOG_USEC": "800000"})
        client = at(listener.getsockname()[1])()
        body = json.dumps({"model": "openclaw/still", "messages": [{"role": "user", "content": "hi"}]})
        client.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {TOKEN}"})
        times = []
        for _ in range(5):
            assert manager.heard("WATCHDOG=1", 5)
            manager.said.clear()
            times.append(time.monotonic())
        assert times[-1] - times[0] < 4 * 0.8, "in time"
        with pytest.raises((OSError, http.client.HTTPException)):
            client.getresponse()
        client.close()
        until("it is told", lambda: "has stood still for 0.8 seconds" in manager.text())
        until("another one is there", lambda: ask(at(listener.getsockname()[1])) == "Echo: hi")
