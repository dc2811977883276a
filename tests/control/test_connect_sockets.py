"""The same rows as in `test_connect`, over real sockets: what a client reads, and how its connection ends."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from judging import NOW, Bench, matches, params_of, rows
from socketing import Talk, gateway_of

# A lockout is a matter of many connections, see `test_error_table`.
ROWS = [row for row in rows("handshake.jsonl") if "locked" not in row]


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_row(row: dict[str, Any], tmp_path: Path) -> None:
    bench = Bench(row, str(tmp_path / "devices.json"))  # pairs its device

    async def test() -> None:
        await bench.devices.save()
        async with gateway_of(row, tmp_path) as gateway:
            talk = await Talk.begin(gateway, row)
            assert talk.ts == NOW
            answer = await talk.greet(params_of(row, bench.device, bench.token, talk.nonce, NOW))
            if "error" in row:
                assert answer.keys() == {"type", "id", "ok", "error"}
                assert matches(answer["error"], row["error"]), answer["error"]
                code, *reason = row["close"]
                expected = reason[0] if reason else answer["error"]["message"][:120]
                ended, told = await talk.end()
                assert ended == code
                assert matches(told, expected)
                return
            hello = answer["payload"]
            expected = row["welcome"]
            assert (answer["ok"], hello["type"], hello["protocol"]) == (True, "hello-ok", expected["protocol"])
            auth = hello.get("auth", {})
            assert ("deviceToken" in auth) == expected["device"]
            if expected["method"] is not None:
                assert (auth["method"], auth["role"], auth["scopes"]) == (
                    expected["method"], expected["role"], expected["scopes"],
                )  # fmt: skip
            health = await talk.call("health")
            assert health["ok"] == (expected["role"] == "operator"), json.dumps(health)
            await talk.close()

    asyncio.run(test())
