"""Signatures of devices, against published vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from signing import sign

from gateway.control.ed25519 import L, verify

# From Project Wycheproof (https://github.com/C2SP/wycheproof, testvectors_v1/ed25519_test.json), in fewer members; among
# them those of RFC 8032, 7.1.  Its licence stands beside it.
FILE = Path(__file__).parents[1] / "data" / "control" / "ed25519.wycheproof.jsonl"
VECTORS: list[dict[str, Any]] = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("vector", VECTORS, ids=[str(vector["id"]) for vector in VECTORS])
def test_wycheproof(vector: dict[str, Any]) -> None:
    key, message, signature = (bytes.fromhex(vector[name]) for name in ("key", "message", "signature"))
    good = verify(key, message, signature)
    if vector["result"] == "acceptable":  # left to the implementation: keys of small order hold for any message
        assert good == ("SmallOrderPublicKey" not in vector["flags"])
    else:
        assert good == (vector["result"] == "valid"), vector["comment"]


def test_they_are_all_there() -> None:
    assert len(VECTORS) == 210
    assert {vector["result"] for vector in VECTORS} == {"valid", "invalid", "acceptable"}


def test_one_bit_makes_another_signature() -> None:
    message = b"v3|device"
    key, signature = sign(bytes(32), message)
    assert verify(key, message, signature)
    for position in range(0, 64 * 8, 37):
        changed = bytearray(signature)
        changed[position // 8] ^= 1 << position % 8
        assert not verify(key, message, bytes(changed))
    assert not verify(key, message + b" ", signature)
    assert not verify(
        key, message, signature[:32] + (int.from_bytes(signature[32:], "little") + L).to_bytes(32, "little")
    )


@pytest.mark.parametrize(("key", "signature"), [(31, 64), (33, 64), (32, 63), (32, 65), (0, 0)])
def test_lengths(key: int, signature: int) -> None:
    assert not verify(bytes(key), b"", bytes(signature))
