"""The names by which a gateway may be asked, and the web pages that may use it."""

from __future__ import annotations

from typing import cast

import pytest

from gateway.api.pages import MEMO, Hosts, Origins, authority
from gateway.errors import RequestError
from gateway.model.http import Peer, RequestHead
from gateway.ports import Exchange

LOCAL = Peer("127.0.0.1", 1, local=True)
REMOTE = Peer("192.0.2.7", 1, local=False)
OWN = Hosts(["Box.example.com", "box", "box.local", ".lan.example.com"])


class Asked:
    """As much of an exchange as is looked at."""

    def __init__(self, target: str, headers: dict[str, str], peer: Peer) -> None:
        fields = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
        self.peer = peer
        self.head = RequestHead(
            method="GET", target=target, path="/", query="", version="1.1", headers=(), fields=fields,
            content_length=None, chunked=False, keep_alive=True, expects_continue=False,
        )  # fmt: skip


def asked(target: str = "/", peer: Peer = LOCAL, **headers: str) -> Exchange:
    return cast("Exchange", Asked(target, {name.replace("_", "-"): value for name, value in headers.items()}, peer))


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost", True), ("localhost:18789", True), ("app.localhost", True), ("localhost.", True),
        ("127.0.0.1", True), ("127.0.0.1:80", True), ("192.168.1.5:18789", True), ("[::1]:18789", True),
        ("[2001:db8::1]", True), ("box", True), ("box:18789", True), ("box.local", True), ("box.example.com", True),
        ("lan.example.com", True), ("a.b.lan.example.com:1", True),
        ("evil.example", False), ("evil.example:18789", False), ("localhost.evil.example", False),
        ("evillocalhost", False), ("127.0.0.1.evil.example", False), ("127.evil.example", False),
        ("a.box", False), ("a.box.local", False), ("evillan.example.com", False), ("box.example.com.evil", False),
        ("1.2.3", False), ("2130706433", False), ("0x7f.0.0.1", False), ("127.1", False), ("", False), (":80", False),
        ("evil.example#localhost", False), ("*", False), (".evil.example", False),
    ],
)  # fmt: skip
def test_known_hosts(host: str, known: bool) -> None:
    for _ in range(2):  # the second time from memory
        assert OWN.know(host.encode()) is known
    assert Hosts(["*"]).know(host.encode())


def test_what_is_remembered_is_bounded() -> None:
    hosts = Hosts([])
    for port in range(10 * MEMO):
        assert hosts.know(b"localhost:%d" % port)
        assert len(hosts._memo) <= MEMO


def test_the_host_that_was_asked_for() -> None:
    assert authority(asked(host="Box:1")) == b"box:1"
    assert authority(asked("http://Evil.example:1/x?y", host="box")) == b"evil.example:1"
    assert authority(asked("http://evil.example?y", host="box")) == b"evil.example"
    assert authority(asked("/http://evil.example", host="box")) == b"box"
    assert authority(asked()) == b""
    assert authority(asked(peer=REMOTE._replace(authority=b"AI.example.com"), host="box")) == b"ai.example.com"


def test_the_refusal_of_a_host() -> None:
    with pytest.raises(RequestError, match=r"`evil.example:1` is not a name.*gateway\.http\.allowedHosts") as caught:
        OWN.check(asked(host="evil.example:1"))
    assert (caught.value.status, caught.value.code) == (421, "host_not_allowed")
    OWN.check(asked(host="box"))
    OWN.check(asked())  # HTTP/1.0: no browser
    OWN.check(asked(host="evil.example", peer=Peer("", 0, local=True)))  # a unix socket: no browser


LISTED = Origins(["https://app.example.com", "chrome-extension://abcdef", "null"], OWN)


@pytest.mark.parametrize(
    ("headers", "peer", "admitted"),
    [
        ({}, REMOTE, True),
        # listed
        ({"origin": "https://app.example.com"}, REMOTE, True),
        ({"origin": "chrome-extension://abcdef"}, REMOTE, True),
        ({"origin": "null"}, REMOTE, True),
        ({"origin": "http://app.example.com"}, REMOTE, False),
        ({"origin": "https://app.example.com:8443"}, REMOTE, False),
        ({"origin": "https://app.example.com.evil.example"}, REMOTE, False),
        ({"origin": "https://app.example.com, https://evil.example"}, REMOTE, False),
        ({"origin": "HTTPS://APP.EXAMPLE.COM"}, REMOTE, False),
        ({"origin": ""}, REMOTE, False),
        # our own
        ({"origin": "http://box:18789", "host": "box:18789"}, REMOTE, True),
        ({"origin": "http://192.168.1.5:18789", "host": "192.168.1.5:18789"}, REMOTE, True),
        ({"origin": "http://[2001:db8::1]:1", "host": "[2001:DB8::1]:1"}, REMOTE, True),
        ({"origin": "https://box", "host": "box"}, REMOTE, True),
        ({"origin": "http://box:18789", "host": "box:18790"}, REMOTE, False),
        ({"origin": "http://evil.example:18789", "host": "evil.example:18789"}, REMOTE, False),
        ({"origin": "http://evil.example:18789", "host": "evil.example:18789"}, LOCAL, False),
        ({"origin": "https://box", "host": "box"}, REMOTE._replace(tls=True), True),
        ({"origin": "http://box", "host": "box"}, REMOTE._replace(tls=True), False),
        # of this machine
        ({"origin": "http://localhost:5173", "host": "127.0.0.1:18789"}, LOCAL, True),
        ({"origin": "http://127.0.0.1:5173", "host": "localhost:18789"}, LOCAL, True),
        ({"origin": "http://[::1]:5173", "host": "localhost:18789"}, LOCAL, True),
        ({"origin": "http://app.localhost", "host": "localhost:18789"}, LOCAL, True),
        ({"origin": "http://localhost:5173", "host": "box"}, REMOTE, False),
        ({"origin": "http://localhost:5173", "host": "box", "x-forwarded-for": "192.0.2.7"}, LOCAL, False),
        ({"origin": "http://127.evil.example", "host": "127.0.0.1"}, LOCAL, False),
        ({"origin": "http://127.0.0.1.evil.example", "host": "127.0.0.1"}, LOCAL, False),
        ({"origin": "http://localhost.evil.example", "host": "127.0.0.1"}, LOCAL, False),
        ({"origin": "http://evillocalhost", "host": "127.0.0.1"}, LOCAL, False),
        ({"origin": "http://evil.example:localhost", "host": "127.0.0.1"}, LOCAL, False),
        ({"origin": "http://localhost:5173/", "host": "127.0.0.1"}, LOCAL, False),
        ({"origin": "file://", "host": "127.0.0.1"}, LOCAL, False),
    ],
)
def test_origins(headers: dict[str, str], peer: Peer, admitted: bool) -> None:
    exchange = cast("Exchange", Asked("/", headers, peer))
    assert LISTED.admits(exchange) is admitted
    if admitted:
        LISTED.check(exchange)
    else:
        with pytest.raises(RequestError, match=r"gateway\.http\.cors\.allowedOrigins") as caught:
            LISTED.check(exchange)
        assert (caught.value.status, caught.value.code) == (403, "origin_not_allowed")


@pytest.mark.parametrize(
    ("origin", "listed"),
    [
        (b"https://anything.example", True), (b"app://obsidian.md", True), (b"null", False), (b"", False),
        (b"nonsense", False), (b"https://a/b", False), (b"https://" + b"a" * 600, False), (b"https://\xff", False),
    ],
)  # fmt: skip
def test_any_origin(origin: bytes, listed: bool) -> None:
    assert Origins(["*"], OWN).lists(origin) is listed
    assert Origins(["*", "null"], OWN).lists(b"null")


def test_no_origins() -> None:
    nobody = Origins([], OWN)
    for origin in (b"https://app.example.com", b"null", b"*", b""):
        assert not nobody.lists(origin)
