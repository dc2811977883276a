"""Where a configured gateway listens, and how it speaks there."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
import ssl
import stat
import time
from pathlib import Path

import pytest
from processes import ROOT, TOKEN, Launch, configuration, until
from serving import Authority, needs_openssl, trusting

CERTIFICATE = ROOT / "tests" / "data" / "tls" / "localhost.pem"
TLS = {"certPath": str(CERTIFICATE), "keyPath": str(CERTIFICATE)}


def ask(client: http.client.HTTPConnection) -> int:
    """The status of a completion."""
    body = json.dumps({"model": "openclaw", "messages": [{"role": "user", "content": "hi"}]})
    client.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {TOKEN}"})
    answer = client.getresponse()
    answer.read()
    return answer.status


def secure(port: int, context: ssl.SSLContext) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection("localhost", port, context=context, timeout=20)


@needs_openssl
def test_client_certificates(launch: Launch, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("alice", "/O=Example/CN=alice")
    # Relative names belong to the folder of the configuration.
    running = launch(configuration(tls={**TLS, "caPath": authority.path.name}), "--verbose")
    known = trusting()
    known.load_cert_chain(certificate, key)
    client = secure(running.port, known)
    assert ask(client) == 200
    client.request("GET", "/v1/models")
    assert client.getresponse().status == 401, "the secret is asked for besides"
    client.close()
    stranger = secure(running.port, trusting())
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
        ask(stranger)
    stranger.close()
    until("the name is told", lambda: "127.0.0.1 'O=Example,CN=alice' \"POST /v1/chat" in running.text())
    assert "refused TLS: 127.0.0.1: it showed no client certificate" in running.text()


def test_a_silent_connect_is_cut(launch: Launch) -> None:
    running = launch(configuration(tls={**TLS, "handshakeTimeoutMs": 500}))
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as silent:
        assert silent.recv(1) == b""
    assert 0.4 < time.monotonic() - started < 5
    assert "tls_handshake: 127.0.0.1: the TLS handshake did not come to an end in time" in running.text()


def test_plain_http_on_the_tls_port(launch: Launch) -> None:
    running = launch(configuration(tls=TLS))
    client = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    client.request("GET", "/healthz")
    answer = client.getresponse()
    assert answer.status == 400
    assert "https://" in json.loads(answer.read())["error"]["message"]
    client.close()


@needs_openssl
def test_a_new_certificate(launch: Launch, tmp_path: Path) -> None:
    """No signal, no restart: the files are put into place, and that is all."""
    authority = Authority(tmp_path)

    def put(name: str) -> None:
        for made, place in zip(authority.issue(name, f"/CN={name}"), ("cert.pem", "key.pem"), strict=True):
            shutil.copy(made, tmp_path / place)

    def name_shown() -> object:
        client = secure(running.port, trusting(authority.path))
        client.connect()
        assert isinstance(client.sock, ssl.SSLSocket)
        shown = client.sock.getpeercert()
        client.close()
        return shown and shown["subject"]

    put("first")
    running = launch(configuration(tls={"certPath": "cert.pem", "keyPath": "key.pem"}))
    assert name_shown() == ((("commonName", "first"),),)
    put("second")
    until("the new one is shown", lambda: name_shown() == ((("commonName", "second"),),))
    assert re.search(r"INFO gateway\.server\.tls: gateway\.tls: '.*cert\.pem' is in use from now on", running.text())


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize(
    ("tls", "said"),
    [
        ({"certPath": "none.pem"}, "gateway.tls.certPath: '{}/none.pem' cannot be read: No such file or directory"),
        ({"keyPath": "none.pem"}, "gateway.tls.keyPath: '{}/none.pem' cannot be read: No such file or directory"),
        ({"caPath": "none.pem"}, "gateway.tls.caPath: '{}/none.pem' cannot be read: No such file or directory"),
        ({"keyPath": "text"}, "gateway.tls.keyPath: '{}/text' holds no private key in PEM form"),
    ],
)
def test_certificates_that_cannot_be_used(launch: Launch, command: str, tls: dict[str, str], said: str) -> None:
    (launch.folder / "text").write_text("text", encoding="ascii")
    done = launch.command(command, "--config", str(launch.file(configuration(tls={**TLS, **tls}))))
    assert done.returncode == 78
    assert said.format(launch.folder) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no unix sockets here")
def test_a_unix_socket_beside_the_port(launch: Launch, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("s") / "gw"
    running = launch(configuration(unixSocket={"path": str(path), "mode": "0660"}))
    until("both are told", lambda: running.text().count("listening on") == 2)
    assert f"listening on unix:{path}" in running.text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    tcp = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    unix = http.client.HTTPConnection("localhost", timeout=20)
    unix.sock = socket.socket(socket.AF_UNIX)
    unix.sock.connect(str(path))
    for client in (tcp, unix):
        assert ask(client) == 200
        client.close()
    assert running.stop() == 0
    assert not path.exists()


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no unix sockets here")
def test_a_unix_socket_that_cannot_be(launch: Launch) -> None:
    precious = launch.folder / "precious"
    precious.write_text("precious", encoding="ascii")
    done = launch.command("run", "--config", str(launch.file(configuration(unixSocket={"path": str(precious)}))))
    assert done.returncode == 1
    assert f"cannot listen at unix:{precious}: there is a file that is no socket. Remove it" in done.stderr
    assert precious.read_text(encoding="ascii") == "precious"
