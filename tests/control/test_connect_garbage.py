"""Whatever a client sends as `connect`, it is let in or told why not."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import BASE, NONCE, NOW, TOKEN, Bench, peer_of, request_head
from signing import Device

from gateway.control.connect import ConnectRefusedError, Visit, Welcome

NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
TEXTS = st.text(max_size=20) | st.sampled_from(
    ["", " ", "operator", "operator.admin", "node", TOKEN, NONCE, "\ud800", "a" * 5000]
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)
PATHS = [
    ["minProtocol"], ["maxProtocol"], ["client"], ["client", "id"], ["client", "mode"], ["client", "platform"],
    ["client", "deviceFamily"], ["client", "displayName"], ["caps"], ["auth"], ["auth", "token"], ["auth", "password"],
    ["auth", "deviceToken"], ["auth", "bootstrapToken"], ["role"], ["scopes"], ["scopes", 0], ["device"], ["device", "id"],
    ["device", "publicKey"], ["device", "signature"], ["device", "signedAt"], ["device", "nonce"], ["more"],
]  # fmt: skip
ORIGINS = (
    st.none() | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30) | st.just("http://localhost")
)


@settings(max_examples=150)
@given(
    changes=st.lists(st.tuples(st.sampled_from(PATHS), VALUES), max_size=4),
    protocol=st.sampled_from([3, 4]),
    origin=ORIGINS,
    host=ORIGINS,
    place=st.sampled_from(["local", "remote", "2001:db8::1", "fe80::1%eth0", ""]),
    auth=st.sampled_from(["token", "password", "keys", "open"]),
)
def test_garbage(changes: Any, protocol: int, origin: str | None, host: str | None, place: str, auth: str) -> None:
    params: Any = copy.deepcopy(BASE) | {"minProtocol": protocol, "maxProtocol": protocol}
    params["device"] = Device().proof(params, NONCE, NOW)
    for path, value in changes:
        *parents, name = path
        target = params
        for parent in parents:
            target = target[parent] if isinstance(target, dict) and parent in target else None
        if isinstance(target, dict) or (isinstance(target, list) and target and name == 0):
            target[name] = value
    bench = Bench({"auth": auth})
    headers = {name: value for name, value in (("origin", origin), ("host", host)) if value}
    visit = Visit(request_head(headers), peer_of({"peer": place}), NONCE)
    told, refused = asyncio.run(judged(bench, params, visit))
    if refused is not None:
        json.dumps(refused.shape()).encode()
        assert len(refused.close_reason.encode()) <= 120
        assert refused.close_code in {1002, 1008}
    if told is not None:
        json.dumps(told.auth).encode()
        if place not in {"local", ""}:
            assert not told.scopes, "nobody has approved anything"


async def judged(bench: Bench, params: Any, visit: Visit) -> tuple[Welcome | None, ConnectRefusedError | None]:
    try:
        return await bench.connects.judge(params, visit), None
    except ConnectRefusedError as error:
        return None, error


@pytest.mark.parametrize(
    "params", [None, [], 7, "x", {}, {"client": {}}, {"client": None, "minProtocol": 4, "maxProtocol": 4}]
)
def test_no_object(params: Any) -> None:
    visit = Visit(request_head({}), peer_of({}), NONCE)
    with pytest.raises(ConnectRefusedError, match="invalid connect params"):
        asyncio.run(Bench({}).connects.judge(params, visit))
