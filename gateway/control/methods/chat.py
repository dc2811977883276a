"""The conversation in a session: `chat.*`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...model.caller import Caller
from ...model.chat import Message
from ...model.run import uuid_of
from ...model.session import Session, Turn
from ...sessions.keys import bare
from ..feed import Feed
from ..method import ADMIN, READ, WRITE, Call, Method, satisfied
from ..problem import INVALID_REQUEST, RpcError
from ..record import Record
from ..rows import Rows
from ..sending import Sending, standing
from ..services import Services
from ..sessions import Place, locate
from ..transcript import MARK, asked_rows, bounded, cut, rows_of
from .agents import commands_of

__all__ = ["methods"]

HISTORY_MESSAGES = 200
MOST_HISTORY_MESSAGES = 1_000
"""Of an answer: where nothing is said, and at most.  The product's numbers, as the two below."""
HISTORY_BYTES = 6 * 1024 * 1024
"""Of the messages of one answer; what the run under way has said comes out of it, too."""

INPUTS = 20
"""Messages that wait, of one answer; the product's number."""


class _ChatMethods:
    def __init__(self, services: Services, rows: Rows, feed: Feed, sending: Sending) -> None:
        self._services = services
        self._rows = rows
        self._feed = feed
        self._sending = sending

    async def send(self, call: Call) -> dict[str, Any]:
        """Begin a run; answered at once."""
        params = call.params
        run_id: str = params["idempotencyKey"]
        caller = call.caller
        record = self._services.book.find(run_id, caller.id)
        if record is not None:
            return standing(record)
        place = await locate(self._services, caller, params["sessionKey"], params.get("agentId"))
        # What they do (end runs, forget sessions) takes this scope by the methods of the protocol, too.
        typed = satisfied(ADMIN, call.client.welcome.scopes) and not params.get("suppressCommandInterpretation")
        return await self._sending.send(run_id, caller, place, params, "chat.send", commands=typed)

    async def abort(self, call: Call) -> dict[str, Any]:
        """End a run, or all of a session, whoever began them."""
        params = call.params
        caller = call.caller
        book = self._services.book
        place = await locate(self._services, caller, params["sessionKey"], params.get("agentId"))
        records = book.active_in(place.key)
        if run_id := params.get("runId"):
            record = book.find(run_id, caller.id)
            if record is not None and record.key != place.key:
                raise RpcError(INVALID_REQUEST, "runId does not match sessionKey")
            records = [record] if record is not None else []
        ended = [record.run.run_id for record in records if book.abort(record)]
        return {"ok": True, "aborted": bool(ended), "runIds": ended}

    async def history(self, call: Call) -> dict[str, Any]:
        """What was said in a session, and what the run under way says."""
        params = call.params
        if "cursor" in params:  # of an answer that others gave: read it anew
            return {"kind": "reset"}
        place = await locate(self._services, call.caller, params["sessionKey"], params.get("agentId"))
        return await self._told(call, place)

    async def _told(self, call: Call, place: Place) -> dict[str, Any]:
        """The history of one session."""
        params, caller, info = call.params, call.caller, place.info
        if info is not None and params.get("sessionId", info.id) != info.id:
            raise RpcError(INVALID_REQUEST, "sessionId does not belong to sessionKey")
        pending = self._feed.pending(place.key)  # before what is kept is read: nothing may fall between the two
        session = Session() if info is None else await self._services.conversations.session(place.key)
        running = self._services.book.active_in(place.key)
        said = list(rows_of(session.turns))
        ids = {row[MARK]["id"] for row in said}
        said += [row for row in pending if row[MARK]["id"] not in ids]
        if info is None:
            row = self._rows.missing(place.key, place.agent_id, caller)
        else:
            row = self._rows.row(info, caller, running)
        answer: dict[str, Any] = {"sessionKey": bare(caller.id, place.key)}
        if info is not None:
            answer["sessionId"] = info.id
        answer |= self._page(said, call)
        answer["pendingInputs"] = _inputs([record for record in running if self._feed.waiting(record)], params)
        answer["defaults"] = self._rows.defaults(place.agent_id)
        answer["sessionInfo"] = row
        for name in ("thinkingLevel", "verboseLevel", "fastMode", "toolOverrides"):
            if name in row:
                answer[name] = row[name]
        if begun := [record for record in running if not self._feed.waiting(record)]:
            answer["inFlightRun"] = _in_flight(begun[0])
        return answer

    def _page(self, said: list[dict[str, Any]], call: Call) -> dict[str, Any]:
        """Some of what was said: `limit` messages before the last `offset`, or those around `messageId`."""
        params = call.params
        limit = min(params.get("limit", HISTORY_MESSAGES), MOST_HISTORY_MESSAGES)
        total = len(said)
        offset = min(params.get("offset", 0), total)
        if wanted := params.get("messageId"):
            found = next((at for at, row in enumerate(said) if row[MARK]["id"] == wanted), None)
            offset = total if found is None else max(0, total - found - 1 - limit // 2)
        end = total - offset
        page = [cut(row, params.get("maxChars")) for row in said[max(0, end - limit) : end]]
        page = bounded(page, min(params.get("maxBytes", HISTORY_BYTES), HISTORY_BYTES))
        next_offset = offset + len(page)
        more = next_offset < total and bool(page)
        answer: dict[str, Any] = {"messages": page, "hasMore": more, "totalMessages": total}
        if more:
            answer["nextOffset"] = next_offset
        if offset:
            answer["offset"] = offset
        return answer

    async def startup(self, call: Call) -> dict[str, Any]:
        """`chat.history`, and what a chat needs at its beginning."""
        if "sessionKey" not in call.params:
            raise RpcError(INVALID_REQUEST, "sessions have no short ids here: name one with sessionKey")
        place = await locate(self._services, call.caller, call.params["sessionKey"], call.params.get("agentId"))
        return {**await self._told(call, place), "metadata": self._about(place, call.caller)}

    async def metadata(self, call: Call) -> dict[str, Any]:
        """What can answer in a chat, and which commands it knows."""
        params = call.params
        caller = call.caller
        place = await locate(self._services, caller, params.get("sessionKey", "main"), params.get("agentId"))
        return self._about(place, caller)

    def _about(self, place: Place, caller: Caller) -> dict[str, Any]:
        roster = self._services.roster
        models = [roster.row(name, tags) for name, tags in roster.models(caller, place.agent_id).items()]
        return {"agentId": place.agent_id, "models": models, "commands": commands_of(self._services, caller)}

    async def inject(self, call: Call) -> dict[str, Any]:
        """Add what no run said to a session."""
        params = call.params
        services = self._services
        caller = call.caller
        place = await locate(services, caller, params["sessionKey"], params.get("agentId"))
        if place.info is None:
            raise RpcError(INVALID_REQUEST, "session not found")
        text = f"[{params['label']}]\n\n{params['message']}" if params.get("label") else params["message"]
        message_id = f"inject-{uuid_of(services.ids(32))}"
        turn = Turn(message_id, (), (Message("assistant", text),), services.clock())
        turn = await services.conversations.add(place.key, turn)
        row = next(iter(rows_of([turn])))
        payload = {
            "runId": message_id, "sessionKey": place.key, "agentId": place.agent_id, "seq": 0, "state": "final",
            "message": row,
        }  # fmt: skip
        services.hub.broadcast("chat", payload, scope=READ, about=place.key)
        self._feed.changed(place.key, "inject")
        return {"ok": True, "messageId": row[MARK]["id"]}


def _inputs(waiting: list[Record], params: Mapping[str, Any]) -> dict[str, Any]:
    """The messages that wait for the run under way, the last of them."""
    items = []
    for record in waiting[-INPUTS:]:
        run_id = record.run.run_id
        row = next(asked_rows(run_id, record.run.request.messages[-1:], 0, record.started_at))
        shown = {name: value for name, value in row.items() if name not in {MARK, "idempotencyKey"}}
        message = cut(shown, params.get("maxChars"))
        items.append({
            "id": run_id, "runId": run_id, "acceptedAt": record.started_at, "state": "queued", "message": message,
        })  # fmt: skip
    return {"items": items, "total": len(waiting)}


def _in_flight(record: Record) -> dict[str, Any]:
    record.tell()  # what came since the last beat is part of it
    return {"runId": record.run.run_id, "text": record.text, "startedAt": record.started_at}


def methods(services: Services, rows: Rows, feed: Feed, sending: Sending) -> list[Method]:
    """Those of this file."""
    made = _ChatMethods(services, rows, feed, sending)
    return [
        Method("chat.send", WRITE, made.send),
        Method("chat.abort", WRITE, made.abort),
        Method("chat.history", READ, made.history),
        Method("chat.startup", READ, made.startup),
        Method("chat.metadata", READ, made.metadata),
        Method("chat.inject", ADMIN, made.inject),
    ]
