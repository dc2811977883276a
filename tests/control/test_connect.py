"""Who is let in, and as what; how the others are told."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from judging import NONCE, TOKEN, Bench, matches, peer_of, request_head, rows

from gateway.control import connect, proof
from gateway.control.connect import ConnectRefusedError, Visit

ROWS = rows("handshake.jsonl")


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_row(row: dict[str, Any]) -> None:
    bench = Bench(row)
    if "error" in row:
        with pytest.raises(ConnectRefusedError) as caught:
            asyncio.run(bench.judge(row))
        error = caught.value
        assert matches(error.shape(), row["error"]), error.shape()
        code, *reason = row["close"]
        assert error.close_code == code
        assert matches(error.close_reason, reason[0] if reason else error.message[:120])
        assert len(bench.door.counted) == row.get(
            "penalty", row.get("peer") == "remote" and "mismatch" in error.message
        )
    else:
        told = asyncio.run(bench.judge(row))
        expected = row["welcome"]
        assert list(told.scopes) == expected["scopes"]
        assert (told.role, told.protocol) == (expected["role"], expected["protocol"])
        assert told.auth.get("method") == expected["method"]
        assert told.caller.id == expected.get("caller", "")
        assert ("deviceToken" in told.auth, "issuedAtMs" in told.auth) == (expected["device"], expected["device"])
        assert told.device_id == (bench.device.id if "device" in row else None)
        assert not bench.door.counted
    assert len(bench.paused) == (1 if row.get("penalty") else 0)


def test_waits_after_wrong_secrets_grow_up_to_five_seconds() -> None:
    bench = Bench({})

    async def test() -> None:
        for _ in range(8):
            with pytest.raises(ConnectRefusedError):
                await bench.judge({"connect": {"auth": {"token": "nope"}}})
        assert bench.paused == [0.25, 0.5, 1, 2, 4, 5, 5, 5]
        await bench.judge({})
        with pytest.raises(ConnectRefusedError):
            await bench.judge({"connect": {"auth": {"token": "nope"}}})
        assert bench.paused[-1] == 0.25, "the right one makes good for what was mistyped"
        bench.now += 60_000
        with pytest.raises(ConnectRefusedError):
            await bench.judge({"connect": {"auth": {"token": "nope"}}})
        assert bench.paused[-1] == 0.25, "forgotten after a minute"

    asyncio.run(test())


def test_a_proof_is_good_for_one_connection() -> None:
    bench = Bench({})
    row: dict[str, Any] = {"device": {}}

    async def test() -> None:
        assert (await bench.judge(row)).device_id == bench.device.id
        with pytest.raises(ConnectRefusedError, match="device nonce mismatch"):
            await bench.judge({"device": {"with": {"nonce": NONCE[::-1]}}})

    asyncio.run(test())


def test_a_token_that_is_revoked_while_its_proof_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    row: dict[str, Any] = {
        "paired": {"role": "operator", "scopes": ["operator.read"]},
        "connect": {"auth": {"token": None, "deviceToken": "DEVICE_TOKEN"}},
        "device": {},
    }
    bench = Bench(row)
    told = asyncio.run(bench.judge(row))
    assert bench.connects.recalls(told)

    def revoke(*_: object) -> None:
        bench.devices.revoke(bench.device.id, "operator", ("operator.admin",))

    monkeypatch.setattr(connect, "check_signature", revoke)
    with pytest.raises(ConnectRefusedError, match="device token mismatch"):
        asyncio.run(bench.judge(row))
    assert not bench.connects.recalls(told), "whoever slipped in is found with the next tick"


def test_no_signature_is_computed_for_who_has_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    computed = []
    monkeypatch.setattr(proof, "verify", lambda *arguments: computed.append(arguments))
    for row in ({"auth": {"token": "nope"}}, {"auth": None}, {"auth": {"token": None, "deviceToken": "nope"}}):
        with pytest.raises(ConnectRefusedError, match="unauthorized"):
            asyncio.run(Bench({}).judge({"connect": row, "device": {}}))
    assert not computed
    with pytest.raises(ConnectRefusedError, match="device signature invalid"):
        asyncio.run(Bench({}).judge({"device": {}}))
    assert len(computed) == 2, "of the two texts that a client may have signed"


RECORDED = rows("handshake.recorded.jsonl")
"""What the commands of OpenClaw 2026.9.6 sent to their own gateway on this machine, and what it answered.

Without those that were recorded in part only: with a device, or with more than three scopes.
"""


@pytest.mark.parametrize("row", RECORDED, ids=[row["name"] for row in RECORDED])
def test_recorded(row: dict[str, Any]) -> None:
    params = json.loads(json.dumps(row["params"]).replace('"TOKEN"', json.dumps(TOKEN)))
    visit = Visit(request_head({}), peer_of({}), NONCE)
    if "error" in row:
        with pytest.raises(ConnectRefusedError) as caught:
            asyncio.run(Bench({}).connects.judge(params, visit))
        assert caught.value.shape() == row["error"]
        assert (caught.value.close_code, caught.value.close_reason) == (1008, row["error"]["message"])
    else:
        told = asyncio.run(Bench({}).connects.judge(params, visit))
        assert told.auth == row["auth"]
        assert told.protocol == row["protocol"]
