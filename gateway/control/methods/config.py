"""The configuration: `config.get`, `config.schema`, and what changes its file.

Secrets do not leave: in their place stands `names.REDACTED`, which a client sends back for what is to stay.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from logging import getLogger
from typing import Any

from ...config.edit import MAX_DEPTH, edit
from ...config.json5 import Document, Json5Error, parse
from ...config.json_schema import json_schema, ui_hints
from ...config.loader import MAX_FILE_BYTES
from ...config.patch import lost_entries, merge_patch, replaced_paths
from ...config.redact import SentinelError, redact, redact_text, restore, restore_text
from ...config.schema import Config
from ...config.show import effective, secrets
from ...config.source import (
    ConfigSource,
    Snapshot,
    SourceChangedError,
    SourceUnwritableError,
    differences,
)
from ...config.tree import Problem, show_path
from ...errors import ConfigError
from ...model.names import REDACTED
from ...records import NamedTuple
from ..method import ADMIN, READ, Call, Method
from ..problem import FORBIDDEN, INVALID_REQUEST, UNAVAILABLE, RpcError
from ..services import Services

__all__ = ["methods"]

_logger = getLogger(__name__)

NOTE_CHARACTERS = 200
"""Of the reason that a client gives for a change: it stands in the log."""
MOST_SHOWN = 20
"""Problems that the message of a refusal tells; its details have them all."""

_CHANGED = "config changed since last load; re-run config.get and retry"
_HASH_REQUIRED = "config base hash required; re-run config.get and retry"
_KEYS = "gateway.auth.keys"
_NO_FILE = (
    "this gateway was not given a configuration file, so there is none to change; "
    "start it with `gateway run --config FILE`"
)

Make = Callable[[Snapshot], str]


class _Written(NamedTuple):
    """`config` is the new document without its secrets, `paths` the options that differ from before."""

    changed: bool
    after: Snapshot
    config: Any
    paths: list[str]


class _ConfigMethods:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._source = services.source
        self._lock = asyncio.Lock()
        self._writes: set[asyncio.Task[Any]] = set()

    async def get(self, call: Call) -> dict[str, Any]:
        """The file as it is now, without its secrets."""
        _only_operators(call)
        source = self._source
        if source is None:
            return _without_file(self._services.config)
        snapshot = await _in_thread(source.read)
        return {**await _in_thread(partial(_shown, snapshot)), "appliedConfigHash": self._applied(snapshot)}

    async def schema(self, _: Call) -> dict[str, Any]:
        """What may stand in it."""
        at = datetime.fromtimestamp(self._services.clock(), UTC).isoformat(timespec="milliseconds")
        return {
            "schema": json_schema(),
            "uiHints": ui_hints(),
            "version": self._services.version,
            "generatedAt": at.replace("+00:00", "Z"),
        }

    async def set(self, call: Call) -> dict[str, Any]:
        """Replace the file."""
        make = partial(_replaced, call.params["raw"], keeps_agents=True)
        return await self._write(call, "config.set", make)

    async def apply(self, call: Call) -> dict[str, Any]:
        """Replace the file, also where that takes agents away."""
        return await self._write(call, "config.apply", partial(_replaced, call.params["raw"], keeps_agents=False))

    async def patch(self, call: Call) -> dict[str, Any]:
        """Change a part of it."""
        replaces = replaced_paths(call.params.get("replacePaths", [])).__contains__
        return await self._write(call, "config.patch", partial(_patched, call.params["raw"], replaces))

    async def _write(self, call: Call, method: str, make: Make) -> dict[str, Any]:
        _only_operators(call)
        source = self._source
        if source is None:
            raise RpcError(INVALID_REQUEST, _NO_FILE)
        if len(call.params["raw"]) > MAX_FILE_BYTES:
            raise RpcError(INVALID_REQUEST, f"invalid {method} params: raw: at most {MAX_FILE_BYTES} characters")
        work = self._change(source, call, method, make)
        task = asyncio.get_running_loop().create_task(work, name=method)
        self._writes.add(task)
        task.add_done_callback(self._written)
        return await asyncio.shield(task)  # a client that leaves must not leave half of it behind

    def _written(self, task: asyncio.Task[Any]) -> None:
        self._writes.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited for it has it

    async def _change(self, source: ConfigSource, call: Call, method: str, make: Make) -> dict[str, Any]:
        base_hash = (call.params.get("baseHash") or "").strip()
        async with self._lock:
            written: _Written = await _in_thread(partial(_make_and_write, source, base_hash, make))
            after = written.after
            assert after.loaded is not None, "it was written"
            applied, problems = self._take_over(after)
        services = self._services
        if written.changed:
            paths, note = ", ".join(written.paths) or "no option", call.params.get("note", "")[:NOTE_CHARACTERS]
            who = call.client.conn_id
            _logger.info("%s of connection %s changed %s: %s; note: %r", method, who, after.path, paths, note)
            if services.logs is not None:
                services.logs.hide(secrets(after.loaded.config))
            event = {"path": after.path, "hash": after.hash, "ts": services.now()}
            services.hub.broadcast("config.changed", event, scope=READ, droppable=True)
        answer = {
            "ok": True, **({} if written.changed else {"noop": True}), "path": after.path, "hash": after.hash,
            "config": written.config, "changedPaths": written.paths,
        }  # fmt: skip
        if applied:
            answer["applied"] = applied
        pending = [*differences(self._services.config, after.loaded.config)]
        if pending or problems:
            message = "restart the gateway: these take effect then"
            answer["restart"] = {
                "required": True, "paths": pending, "reason": method, "message": "; ".join([message, *problems]),
            }  # fmt: skip
        return answer

    def _take_over(self, after: Snapshot) -> tuple[list[str], tuple[str, ...]]:
        """Let the running gateway use what it can of a new configuration; what it used, and why not the rest."""
        assert after.loaded is not None, "it was written"
        config = after.loaded.config
        reload = self._services.reload
        if reload is None or _KEYS not in differences(self._services.config, config):
            return [], ()
        try:
            done = reload(config, after.loaded.environ)
        except ConfigError as error:  # keys of agents that come with the restart
            return [], error.problems
        return [*done], ()

    def _applied(self, snapshot: Snapshot) -> str | None:
        """The hash of the file where it is what the gateway runs with."""
        if snapshot.loaded is None or any(differences(self._services.config, snapshot.loaded.config)):
            return None
        return snapshot.hash


def _only_operators(call: Call) -> None:
    """Raises RpcError (FORBIDDEN) for who may use single agents only: the file tells of all of them."""
    if call.client.welcome.caller.agents is not None:
        raise RpcError(FORBIDDEN, "this key is for single agents, and the configuration is about all of them")


async def _in_thread(work: Callable[[], Any]) -> Any:
    """Raises RpcError."""
    try:
        return await asyncio.to_thread(work)
    except (SourceUnwritableError, ConfigError) as error:
        raise RpcError(UNAVAILABLE, str(error)) from None


def _make_and_write(source: ConfigSource, base_hash: str, make: Make) -> _Written:
    """Raises RpcError, and what a ConfigSource raises where the file cannot be read or written."""
    before = source.read()
    if before.exists and not base_hash:
        raise RpcError(INVALID_REQUEST, _HASH_REQUIRED)
    if before.exists and base_hash != before.hash:
        raise RpcError(INVALID_REQUEST, _CHANGED)
    try:
        text = make(before)
    except SentinelError as error:
        raise RpcError(INVALID_REQUEST, str(error)) from None
    except Json5Error as error:
        raise RpcError(INVALID_REQUEST, f"invalid config: raw:{error.line}:{error.column}: {error.msg}") from None
    changed = not before.exists or text != before.text
    try:
        after = source.replace(before, text) if changed else before
    except SourceChangedError:
        raise RpcError(INVALID_REQUEST, _CHANGED) from None
    except ConfigError as error:
        raise _invalid(error.problems) from None
    if after.loaded is None or after.document is None:  # as it was, and it was none
        raise _invalid(after.problems)
    return _Written(changed, after, redact(after.document.value), _changed_paths(before, after))


def _replaced(raw: str, before: Snapshot, *, keeps_agents: bool) -> str:
    """The text of a file that `raw` is to replace.

    JSON comes from programs, which send values: those go into the text that is there.  JSON5 is written by people, and
    is the new text.
    """
    document = _object(raw, "raw")
    stored = before.document
    wanted = restore(document.value, {} if stored is None else stored.value)
    if keeps_agents and stored is not None:
        gone = sorted(_agents(stored.value) - _agents(wanted))
        if gone:
            names = ", ".join(gone)
            message = f"config.set would remove existing agent entries: {names}. Use config.apply to remove them"
            raise RpcError(INVALID_REQUEST, message)
    if stored is None:
        return raw
    if _is_json(raw) and isinstance(stored.value, dict):
        return edit(before.text or "{}\n", wanted)
    return restore_text(raw, document, before.text, stored) if before.exists else raw


def _patched(raw: str, replaces: Callable[[str], bool], before: Snapshot) -> str:
    if before.document is None or before.problems:
        problems = _invalid(before.problems)
        raise RpcError(INVALID_REQUEST, f"{problems.message}; fix the file before patching", details=problems.details)
    patch = _object(raw, "config.patch raw").value
    source = before.document.value
    try:
        merged = merge_patch(source, patch, replaces)
    except ValueError as error:
        raise RpcError(INVALID_REQUEST, str(error)) from None
    wanted = restore(merged, source)
    lost = [path for path in lost_entries(source, patch, wanted) if not replaces(path)]
    if lost:
        message = (
            f"config.patch would remove entries from array path(s): {', '.join(lost)}. Pass replacePaths with the "
            "exact path(s) when this is intentional, or use config.apply for full-config replacement."
        )
        raise RpcError(INVALID_REQUEST, message)
    return edit(before.text or "{}\n", wanted)


def _object(raw: str, name: str) -> Document:
    document = parse(raw, MAX_DEPTH)
    if not isinstance(document.value, dict):
        raise RpcError(INVALID_REQUEST, f"{name} must be an object")
    return document


def _is_json(raw: str) -> bool:
    try:
        json.loads(raw)
    except ValueError:
        return False
    return True


def _agents(value: Any) -> set[str]:
    """The ids of the agents in a document."""
    agents = value.get("agents") if isinstance(value, dict) else None
    if not isinstance(agents, dict):
        return set()
    listed, entries = agents.get("list"), agents.get("entries")
    ids = [entry.get("id") for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    return {name.lower() for name in (*ids, *(entries if isinstance(entries, dict) else ())) if isinstance(name, str)}


def _invalid(problems: tuple[str, ...]) -> RpcError:
    shown = "; ".join(problems[:MOST_SHOWN])
    more = f" (+{len(problems) - MOST_SHOWN} more)" if len(problems) > MOST_SHOWN else ""
    details = {"issues": [*map(_issue, problems)]}
    return RpcError(INVALID_REQUEST, f"invalid config: {shown}{more}", details=details)


def _issue(problem: str) -> dict[str, str]:
    if not isinstance(problem, Problem):
        return {"path": "", "message": problem}
    return {"path": show_path(problem.path), "message": problem.message, "place": str(problem.place)}


def _changed_paths(before: Snapshot, after: Snapshot) -> list[str]:
    """The options that differ; nothing is known of a file that could not be used before."""
    if after.loaded is None or before.loaded is None:
        return []
    return [*differences(before.loaded.config, after.loaded.config)]


def _shown(snapshot: Snapshot) -> dict[str, Any]:
    document, loaded = snapshot.document, snapshot.loaded
    value = {} if document is None else redact(document.value)
    raw = redact_text(snapshot.text, document) if snapshot.exists and document is not None else None
    return {
        "path": snapshot.path, "exists": snapshot.exists, "raw": raw,
        "parsed": value if document is not None else None,
        "valid": loaded is not None, "config": value, "sourceConfig": value,
        "hash": snapshot.hash, "configRevisionHash": snapshot.hash if loaded is not None else None,
        "issues": [*map(_issue, snapshot.problems)],
        "warnings": [{"path": "", "message": line} for line in (loaded.warnings if loaded is not None else ())],
        "legacyIssues": [],
    }  # fmt: skip


def _without_file(config: Config) -> dict[str, Any]:
    value = effective(config, REDACTED)
    return {
        "path": "", "exists": False, "raw": None, "parsed": None, "valid": True, "config": value,
        "sourceConfig": value, "issues": [], "warnings": [{"path": "", "message": _NO_FILE}], "legacyIssues": [],
    }  # fmt: skip


def methods(services: Services) -> list[Method]:
    """Those of this file."""
    made = _ConfigMethods(services)
    return [
        Method("config.get", READ, made.get),
        Method("config.schema", READ, made.schema),
        Method("config.set", ADMIN, made.set),
        Method("config.patch", ADMIN, made.patch),
        Method("config.apply", ADMIN, made.apply),
    ]
