"""The paired devices, and their file."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.control import devices as room
from gateway.control.devicefile import DeviceFile
from gateway.control.devices import Ask, Devices
from gateway.control.problem import RpcError
from gateway.errors import StoreError

ADMIN = ("operator.admin",)


def ask(name: str = "a", *scopes: str, role: str = "operator", **more: Any) -> Ask:
    return Ask(name, f"key of {name}", role, scopes or ("operator.read",), "cli", "cli", **more)


class Shelf(Devices):
    """On a clock that is set."""

    def __init__(self, path: Path | None = None) -> None:
        self.now = 1_000_000
        self.events: list[tuple[str, Mapping[str, Any]]] = []
        file = DeviceFile(None if path is None else str(path))
        super().__init__(file, lambda: self.now, lambda *event: self.events.append(event))


def test_what_was_approved_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "state" / "devices.json"

    async def test() -> None:
        first = Shelf(path)
        await first.load()
        device = first.approve(first.ask(ask("a", "operator.write", display_name="Änne's phone")).request_id, ADMIN)
        issued = first.issue("a", "operator", ("operator.write",))
        assert issued is not None
        first.pair(ask("b"))
        await first.save()
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        text = path.read_text(encoding="utf-8")
        assert issued[0] not in text, "only its hash is kept"

        second = Shelf(path)
        await second.load()
        assert [one.device_id for one in second.paired()] == ["a", "b"]
        found = second.get("a")
        assert found is not None
        assert found.row() == first.paired()[0].row()
        assert found.scopes == device.scopes == ("operator.write",)
        assert second.check("a", issued[0], "operator", ("operator.read",)) is None
        assert second.check("a", issued[0] + "x", "operator", ()) == "mismatch"
        assert second.check("b", issued[0], "operator", ()) == "mismatch"
        assert second.check("a", issued[0], "operator", ("operator.admin",)) == "scope-mismatch"
        assert second.check("a", issued[0], "node", ()) == "mismatch"
        assert second.check("a", "\ud800", "operator", ()) == "mismatch"
        assert not list(path.parent.glob("*.new"))

    asyncio.run(test())


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff", b'{"version": 2, "devices": []}', b'{"version": 1, "devices": [{}]}',
     b'{"version": 1, "devices": [{"device_id": "a", "roles": [1], "scopes": [], "grants": []}]}',
     b'{"version": 1, "devices": [{"device_id": "a", "roles": [], "scopes": [], "grants": [{"role": "x", "y": 1}]}]}',
     b"[" * 100_000],
)  # fmt: skip
def test_a_file_that_is_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "devices.json"
    path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(StoreError, match="move it away") as told:
            asyncio.run(Shelf(path).load())
        assert str(path) in told.value.message
    assert path.read_bytes() == content, "it is not overwritten"


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    async def test() -> None:
        shelf = Shelf(tmp_path / "file" / "devices.json")
        shelf.pair(ask())
        for _ in range(2):
            with pytest.raises(StoreError, match="paired devices cannot be kept"):
                await shelf.save()
        (tmp_path / "file").unlink()
        await shelf.save()
        assert (tmp_path / "file" / "devices.json").exists(), "what failed is tried again"

    asyncio.run(test())


def test_many_at_once_are_kept_by_few_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[str] = []
    whole = os.replace

    def counted(source: str, target: str) -> None:
        writes.append(target)
        whole(source, target)

    monkeypatch.setattr(os, "replace", counted)
    path = tmp_path / "devices.json"

    async def test() -> None:
        shelf = Shelf(path)
        await shelf.load()

        async def come(number: int) -> None:
            shelf.pair(ask(str(number)))
            await shelf.save()

        await asyncio.gather(*(come(number) for number in range(50)))
        assert len(json.loads(path.read_bytes())["devices"]) == 50
        assert len(writes) <= 3
        await shelf.save()
        assert len(writes) <= 3, "nothing has changed"

    asyncio.run(test())


def test_nothing_is_kept_without_a_file() -> None:
    async def test() -> None:
        shelf = Shelf()
        await shelf.load()
        shelf.pair(ask())
        await shelf.save()
        assert len(shelf.paired()) == 1

    asyncio.run(test())


def test_an_ask_stands_for_five_minutes_and_again_when_it_is_repeated() -> None:
    shelf = Shelf()
    first = shelf.ask(ask("a", "operator.write"))
    shelf.now += 200_000
    again = shelf.ask(ask("a", "operator.read"))
    assert again.request_id == first.request_id, "it asks for less"
    assert again.ask.scopes == ("operator.write",)
    shelf.now += 300_000
    assert shelf.waiting(first.request_id) is not None
    shelf.now += 1
    assert shelf.pending() == []
    with pytest.raises(RpcError, match="unknown requestId"):
        shelf.approve(first.request_id, ADMIN)
    assert [name for name, _ in shelf.events] == ["device.pair.requested"]


def test_an_ask_for_more_takes_the_place_of_the_one_before() -> None:
    shelf = Shelf()
    first = shelf.ask(ask("a", "operator.read"))
    second = shelf.ask(ask("a", "operator.pairing"))
    assert [one.request_id for one in shelf.pending()] == [second.request_id]
    assert second.ask.scopes == ("operator.pairing", "operator.read")
    third = shelf.ask(ask("a", "node.x", role="node"))
    assert third.roles == ("operator", "node")
    told = [(name, payload.get("requestId"), payload.get("decision")) for name, payload in shelf.events]
    assert told == [
        ("device.pair.requested", first.request_id, None),
        ("device.pair.resolved", first.request_id, "rejected"),
        ("device.pair.requested", second.request_id, None),
        ("device.pair.resolved", second.request_id, "rejected"),
        ("device.pair.requested", third.request_id, None),
    ]


def test_asks_and_devices_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf()
    for number in range(room.PENDING_MOST + 10):
        shelf.ask(ask(str(number)))
    assert len(shelf.pending()) == room.PENDING_MOST
    assert {one.ask.device_id for one in shelf.pending()}.isdisjoint(map(str, range(10)))
    monkeypatch.setattr(room, "PAIRED_MOST", 5)
    kept = shelf.approve(shelf.ask(ask("kept")).request_id, ADMIN)
    for number in range(10):
        shelf.now += 1
        shelf.pair(ask(f"new-{number}"))
    assert [one.device_id for one in shelf.paired()] == [kept.device_id, *(f"new-{number}" for number in range(6, 10))]


def test_who_approves_must_have_what_is_asked_for() -> None:
    shelf = Shelf()
    pending = shelf.ask(ask("a", "operator.write"))
    with pytest.raises(RpcError, match=r"missing scope: operator\.write"):
        shelf.approve(pending.request_id, ("operator.pairing", "operator.read"))
    other = shelf.ask(ask("b", "operator.read", role="node"))
    with pytest.raises(RpcError, match=r"invalid scope for requested roles: operator\.read"):
        shelf.approve(other.request_id, ADMIN)
    assert len(shelf.pending()) == 2
    assert shelf.approve(pending.request_id, ("operator.write",)).approved_via == "owner"
    assert shelf.reject(other.request_id).request_id == other.request_id


def test_a_device_has_eight_tokens_and_the_one_unused_for_longest_goes() -> None:
    shelf = Shelf()
    shelf.pair(ask())
    tokens = [shelf.issue("a", "operator", ()) or ("", 0) for _ in range(room.TOKENS_MOST)]
    assert shelf.check("a", tokens[0][0], "operator", ()) is None, "used now"
    shelf.issue("a", "operator", ())
    assert shelf.check("a", tokens[1][0], "operator", ()) == "mismatch"
    assert all(shelf.check("a", token, "operator", ()) is None for token, _ in (tokens[0], *tokens[2:]))


def test_a_token_is_for_what_was_approved() -> None:
    shelf = Shelf()
    assert shelf.issue("a", "operator", ()) is None
    shelf.pair(ask("a", "operator.read"))
    assert shelf.issue("a", "operator", ("operator.write",)) is None
    assert shelf.issue("a", "node", ()) is None
    first, _ = shelf.issue("a", "operator", ("operator.read",)) or ("", 0)
    shelf.pair(ask("a", "operator.write"))
    assert shelf.check("a", first, "operator", ("operator.write",)) is None, "the device may do more now"


def test_revoked_is_revoked_until_it_is_paired_again() -> None:
    shelf = Shelf()
    shelf.pair(ask("a", "operator.write"))
    token, _ = shelf.issue("a", "operator", ()) or ("", 0)
    with pytest.raises(LookupError, match="caller-missing-scope"):
        shelf.revoke("a", "operator", ("operator.pairing",))
    assert shelf.revoke("a", "operator", ADMIN).revoked_at == shelf.now
    assert shelf.check("a", token, "operator", ()) == "mismatch"
    assert shelf.issue("a", "operator", ()) is None
    shelf.pair(ask("a", "operator.read"))
    assert shelf.check("a", token, "operator", ()) == "mismatch", "the old one stays revoked"
    assert shelf.issue("a", "operator", ("operator.write",)) is None, "what it had before has to be asked for again"
    assert shelf.issue("a", "operator", ("operator.read",)) is not None
    for unknown in (("b", "operator"), ("a", "node")):
        with pytest.raises(LookupError, match="unknown-device-or-role"):
            shelf.revoke(*unknown, ADMIN)


def test_rotating_ends_all_tokens_before() -> None:
    shelf = Shelf()
    shelf.pair(ask("a", "operator.write"))
    old = [shelf.issue("a", "operator", ()) or ("", 0) for _ in range(3)]
    with pytest.raises(LookupError, match="scope-outside-approved-baseline"):
        shelf.rotate("a", "operator", ("operator.admin",), ADMIN)
    with pytest.raises(LookupError, match="caller-missing-scope"):
        shelf.rotate("a", "operator", None, ("operator.pairing",))
    token, grant = shelf.rotate("a", "operator", ("operator.read",), ADMIN)
    assert grant.scopes == ("operator.read",)
    assert all(shelf.check("a", one, "operator", ()) == "mismatch" for one, _ in old)
    assert shelf.check("a", token, "operator", ("operator.read",)) is None
    assert shelf.check("a", token, "operator", ("operator.write",)) == "scope-mismatch"


def test_removed_is_gone_with_what_it_asks() -> None:
    shelf = Shelf()
    shelf.pair(ask())
    shelf.ask(ask("a", "operator.admin"))
    assert shelf.remove("a")
    assert not shelf.remove("a")
    assert not shelf.pending()
    assert not shelf.paired()


def test_what_another_gateway_wrote_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "devices.json"

    async def test() -> None:
        one, other = Shelf(path), Shelf(path)
        for shelf in (one, other):
            await shelf.load()
        one.pair(ask("a"))
        token, _ = one.issue("a", "operator", ()) or ("", 0)
        await one.save()
        await other.load()
        assert other.check("a", token, "operator", ()) is None
        other.revoke("a", "operator", ADMIN)
        await other.save()
        await one.load()
        assert one.check("a", token, "operator", ()) == "mismatch"
        one.pair(ask("b"))
        path.unlink()
        await one.load()
        assert len(one.paired()) == 2, "what is not written yet is not given up"
        await one.save()
        path.unlink()
        await one.load()
        assert not one.paired()

    asyncio.run(test())


def test_what_a_device_may_do_has_a_length() -> None:
    shelf = Shelf()
    for number in range(0, 4 * room.SCOPES_MOST, 16):
        asked = [f"operator.x{number + one}" for one in range(16)]
        assert set(asked) <= set(shelf.pair(ask("a", *asked)).scopes)
    assert len(shelf.paired()[0].scopes) == room.SCOPES_MOST
    for number in range(2 * room.SCOPES_MOST):
        shelf.ask(ask("b", f"operator.y{number}"))
    assert len(shelf.pending()[0].ask.scopes) == room.SCOPES_MOST
