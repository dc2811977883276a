"""The option table in its shown forms, and what it promises about itself."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

import gateway.config as room
from gateway.config import AgentEntry, Auth, Config, Gateway, effective, load, markdown, options

PRODUCT = Path(__file__).parents[1] / "data" / "config" / "product.json5"


def test_the_effective_configuration_is_one_and_hides_secrets(tmp_path: Path) -> None:
    first = load(str(PRODUCT), environ={"TOKEN": "s3cret", "PROXY_KEY": "s3cret"})
    shown = json.dumps(effective(first.config))
    assert "s3cret" not in shown
    assert "west" not in shown  # headers carry keys often enough
    (tmp_path / "again.json5").write_text(shown)
    again = load(str(tmp_path / "again.json5"), environ={})
    assert again.warnings == ()
    assert effective(again.config) == effective(first.config)
    assert again.config.gateway.auth.token == "***"
    assert again.config.agents == first.config.agents


def test_the_effective_defaults_are_complete() -> None:
    shown = effective(Config())
    assert shown["gateway"]["http"]["limits"]["headBytes"] == 32768
    chat = shown["gateway"]["http"]["endpoints"]["chatCompletions"]
    assert (chat["enabled"], chat["maxBodyBytes"]) == (False, 20971520)
    assert "token" not in shown["gateway"]["auth"]


def test_every_option_is_documented() -> None:
    rows = {row.path: row for row in options()}
    assert len(rows) > 45
    for row in rows.values():
        assert row.values, row.path
        assert row.default, row.path
        assert row.help.endswith("."), row.path
    assert (rows["gateway.port"].values, rows["gateway.port"].default) == ("integer, 0 to 65535", "18789")
    assert rows["gateway.bind"].default == "loopback"
    assert rows["gateway.auth.token"].environment[0] == "OPENCLAW_GATEWAY_TOKEN"
    assert "agents.list[].runtime.target" in rows
    assert "models.providers.<name>.models[].id" in rows


def test_the_table_for_the_readme() -> None:
    head, rule, *lines = markdown().splitlines()
    assert head.count("|") == rule.count("|") == 5
    assert [line.split("`")[1] for line in lines] == [row.path for row in options()]
    for line in lines:
        assert line.count("|") == 5, line


def test_the_exports_exist() -> None:
    assert len(set(room.__all__)) == len(room.__all__)
    assert all(hasattr(room, name) for name in room.__all__)


def test_type_checkers_see_the_same() -> None:
    stub = ast.parse(Path(room.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    told = {alias.name for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert told == set(room.__all__)


def test_no_other_exports() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = room.no_such_name  # type: ignore[attr-defined]  # that is the point


def test_sections_are_values() -> None:
    auth = Auth(mode="token", token="s3cret")
    assert Gateway(auth=auth) == Gateway(auth=Auth(mode="token", token="s3cret"))
    assert Gateway(auth=auth) != Gateway()
    assert auth != "token"
    assert auth.replace(mode="password") == Auth(mode="password", token="s3cret")
    assert auth.mode == "token"
    assert "s3cret" not in repr(auth)
    assert repr(auth).startswith("Auth(mode='token', rate_limit=RateLimit(max_attempts=10,")


@pytest.mark.parametrize("values", [{}, {"id": "a", "ids": "b"}])
def test_sections_take_their_options_only(values: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="id"):
        AgentEntry(**values)


def test_sections_lose_nothing() -> None:
    entry: Any = AgentEntry(id="a")
    with pytest.raises(AttributeError, match="replace"):
        del entry.id
