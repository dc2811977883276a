"""`gateway devices` against a gateway that runs, and a device elsewhere that asks to be let in."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from judging import BASE, merged
from processes import TOKEN, Launch, Running, configuration
from signing import Device
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import ClientConnection, connect

FAR = {"x-forwarded-for": "192.0.2.9"}


@contextmanager
def phone(running: Running, device: Device, **changes: Any) -> Iterator[tuple[ClientConnection, Mapping[str, Any]]]:
    """A connection of a device, by way of a proxy, and the answer to its `connect`."""
    params = merged(BASE, {"auth": {"token": TOKEN}, "client": {"displayName": "Änne's phone"}, **changes})
    url = running.origin.replace("http", "ws", 1)
    with connect(url, additional_headers=FAR, proxy=None, open_timeout=20) as link:
        nonce = json.loads(link.recv(20))["payload"]["nonce"]
        proof = device.proof(params, nonce, int(time.time() * 1000))
        frame = {"type": "req", "id": "1", "method": "connect", "params": {**params, "device": proof}}
        link.send(json.dumps(frame))
        yield link, json.loads(link.recv(20))


def test_a_device_is_let_in_and_sent_away(launch: Launch) -> None:
    running = launch(configuration(trustedProxies=["127.0.0.1"]))
    flags = ("--url", running.origin, "--token", TOKEN)
    device = Device("phone")

    def devices(*arguments: str, code: int = 0) -> str:
        done = launch.command("devices", *arguments, *flags)
        assert done.returncode == code, (done.stdout, done.stderr)
        return done.stdout if code == 0 else done.stderr

    assert devices() == "no device is paired, and none asks to be\n"
    assert "There is no request at all" in devices("approve", "x", code=2)
    with phone(running, device) as (link, answer):
        request_id = answer["error"]["details"]["requestId"]
        link.close()
    listed = devices("list")
    assert "asking: 1" in listed
    for shown in (request_id, "Änne's phone (linux)", "roles: operator; scopes: operator.read", "from 192.0.2.9"):
        assert shown in listed
    assert devices("approve", request_id[:8]) == f"approved Änne's phone (linux), device {device.id}\n"
    with phone(running, device) as (link, answer):
        token = answer["payload"]["auth"]["deviceToken"]
        document = json.loads(devices("--json"))
        assert document["pending"] == []
        assert [row["deviceId"] for row in document["paired"]] == [device.id]
        assert token not in json.dumps(document)
        assert "connected" in devices("list")
        assert devices("revoke", device.id[:6]) == f"revoked Änne's phone (linux), device {device.id}\n"
        with suppress(ConnectionClosedError):
            while link.recv(20):
                pass
        assert (link.close_code, link.close_reason) == (4001, "device removed")
    with phone(running, device, auth={"token": None, "deviceToken": token}) as (link, answer):
        assert answer["error"]["details"]["code"] == "AUTH_DEVICE_TOKEN_MISMATCH"
    assert "revoked: operator" in devices("list")
    assert "revoked before" in devices("revoke", device.id, code=1)
    with phone(running, device) as (link, answer):
        assert answer["error"]["details"]["reason"] == "role-upgrade"
    request_id = json.loads(devices("--json"))["pending"][0]["requestId"]
    assert devices("reject", request_id).startswith("rejected")
    assert devices("remove", device.id).startswith("removed")
    assert devices() == "no device is paired, and none asks to be\n"
    assert "which? Give the REQUEST" in devices("approve", code=2)
    assert "takes no ID" in devices("list", "x", code=2)


def test_what_was_approved_outlives_the_gateway(launch: Launch) -> None:
    settings = configuration(trustedProxies=["127.0.0.1"])
    device = Device("phone")
    first = launch(settings)
    with phone(first, device) as (_, answer):
        request_id = answer["error"]["details"]["requestId"]
    done = launch.command("devices", "approve", request_id, "--url", first.origin, "--token", TOKEN)
    assert done.returncode == 0, done.stderr
    first.stop()
    second = launch(settings)
    with phone(second, device) as (_, answer):
        assert answer["ok"], answer
