"""Which sessions there are, and what is told of them: the part of `sessions.*` that reads."""

from __future__ import annotations

from asyncio import sleep
from collections.abc import Mapping
from typing import Any

from ...model.caller import Caller
from ...model.session import SessionInfo
from ...sessions.keys import bare, owns, scoped
from ..method import READ, Call, Method
from ..problem import INVALID_REQUEST, RpcError
from ..rows import Rows
from ..services import Services
from ..sessions import locate
from ..transcript import rows_of

__all__ = ["methods"]

LISTED = 100
MOST_LISTED = 1_000
"""Rows of a list: where nothing is said, and at most; the rest is asked for with `offset`."""
SLICE = 500
"""Sessions that are looked at in one turn of the loop: a millisecond."""
PREVIEWED = 64
PREVIEW_ITEMS = 12
PREVIEW_CHARACTERS = 240
"""Sessions of one preview; messages of each, and characters of these where nothing is said.  The product's numbers."""
MOST_PREVIEW_ITEMS = 100
MOST_PREVIEW_CHARACTERS = 10_000
TITLE_CHARACTERS = 60


class _SessionMethods:
    def __init__(self, services: Services, rows: Rows) -> None:
        self._services = services
        self._rows = rows

    async def index(self, call: Call) -> dict[str, Any]:
        """Some of the sessions, the last used first."""
        params = call.params
        caller = call.caller
        services = self._services
        found = await self._found(params, caller)
        if params.get("sortBy") is None:
            found = sorted(found, key=lambda info: not info.settings.get("pinned", False))
        limit = min(params.get("limit", LISTED), MOST_LISTED)
        offset = params.get("offset", 0)
        page = found[offset : offset + limit]
        more = offset + len(page) < len(found)
        answer: dict[str, Any] = {
            "ts": services.now(),
            "path": self._rows.path,
            "count": len(page),
            "totalCount": len(found),
            "limitApplied": limit,
            "hasMore": more,
            "defaults": self._rows.defaults(params.get("agentId")),
            "sessions": [await self._row(info, params, caller) for info in page],
        }
        if more:
            answer["nextOffset"] = offset + len(page)
        return answer

    async def _found(self, params: Mapping[str, Any], caller: Caller) -> list[SessionInfo]:
        """The sessions that are asked for; others get their turn while they are looked through."""
        found = []
        for number, info in enumerate(await self._services.store.sessions(), 1):
            if self._wanted(info, params, caller):
                found.append(info)
            if number % SLICE == 0:
                await sleep(0)
        return found

    def _wanted(self, info: SessionInfo, params: Mapping[str, Any], caller: Caller) -> bool:
        settings = info.settings
        if caller.id and not owns(caller.id, info.key):
            return False
        agent_id = self._services.roster.agent_of(info.key, info)
        if not caller.uses(agent_id) or params.get("agentId", agent_id).strip().lower() != agent_id:
            return False
        if params.get("archived", False) not in {"all", bool(settings.get("archived"))}:
            return False
        if "pinned" in params and params["pinned"] != bool(settings.get("pinned")):
            return False
        if "label" in params and settings.get("label") != params["label"]:
            return False
        if "spawnedBy" in params and settings.get("parentSessionKey") != params["spawnedBy"]:
            return False
        if params.get("activeOnly") and not self._services.book.active_in(info.key):
            return False
        if (minutes := params.get("activeMinutes")) and self._services.clock() - info.updated_at > minutes * 60:
            return False
        search = params.get("search", "").strip().lower()
        texts = (info.key, info.id, settings.get("label"), settings.get("displayName"))
        return not search or any(search in text.lower() for text in texts if isinstance(text, str))

    async def _row(self, info: SessionInfo, params: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        row = self._rows.row(info, caller)
        titled, last = params.get("includeDerivedTitles"), params.get("includeLastMessage")
        if (titled or last) and info.turns:
            said = list(rows_of((await self._services.store.load(info.key)).turns))
            texts = [(one["role"], text) for one in said if (text := _text(one))]
            asked = next((text for role, text in texts if role == "user"), None)
            if titled and (title := row.get("displayName") or asked):
                row["derivedTitle"] = _short(title, TITLE_CHARACTERS)
            if last and texts:
                row["lastMessagePreview"] = _short(texts[-1][1], PREVIEW_CHARACTERS)
        return row

    async def describe(self, call: Call) -> dict[str, Any]:
        """One of them."""
        params = call.params
        caller = call.caller
        place = await locate(self._services, caller, params["key"], params.get("agentId"), param="key")
        return {"session": None if place.info is None else await self._row(place.info, params, caller)}

    async def subscribe(self, call: Call) -> dict[str, Any]:
        """Be told of all sessions; with parameters of a list, the list, too."""
        call.client.follow()
        return {"subscribed": True, **({"list": await self.index(call)} if call.params else {})}

    async def follow(self, call: Call) -> dict[str, Any]:
        """Be told what is said in a session."""
        keys = await self._keys(call)
        call.client.follow(*keys)
        return {"subscribed": True, "key": bare(call.caller.id, keys[0])}

    async def unfollow(self, call: Call) -> dict[str, Any]:
        """Be told no more of it."""
        keys = await self._keys(call)
        call.client.unfollow(*keys)
        return {"subscribed": False, "key": bare(call.caller.id, keys[0])}

    async def _keys(self, call: Call) -> tuple[str, ...]:
        """The session that is meant; where there is none yet, also that which an HTTP client may begin by this name."""
        params = call.params
        place = await locate(self._services, call.caller, params["key"], params.get("agentId"), param="key")
        exact = scoped(call.caller.id, params["key"].strip())
        return (place.key,) if place.info is not None or exact == place.key else (place.key, exact)

    async def preview(self, call: Call) -> dict[str, Any]:
        """The last messages of some sessions."""
        params = call.params
        caller = call.caller
        items = min(params.get("limit", PREVIEW_ITEMS), MOST_PREVIEW_ITEMS)
        characters = min(params.get("maxChars", PREVIEW_CHARACTERS), MOST_PREVIEW_CHARACTERS)
        previews = []
        for key in params["keys"][:PREVIEWED]:
            place = await locate(self._services, caller, key, param="keys")
            preview: dict[str, Any] = {"key": key, "status": "missing", "items": []}
            if place.info is not None:
                said = rows_of((await self._services.store.load(place.key)).turns)
                shown = [
                    {"role": row["role"], "text": _short(text, characters)} for row in said if (text := _text(row))
                ]
                preview["items"] = shown[-items:]
                preview["status"] = "ok" if shown else "empty"
            previews.append(preview)
        return {"ts": self._services.now(), "previews": previews}

    async def resolve(self, call: Call) -> dict[str, Any]:
        """The key of the session that a key, a session id or a label means."""
        params = call.params
        given = [name for name in ("key", "sessionId", "label", "shortId", "reference") if params.get(name)]
        if len(given) > 1:
            what = "Provide either key, sessionId, label, shortId, or reference (not multiple)"
            raise RpcError(INVALID_REQUEST, what)
        if not given:
            raise RpcError(INVALID_REQUEST, "Either key, sessionId, label, shortId, or reference is required")
        name = given[0]
        wanted = params[name]["key"] if name == "reference" else params[name].strip()
        caller = call.caller
        if name in {"key", "reference"}:
            place = await locate(self._services, caller, wanted, params.get("agentId"), param="key")
            found = [] if place.info is None else [place.info]
        else:
            scope = {member: params[member] for member in ("agentId", "spawnedBy") if member in params}
            found = [
                info for info in await self._found({**scope, "archived": "all"}, caller) if _means(info, name, wanted)
            ]
        if len(found) > 1:
            keys = ", ".join(bare(caller.id, info.key) for info in found[:20])
            raise RpcError(INVALID_REQUEST, f"Multiple sessions found with {name}: {wanted} ({keys})")
        if found:
            return {
                "ok": True,
                "key": bare(caller.id, found[0].key),
                "agentId": self._services.roster.agent_of(found[0].key),
            }
        if params.get("allowMissing"):
            return {"ok": False}
        raise RpcError(INVALID_REQUEST, f"No session found: {wanted}")


def _means(info: SessionInfo, name: str, wanted: str) -> bool:
    if name == "label":
        return bool(info.settings.get("label") == wanted)
    return wanted in {info.id, info.key} or (name == "shortId" and info.id.startswith(wanted.lower()))


def _text(row: Mapping[str, Any]) -> str:
    """What a person reads of a message."""
    content = row["content"]
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part["type"] == "text")


def _short(text: str, characters: int) -> str:
    words = " ".join(text.split())
    return words if len(words) <= characters else words[: characters - 1] + "\u2026"


def methods(services: Services, rows: Rows) -> list[Method]:
    """Those of this file."""
    made = _SessionMethods(services, rows)
    return [
        Method("sessions.list", READ, made.index),
        Method("sessions.describe", READ, made.describe),
        Method("sessions.subscribe", READ, made.subscribe),
        Method("sessions.messages.subscribe", READ, made.follow),
        Method("sessions.messages.unsubscribe", READ, made.unfollow),
        Method("sessions.preview", READ, made.preview),
        Method("sessions.resolve", READ, made.resolve),
    ]
