"""`gateway sessions`: the sessions that are kept in a file, whether a gateway runs on it or not."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable
from math import inf
from typing import TypeAlias

from ..errors import ConfigError, StoreError
from ..model.session import SessionInfo
from ..sessions.place import file_of, identity
from ..sessions.sqlite import SqliteStore
from .console import FAILED, WRONG_USAGE, complain, legible, line, moment, say, write
from .setup import add_config, load_config
from .transcript import document, readable

__all__ = ["add_arguments", "execute"]

Command: TypeAlias = Callable[[SqliteStore, Namespace], Awaitable[int]]

_LISTED = ("key", "id", "agent", "turns", "characters", "created_at", "updated_at", "model")
"""What --json tells of each session."""


def add_arguments(parser: ArgumentParser) -> None:
    """The flags of the command."""
    told = "; ".join(f"{name}: {summary}" for name, (_, summary) in _ACTIONS.items())
    parser.add_argument("action", metavar="ACTION", choices=[*_ACTIONS], help=told)
    parser.add_argument(
        "key", metavar="KEY", nargs="?", help="the session, for show, delete and reset; for export, if given"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, in ASCII; export always does")
    add_config(parser)


def execute(options: Namespace) -> int:
    """Do what was asked; returns the exit code.  Raises ConfigError."""
    if options.action != "export" and (options.key is None) != (options.action == "list"):
        complain(f"sessions {options.action}: {'which? Give its KEY' if options.key is None else 'takes no KEY'}")
        return WRONG_USAGE
    loaded = load_config(options)
    settings = loaded.config.session
    if settings.store == "memory":
        raise ConfigError('session.store is "memory": only the gateway itself has its sessions, and none are kept')
    store = SqliteStore(file_of(settings.store or "", loaded.environ), idle=settings.idle_minutes * 60 or inf)

    async def work() -> int:
        try:
            return await _ACTIONS[options.action][0](store, options)
        finally:
            await store.aclose()

    try:
        return asyncio.run(work())
    except StoreError as error:
        complain(error.message)
        return FAILED


async def _list(store: SqliteStore, options: Namespace) -> int:
    found = await store.sessions()
    if options.json:
        write(line([{name: getattr(info, name) for name in _LISTED} for info in found]))
    elif found:
        write("".join(_table(found)))
    else:
        say(f"no sessions in {store.path}" if identity(store.path) else f"no sessions: there is no {store.path} yet")
    return 0


def _table(found: tuple[SessionInfo, ...]) -> list[str]:
    rows = [("LAST USED", "TURNS", "CHARACTERS", "MODEL", "KEY")]
    for info in found:
        times, counts = moment(info.updated_at), (str(info.turns), str(info.characters))
        rows.append((times, *counts, legible(info.model or "-"), legible(info.key)))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return [
        f"{used:{widths[0]}}  {turns:>{widths[1]}}  {size:>{widths[2]}}  {model:{widths[3]}}  {key}\n"
        for used, turns, size, model, key in rows
    ]


async def _show(store: SqliteStore, options: Namespace) -> int:
    info = await _info(store, options.key)
    if info is None:
        return _unknown(store, options.key)
    session = await store.load(info.key)
    write(line(document(info, session)) if options.json else "".join(f"{text}\n" for text in readable(info, session)))
    return 0


async def _export(store: SqliteStore, options: Namespace) -> int:
    found = await store.sessions()
    if options.key is not None:
        found = tuple(info for info in found if info.key == options.key)
        if not found:
            return _unknown(store, options.key)
    for info in reversed(found):  # as they would have come
        write(line(document(info, await store.load(info.key))))
    return 0


async def _delete(store: SqliteStore, options: Namespace) -> int:
    return _done(options, "deleted") if await store.delete(options.key) else _unknown(store, options.key)


async def _reset(store: SqliteStore, options: Namespace) -> int:
    return _done(options, "reset") if await store.reset(options.key) else _unknown(store, options.key)


async def _info(store: SqliteStore, key: str) -> SessionInfo | None:
    return next((info for info in await store.sessions() if info.key == key), None)


def _done(options: Namespace, what: str) -> int:
    if options.json:
        write(line({"key": options.key, what: True}))
    else:
        say(f"{what}: {legible(options.key)}")
    return 0


def _unknown(store: SqliteStore, key: str) -> int:
    complain(f"there is no session {legible(key)!r} in {store.path}. `gateway sessions list` shows those there are")
    return FAILED


_ACTIONS: dict[str, tuple[Command, str]] = {
    "list": (_list, "all there are, the last used first"),
    "show": (_show, "what was said in one"),
    "export": (_export, "print one, or all, as JSON Lines: an object for each"),
    "delete": (_delete, "forget one"),
    "reset": (_reset, "forget what was said in one, but not the model chosen for it"),
}
"""Action to what does it, and how that is told."""
