"""What only a raw socket can do to a gateway: leave, half leave, hurry, stall, idle in thousands, speak nonsense."""

from __future__ import annotations

import json
import re
import socket
import ssl
import sys
import threading
import time
import uuid
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest
from processes import TOKEN, Chain, Launch, Running, configuration, python_agent, until

LINUX = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc, which Linux has")


def request(model: str, text: str, **more: object) -> bytes:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}], **more}).encode()
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b"
        % (TOKEN.encode(), len(body), body)
    )


def connect(running: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", running.port), timeout=20)


def read_all(connection: socket.socket) -> bytes:
    """What comes until the gateway closes; a reset is an end as well."""
    pieces = []
    try:
        while piece := connection.recv(65536):
            pieces.append(piece)
    except ConnectionResetError:
        pass
    return b"".join(pieces)


def answer(connection: socket.socket, method: str = "POST") -> tuple[int, Any]:
    response = HTTPResponse(connection, method=method)
    response.begin()
    body = response.read()
    readable = body and (response.getheader("content-type") or "").startswith("application/json")
    return response.status, json.loads(body) if readable else body


# Leaving.


@pytest.mark.parametrize("side", ["", "relay-"])
def test_a_half_closed_client_gets_its_answer(chain: Chain, side: str) -> None:
    with connect(chain.front) as connection:
        connection.sendall(request(f"openclaw/{side}pause", uuid.uuid4().hex))
        connection.shutdown(socket.SHUT_WR)
        status, parsed = answer(connection)
        assert (status, parsed["choices"][0]["message"]["content"]) == (200, "before after")
        assert read_all(connection) == b"", "after the last answer to a half-closed client the connection ends"


def test_a_half_closed_client_gets_its_stream(chain: Chain) -> None:
    with connect(chain.front) as connection:
        connection.sendall(request("openclaw/relay-pause", uuid.uuid4().hex, stream=True))
        connection.shutdown(socket.SHUT_WR)
        got = read_all(connection)
    assert b'"after"' in got
    assert got.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


@pytest.mark.parametrize("side", ["", "relay-"])
@pytest.mark.parametrize("way", ["close", "reset"])
def test_a_vanished_client_ends_its_run(chain: Chain, side: str, way: str) -> None:
    name = uuid.uuid4().hex
    where = chain.back if side else chain.front
    with connect(chain.front) as connection:
        connection.sendall(request(f"openclaw/{side}silent", name))
        until("the run starts", lambda: where.marked(name, "started"))
        if way == "reset":
            linger = (1).to_bytes(4, sys.byteorder) + (0).to_bytes(4, sys.byteorder)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    until("the agent sees its run cancelled", lambda: where.marked(name, "cancelled"), 15)


def test_a_client_that_leaves_within_its_body_starts_nothing(chain: Chain) -> None:
    name = uuid.uuid4().hex
    with connect(chain.front) as connection:
        connection.sendall(request("openclaw/silent", name)[:-10])
    time.sleep(0.3)
    assert not chain.front.marked(name, "started")


def test_a_vanished_client_ends_its_silent_stream(chain: Chain) -> None:
    name = uuid.uuid4().hex
    with connect(chain.front) as connection:
        connection.sendall(request("openclaw/silent", name, stream=True))
        got = b""
        while b'"role"' not in got:  # comes although the agent never says a word
            got += connection.recv(65536)
        until("the run starts", lambda: chain.front.marked(name, "started"))
    until("the agent sees its run cancelled", lambda: chain.front.marked(name, "cancelled"), 30)


# Streams.


def test_the_role_comes_before_the_agent_speaks_and_silence_is_bridged(launch: Launch) -> None:
    config = configuration(python_agent("pause"))
    config["gateway"]["http"]["keepAliveCommentMs"] = 300
    with connect(launch(config)) as connection:
        started = time.monotonic()
        connection.sendall(request("openclaw/pause", "x", stream=True))
        first = connection.recv(65536)
        assert time.monotonic() - started < 1
        assert first.startswith(b"HTTP/1.1 200 OK\r\n")
        got = first
        while b"[DONE]" not in got:
            got += connection.recv(65536)
    assert got.count(b": keep-alive\n\n") >= 3
    assert got.index(b'"role"') < got.index(b'"before ') < got.index(b": keep-alive") < got.index(b'"after"')


def test_http_1_0(chain: Chain) -> None:
    for stream in (False, True):
        with connect(chain.front) as connection:
            sent = request("openclaw/words", "a b", stream=stream).replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1)
            connection.sendall(sent)
            got = read_all(connection)
        head, _, body = got.partition(b"\r\n\r\n")
        assert b" 200 " in head.splitlines()[0]
        assert b"transfer-encoding" not in head.lower(), "HTTP/1.0 knows no chunks"
        assert body.endswith(b"data: [DONE]\n\n") if stream else json.loads(body)


def test_expect_continue(chain: Chain) -> None:
    head, _, body = request("openclaw", "hi").partition(b"\r\n\r\n")
    with connect(chain.front) as connection:
        connection.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert answer(connection)[0] == 200


# Hurrying.


def test_a_thousand_pipelined_requests_are_answered_in_order(chain: Chain) -> None:
    wanted = [f"number {n}" for n in range(1000)]
    with connect(chain.front) as connection:
        everything = b"".join(request("openclaw", text) for text in wanted)
        sender = threading.Thread(target=connection.sendall, args=(everything,), daemon=True)
        sender.start()
        source = connection.makefile("rb")

        got = []
        for _ in wanted:
            assert source.readline() == b"HTTP/1.1 200 OK\r\n"
            head = iter(source.readline, b"\r\n")
            length = next(
                int(line.split(b":")[1]) for line in list(head) if line.lower().startswith(b"content-length:")
            )
            got.append(json.loads(source.read(length))["choices"][0]["message"]["content"])
        sender.join()
        source.close()
    assert got == [f"Echo: {text}" for text in wanted]


# Stalling and idling.


@LINUX
@pytest.mark.parametrize("side", ["", "relay-"])
@pytest.mark.alone
def test_a_client_that_never_reads_costs_little_memory(launch: Launch, side: str) -> None:
    back = launch(configuration(python_agent("flood")))
    config = configuration(python_agent("flood"), {"id": "relay-flood", "model": "up/openclaw/flood"})
    config["models"] = {"providers": {"up": {"baseUrl": back.base_url, "apiKey": TOKEN}}}
    config["gateway"]["http"]["limits"] = {"writeTimeoutMs": 4000}
    front = launch(config)
    with connect(front) as connection:
        connection.sendall(request(f"openclaw/{side}flood", "never-read", stream=True))
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        most = 0
        for _ in range(30):
            time.sleep(0.1)
            most = max(most, front.memory(), back.memory())
            if _ == 15:
                with connect(front) as other:
                    other.sendall(b"GET /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n")
                    assert answer(other, "GET")[0] == 200, "one stalled client must not hold up the others"
        assert most < 40_000_000, f"a stalled reader makes the gateway hold {most:,} bytes"
        where = back if side else front
        until("the stalled reader is cut off, and its run with it", lambda: where.marked("never-read", "cancelled"), 15)


@LINUX
@pytest.mark.timeout(150)  # 5,000 connections take a while on a busy machine
@pytest.mark.alone
def test_idle_connections_are_cheap(launch: Launch) -> None:
    resource = pytest.importorskip("resource", reason="the limit of open files is raised with it")
    count, spare = 5000, 200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count + spare:
        pytest.skip(f"{count} connections need {count + spare} file descriptors, and this machine allows {hard}")
    if soft < count + spare:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count + spare, hard))
    running = launch(configuration())
    connections: list[socket.socket] = []

    def open_more(number: int) -> None:
        for _ in range(number):
            connection = connect(running)
            connections.append(connection)
            connection.sendall(request("openclaw", "hi"))
            assert answer(connection)[0] == 200

    try:
        open_more(spare)  # what every server allocates once is not the price of a connection
        time.sleep(6)
        before = running.memory()
        open_more(count - spare)
        time.sleep(6)  # an idle connection forgets its last head after some seconds
        each = (running.memory() - before) / (count - spare)
        assert each < 6 * 1024, f"an idle connection costs {each:,.0f} bytes"
        connections[0].sendall(request("openclaw", "still there"))
        assert answer(connections[0])[0] == 200
    finally:
        for connection in connections:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# Nonsense on the plain port.


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, id="HTTP/2 preface"),
        pytest.param(b"\x00\x01\x02\x03garbage\xff\xfe", 400, id="garbage"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", 400, id="SSH"),
        pytest.param(b"GET /healthz HTTP/3.0\r\nHost: x\r\n\r\n", 505, id="HTTP/3.0"),
        pytest.param(b"GET /healthz HTTP/1.1\r\n\r\n", 400, id="no Host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 40_000 + b"\r\n\r\n", 431, id="large head"),
        pytest.param(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n\r\n" % TOKEN.encode(),
            411,
            id="no length",
        ),
    ],
)
def test_nonsense_gets_a_short_clear_answer(chain: Chain, sent: bytes, status: int) -> None:
    with connect(chain.front) as connection:
        connection.sendall(sent)
        connection.settimeout(15)
        response = HTTPResponse(connection)
        response.begin()
        body = response.read()
    assert response.status == status, body
    assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}
    assert len(body) < 1000


def test_a_tls_client_on_the_plain_port_is_not_kept_waiting(chain: Chain) -> None:
    context = ssl.create_default_context()
    started = time.monotonic()
    with connect(chain.front) as connection, pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(connection, server_hostname="localhost")
    assert time.monotonic() - started < 5
    said = [line for line in chain.front.text().splitlines() if "a TLS handshake came to a port" in line]
    assert len(said) == 1, said
    assert "refused without an answer: 127.0.0.1: " in said[0]


def test_limits_of_time_and_size(launch: Launch) -> None:
    config = configuration(python_agent("words"))
    http = config["gateway"]["http"]
    http["endpoints"]["chatCompletions"]["maxBodyBytes"] = 1000
    http["limits"] = {"headTimeoutMs": 500, "bodyIdleTimeoutMs": 500, "keepAliveTimeoutMs": 500}
    running = launch(config)

    with connect(running) as connection:  # a large body is read to its end, so that the client sees the answer
        connection.sendall(request("openclaw", "x" * 50_000))
        status, parsed = answer(connection)
        assert status == 413
        assert "1000" in parsed["error"]["message"].replace(",", "")

    with connect(running) as connection:
        connection.sendall(b"GET /healthz HT")
        assert b" 408 " in read_all(connection).splitlines()[0], "an unfinished head is answered with 408"

    with connect(running) as connection:
        connection.sendall(request("openclaw", "hi")[:-5])
        assert b" 408 " in read_all(connection).splitlines()[0], "an unfinished body is answered with 408"

    with connect(running) as connection:
        connection.sendall(request("openclaw", "hi"))
        assert answer(connection)[0] == 200
        assert connection.recv(100) == b"", "an idle connection is closed without a word"


@pytest.mark.parametrize(
    ("body", "line", "column"),
    [
        (b'{"model": "openclaw",\n "messages": [}', 2, 15),
        (b'{"model": }', 1, 11),
        (b'{"model": "openclaw",}', 1, 21),
        (b'{"model": "openclaw"} {}', 1, 23),
        (b'{"model": NaN}', 1, 11),
        (b"{", 1, 2),
        (b"model", 1, 1),
    ],
)
def test_json_errors_tell_the_place(chain: Chain, body: bytes, line: int, column: int) -> None:
    with connect(chain.front) as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n\r\n%b" % (TOKEN.encode(), len(body), body)
        )
        status, parsed = answer(connection)
    assert status == 400
    place = re.search(r"line (\d+) column (\d+)", parsed["error"]["message"])
    assert place, parsed
    assert int(place[1]) == line
    assert abs(int(place[2]) - column) <= 1, "json's columns differ by one between versions of Python"


def test_methods(chain: Chain) -> None:
    with connect(chain.front) as connection:
        connection.sendall(
            b"GET /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n\r\n" % TOKEN.encode()
        )
        response = HTTPResponse(connection)
        response.begin()
        assert response.status == 405
        assert "POST" in (response.getheader("allow") or "")
        response.read()
    for path in ("/healthz", "/health", "/readyz", "/ready"):
        for method in ("GET", "HEAD"):
            with connect(chain.front) as connection:
                connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert answer(connection, method)[0] == 200, (method, path)


@pytest.mark.parametrize("spelling", ["openclaw/main", "openclaw%2Fmain", "openclaw%2fmain"])
def test_a_model_id_with_a_slash(chain: Chain, spelling: str) -> None:
    with connect(chain.front) as connection:
        connection.sendall(
            b"GET /v1/models/%b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n\r\n"
            % (spelling.encode(), TOKEN.encode())
        )
        status, parsed = answer(connection, "GET")
    assert (status, parsed["id"]) == (200, "openclaw/main")
