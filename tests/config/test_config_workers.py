"""Options that several processes cannot share."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import load
from gateway.errors import ConfigError

DATA = Path(__file__).parents[1] / "data" / "config"


def test_faults_are_told_with_place_and_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DATA)
    with pytest.raises(ConfigError) as caught:
        load("workers.json5", environ={})
    assert list(caught.value.problems) == (DATA / "workers.txt").read_text(encoding="utf-8").splitlines()


def test_one_process_shares_nothing(tmp_path: Path) -> None:
    text = (DATA / "workers.json5").read_text(encoding="utf-8")
    (tmp_path / "main.json5").write_text(text.replace("workers: 4", "workers: 1"), encoding="utf-8")
    config = load(str(tmp_path / "main.json5"), environ={}).config
    assert config.session.store == "memory"
    with pytest.raises(ConfigError):
        load(str(tmp_path / "main.json5"), environ={}, overrides={"gateway.workers": 2})
