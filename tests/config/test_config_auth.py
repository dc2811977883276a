"""Which secret is asked for, and when the gateway must not start."""

from __future__ import annotations

import pytest

from gateway.config import Auth, Credential, Gateway, is_local, resolve_auth
from gateway.errors import ConfigError


@pytest.mark.parametrize(
    ("auth", "environ", "mode", "secret"),
    [
        (Auth(token="t"), {}, "token", "t"),
        (Auth(password="p"), {}, "password", "p"),
        (Auth(token="t", password="p"), {}, "password", "p"),
        (Auth(token="t", password="p", mode="token"), {}, "token", "t"),
        (Auth(), {"GATEWAY_TOKEN": "own"}, "token", "own"),
        (Auth(), {"GATEWAY_TOKEN": "own", "CLAWDBOT_GATEWAY_TOKEN": "c"}, "token", "c"),
        (Auth(), {"CLAWDBOT_GATEWAY_TOKEN": "c", "OPENCLAW_GATEWAY_TOKEN": "o"}, "token", "o"),
        (Auth(), {"CLAWDBOT_GATEWAY_TOKEN": "c", "OPENCLAW_GATEWAY_TOKEN": " "}, "token", "c"),
        (Auth(token="t"), {"OPENCLAW_GATEWAY_TOKEN": "o"}, "token", "t"),
        (Auth(token="t"), {"OPENCLAW_GATEWAY_PASSWORD": "p"}, "password", "p"),
        (Auth(mode="token", token="t"), {"OPENCLAW_GATEWAY_PASSWORD": "p"}, "token", "t"),
        (Auth(mode="password"), {"MOLTBOT_GATEWAY_PASSWORD": "p\n"}, "password", "p"),
    ],
)
def test_the_secret(auth: Auth, environ: dict[str, str], mode: str, secret: str) -> None:
    assert resolve_auth(Gateway(auth=auth), environ) == Credential(mode, secret)


@pytest.mark.parametrize("mode", [None, "token", "password"])
def test_no_secret_no_start(mode: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_auth(Gateway(auth=Auth(mode=mode)), {"OTHER": "x"})
    word = mode or "token"
    assert f"no {word} is set" in str(caught.value)
    assert f"Set gateway.auth.{word} or OPENCLAW_GATEWAY_{word.upper()} or " in str(caught.value)


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "unix:/run/g.sock"])
def test_mode_none_on_this_machine(bind: str) -> None:
    assert is_local(bind)
    gateway = Gateway(bind=bind, auth=Auth(mode="none", token="t"))
    assert resolve_auth(gateway, {"GATEWAY_TOKEN": "t"}) == Credential("none", None)


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "10.0.0.1", "gateway.example", "localhost.example"])
def test_mode_none_elsewhere_is_refused(bind: str) -> None:
    assert not is_local(bind)
    with pytest.raises(ConfigError, match="would let everyone who reaches"):
        resolve_auth(Gateway(bind=bind, auth=Auth(mode="none")), {})


def test_the_secret_is_not_shown() -> None:
    assert "s3cret" not in repr(resolve_auth(Gateway(), {"GATEWAY_TOKEN": "s3cret"}))
