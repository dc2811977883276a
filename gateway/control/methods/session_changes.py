"""What becomes of sessions: the part of `sessions.*` that changes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import RequestError
from ...model.caller import Caller
from ...model.run import uuid_of
from ...model.session import SessionInfo
from ...sessions.keys import bare, scoped
from ..feed import Feed
from ..method import ADMIN, WRITE, Call, Method
from ..problem import INVALID_REQUEST, RpcError, rpc_error
from ..rows import Rows
from ..sending import Sending, standing
from ..services import Services
from ..sessions import Place, canonical, locate

__all__ = ["methods"]

# Of `sessions.patch`: which session is meant, and what it is expected to be.
_ENVELOPE = frozenset({"key", "agentId", "model", "ttlMinutes"})
_EXPECTED = "expected"
# What `sessions.create` keeps of its parameters.
_CREATED = (
    "label", "displayName", "category", "thinkingLevel", "fastMode", "permissionMode", "toolOverrides", "spawnDepth",
    "contextWindow", "visibility",
)  # fmt: skip
# What a session goes on with that another one begins.
_INHERITED = ("verboseLevel", "thinkingLevel", "reasoningLevel", "fastMode")


class _ChangeMethods:
    def __init__(self, services: Services, rows: Rows, feed: Feed, sending: Sending) -> None:
        self._services = services
        self._rows = rows
        self._feed = feed
        self._sending = sending

    async def create(self, call: Call) -> dict[str, Any]:
        """Begin a session, and perhaps a run in it; one that is there is left as it is."""
        params = call.params
        caller = call.caller
        services = self._services
        parent = await self._parent(params, caller)
        if "key" in params:
            place = await locate(services, caller, params["key"], params.get("agentId"), param="key")
        else:
            agent_id = params.get("agentId") or (parent.agent_id if parent else None)
            new = canonical(services, caller, f"dashboard:{uuid_of(services.ids(32))}", agent_id)
            place = await locate(services, caller, new.key)
        model = self._model(params["model"], place, caller) if "model" in params else None
        info = place.info
        if info is None:
            info = await self._begin(place, params, parent)
            if model is not None:
                await services.conversations.choose_model(place.key, model)
                info = await services.store.describe(place.key) or info
            self._feed.changed(place.key, "create", info)
        answer = {
            "ok": True,
            "key": bare(caller.id, place.key),
            "sessionId": info.id,
            "entry": self._rows.entry(info),
            "runStarted": False,
            "resolved": self._rows.resolved(place.agent_id, info),
        }
        message = params.get("message") or params.get("task")
        if message or params.get("attachments"):
            answer |= await self._first(place._replace(info=info), {**params, "message": message or ""}, caller)
        return answer

    async def _parent(self, params: Mapping[str, Any], caller: Caller) -> Place | None:
        """The session that the new one comes from.  Raises RpcError."""
        if "parentSessionKey" not in params:
            if params.get("fork"):
                raise RpcError(INVALID_REQUEST, "fork requires parentSessionKey")
            return None
        key = params["parentSessionKey"]
        parent = await locate(self._services, caller, key, param="parentSessionKey")
        if parent.info is None and params.get("fork"):
            raise RpcError(INVALID_REQUEST, f"unknown parent session: {key[:200]}")
        return parent

    async def _begin(self, place: Place, params: Mapping[str, Any], parent: Place | None) -> SessionInfo:
        change = {name: params[name] for name in _CREATED if name in params}
        if parent is not None:
            change["parentSessionKey"] = parent.key
            if parent.info is not None:
                change["parentSessionId"] = parent.info.id
                inherited = {name: parent.info.settings[name] for name in _INHERITED if name in parent.info.settings}
                change = {**inherited, **change}
                if params.get("fork"):
                    await self._services.store.fork(parent.key, parent.info.turns, place.key)
        return await self._services.store.configure(place.key, change)

    async def _first(self, place: Place, params: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        run_id = params.get("idempotencyKey") or uuid_of(self._services.ids(32))
        try:
            await self._sending.send(run_id, caller, place, params, "sessions.create")
        except RpcError as error:  # the session is there all the same
            return {"runError": error.shape()}
        return {"runStarted": True, "runId": run_id}

    async def patch(self, call: Call) -> dict[str, Any]:
        """Keep something with a session: how it is called, shown, and answered."""
        params = call.params
        caller = call.caller
        place = await self._place(call)
        self._expect(place, params)
        change = {
            name: value for name, value in params.items() if name not in _ENVELOPE and not name.startswith(_EXPECTED)
        }
        now = self._services.now()
        for flag, since in (("archived", "archivedAt"), ("pinned", "pinnedAt")):
            if flag in change:
                change[flag], change[since] = (True, now) if change[flag] else (None, None)
        if change.get("label") is not None:
            await self._free(change["label"], place, caller)
        if "model" in params:
            wanted = params["model"]
            model = None if wanted is None else self._model(wanted, place, caller)
            await self._services.conversations.choose_model(place.key, model)
        info = await self._services.store.configure(place.key, change)
        self._feed.changed(place.key, "patch", info)
        return {
            "ok": True,
            "path": self._rows.path,
            "key": bare(caller.id, place.key),
            "entry": self._rows.entry(info),
            "resolved": self._rows.resolved(place.agent_id, info),
        }

    async def _free(self, label: str, place: Place, caller: Caller) -> None:
        """Raises RpcError for a label that another session of this caller has."""
        prefix = scoped(caller.id, "")
        for info in await self._services.store.sessions():
            if info.key != place.key and info.settings.get("label") == label and info.key.startswith(prefix):
                raise RpcError(INVALID_REQUEST, f"label already in use: {label}")

    def _model(self, wanted: str, place: Place, caller: Caller) -> str:
        try:
            return self._services.registry.by_id[place.agent_id].model(wanted, caller, "model")
        except RequestError as error:
            raise rpc_error(error) from None

    async def reset(self, call: Call) -> dict[str, Any]:
        """Forget what was said in a session; the runs in it end."""
        place = await self._place(call)
        self._expect(place, call.params)
        services = self._services
        self._end_runs(place.key)
        if not await services.conversations.reset(place.key):
            await services.store.configure(place.key, {})
        info = await services.store.describe(place.key)
        if info is None:  # deleted in the meantime
            raise RpcError(INVALID_REQUEST, "session not found")
        self._feed.changed(place.key, call.params.get("reason", "reset"), info)
        return {
            "ok": True,
            "key": bare(call.caller.id, place.key),
            "entry": self._rows.entry(info),
            "resolved": self._rows.resolved(place.agent_id, info),
        }

    async def delete(self, call: Call) -> dict[str, Any]:
        """Forget a session; the runs in it end."""
        params = call.params
        place = await self._place(call)
        if self._rows.is_main(place.key):
            raise RpcError(INVALID_REQUEST, f"Cannot delete the main session ({place.key}).")
        self._expect(place, params)
        if params.get("archivedOnly") and place.info is not None and not place.info.settings.get("archived"):
            raise RpcError(
                INVALID_REQUEST, f"Session {params['key']} is not archived. Archive it first, then delete it."
            )
        if place.info is not None:
            self._end_runs(place.key)
        deleted = place.info is not None and await self._services.conversations.delete(place.key)
        if deleted:
            self._feed.changed(place.key, "delete")
        return {"ok": True, "key": bare(call.caller.id, place.key), "deleted": deleted, "archived": []}

    async def compact(self, call: Call) -> dict[str, Any]:
        """Let go of what was said first; nothing here sums it up."""
        place = await self._place(call)
        services = self._services
        answer: dict[str, Any] = {"ok": True, "key": bare(call.caller.id, place.key), "compacted": False}
        if place.info is None or not place.info.turns:
            return {**answer, "reason": "no transcript"}
        if services.book.active_in(place.key):
            raise RpcError(INVALID_REQUEST, f"Session {call.params['key']} has an active run; retry after it finishes.")
        if "maxLines" not in call.params:
            reason = "this gateway does not summarize; with maxLines it keeps that many messages"
            return {**answer, "ok": False, "reason": reason}
        before = place.info.turns
        kept = await services.conversations.trim(place.key, call.params["maxLines"])
        info = await services.store.describe(place.key)
        compacted = info is not None and info.turns < before
        if compacted:
            self._feed.changed(place.key, "compact", info)
        return {**answer, "compacted": compacted, "kept": kept}

    async def send(self, call: Call) -> dict[str, Any]:
        """Begin a run in a session that is there; answered at once."""
        params = call.params
        caller = call.caller
        run_id = params.get("idempotencyKey") or uuid_of(self._services.ids(32))
        record = self._services.book.find(run_id, caller.id)
        if record is not None:
            return standing(record)
        place = await self._place(call)
        if place.info is None:
            raise RpcError(INVALID_REQUEST, f"session not found: {params['key'][:200]}")
        return await self._sending.send(run_id, caller, place, params, "sessions.send")

    async def abort(self, call: Call) -> dict[str, Any]:
        """End the run under way in a session."""
        params = call.params
        caller = call.caller
        book = self._services.book
        records = book.active_in((await self._place(call)).key) if "key" in params else []
        if run_id := params.get("runId"):
            record = book.find(run_id, caller.id)
            if record is not None and "key" in params and record not in records and record.ended_at is None:
                raise RpcError(INVALID_REQUEST, "runId does not match key")
            records = [record] if record is not None else []
        elif "key" not in params:
            raise RpcError(INVALID_REQUEST, "key required")
        elif not params.get("clearQueued"):
            records = records[:1]
        ended = [record.run.run_id for record in records if book.abort(record)]
        status = "aborted" if ended else "no-active-run"
        return {"ok": True, "abortedRunId": ended[0] if ended else None, "status": status}

    async def _place(self, call: Call) -> Place:
        params = call.params
        caller = call.caller
        return await locate(self._services, caller, params["key"], params.get("agentId"), param="key")

    def _expect(self, place: Place, params: Mapping[str, Any]) -> None:
        """Raises RpcError where a session is not what the client takes it for."""
        expected = params.get("expectedSessionId")
        if expected is not None and (place.info is None or place.info.id != expected):
            details = {"reason": "session-lifecycle-changed"}
            raise RpcError(INVALID_REQUEST, f"Session {params['key']} changed. Retry.", details=details)

    def _end_runs(self, key: str) -> None:
        for record in self._services.book.active_in(key):
            self._services.book.abort(record, "reset")


def methods(services: Services, rows: Rows, feed: Feed, sending: Sending) -> list[Method]:
    """Those of this file."""
    made = _ChangeMethods(services, rows, feed, sending)
    return [
        Method("sessions.create", WRITE, made.create),
        Method("sessions.patch", WRITE, made.patch),
        Method("sessions.reset", ADMIN, made.reset),
        Method("sessions.delete", ADMIN, made.delete),
        Method("sessions.compact", ADMIN, made.compact),
        Method("sessions.send", WRITE, made.send),
        Method("sessions.abort", WRITE, made.abort),
    ]
