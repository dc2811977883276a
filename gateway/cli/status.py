"""`gateway status`: what a running gateway is, what it has, and who is connected to it."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from typing import Any

from .console import UnansweredError, legible, line, moment, write
from .place import Place, add_question, find_place
from .rpc import READ, FailedError, Rpc, connected, part
from .signals import concluded

__all__ = ["add_arguments", "execute"]

TIMEOUT = 10.0
"""Seconds for each answer."""

_METHODS = ("agents.list", "status", "system-presence")


def add_arguments(parser: ArgumentParser) -> None:
    """The flags of the command."""
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    add_question(parser, TIMEOUT, "each answer")


def execute(options: Namespace) -> int:
    """Ask and print; returns the exit code.  Raises ConfigError."""
    return concluded(_status(find_place(options), options))


async def _status(place: Place, options: Namespace) -> None:
    async with connected(place, READ) as rpc:
        asked = (_ask(rpc, method, options.timeout) for method in _METHODS)
        agents, status, presence = await asyncio.gather(*asked)
        document = _document(place, rpc, agents, status, presence)
    if options.json:
        write(line(document))
    else:
        write("".join(f"{text}\n" for text in _lines(document)))
    problems = document["problems"]
    if problems:
        raise UnansweredError("\n".join(problems))


async def _ask(rpc: Rpc, method: str, timeout: float) -> Any:  # noqa: ASYNC109 - handed on
    """The payload, or what is wrong with it: what else is known is shown all the same."""
    try:
        return await rpc.request(method, timeout=timeout)
    except FailedError as error:
        return error


def _document(place: Place, rpc: Rpc, *answers: Any) -> dict[str, Any]:
    agents, status, presence = (None if isinstance(answer, FailedError) else answer for answer in answers)
    server, snapshot = part(rpc.hello.get("server")), part(rpc.hello.get("snapshot"))
    default = part(agents).get("defaultId")
    return {
        "url": place.url,
        "version": server.get("version"),
        "protocol": rpc.hello.get("protocol"),
        "uptimeMs": snapshot.get("uptimeMs"),
        "agents": None if agents is None else [_agent(part(one), default) for one in part(agents).get("agents") or ()],
        "sessions": part(part(status).get("sessions")).get("count"),
        "clients": None if presence is None else [dict(one) for one in map(part, presence or ()) if _other(one, rpc)],
        "problems": [str(answer) for answer in answers if isinstance(answer, FailedError)],
    }


def _agent(agent: Mapping[str, Any], default: object) -> dict[str, Any]:
    identity = agent.get("id")
    return {"id": identity, "default": identity == default, "model": part(agent.get("model")).get("primary")}


def _other(entry: Mapping[str, Any], rpc: Rpc) -> bool:
    """Whether it is a client, and not the gateway itself or this command."""
    return entry.get("mode") != "gateway" and entry.get("instanceId") != rpc.instance


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    yield f"gateway   {legible(document['url'])}"
    yield f"version   {_text(document['version'])}, protocol {_text(document['protocol'])}"
    yield f"uptime    {_duration(document['uptimeMs'])}"
    if document["agents"] is not None:
        yield f"agents    {', '.join(map(_agent_text, document['agents'])) or 'none'}"
    if document["sessions"] is not None:
        yield f"sessions  {_text(document['sessions'])}"
    if document["clients"] is not None:
        yield f"clients   {len(document['clients'])}"
        for client in document["clients"]:
            yield f"  {_client_text(client)}"


def _agent_text(agent: Mapping[str, Any]) -> str:
    model = f" ({_text(agent['model'])})" if agent["model"] else ""
    return f"{_text(agent['id'])}{' (default)' if agent['default'] else ''}{model}"


def _client_text(client: Mapping[str, Any]) -> str:
    name = " ".join(_text(client[key]) for key in ("host", "version", "mode") if client.get(key))
    since = client.get("ts")
    return f"{name or 'unknown'}{f', {moment(since / 1000)}' if isinstance(since, int | float) else ''}"


def _text(value: object) -> str:
    return "unknown" if value is None else legible(str(value))


def _duration(value: object) -> str:
    """Milliseconds, in the two largest units."""
    if not isinstance(value, int | float):
        return "unknown"
    left = int(value) // 1000
    units: list[str] = []
    for name, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (name == "s" and not units):
            units.append(f"{count} {name}")
    return " ".join(units[:2])
