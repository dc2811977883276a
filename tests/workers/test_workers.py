"""`gateway run --workers`: real processes on real sockets, which are killed, replaced and asked to end."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import pytest
from processes import (
    ROOT,
    TOKEN,
    Launch,
    Running,
    UnixConnection,
    alive,
    command,
    configuration,
    environment,
    refused,
    until,
)
from serving import trusting

if sys.platform != "linux":
    pytest.skip("looks at processes in /proc", allow_module_level=True)

HERE = Path(__file__).parent
CERTIFICATE = ROOT / "tests" / "data" / "tls" / "localhost.pem"
TLS = {"certPath": str(CERTIFICATE), "keyPath": str(CERTIFICATE)}
AGENTS = ("pid", "slow", "stuck", "surroundings")
FOUND_HERE = {"PYTHONPATH": f"{HERE}{os.pathsep}{ROOT}"}


def settings(**gateway: Any) -> dict[str, Any]:
    agents = ({"id": one, "runtime": {"type": "python", "target": f"workers_agents:{one}"}} for one in AGENTS)
    return configuration(*agents, **{"workers": 2, **gateway})


@pytest.fixture
def start(launch: Launch) -> Iterator[Callable[..., Running]]:
    """Starts a gateway with two workers; no process of it is left in the end."""
    started: list[Running] = []

    def begin(config: Any = None, *arguments: str, **options: Any) -> Running:
        env = {**FOUND_HERE, **options.pop("env", {})}
        running = launch(settings(**options) if config is None else config, *arguments, env=env)
        started.append(running)
        return running

    yield begin
    for running in started:
        family = [running.process.pid, *children(running)]
        running.stop()
        gone(family)


def children(running: Running) -> list[int]:
    """The processes of the workers."""
    try:
        text = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(pid) for pid in text.split()]


def gone(pids: list[int]) -> None:
    until("all processes are gone", lambda: not any(map(alive, pids)), 20)


def replaced(running: Running, times: int = 1) -> None:
    told = "read anew: 2 workers were replaced"
    until("all were replaced", lambda: running.text().count(told) == times, 30)


def connect(running: Running) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)


def send(client: http.client.HTTPConnection, agent: str, text: str = "hi") -> None:
    body = json.dumps({"model": f"openclaw/{agent}", "messages": [{"role": "user", "content": text}]})
    client.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {TOKEN}"})


def receive(client: http.client.HTTPConnection) -> str:
    answer = client.getresponse()
    data = answer.read()
    assert answer.status == 200, data
    return str(json.loads(data)["choices"][0]["message"]["content"])


def ask(
    running: Running, agent: str = "pid", connection: Callable[[], http.client.HTTPConnection] | None = None
) -> str:
    client = connection() if connection else connect(running)
    try:
        send(client, agent)
        return receive(client)
    finally:
        client.close()


def serving(running: Running, connection: Callable[[], http.client.HTTPConnection] | None = None) -> set[int]:
    """The pids that answer."""
    return {int(ask(running, connection=connection)) for _ in range(30)}


def connection_to(running: Running, pid: int) -> http.client.HTTPConnection:
    """One that this process has accepted."""
    while True:
        client = connect(running)
        send(client, "pid")
        if int(receive(client)) == pid:
            return client
        client.close()


class Load:
    """Clients that ask without a pause, over one connection as long as it lasts, or a new one for each request."""

    def __init__(self, running: Running, *, kept: bool, clients: int = 12) -> None:
        # So many that with connections of their own all are hardly ever given to one worker.
        self.answers: dict[int, int] = {}
        self.faults: list[str] = []
        self.ended_by_us = 0
        self._running, self._kept = running, kept
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def count(self) -> int:
        return sum(self.answers.values())

    def _ask(self) -> None:
        client = connect(self._running)
        while not self._over.is_set():
            try:
                send(client, "pid")
                answer = client.getresponse()
                data = answer.read()
                if answer.status == 200:
                    pid = int(json.loads(data)["choices"][0]["message"]["content"])
                    self.answers[pid] = self.answers.get(pid, 0) + 1
                else:
                    self.faults.append(f"{answer.status} {data!r}")
                self.ended_by_us += answer.getheader("connection") == "close"
            except (OSError, http.client.HTTPException) as error:
                self.faults.append(repr(error))
                client.close()
            if not self._kept:
                client.close()
            time.sleep(0.01)
        client.close()


# Starting and listening.


def test_two_processes_serve_one_port(start: Callable[..., Running]) -> None:
    running = start()
    workers = children(running)
    assert len(workers) == 2
    assert serving(running) == set(workers)
    assert re.fullmatch(r"listening on http://127\.0\.0\.1:\d+\n", running.text()), "once, when all are ready"
    assert running.end() == 0
    assert not any(map(alive, workers))


def test_the_flag(start: Callable[..., Running]) -> None:
    running = start(None, "--workers", "3", "--verbose", workers=1)
    workers = children(running)
    assert len(workers) == 3
    assert serving(running) == set(workers)
    labels = set(re.findall(r"^\S+ \S+ INFO (worker=\d) gateway\.server\.accesslog: 127", running.text(), re.MULTILINE))
    assert labels == {"worker=1", "worker=2", "worker=3"}
    alone = start(None, "--workers", "1")
    assert children(alone) == []
    assert ask(alone) == str(alone.process.pid)


@pytest.mark.parametrize("number", ["0", "-1", "129", "two", "1.5", ""])
def test_numbers_that_cannot_be(launch: Launch, number: str) -> None:
    done = launch.command("run", "--config", str(launch.file(settings())), "--workers", number, env=FOUND_HERE)
    assert done.returncode == 78, done.stderr
    assert "gateway.workers: " in done.stderr
    assert "128" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_unix_socket(start: Callable[..., Running], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("s") / "gw"
    running = start(bind=f"unix:{path}")
    workers = set(children(running))
    seen: set[int] = set()
    while seen != workers:  # all accept from one socket; who is first is the kernel's choice
        clients = [UnixConnection(path) for _ in range(8)]
        for client in clients:
            send(client, "pid")
        seen |= {int(receive(client)) for client in clients}
        for client in clients:
            client.close()
    assert running.text() == f"listening on unix:{path}\n"
    assert running.end() == 0
    assert not path.exists()


def test_a_port_and_a_unix_socket(start: Callable[..., Running], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("s") / "gw"
    running = start(unixSocket={"path": str(path), "mode": "0660"})
    assert path.stat().st_mode & 0o777 == 0o660
    assert int(ask(running)) in children(running)
    assert int(ask(running, connection=lambda: UnixConnection(path))) in children(running)
    assert running.end() == 0
    assert not path.exists()


def test_tls(start: Callable[..., Running]) -> None:
    running = start(tls=TLS)
    assert running.scheme == "https"

    def secure() -> http.client.HTTPConnection:
        return http.client.HTTPSConnection("localhost", running.port, context=trusting(), timeout=20)

    assert serving(running, secure) == set(children(running))


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_ipv6(start: Callable[..., Running]) -> None:
    running = start(bind="::1")
    assert running.text().startswith("listening on http://[::1]:")

    def client() -> http.client.HTTPConnection:
        return http.client.HTTPConnection("::1", running.port, timeout=20)

    assert serving(running, client) == set(children(running))


def test_a_port_in_use(start: Callable[..., Running], launch: Launch) -> None:
    """Also by a gateway of the same user with several processes, which the kernel would let share it."""
    running = start()
    path = str(launch.file(settings()))
    for workers in ("1", "2"):
        second = launch.command(
            "run", "--config", path, "--port", str(running.port), "--workers", workers, env=FOUND_HERE
        )
        assert second.returncode == 1, "not 78: the next try may succeed, and supervisors must know"
        assert f"cannot listen at 127.0.0.1:{running.port}: " in second.stderr
        assert "Is a gateway running already?" in second.stderr
        assert "Traceback" not in second.stderr
    assert serving(running) == set(children(running))


def test_nothing_wrong_is_said_twice(launch: Launch) -> None:
    faults = settings()
    faults["agents"]["list"].append({"id": "x", "runtime": {"type": "python", "target": "nowhere_at_all:x"}})
    path = str(launch.file(faults))
    alone, several = (
        launch.command("run", "--config", path, "--workers", number, env=FOUND_HERE) for number in ("1", "3")
    )
    assert several.returncode == alone.returncode == 78
    assert "nowhere_at_all" in several.stderr
    assert several.stderr == alone.stderr


def test_a_worker_that_cannot_even_fail_well(launch: Launch) -> None:
    (launch.folder / "crash").touch()
    done = launch.command("run", "--config", str(launch.file(settings())), env=FOUND_HERE)
    assert done.returncode == 3
    assert re.fullmatch(r"gateway: worker \d has ended with exit code 3 before it could serve\n", done.stderr)


def test_a_place_that_nobody_gave(launch: Launch) -> None:
    path = str(launch.file(settings()))
    for text in ("", "1", "{}", '{"number": 1}', "[" * 5000):
        done = launch.command("run", "--config", path, env={**FOUND_HERE, "GATEWAY_WORKER": text})
        assert done.returncode == 78, done.stderr
        assert "GATEWAY_WORKER is for processes that `gateway run --workers` starts" in done.stderr
        assert "Traceback" not in done.stderr


def test_what_an_agent_starts_gets_none_of_it(start: Callable[..., Running]) -> None:
    running = start()
    assert ask(running, "surroundings") == "[] [0, 1, 2, 3] True SIG_DFL\n"


def test_the_command_of_the_readme(start: Callable[..., Running]) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^```bash\ngateway run (--workers .*)\n```$", text, re.MULTILINE)
    running = start(None, *command.split(), workers=1)
    assert len(children(running)) == int(command.split()[-1])


# A worker's end.


def test_connections_of_a_worker_that_was_killed_are_served_by_its_successor(start: Callable[..., Running]) -> None:
    running = start()
    first, second = children(running)
    for pid in (first, second):
        os.kill(pid, signal.SIGSTOP)
    clients = [connect(running) for _ in range(20)]
    for client in clients:
        send(client, "pid")  # into the queues of both
    os.kill(second, signal.SIGKILL)
    os.kill(first, signal.SIGCONT)
    answers = {int(receive(client)) for client in clients}
    for client in clients:
        client.close()
    assert answers == set(children(running))
    assert first in answers
    assert second not in answers
    assert f"worker 2 (pid {second}) was ended by SIGKILL; another one takes its place" in running.text()


def test_a_killed_worker_under_load(start: Callable[..., Running]) -> None:
    running = start()
    first, second = children(running)
    with Load(running, kept=True) as load:
        until("both are asked", lambda: {first, second} <= set(load.answers), 20)
        os.kill(second, signal.SIGKILL)
        until("another one has come", lambda: len(children(running)) == 2 and second not in children(running))
        (third,) = set(children(running)) - {first}
        load.answers.clear()
        # By new connections: those that were told to come again may all have got to the first one.
        until("the successor is asked", lambda: third in serving(running), 20)
        until("the first one still is", lambda: load.answers.get(first), 20)
    # Those whose connection was to it are told by the kernel; each of them once, and nobody else.
    assert len(load.faults) <= 12, load.faults
    told = ("Reset", "RemoteDisconnected", "BrokenPipe")
    assert all(any(one in fault for one in told) for fault in load.faults), load.faults


def test_one_that_crashes_again_and_again(start: Callable[..., Running], launch: Launch) -> None:
    running = start()
    first, second = children(running)
    (launch.folder / "crash").touch()
    os.kill(second, signal.SIGKILL)
    until("it was tried again", lambda: running.text().count("could not be started again") >= 3, 30)
    assert running.text().count("could not be started again") < 5, "with longer and longer pauses"
    clients = [connect(running) for _ in range(12)]
    for client in clients:
        send(client, "pid")
    waiting = []
    for client in clients:
        assert client.sock is not None
        client.sock.settimeout(1)
        try:
            assert int(receive(client)) == first
        except TimeoutError:
            waiting.append(client)
    assert 0 < len(waiting) < 12, "some wait in the queue of the other"
    (launch.folder / "crash").unlink()
    until("it is back", lambda: serving(running) == set(children(running)) and len(children(running)) == 2, 30)
    for client in clients:
        client.close()


def test_one_whose_loop_stands_still(start: Callable[..., Running]) -> None:
    running = start(workerTimeoutMs=800)
    client = connect(running)
    before = set(children(running))
    send(client, "stuck")
    with pytest.raises((OSError, http.client.HTTPException)):
        receive(client)
    client.close()
    until("another one has come", lambda: len(children(running)) == 2 and set(children(running)) != before)
    (gone,) = before - set(children(running))
    assert re.search(
        rf"ERROR \S+: the event loop of worker \d \(pid {gone}\) has stood still for 0\.8 seconds", running.text()
    )
    assert serving(running) == set(children(running))
    time.sleep(1.2)
    assert len(before & set(children(running))) == 1, "nobody else"


def test_one_that_an_operator_ends(start: Callable[..., Running]) -> None:
    running = start()
    first, second = children(running)
    client = connection_to(running, second)
    send(client, "slow", "begun")
    until("the run has begun", (running.marks / "begun").exists)
    os.kill(first, signal.SIGINT)
    os.kill(first, signal.SIGHUP)
    os.kill(second, signal.SIGTERM)
    assert receive(client).endswith("begins, and ends"), "its runs end first"
    client.close()
    until("another one has come", lambda: second not in children(running) and len(children(running)) == 2)
    assert first in children(running), "signals of a terminal are for the supervisor"
    assert serving(running) == set(children(running))


# Reloads.


@pytest.mark.parametrize("kept", [False, True])
def test_a_reload_under_load(start: Callable[..., Running], kept: bool) -> None:
    running = start()
    before = set(children(running))
    with Load(running, kept=kept) as load:
        until("all are asked", lambda: before <= set(load.answers), 20)
        for times in (1, 2):
            running.process.send_signal(signal.SIGHUP)
            replaced(running, times)
        until("the old ones are gone", lambda: len(children(running)) == 2, 30)
        after = set(children(running))
        load.answers.clear()
        until("the new ones are asked", lambda: after <= set(load.answers), 20)
    assert not before & after
    assert load.faults == []
    assert set(load.answers) == after
    if kept:
        assert load.ended_by_us >= 12, "each connection was told of its end by an answer"


def test_a_reload_takes_what_is_new(start: Callable[..., Running], launch: Launch) -> None:
    config = settings()
    path = launch.file(config)
    running = start(path)
    client = connect(running)
    send(client, "slow", "begun")
    until("the run has begun", (running.marks / "begun").exists)
    config["agents"]["list"].append({"id": "new", "runtime": {"type": "python", "target": "workers_agents:pid"}})
    config["gateway"]["workers"] = 5
    config["gateway"]["port"] = 1
    config["gateway"]["nonsense"] = None
    path.write_text(json.dumps(config), encoding="utf-8")
    del config["gateway"]["nonsense"]
    running.process.send_signal(signal.SIGHUP)
    until(
        "the fault is told", lambda: "gateway.nonsense" in running.text() and "what is in use stays" in running.text()
    )
    before = children(running)
    path.write_text(json.dumps(config), encoding="utf-8")
    running.process.send_signal(signal.SIGHUP)
    until("it was read", lambda: "read anew: 2 workers were replaced" in running.text(), 30)
    assert "gateway.workers: 5 takes effect with the next start" in running.text()
    assert "gateway.bind, gateway.port, gateway.unixSocket: what is new takes effect" in running.text()
    assert int(ask(running, "new")) not in before
    assert receive(client).endswith("begins, and ends"), "runs of the old ones go on to their end"
    client.close()


def test_a_reload_that_no_worker_survives(start: Callable[..., Running], launch: Launch) -> None:
    running = start()
    before = set(children(running))
    (launch.folder / "refuse").touch()
    running.process.send_signal(signal.SIGHUP)
    until("it is told", lambda: "what is in use stays" in running.text(), 20)
    assert "nothing to import today" in running.text()
    assert set(children(running)) == before
    assert serving(running) == before
    (launch.folder / "refuse").unlink()
    running.process.send_signal(signal.SIGHUP)
    until("it was read", lambda: "read anew" in running.text(), 20)
    until("those that were replaced take no more", lambda: not serving(running) & before)


# The end of all.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_runs_end_before_it_does(start: Callable[..., Running], number: signal.Signals) -> None:
    running = start()
    workers = children(running)
    clients = [connect(running) for _ in range(4)]
    for index, client in enumerate(clients):
        send(client, "slow", f"run-{index}")
    until("all have begun", lambda: all((running.marks / f"run-{index}").exists() for index in range(4)))
    running.process.send_signal(number)
    until("it is told", lambda: "runs under way: 4; they have up to 25 s to end" in running.text())
    until("nobody listens any more", lambda: refused(running))
    for client in clients:
        assert receive(client).endswith("begins, and ends")
        client.close()
    assert running.process.wait(20) == 0
    assert not any(map(alive, workers))
    assert "takes its place" not in running.text()


def test_the_limit_of_the_end(start: Callable[..., Running]) -> None:
    running = start(shutdown={"drainMs": 300})
    client = connect(running)
    send(client, "slow", "begun")
    until("the run has begun", (running.marks / "begun").exists)
    running.process.send_signal(signal.SIGTERM)
    answer = client.getresponse()
    assert answer.status == 503, answer.read()
    client.close()
    assert running.process.wait(20) == 0


def test_a_second_signal_ends_all_at_once(start: Callable[..., Running]) -> None:
    running = start()
    workers = children(running)
    client = connect(running)
    send(client, "stuck")
    time.sleep(0.3)
    running.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert running.process.poll() is None
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(5) == 128 + signal.SIGTERM
    until("all are gone", lambda: not any(map(alive, workers)), 5)
    client.close()


def test_workers_do_not_outlive_their_supervisor(start: Callable[..., Running]) -> None:
    running = start()
    workers = children(running)
    client = connect(running)
    send(client, "slow", "begun")
    until("the run has begun", (running.marks / "begun").exists)
    running.process.kill()
    assert receive(client).endswith("begins, and ends"), "what was begun is brought to its end"
    client.close()
    until("they are gone", lambda: not any(map(alive, workers)), 20)
    assert refused(running)


def test_control_c_reaches_all_and_ends_them_well(launch: Launch) -> None:
    log = launch.folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command("gateway", "run", "--config", str(launch.file(settings()))),
            cwd=launch.folder, env={**environment(launch.folder, {}), **FOUND_HERE},
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    until("it listens", lambda: "listening on" in log.read_text(encoding="utf-8"), 20)
    running = Running(process, log, launch.folder, port=int(log.read_text(encoding="utf-8").split(":")[-1]))
    workers = children(running)
    client = connect(running)
    send(client, "slow", "begun")
    until("the run has begun", (launch.folder / "begun").exists)
    os.killpg(process.pid, signal.SIGINT)
    assert receive(client).endswith("begins, and ends")
    client.close()
    assert process.wait(20) == 0
    assert not any(map(alive, workers))
    assert "Traceback" not in running.text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("whom", ["the supervisor", "all of them"])
def test_an_end_in_the_middle_of_a_start(launch: Launch, whom: str, number: signal.Signals) -> None:
    with subprocess.Popen(
        command("gateway", "run", "--config", str(launch.file(settings()))),
        cwd=launch.folder, env={**environment(launch.folder, {}), **FOUND_HERE},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    ) as process:  # fmt: skip
        running = Running(process, launch.folder / "log", launch.folder)
        until("workers are started", lambda: len(children(running)) == 2)
        workers = children(running)
        if whom == "all of them":
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert b"Traceback" not in err
    assert not any(map(alive, workers))


def test_a_terminal_that_hangs_up_in_the_middle_of_a_start(start: Callable[..., Running]) -> None:
    running = start()
    running.process.send_signal(signal.SIGHUP)
    until("new ones are started", lambda: len(children(running)) > 2)
    for worker in children(running):
        os.kill(worker, signal.SIGHUP)
        os.kill(worker, signal.SIGINT)
    replaced(running)
    until("those that are left serve", lambda: serving(running) <= set(children(running)))


def test_a_plain_client_of_ssl_is_told(start: Callable[..., Running]) -> None:
    running = start(tls=TLS)
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as plain, suppress(ssl.SSLError):
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"400" in plain.recv(1000)
