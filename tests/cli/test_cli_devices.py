"""`gateway devices`, with a gateway that says what it is told to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from scripted_gateway import Wire, scripted

from gateway.cli import main
from gateway.cli.console import FAILED, WRONG_USAGE

ASKING = {
    "requestId": "3f2a-1",
    "deviceId": "d1",
    "displayName": "phone",
    "roles": ["operator"],
    "scopes": ["operator.read"],
}
PAIRED = {
    "deviceId": "d2", "clientId": "cli", "platform": "linux", "roles": ["operator", "node"], "scopes": [],
    "approvedVia": "silent", "tokens": [{"role": "operator"}, {"role": "node"}],
}  # fmt: skip
HOSTILE: list[Any] = [
    None, [], 7, {}, {"pending": [{"roles": 7, "scopes": "x"}]}, {"pending": 7, "paired": "x"}, {"pending": [None, 1, {}], "paired": [{}, {"tokens": [1, {}]}]},
    {"pending": [{"requestId": "\x1b[2J", "displayName": "a\nb\u202e", "ts": 10**300, "scopes": [{}], "remoteIp": [1]}]},
    {"paired": [{"deviceId": 7, "approvedAtMs": -1, "lastSeenAtMs": 1e300, "tokens": [{"role": "\x07", "revokedAtMs": 1}]}]},
]  # fmt: skip


def run(
    capsys: pytest.CaptureFixture[str], listed: Any, *arguments: str, **answers: Any
) -> tuple[int, str, str, list[Any]]:
    seen: list[Any] = []

    def script(wire: Wire) -> None:
        wire.greet()
        wire.serve(device_pair_list=listed, **answers)

    with scripted(script) as gateway:
        code = main(["devices", *arguments, *gateway.flags])
        seen += gateway.seen
    captured = capsys.readouterr()
    return code, captured.out, captured.err, [(frame["method"], frame.get("params")) for frame in seen[1:]]


@pytest.mark.parametrize("listed", HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_a_gateway_lists_is_shown_without_harm(listed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _, _ = run(capsys, listed)
    assert code == 0
    assert out
    assert not set(out) & set("\x1b\x07\u202e")


def test_what_it_asks(capsys: pytest.CaptureFixture[str]) -> None:
    listed = {"pending": [ASKING], "paired": [PAIRED]}
    code, out, _, asked = run(capsys, listed, "approve", "3f2a", device_pair_approve={"requestId": "3f2a-1"})
    assert (code, out) == (0, "approved phone, device d1\n")
    assert asked[1] == ("device.pair.approve", {"requestId": "3f2a-1"})
    code, out, _, asked = run(capsys, listed, "reject", "3f2a-1", "--json", device_pair_reject={"requestId": "3f2a-1"})
    assert (code, json.loads(out)) == (0, {"requestId": "3f2a-1"})
    code, out, _, asked = run(capsys, listed, "revoke", "d2", device_token_revoke={})
    assert (code, out) == (0, "revoked cli (linux), device d2\n")
    assert [params["role"] for _, params in asked[1:]] == ["operator", "node"]
    code, _, _, asked = run(capsys, listed, "revoke", "d2", "--role", "node", device_token_revoke={})
    assert (code, asked[1:]) == (0, [("device.token.revoke", {"deviceId": "d2", "role": "node"})])
    code, _, _, asked = run(capsys, listed, "remove", "d2", device_pair_remove={"deviceId": "d2"})
    assert (code, asked[1:]) == (0, [("device.pair.remove", {"deviceId": "d2"})])


def test_one_has_to_be_meant(capsys: pytest.CaptureFixture[str]) -> None:
    listed = {"pending": [ASKING, {**ASKING, "requestId": "3f2a-2"}], "paired": [PAIRED]}
    code, _, told, asked = run(capsys, listed, "approve", "3f2a")
    assert code == WRONG_USAGE
    assert "more than one request has an id that begins with '3f2a'. There is: 3f2a-1, 3f2a-2" in told
    assert len(asked) == 1, "nothing was done"
    assert run(capsys, listed, "approve", "")[0] == WRONG_USAGE
    revoked = {**PAIRED, "tokens": [{"role": "operator", "revokedAtMs": 1}]}
    code, _, told, _ = run(capsys, {"paired": [revoked]}, "revoke", "d2")
    assert code == FAILED
    assert "it was revoked before" in told
