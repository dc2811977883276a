"""A disk that is full, or may not be written: the request fails, the process lives, what was kept is whole."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from processes import Launch, Running, configuration, python_agent
from talking import Talk

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of a running process are Linux's")


def kept_in(path: Path) -> dict[str, Any]:
    config: dict[str, Any] = configuration(python_agent("recall"))
    config["session"] = {"store": str(path)}
    return config


def ask(gateway: Running, key: str | None, text: str, **more: Any) -> tuple[int, Any]:
    async def once() -> tuple[int, bytes]:
        async with await Talk.to(gateway.port) as talk:
            return await talk.post(key, text, model="openclaw/recall", **more)

    status, answer = asyncio.run(once())
    return status, answer.decode() if more else json.loads(answer)


def said(gateway: Running, key: str, text: str) -> str:
    """What was asked before in the session; and `text` now is, too."""
    status, answer = ask(gateway, key, text)
    assert status == 200, answer
    content: str = answer["choices"][0]["message"]["content"]
    return content


def refused(gateway: Running, path: Path, key: str, *words: str) -> None:
    """A turn of the session cannot be kept, and that is told; all else goes on."""
    status, answer = ask(gateway, key, "x" * 20_000)
    assert status == 503, answer
    error = answer["error"]
    assert error["code"] == "session_store_unavailable"
    for word in (str(path), *words):
        assert word in error["message"]
    status, stream = ask(gateway, key, "y" * 20_000, stream=True)
    assert "session_store_unavailable" in stream
    assert '"finish_reason":"stop"' not in stream
    assert ask(gateway, None, "no session")[0] == 200
    with urllib.request.urlopen(f"{gateway.origin}/healthz", timeout=5) as health:
        assert health.status == 200
    assert gateway.process.poll() is None


def largest(folder: Path) -> int:
    return max(file.stat().st_size for file in folder.iterdir())


def test_no_file_may_grow(launch: Launch, tmp_path: Path) -> None:
    """As with a quota: what is written beyond it is an error."""
    path = tmp_path / "state" / "sessions.db"
    gateway = launch(kept_in(path))
    for number in range(3):
        said(gateway, "a", f"one {number}")
    before = resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (largest(path.parent), before[1]))
    refused(gateway, path, "a", "disk")
    refused(gateway, path, "b", "disk")
    resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, before)
    assert said(gateway, "a", "again") == "one 0|one 1|one 2"
    assert gateway.end() == 0
    gateway = launch(kept_in(path))
    assert said(gateway, "a", "at last") == "one 0|one 1|one 2|again"
    assert said(gateway, "b", "first") == ""
    assert gateway.end() == 0


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk; the others are limited in test_no_file_may_grow")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> None:
    """Leave no room on it."""
    with (disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(4096))


def test_a_full_disk(launch: Launch, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        path = disk / "state" / "sessions.db"
        gateway = launch(kept_in(path))
        for number in range(3):
            said(gateway, "a", f"one {number}")
        fill(disk)
        refused(gateway, path, "a", "full", "Make room")
        refused(gateway, path, "b", "full", "Make room")
        gateway.process.kill()  # in the middle of it, too
        gateway.process.wait()
        gateway = launch(kept_in(tmp_path / "elsewhere.db"))
        gateway.end()
        (disk / "filler").unlink()
        gateway = launch(kept_in(path))
        assert said(gateway, "a", "again") == "one 0|one 1|one 2"
        assert gateway.end() == 0


def test_a_disk_that_is_full_from_the_start(launch: Launch, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        fill(disk)
        path = disk / "sessions.db"
        gateway = launch(kept_in(path))
        refused(gateway, path, "a", "Make room")
        (disk / "filler").unlink()
        assert said(gateway, "a", "one") == ""
        assert said(gateway, "a", "two") == "one"
        assert gateway.end() == 0


def test_a_disk_that_is_full_of_sessions(launch: Launch, tmp_path: Path) -> None:
    """To the brim, while many talk: all that was answered is there."""
    with small_disk(tmp_path / "disk") as disk:
        path = disk / "sessions.db"
        gateway = launch(kept_in(path))

        async def talk_on(number: int) -> list[str]:
            answered: list[str] = []
            async with await Talk.to(gateway.port) as talk:
                for count in range(200):
                    status, _ = await talk.post(f"s{number}", f"{count}." + "x" * 2_000)
                    if status == 503:
                        return answered
                    answered.append(str(count))
            pytest.fail("the disk was never full")

        async def crowd() -> list[list[str]]:
            return await asyncio.gather(*(talk_on(number) for number in range(10)))

        answered = asyncio.run(crowd())
        assert all(answered)
        for number, texts in enumerate(answered):
            status, answer = ask(gateway, f"s{number}", "what?")
            assert status in {200, 503}
            if status == 200:
                content = answer["choices"][0]["message"]["content"]
                there = [text.partition(".")[0] for text in content.split("|")]
                assert there[: len(texts)] == texts
        gateway.end()


@contextmanager
def write_protected(folder: Path) -> Iterator[None]:
    """Nobody may write in it: for root, who may everywhere, that takes a mount."""
    if os.geteuid() == 0:
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    else:
        folder.chmod(0o500)
        for file in folder.iterdir():
            file.chmod(0o400)
    try:
        yield
    finally:
        if os.geteuid() == 0:
            subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
        else:
            folder.chmod(0o700)
            for file in folder.iterdir():
                file.chmod(0o600)


@contextmanager
def any_folder(folder: Path) -> Iterator[Path]:
    if os.geteuid() == 0:
        with small_disk(folder) as disk:
            yield disk
    else:
        folder.mkdir()
        yield folder


def test_what_may_not_be_written(launch: Launch, tmp_path: Path) -> None:
    with any_folder(tmp_path / "disk") as folder:
        path = folder / "sessions.db"
        gateway = launch(kept_in(path))
        said(gateway, "a", "one")
        assert gateway.end() == 0
        gateway = launch(kept_in(path))  # has looked at the file, and let it go
        with write_protected(folder):
            refused(gateway, path, "a", "write the file and its folder")
            config = launch.file(kept_in(path))
            for command in ("run", "check"):
                done = launch.command(command, "--config", str(config))
                assert done.returncode == 78, done.stderr
                assert f"session.store: {path}" in done.stderr
                assert "Traceback" not in done.stderr
        assert said(gateway, "a", "two") == "one"
        assert gateway.end() == 0


def test_nowhere_to_keep_them(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    for store, words in (
        (str(tmp_path / "file" / "sessions.db"), "is not a folder"),
        (str(tmp_path), "is not a file"),
        (str(tmp_path / "file"), "not a database"),
    ):
        config = configuration()
        config["session"] = {"store": store}
        done = launch.command("run", "--config", str(launch.file(config)))
        assert done.returncode == 78
        assert words in done.stderr
        assert store in done.stderr


def test_the_usual_place_is_not_there(launch: Launch, tmp_path: Path) -> None:
    """Who keeps no sessions needs no place for them; the gateway says what would help those who do."""
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    for environment, words, told in (
        ({"HOME": ""}, "GATEWAY_STATE_DIR", "GATEWAY_STATE_DIR"),
        ({"GATEWAY_STATE_DIR": str(tmp_path / "file" / "state")}, "is not a folder", "Not a directory"),
    ):
        gateway = launch(configuration(python_agent("recall")), env=environment)
        assert words in gateway.text()
        assert ask(gateway, None, "hi")[0] == 200
        status, answer = ask(gateway, "a", "hi")
        assert (status, answer["error"]["code"]) == (503, "session_store_unavailable")
        assert told in answer["error"]["message"]
        assert gateway.end() == 0
