"""The file of a configuration, read and replaced."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from gateway.config import Config, ConfigSource, Loaded, load
from gateway.config.loader import MAX_FILE_BYTES
from gateway.config.source import Snapshot, SourceChangedError, SourceUnwritableError, differences
from gateway.errors import ConfigError

ECHO = "{agents: {list: [{id: 'main', runtime: {type: 'echo'}}]}}"


def check(loaded: Loaded) -> None:
    if not loaded.config.agents.list:
        raise ConfigError("there is no agent")


def source_of(path: Path) -> ConfigSource:
    return ConfigSource(str(path), lambda text: load(str(path), environ={}, text=text), check)


def made(path: Path, text: str = ECHO) -> tuple[ConfigSource, Snapshot]:
    path.write_text(text, encoding="utf-8")
    source = source_of(path)
    return source, source.read()


def test_what_it_holds(tmp_path: Path) -> None:
    source, found = made(tmp_path / "gw.json5")
    assert found.text == ECHO
    assert found.exists
    assert found.loaded is not None
    assert [agent.id for agent in found.loaded.config.agents.list] == ["main"]
    assert found.path == str(tmp_path / "gw.json5")
    assert source.read().hash == found.hash
    (tmp_path / "gw.json5").write_text(ECHO + " ", encoding="utf-8")
    assert source.read().hash != found.hash


def test_hashes_do_not_let_secrets_be_guessed(tmp_path: Path) -> None:
    """Of two sources of one file they differ: nobody can make the hash of a text that they try."""
    _, first = made(tmp_path / "gw.json5")
    _, second = made(tmp_path / "gw.json5")
    assert first.hash != second.hash


def test_there_is_no_file(tmp_path: Path) -> None:
    source = source_of(tmp_path / "gw.json5")
    found = source.read()
    assert not found.exists
    assert found.loaded is not None
    after = source.replace(found, ECHO)
    assert (tmp_path / "gw.json5").read_text(encoding="utf-8") == ECHO
    assert source.read().hash == after.hash
    assert stat.S_IMODE((tmp_path / "gw.json5").stat().st_mode) == 0o600 or sys.platform == "win32"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"{a: ", "gw.json5:1:5: a: expected a value"),
        (b"\xff", "gw.json5:1:1: this is not UTF-8"),
        (b"{gateway: {prt: 1}}", "Did you mean 'port'?"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, data: bytes, problem: str) -> None:
    path = tmp_path / "gw.json5"
    path.write_bytes(data)
    found = source_of(path).read()
    assert found.loaded is None
    assert problem in found.problems[0]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        source_of(tmp_path).read()
    (tmp_path / "large").write_bytes(b" " * (MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigError, match="larger than"):
        source_of(tmp_path / "large").read()


def test_only_a_configuration_is_written(tmp_path: Path) -> None:
    source, found = made(tmp_path / "gw.json5")
    with pytest.raises(ConfigError) as caught:
        source.replace(found, "{\n gateway: {port: 'x', prt: 1},\n}")
    assert [problem.partition("gw.json5:")[2][:5] for problem in caught.value.problems] == ["2:18:", "2:23:"]
    with pytest.raises(ConfigError, match="there is no agent"):
        source.replace(found, "{}")
    with pytest.raises(ConfigError, match="larger than"):
        source.replace(found, ECHO + " " * MAX_FILE_BYTES)
    assert source.read() == found
    assert [*tmp_path.iterdir()] == [tmp_path / "gw.json5"]


def test_a_change_by_somebody_else_is_seen(tmp_path: Path) -> None:
    source, found = made(tmp_path / "gw.json5")
    (tmp_path / "gw.json5").write_text("{}", encoding="utf-8")
    with pytest.raises(SourceChangedError):
        source.replace(found, ECHO)
    assert (tmp_path / "gw.json5").read_text(encoding="utf-8") == "{}"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes of files, and few symbolic links")
def test_mode_and_links_stay(tmp_path: Path) -> None:
    path, link = tmp_path / "real.json5", tmp_path / "gw.json5"
    path.write_text(ECHO, encoding="utf-8")
    path.chmod(0o640)
    link.symlink_to("real.json5")
    source = source_of(link)
    source.replace(source.read(), ECHO + "\n")
    assert link.is_symlink()
    assert path.read_text(encoding="utf-8") == ECHO + "\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_the_owner_stays(tmp_path: Path) -> None:
    source, found = made(tmp_path / "gw.json5")
    os.chown(tmp_path / "gw.json5", 12345, 23456)
    source.replace(found, ECHO + "\n")
    status = (tmp_path / "gw.json5").stat()
    assert (status.st_uid, status.st_gid) == (12345, 23456)


def test_a_file_that_cannot_be_written_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, found = made(tmp_path / "gw.json5")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(SourceUnwritableError, match="No space left on device"):
        source.replace(found, ECHO + "\n")
    monkeypatch.undo()
    assert source.read() == found
    assert [*tmp_path.iterdir()] == [tmp_path / "gw.json5"]


def test_what_is_included_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "agents.json5").write_text("{list: [{id: 'x', runtime: {type: 'echo'}}]}", encoding="utf-8")
    source, found = made(tmp_path / "gw.json5", "{agents: {$include: 'agents.json5'}}")
    after = source.replace(found, "{agents: {$include: 'agents.json5'}, gateway: {port: 1}}")
    assert after.loaded is not None
    assert [agent.id for agent in after.loaded.config.agents.list] == ["x"]


def test_differences(tmp_path: Path) -> None:
    (tmp_path / "gw.json5").write_text(
        "{gateway: {port: 1, http: {coalesceMs: 3}}, models: {providers: {a: {baseUrl: 'https://a/v1'}}}}",
        encoding="utf-8",
    )
    new = load(str(tmp_path / "gw.json5"), environ={}).config
    assert [*differences(Config(), new)] == ["gateway.port", "gateway.http.coalesceMs", "models.providers"]
    providers = {"a": new.models.providers["a"].replace(max_retries=5), "b": new.models.providers["a"]}
    newer = new.replace(models=new.models.replace(providers=providers))
    assert [*differences(new, newer)] == ["models.providers.a.maxRetries", "models.providers.b"]
    assert not [*differences(new, new)]
