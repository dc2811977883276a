"""Unix sockets: for whom they are, what stands in their way, and their end."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from serving import GET, run, serving

from gateway.errors import ConfigError
from gateway.server import unix
from gateway.server.listeners import Listener, UnixAddress, open_listener
from gateway.server.unix import bind_unix

if not hasattr(socket, "AF_UNIX"):
    pytest.skip("no unix sockets here", allow_module_level=True)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a socket to others")


async def listen(address: UnixAddress) -> Listener:
    sock, file = bind_unix(address)
    return await open_listener(asyncio.get_running_loop(), asyncio.Protocol, sock, file=file)


async def served(name: str) -> None:
    """A client that connects to `name` gets its answer."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(name)  # a loop of uvloop connects to no abstract name
    reader, writer = await asyncio.open_unix_connection(sock=client)
    writer.write(GET)
    assert (await reader.readuntil(b"\r\n\r\nOK")).startswith(b"HTTP/1.1 200")
    writer.close()
    await writer.wait_closed()


def dead(path: Path) -> None:
    """Leave a socket behind that nobody listens at."""
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def refused(address: UnixAddress) -> str:
    said = []

    async def main() -> None:
        with pytest.raises(ConfigError) as raised:
            await listen(address)
        said.append(str(raised.value))

    run(main)
    return said[0]


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o700])
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_mode(tmp_path: Path, mode: int, umask: int) -> None:
    path = tmp_path / "gw.sock"

    async def main() -> None:
        async with serving(at=UnixAddress(str(path), mode)) as running:
            assert running.url == f"unix:{path}"
            assert stat.S_IMODE(path.stat().st_mode) == mode
            await served(str(path))
        assert not path.exists()

    before = os.umask(umask)
    try:
        run(main)
    finally:
        os.umask(before)


def test_nobody_gets_in_before_the_mode_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "gw.sock"
    seen: list[tuple[str, int]] = []

    def look(real: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: object, **more: object) -> None:
            seen.append((real.__name__, stat.S_IMODE(path.stat().st_mode)))
            with socket.socket(socket.AF_UNIX) as early, pytest.raises(ConnectionRefusedError):
                early.connect(str(path))
            real(*arguments, **more)

        return call

    async def main() -> None:
        monkeypatch.setattr(os, "chmod", look(os.chmod))
        monkeypatch.setattr(os, "chown", look(os.chown))
        listener = await listen(UnixAddress(str(path), 0o666, str(os.getuid()), str(os.getgid())))
        monkeypatch.undo()
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        await listener.close()

    before = os.umask(0)
    try:
        run(main)
    finally:
        os.umask(before)
    assert [name for name, _ in seen] == ["chown", "chmod"], "the owner is right before others may come"
    if sys.platform == "linux":
        assert {mode for _, mode in seen} == {0o600}, "and until then it is closed"


@needs_root
def test_the_owner(tmp_path: Path) -> None:
    path = tmp_path / "gw.sock"

    async def main() -> None:
        listener = await listen(UnixAddress(str(path), 0o660, "nobody", "12345"))
        found = path.stat()
        assert (found.st_uid, found.st_gid) == (unix._ids(UnixAddress("", owner="nobody"))[0], 12345)
        assert found.st_uid != 0
        await listener.close()
        listener = await listen(UnixAddress(str(path), group="12345"))
        assert (path.stat().st_uid, path.stat().st_gid) == (0, 12345)
        await listener.close()

    run(main)


def test_an_owner_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "gw.sock"
    dead(path)
    for name in ("no-such-user", "", "-1", "4294967295", "9" * 5000, "\u0663"):
        assert f"gateway.unixSocket.owner: this machine has no user {name!r}" in refused(
            UnixAddress(str(path), owner=name)
        )
        assert f"gateway.unixSocket.group: this machine has no group {name!r}" in refused(
            UnixAddress(str(path), group=name)
        )
    assert path.exists(), "nothing was touched"


def test_an_owner_that_may_not_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "gw.sock"

    def forbid(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", forbid)
    said = refused(UnixAddress(str(path), owner="0", group="0"))
    assert said.startswith(f"cannot give unix:{path} to 0:0: only root may choose an owner")
    assert not path.exists(), "nothing is left behind"


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "gw.sock"
    dead(path)

    async def main() -> None:
        async with serving(at=UnixAddress(str(path))):
            await served(str(path))

    assert path.is_socket()
    run(main)


@pytest.mark.parametrize("full", [True, False])
def test_a_living_socket_is_left_alone(tmp_path: Path, full: bool) -> None:
    path = tmp_path / "gw.sock"
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as first:
        other.bind(str(path))
        other.listen(0)
        if full:
            first.connect(str(path))
        assert "somebody listens there already. Is a gateway running?" in refused(UnixAddress(str(path)))
        assert path.is_socket()


@pytest.mark.parametrize("kind", ["file", "folder", "link", "dangling link"])
def test_what_is_no_socket_is_left_alone(tmp_path: Path, kind: str) -> None:
    path, target = tmp_path / "precious", tmp_path / "target"
    match kind:
        case "file":
            path.write_text("precious", encoding="ascii")
        case "folder":
            path.mkdir()
        case "link":
            dead(target)
            path.symlink_to(target)
        case _:
            path.symlink_to(target)
    assert "there is a file that is no socket. Remove it, or give another path" in refused(UnixAddress(str(path)))
    assert path.is_symlink() or path.exists()
    assert kind != "link" or target.is_socket()


@pytest.mark.parametrize(
    ("path", "why"), [("no/such/folder/gw.sock", "No such file or directory"), ("x" * 200, "AF_UNIX path too long")]
)
def test_a_path_that_cannot_be(tmp_path: Path, path: str, why: str) -> None:
    assert refused(UnixAddress(str(tmp_path / path))).endswith(f": {why}")


def test_the_end_of_one_leaves_the_file_of_another(tmp_path: Path) -> None:
    path = tmp_path / "gw.sock"

    async def main() -> None:
        first = await listen(UnixAddress(str(path)))
        path.rename(tmp_path / "moved")  # keeps its number
        second = await listen(UnixAddress(str(path)))
        await first.close()
        assert path.is_socket()
        await second.close()
        assert not path.exists()

    run(main)


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")
def test_an_abstract_socket() -> None:
    name = f"gateway-test-{os.getpid()}"

    async def main() -> None:
        async with serving(at=UnixAddress(f"@{name}")) as running:
            assert running.url == f"unix:@{name}"
            await served(f"\0{name}")
            with pytest.raises(ConfigError, match="in use"):
                await listen(UnixAddress(f"@{name}"))

    run(main)


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")
@pytest.mark.parametrize("more", [(0o660,), (0o600, "0"), (0o600, None, "0")])
def test_an_abstract_socket_is_for_everybody(more: tuple[Any, ...]) -> None:
    """What was asked for cannot be had, and must not be promised."""
    address = UnixAddress("@gateway-test-never", *more)
    assert "has neither mode nor owner" in refused(address)
