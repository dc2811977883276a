"""`gateway.auth.keys`: read, checked, and shown to nobody."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from gateway import Caller, ConfigError, Key, Rate
from gateway.config import Config, Credential, effective, load, resolve_auth, resolve_keys

DATA = Path(__file__).parents[1] / "data" / "config"
ENVIRON = {"THE_SECRET_OF_WEB": "the-secret-of-web\n"}
API = frozenset({"chat", "responses", "embeddings", "models"})


def read(folder: Path, keys: str, environ: dict[str, str] | None = None, more: str = "") -> Config:
    (folder / "main.json5").write_text(f"{{gateway: {{auth: {{{more} keys: {keys}}}}}}}", encoding="utf-8")
    return load(str(folder / "main.json5"), environ=environ or {}).config


def digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()


def test_faults_are_told_with_place_and_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DATA)
    with pytest.raises(ConfigError) as caught:
        load("keys.json5", environ=ENVIRON)
    assert list(caught.value.problems) == (DATA / "keys.txt").read_text(encoding="utf-8").splitlines()
    assert "the-secret" not in str(caught.value)
    assert "third-secret" not in str(caught.value)


def test_what_a_key_says(tmp_path: Path) -> None:
    hashed = sha256(b"hashed").hexdigest()
    config = read(
        tmp_path,
        f"""[
            {{ id: "plain", secret: "plain-secret" }},
            {{ id: "hash", hash: "sha256:{hashed.upper()}" }},
        ]""",
    )
    assert resolve_keys(config.gateway.auth, {}) == {
        digest("plain-secret"): Key(Caller("plain", None, API)),
        digest("hashed"): Key(Caller("hash", None, API)),
    }


def test_agents_scopes_rates_and_ends(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        """[
            { id: "a", env: "A_KEY", agents: ["Main", "other"], scopes: ["chat", "operator"], rate: "5/s" },
            { id: "b", secret: "${B_KEY}", rate: { requests: 3, perSeconds: 10 }, expires: "2027-01-31" },
            { id: "c", secret: "c", rate: { requests: 3 }, expires: "2027-01-31T01:00:00+01:00" },
            { id: "d", secret: "d", rate: "1000 / hour", expires: "2027-01-31T00:00:01Z" },
        ]""",
        {"A_KEY": " in-a \n", "B_KEY": "in-b"},
    )
    keys = resolve_keys(config.gateway.auth, {"A_KEY": " in-a \n"})
    end = 1801353600.0  # date -u -d 2027-01-31 +%s
    assert keys == {
        digest("in-a"): Key(Caller("a", frozenset({"main", "other"}), frozenset({"chat", "operator"})), Rate(5, 1.0)),
        digest("in-b"): Key(Caller("b", None, API), Rate(3, 10.0), end),
        digest("c"): Key(Caller("c", None, API), Rate(3, 60.0), end),
        digest("d"): Key(Caller("d", None, API), Rate(1000, 3600.0), end + 1),
    }


def test_keys_need_no_token_beside_them(tmp_path: Path) -> None:
    config = read(tmp_path, '[{ id: "a", secret: "s" }]')
    assert resolve_auth(config.gateway, {}) == Credential("token", None)
    assert resolve_auth(config.gateway, {"GATEWAY_TOKEN": "t"}) == Credential("token", "t")


def test_the_effective_configuration_is_one_and_hides_secrets(tmp_path: Path) -> None:
    hashed = sha256(b"hashed").hexdigest()
    keys = f'[{{id: "a", secret: "s3cret", rate: "5/s", expires: "2027-01-31"}}, {{id: "b", hash: "sha256:{hashed}"}}]'
    config = read(tmp_path, keys)
    shown = effective(config)
    text = json.dumps(shown)
    assert "s3cret" not in text + repr(config)
    assert hashed not in text + repr(config)
    first = shown["gateway"]["auth"]["keys"][0]
    assert first == {
        "id": "a", "secret": "***", "rate": {"requests": 5, "perSeconds": 1}, "expires": "2027-01-31T00:00:00+00:00",
    }  # fmt: skip
    again = read(tmp_path, json.dumps([first]))
    assert again.gateway.auth.keys[0].replace(secret="s3cret") == config.gateway.auth.keys[0]
