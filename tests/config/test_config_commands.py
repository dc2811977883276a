"""Options of command agents, and of limits of runs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway import Gateway
from gateway.agents.limits import RunLimits
from gateway.config import Config, load
from gateway.config.show import effective
from gateway.errors import ConfigError

DATA = Path(__file__).parents[1] / "data" / "config"


def read(folder: Path, agents: dict[str, Any]) -> Config:
    path = folder / "main.json5"
    path.write_text(json.dumps({"agents": agents}), encoding="utf-8")
    return load(str(path), environ={}).config


def test_faults_are_told_with_place_and_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DATA)
    with pytest.raises(ConfigError) as caught:
        load("commands.json5", environ={})
    assert list(caught.value.problems) == (DATA / "commands.txt").read_text(encoding="utf-8").splitlines()


def test_a_command_that_is_not_there_is_told_at_the_start(tmp_path: Path) -> None:
    config = read(tmp_path, {"list": [{"id": "main", "runtime": {"type": "command", "argv": ["no-such-program"]}}]})
    with pytest.raises(ConfigError, match=r"agents: main: runtime\.argv: there is no program 'no-such-program'"):
        Gateway(config, listen=())


def test_a_folder_starts_at_its_file(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    runtime = {"type": "command", "argv": [sys.executable, "-V"], "cwd": "work", "env": {"A_KEY": "hidden"}}
    config = read(tmp_path, {"list": [{"id": "main", "runtime": runtime}]})
    assert config.agents.list[0].runtime.cwd == os.path.join(tmp_path, "work")  # noqa: PTH118 - it is text
    Gateway(config, listen=())
    assert "hidden" not in json.dumps(effective(config)), "a variable may be a key"


def test_limits_of_an_agent_stand_before_those_of_all(tmp_path: Path) -> None:
    echo = {"runtime": {"type": "echo"}}
    agents: dict[str, Any] = {
        "defaults": {"timeouts": {"firstTokenMs": 5000, "totalMs": 9000}, "maxConcurrent": 4},
        "list": [
            {"id": "one", **echo},
            {"id": "two", **echo, "timeouts": {"firstTokenMs": 0, "idleMs": 1500}, "maxConcurrent": 0},
        ],
    }
    by_id = Gateway(read(tmp_path, agents), agents={"mine": _agent}, listen=()).registry.by_id
    assert by_id["one"].limits == by_id["mine"].limits == RunLimits(5, 600, 9, 4)
    assert by_id["two"].limits == RunLimits(0, 1.5, 9, 0)


async def _agent(_: object) -> str:
    return ""
