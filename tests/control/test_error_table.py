"""What a client does wrong, and what becomes of its connection: raw frames over real sockets.

Rows of `data/control/handshake.frames.jsonl`:

    greet     whether it has connected before, by `protocol` (4) and with `scopes`
    send      what it sends: `json`, `text`, `hex` (binary), `pad` (so many bytes), `connect` (changes to a good one, as
              request 1; with `binary` in a binary message); `times` as often
    replies   what it is answered; `*` stands for anything
    close     code and reason; null: it stays open
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from judging import BASE, TOKEN, merged, rows
from socketing import Talk, gateway_of
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from gateway.control import connection

ROWS = rows("handshake.frames.jsonl")


def messages(step: Mapping[str, Any]) -> Iterator[str | bytes]:
    if "connect" in step:
        text = json.dumps({"type": "req", "id": "1", "method": "connect", "params": merged(BASE, step["connect"])})
        message: str | bytes = text.encode() if step.get("binary") else text
    elif "hex" in step:
        message = bytes.fromhex(step["hex"])
    elif "pad" in step:
        message = " " * step["pad"]
    else:
        message = step["text"] if "text" in step else json.dumps(step["json"])
    for _ in range(step.get("times", 1)):
        yield message


def equal(found: Any, expected: Any) -> bool:
    """`*` stands for anything."""
    if expected == "*":
        return found is not None
    if isinstance(expected, dict) and isinstance(found, dict):
        return found.keys() == expected.keys() and all(equal(found[name], expected[name]) for name in expected)
    return bool(found == expected)


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_row(row: dict[str, Any], tmp_path: Path) -> None:
    async def test() -> None:
        async with gateway_of({}, tmp_path) as gateway:
            talk = await Talk.begin(gateway)
            if row.get("greet"):
                version = row.get("protocol", 4)
                changes = {"minProtocol": version, "maxProtocol": version}
                scopes = row.get("scopes", ["operator.read"])
                assert (await talk.greet(merged(BASE, {**changes, "scopes": scopes})))["ok"]
            for step in row["send"]:
                for message in messages(step):
                    await talk.send(message)
            for reply in row["replies"]:
                found = await talk.next()
                assert equal(found, reply), found
            if row["close"] is None:
                assert await talk.call("health" if row.get("greet") else "no.such", request_id="last")
                await talk.close()
            else:
                code, reason = await talk.end()
                assert code == row["close"][0]
                assert equal(reason, row["close"][1])

    asyncio.run(test())


def test_who_says_nothing_is_sent_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert connection.HANDSHAKE_SECONDS == 15
    monkeypatch.setattr(connection, "HANDSHAKE_SECONDS", 0.3)

    async def test() -> None:
        async with gateway_of({}, tmp_path) as gateway:
            silent, known = await Talk.begin(gateway), await Talk.begin(gateway)
            assert (await known.greet())["ok"]
            assert await silent.end() == (1000, "")
            assert (await known.call("health"))["ok"]
            await known.close()

    asyncio.run(test())


def test_an_address_has_32_connections_that_have_not_said_who_they_are(tmp_path: Path) -> None:
    async def test() -> None:
        async with gateway_of({}, tmp_path) as gateway:
            talks = [await Talk.begin(gateway) for _ in range(32)]
            with pytest.raises(InvalidStatus) as refused:
                await connect(gateway.urls[0].replace("http", "ws", 1), proxy=None)
            assert refused.value.response.status_code == 503
            assert refused.value.response.body == b"Too many unauthenticated sockets"
            assert (await talks[0].greet())["ok"], "who has said it counts no more"
            talks.append(await Talk.begin(gateway))
            for talk in talks:
                await talk.close()

    asyncio.run(test())


def test_a_guesser_is_locked_out(tmp_path: Path) -> None:
    far: dict[str, Any] = {"peer": "remote"}

    async def test() -> None:
        async with gateway_of(far, tmp_path) as gateway:
            for _ in range(10):
                answer = await (await Talk.begin(gateway, far)).greet(merged(BASE, {"auth": {"token": "nope"}}))
                assert answer["error"]["details"]["code"] == "AUTH_TOKEN_MISMATCH"
            locked = await Talk.begin(gateway, far)
            error = (await locked.greet())["error"]
            assert error["details"]["code"] == "AUTH_RATE_LIMITED", "the right one too"
            assert error["retryable"] is True
            assert 290_000 < error["retryAfterMs"] <= 300_000
            assert await locked.end() == (1008, error["message"])
            other = await Talk.begin(gateway, {"peer": "192.0.2.10"})
            assert (await other.greet(merged(BASE, {"auth": {"token": TOKEN}})))["ok"]
            await other.close()

    asyncio.run(test())
