"""`gateway devices`: who asks to be paired with a running gateway, who is, and the end of that."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .console import WRONG_USAGE, UnansweredError, complain, legible, line, moment, write
from .place import Place, add_question, find_place
from .rpc import ALL, Rpc, connected, part
from .signals import concluded

__all__ = ["add_arguments", "execute"]

TIMEOUT = 10.0
"""Seconds for each answer."""

FOREVER_MS = 2**43
"""A time that a gateway tells is before the year 2248, or is not shown."""

_NAMED = {"approve": "REQUEST", "reject": "REQUEST", "revoke": "DEVICE", "remove": "DEVICE"}
"""What each action needs to be told."""


def add_arguments(parser: ArgumentParser) -> None:
    """The flags of the command."""
    parser.add_argument(
        "action",
        nargs="?",
        choices=("list", *_NAMED),
        default="list",
        help="list: who asks, and who is paired (the default); approve, reject: what a device asks for; revoke: its "
        "tokens, so that it has to ask again; remove: all that is known of it",
    )
    parser.add_argument(
        "id", nargs="?", metavar="ID", help="of the request, or of the device, as `list` shows them; or how it begins"
    )
    parser.add_argument("--role", help="for revoke: of this role only")
    parser.add_argument("--json", action="store_true", help="print what the gateway answers as one line of JSON")
    add_question(parser, TIMEOUT, "each answer")


def execute(options: Namespace) -> int:
    """Ask and print; returns the exit code.  Raises ConfigError."""
    if (options.id is None) != (options.action == "list"):
        wanted = _NAMED.get(options.action)
        complain(
            f"devices {options.action}: " + (f"which? Give the {wanted}" if wanted else "shows all, and takes no ID")
        )
        return WRONG_USAGE
    return concluded(_devices(find_place(options), options))


async def _devices(place: Place, options: Namespace) -> None:
    async with connected(place, ALL) as rpc:
        listed = part(await rpc.request("device.pair.list", {}, timeout=options.timeout))
        pending, paired = _rows(listed.get("pending")), _rows(listed.get("paired"))
        if options.action == "list":
            write(line(listed) if options.json else "".join(f"{text}\n" for text in _lines(pending, paired)))
            return
        asks = _NAMED[options.action] == "REQUEST"
        found = _chosen(pending if asks else paired, "requestId" if asks else "deviceId", options.id)
        answers = [part(answer) for answer in await _act(rpc, options, found)]
    if options.json:
        write(line(answers[0] if len(answers) == 1 else answers))
    else:
        done = {"approve": "approved", "reject": "rejected", "revoke": "revoked", "remove": "removed"}[options.action]
        write(f"{done} {_name(found)}, device {legible(str(found.get('deviceId')))}\n")


async def _act(rpc: Rpc, options: Namespace, found: Mapping[str, Any]) -> list[Any]:
    """The answers of the gateway."""
    if options.action in {"approve", "reject"}:
        params: dict[str, Any] = {"requestId": found.get("requestId")}
        return [await rpc.request(f"device.pair.{options.action}", params, timeout=options.timeout)]
    params = {"deviceId": found.get("deviceId")}
    if options.action == "remove":
        return [await rpc.request("device.pair.remove", params, timeout=options.timeout)]
    live = [token.get("role") for token in _rows(found.get("tokens")) if "revokedAtMs" not in token]
    roles = [options.role] if options.role else live
    if not roles:
        raise UnansweredError("that device has no token: it was revoked before")
    method = "device.token.revoke"
    return [await rpc.request(method, {**params, "role": role}, timeout=options.timeout) for role in roles]


def _chosen(rows: Sequence[Mapping[str, Any]], member: str, wanted: str) -> Mapping[str, Any]:
    """The one row whose id is, or begins with, what was given.  Raises UnansweredError."""
    found = [row for row in rows if str(row.get(member)) == wanted]
    found = found or [row for row in rows if str(row.get(member)).startswith(wanted)]
    if len(found) == 1 and wanted:
        return found[0]
    what = "request" if member == "requestId" else "device"
    ids = ", ".join(legible(str(row.get(member))) for row in (found or rows)[:8])
    how_many = "more than one" if found else "no"
    there = f"There is: {ids}" if ids else f"There is no {what} at all"
    raise UnansweredError(f"{how_many} {what} has an id that begins with {wanted!r}. {there}", WRONG_USAGE)


def _lines(pending: Sequence[Mapping[str, Any]], paired: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not pending and not paired:
        yield "no device is paired, and none asks to be"
    for title, rows, member in (("asking", pending, "requestId"), ("paired", paired, "deviceId")):
        if rows:
            yield f"{title}: {len(rows)}"
        for row in rows:
            yield f"  {legible(str(row.get(member)))}  {_name(row)}"
            yield f"      {_access(row)}"
            yield f"      {', '.join(_history(row))}"


def _name(row: Mapping[str, Any]) -> str:
    """What people call a device."""
    name = row.get("displayName") or row.get("clientId") or "a device"
    system = row.get("platform")
    return legible(f"{name} ({system})" if system else str(name))


def _access(row: Mapping[str, Any]) -> str:
    roles, scopes = (row.get(name) for name in ("roles", "scopes"))
    listed = [", ".join(map(str, names)) if isinstance(names, list) and names else "none" for names in (roles, scopes)]
    return legible(f"roles: {listed[0]}; scopes: {listed[1]}")


def _history(row: Mapping[str, Any]) -> Iterator[str]:
    """Where it is and since when, as far as is known."""
    if row.get("remoteIp"):
        yield f"from {legible(str(row['remoteIp']))}"
    for member, words in (("ts", "asked"), ("approvedAtMs", "paired"), ("lastSeenAtMs", "seen")):
        at = row.get(member)
        if isinstance(at, int) and 0 < at < FOREVER_MS:
            yield f"{words} {moment(at / 1000)}"
    if row.get("approvedVia") == "silent":
        yield "by itself, from the gateway's machine"
    if row.get("isRepair"):
        yield "it is paired, and asks for more"
    if row.get("connected"):
        yield "connected"
    revoked = [str(token.get("role")) for token in _rows(row.get("tokens")) if "revokedAtMs" in token]
    if revoked:
        yield legible(f"revoked: {', '.join(revoked)}")


def _rows(value: object) -> list[Mapping[str, Any]]:
    """The objects of a list of the protocol."""
    return [part(row) for row in value] if isinstance(value, list) else []
