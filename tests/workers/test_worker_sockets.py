"""The sockets that a supervisor opens for its workers."""

from __future__ import annotations

import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigError
from gateway.server.listeners import TcpAddress, UnixAddress
from gateway.workers import sockets as module
from gateway.workers.sockets import SocketSet

if not hasattr(socket, "AF_UNIX"):
    pytest.skip("several processes need unix sockets", allow_module_level=True)


@pytest.fixture
def house() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def made(house: ExitStack, *addresses: Any, workers: int = 3) -> SocketSet:
    found = SocketSet(addresses, workers)
    house.callback(found.close)
    return found


def accepted(sock: socket.socket) -> int:
    """How many connections wait."""
    count = 0
    while True:
        try:
            sock.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere SO_REUSEPORT does not distribute")
def test_each_worker_has_a_socket_at_one_port(house: ExitStack) -> None:
    found = made(house, TcpAddress("127.0.0.1", 0))
    (url,) = found.urls("http")
    port = int(url.rpartition(":")[2])
    assert url == f"http://127.0.0.1:{port}"
    assert found.urls("https") == [f"https://127.0.0.1:{port}"]
    assert {one.getsockname() for (one,) in found.of} == {("127.0.0.1", port)}
    assert len({one.fileno() for (one,) in found.of}) == 3
    for _ in range(120):
        house.enter_context(socket.create_connection(("127.0.0.1", port)))
    shares = [accepted(one) for (one,) in found.of]
    assert sum(shares) == 120
    assert min(shares) > 10, "the kernel distributes them"


def test_one_for_all_where_the_kernel_does_not_distribute(house: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BALANCED", False)
    found = made(house, TcpAddress("127.0.0.1", 0))
    assert len({one.fileno() for (one,) in found.of}) == 1
    house.enter_context(socket.create_connection(found.of[0][0].getsockname()))
    assert accepted(found.of[2][0]) == 1


def test_several_addresses(house: ExitStack, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("s") / "gw"
    given = socket.create_server(("127.0.0.1", 0))
    found = made(house, TcpAddress("127.0.0.1", 0), UnixAddress(str(path), 0o640), given)
    assert [len(of) for of in found.of] == [3, 3, 3]
    assert found.urls("http")[1:] == [f"unix:{path}", f"http://127.0.0.1:{given.getsockname()[1]}"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    for of in found.of:
        assert of[1].fileno() == found.of[0][1].fileno()
        assert of[2].fileno() == given.fileno()
    found.close()
    assert not path.exists()
    assert given.fileno() == -1


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_a_name_may_stand_for_two_addresses(house: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    both = [
        (family, socket.SOCK_STREAM, 6, "", name)
        for family, name in ((socket.AF_INET6, ("::1", 0, 0, 0)), (socket.AF_INET, ("127.0.0.1", 0)))
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [*both, both[0]])
    found = made(house, TcpAddress("both.test", 0), workers=2)
    assert [[one.family for one in of] for of in found.of] == [[socket.AF_INET6, socket.AF_INET]] * 2
    assert found.urls("http")[0].startswith("http://[::1]:")


def test_an_address_that_is_not_there_is_left_out_of_several(house: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in ("192.0.2.1", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    found = made(house, TcpAddress("both.test", 0), workers=2)
    assert [len(of) for of in found.of] == [1, 1]
    both.pop()
    with pytest.raises(ConfigError, match=r"cannot listen at both\.test:0: this machine has no such address"):
        SocketSet([TcpAddress("both.test", 0)], 2)


def test_faults_leave_nothing_open(tmp_path_factory: pytest.TempPathFactory, house: ExitStack) -> None:
    path = tmp_path_factory.mktemp("s") / "gw"
    taken = house.enter_context(socket.create_server(("127.0.0.1", 0)))
    port = taken.getsockname()[1]
    with pytest.raises(ConfigError, match=rf"cannot listen at 127\.0\.0\.1:{port}: .*Is a gateway running already\?"):
        SocketSet([UnixAddress(str(path)), TcpAddress("127.0.0.1", port)], 2)
    assert not path.exists()
    with pytest.raises(ConfigError, match=r"cannot listen at no\.such\.host\.invalid:0: "):
        SocketSet([TcpAddress("no.such.host.invalid", 0)], 2)


def test_a_path_that_is_taken(house: ExitStack, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="there is a file that is no socket"):
        SocketSet([UnixAddress(str(tmp_path / "file"))], 2)
    assert (tmp_path / "file").exists()
