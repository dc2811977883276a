"""`device.pair.*` and `device.token.*`, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from judging import BASE, NOW, merged
from signing import Device
from socketing import Talk, gateway_of

from gateway import Gateway

ALL = ["operator.admin", "operator.pairing"]
FAR: dict[str, Any] = {"peer": "remote"}
Test = Callable[[Gateway], Awaitable[None]]


def running(test: Test, folder: Path) -> None:
    async def main() -> None:
        async with gateway_of(FAR, folder) as gateway:
            await test(gateway)

    asyncio.run(main())


async def operator(gateway: Gateway, *scopes: str, **changes: Any) -> Talk:
    """A CLI on this machine."""
    talk = await Talk.begin(gateway)
    assert (await talk.greet(merged(BASE, {"scopes": scopes or ALL, **changes})))["ok"]
    return talk


async def device(gateway: Gateway, device: Device, row: Any = FAR, **changes: Any) -> tuple[Talk, Any]:
    """A device that connects, and its answer."""
    talk = await Talk.begin(gateway, row)
    params = merged(BASE, changes)
    answer = await talk.greet({**params, "device": device.proof(params, talk.nonce, NOW)})
    return talk, answer


async def paired(gateway: Gateway, owner: Talk, name: str, *scopes: str) -> tuple[Device, Talk, str]:
    """A device from elsewhere that somebody approved."""
    phone = Device(name)
    changes = {"scopes": list(scopes) or ["operator.read"]}
    _, refused = await device(gateway, phone, **changes)
    request_id = refused["error"]["details"]["requestId"]
    assert (await owner.call("device.pair.approve", {"requestId": request_id}))["ok"]
    talk, answer = await device(gateway, phone, **changes)
    return phone, talk, answer["payload"]["auth"]["deviceToken"]


def test_a_device_is_approved_and_comes_in(tmp_path: Path) -> None:
    phone = Device("phone")

    async def test(gateway: Gateway) -> None:
        owner = await operator(gateway)
        refused, answer = await device(gateway, phone, client={"displayName": "My phone"})
        error = answer["error"]
        request_id = error["details"]["requestId"]
        assert error["code"] == "NOT_PAIRED"
        assert await refused.end() == (
            1008, f"pairing required: device is not approved yet (requestId: {request_id})"[:120],
        )  # fmt: skip
        listed = (await owner.call("device.pair.list", {}))["payload"]
        assert listed["paired"] == []
        assert listed["pending"] == [{
            "requestId": request_id, "deviceId": phone.id, "publicKey": listed["pending"][0]["publicKey"],
            "displayName": "My phone", "platform": "linux", "deviceFamily": "Linux", "clientId": "cli",
            "clientMode": "cli", "role": "operator", "roles": ["operator"], "scopes": ["operator.read"],
            "remoteIp": "192.0.2.9", "silent": False, "isRepair": False, "ts": NOW,
        }]  # fmt: skip
        approved = (await owner.call("device.pair.approve", {"requestId": request_id}))["payload"]
        assert approved["requestId"] == request_id
        assert approved["device"]["deviceId"] == phone.id
        talk, answer = await device(gateway, phone)
        auth = answer["payload"]["auth"]
        assert auth["scopes"] == ["operator.read"]
        listed = (await owner.call("device.pair.list", {}))["payload"]
        assert listed["pending"] == []
        assert [row["connected"] for row in listed["paired"]] == [True]
        assert listed["paired"][0]["tokens"] == [{
            "role": "operator", "scopes": ["operator.read"], "createdAtMs": NOW,
        }]  # fmt: skip
        assert auth["deviceToken"] not in str(listed)
        await talk.close()
        by_token = {"auth": {"token": None, "deviceToken": auth["deviceToken"]}}
        talk, answer = await device(gateway, phone, **by_token)
        again = answer["payload"]["auth"]
        assert (again["method"], again["deviceToken"]) == ("device-token", auth["deviceToken"])
        for one in (talk, owner):
            await one.close()

    running(test, tmp_path)


def test_events_tell_of_those_who_ask(tmp_path: Path) -> None:
    async def test(gateway: Gateway) -> None:
        owner, reader = await operator(gateway), await operator(gateway, "operator.read")
        _, answer = await device(gateway, Device())
        request_id = answer["error"]["details"]["requestId"]
        assert (await owner.call("device.pair.reject", {"requestId": request_id}))["payload"]["requestId"] == request_id
        assert owner.events("device.pair.requested")[0]["requestId"] == request_id
        found = owner.events("device.pair.resolved")
        assert (found[0]["requestId"], found[0]["decision"]) == (request_id, "rejected")
        await reader.call("health")
        assert not reader.events("device.pair.requested"), "it has not the scope"
        again = await owner.call("device.pair.reject", {"requestId": request_id})
        assert again["error"]["message"] == "unknown requestId"
        for one in (owner, reader):
            await one.close()

    running(test, tmp_path)


@pytest.mark.parametrize("method", ["device.token.revoke", "device.token.rotate", "device.pair.remove"])
def test_who_is_revoked_is_sent_away(method: str, tmp_path: Path) -> None:
    async def test(gateway: Gateway) -> None:
        owner = await operator(gateway)
        phone, talk, token = await paired(gateway, owner, "phone")
        _, other, _ = await paired(gateway, owner, "tablet")
        params = {"deviceId": phone.id} | ({} if method.endswith("remove") else {"role": "operator"})
        answer = await owner.call(method, params)
        assert answer["ok"], answer
        assert answer["payload"]["deviceId"] == phone.id
        assert "token" not in answer["payload"], "only the device itself is told"
        assert await talk.end() == (4001, "device removed")
        assert (await other.call("health"))["ok"]
        refused, answer = await device(gateway, phone, auth={"token": None, "deviceToken": token})
        assert answer["error"]["details"]["code"] == "AUTH_DEVICE_TOKEN_MISMATCH"
        assert (await refused.end())[0] == 1008
        refused, answer = await device(gateway, phone)
        reasons = {"device.token.revoke": "role-upgrade", "device.pair.remove": "not-paired"}
        if method in reasons:
            assert answer["error"]["details"]["reason"] == reasons[method]
        else:
            assert answer["payload"]["auth"]["deviceToken"] != token
        for one in (refused, other, owner):
            await one.close()

    running(test, tmp_path)


def test_a_device_manages_itself_only(tmp_path: Path) -> None:
    scopes = ("operator.read", "operator.pairing")

    async def test(gateway: Gateway) -> None:
        owner = await operator(gateway)
        phone, first, token = await paired(gateway, owner, "phone", *scopes)
        await first.close()
        tablet, second, _ = await paired(gateway, owner, "tablet")
        talk, _ = await device(gateway, phone, auth={"token": None, "deviceToken": token}, scopes=list(scopes))
        _, asking = await device(gateway, Device("third"))
        request = {"requestId": asking["error"]["details"]["requestId"]}
        listed = (await talk.call("device.pair.list", {}))["payload"]
        assert [row["deviceId"] for row in listed["paired"]] == [phone.id]
        assert listed["pending"] == []
        refusals = {
            "device.pair.approve": (request, "device pairing approval denied"),
            "device.pair.reject": (request, "device pairing rejection denied"),
            "device.pair.remove": ({"deviceId": tablet.id}, "device pairing removal denied"),
            "device.token.revoke": ({"deviceId": tablet.id, "role": "operator"}, "device token revocation denied"),
            "device.token.rotate": ({"deviceId": tablet.id, "role": "operator"}, "device token rotation denied"),
        }
        for method, (params, message) in refusals.items():
            error = (await talk.call(method, params))["error"]
            assert (error["code"], error["message"]) == ("INVALID_REQUEST", message)
        rotated = (await talk.call("device.token.rotate", {"deviceId": phone.id, "role": "operator"}))["payload"]
        assert rotated["tokenDelivery"] == "in-band"
        assert await talk.end() == (4001, "device removed"), "after its answer"
        talk, answer = await device(gateway, phone, auth={"token": None, "deviceToken": rotated["token"]})
        assert answer["ok"]
        for one in (talk, second, owner):
            await one.close()

    running(test, tmp_path)


def test_a_key_with_some_agents_lets_in_nobody(tmp_path: Path) -> None:
    """A device that is paired acts for the operator: with any agent."""

    async def test(gateway: Gateway) -> None:
        _, asking = await device(gateway, Device())
        params = {"requestId": asking["error"]["details"]["requestId"]}
        limited = await operator(gateway, auth={"token": "key-of-all"})
        error = (await limited.call("device.pair.approve", params))["error"]
        assert error["message"] == "device pairing approval denied"
        assert (await limited.call("device.pair.list", {}))["payload"] == {"pending": [], "paired": []}
        await limited.close()

    running(test, tmp_path)


def test_nobody_approves_more_than_they_have(tmp_path: Path) -> None:
    async def test(gateway: Gateway) -> None:
        _, asking = await device(gateway, Device(), scopes=["operator.admin"])
        params = {"requestId": asking["error"]["details"]["requestId"]}
        helper = await operator(gateway, "operator.pairing")
        error = (await helper.call("device.pair.approve", params))["error"]
        assert (error["code"], error["message"]) == ("INVALID_REQUEST", "missing scope: operator.admin")
        await helper.close()

    running(test, tmp_path)


def test_a_node_may_connect_and_ask_nothing(tmp_path: Path) -> None:
    async def test(gateway: Gateway) -> None:
        node = {"role": "node", "scopes": [], "client": {"id": "node-host", "mode": "node"}}
        talk, answer = await device(gateway, Device(), {}, **node)
        assert answer["payload"]["auth"]["role"] == "node"
        error = (await talk.call("health"))["error"]
        assert (error["code"], error["message"]) == ("INVALID_REQUEST", "unauthorized role: node")
        await talk.close()

    running(test, tmp_path)


def test_what_is_kept_is_kept_over_a_restart(tmp_path: Path) -> None:
    tokens = []

    async def before(gateway: Gateway) -> None:
        owner = await operator(gateway)
        _, talk, token = await paired(gateway, owner, "phone")
        tokens.append(token)
        for one in (talk, owner):
            await one.close()

    async def after(gateway: Gateway) -> None:
        talk, answer = await device(gateway, Device("phone"), auth={"token": None, "deviceToken": tokens[0]})
        assert answer["payload"]["auth"]["method"] == "device-token"
        await talk.close()

    running(before, tmp_path)
    running(after, tmp_path)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "devices.json").write_text("{")

    async def test(gateway: Gateway) -> None:
        talk, answer = await device(gateway, Device())
        error = answer["error"]
        assert (error["code"], error["retryable"]) == ("UNAVAILABLE", True)
        assert "move it away" in error["message"]
        assert (await talk.end())[0] == 1008
        owner = await operator(gateway)
        listed = await owner.call("device.pair.list", {})
        assert listed["error"]["code"] == "UNAVAILABLE"
        assert (await owner.call("health"))["ok"], "who has no device is not concerned"
        await owner.close()

    running(test, tmp_path)
