"""The tokens that were used: `usage.cost`, `sessions.usage`, and `usage.status`, the quotas of providers, which nobody
asks them for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeAlias

from ...config.schema_models import Cost
from ...model.caller import Caller
from ...model.session import SessionInfo, UsageRow
from ...sessions.keys import bare, owns
from ..method import READ, Call, Method
from ..problem import INVALID_REQUEST, RpcError
from ..services import Services
from ..sessions import locate

__all__ = ["methods"]

EPOCH = date(1970, 1, 1)
DAYS = 30
MOST_DAYS = 36_600
"""Of a range: the product's numbers, where nothing is said and at most."""
SESSIONS = 50
MOST_SESSIONS = 1_000
"""Told apart in one answer: the product's number where nothing is said, and at most; the totals are of all."""
_RANGES = {"7d": 7, "30d": 30, "90d": 90, "1y": 365}

TOKENS = 1_000_000
"""That prices are of."""

_Price: TypeAlias = Callable[[str | None], Cost | None]

_TOKENS = ("input", "output", "cacheRead", "cacheWrite", "totalTokens")
_COSTS = ("totalCost", "inputCost", "outputCost", "cacheReadCost", "cacheWriteCost")


class _UsageMethods:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._price: _Price = services.roster.cost

    async def status(self, _: Call) -> dict[str, Any]:
        return {"updatedAt": self._services.now(), "providers": []}

    async def cost(self, call: Call) -> dict[str, Any]:
        """By days, as they are in UTC: that is how they are counted."""
        params = call.params
        first, last = _range(params, datetime.fromtimestamp(self._services.clock(), UTC).date())
        agent_id = self._agent(call)
        daily: dict[int, dict[str, Any]] = {}
        totals = _nothing()
        for row in await self._rows(call.caller, (first - EPOCH).days, (last - EPOCH).days):
            if agent_id in {None, row.agent} and call.caller.uses(row.agent):
                day = daily.setdefault(row.day, {"date": (EPOCH + timedelta(row.day)).isoformat(), **_nothing()})
                for one in (day, totals):
                    _add(one, row, self._price(row.model))
        return {
            "updatedAt": self._services.now(), "days": (last - first).days + 1, "timeZone": "UTC",
            "daily": [daily[day] for day in sorted(daily)], "totals": totals,
        }  # fmt: skip

    async def sessions(self, call: Call) -> dict[str, Any]:
        """By sessions, those that used most first, and in all: what sessions used that are gone is part of that."""
        params = call.params
        caller = call.caller
        first, last = _range(params, datetime.fromtimestamp(self._services.clock(), UTC).date())
        key = None
        if "key" in params:
            key = (await locate(self._services, caller, params["key"], params.get("agentId"), param="key")).key
        agent_id = None if key is not None else self._agent(call)
        by_key: dict[str, list[UsageRow]] = {}
        for row in await self._services.store.usage((first - EPOCH).days, (last - EPOCH).days, apart=True):
            own = not caller.id or owns(caller.id, row.key)
            if own and caller.uses(row.agent) and agent_id in {None, row.agent} and key in {None, row.key}:
                by_key.setdefault(row.key, []).append(row)
        price = self._price
        everything = [row for rows in by_key.values() for row in rows]
        by_key.pop("", None)
        infos = {info.key: info for info in await self._services.store.sessions() if info.key in by_key}
        most = sorted(infos, key=lambda one: -sum(sum(row.usage[:2]) for row in by_key[one]))
        limit = min(params.get("limit", SESSIONS), MOST_SESSIONS)
        return {
            "updatedAt": self._services.now(), "startDate": first.isoformat(), "endDate": last.isoformat(),
            "sessions": [self._session(infos[one], by_key[one], caller) for one in most[:limit]],
            "totals": _total(everything, price),
            "aggregates": {
                "sessionCount": len(infos), "messages": _messages(everything),
                "tools": {"totalCalls": 0, "uniqueTools": 0, "tools": []},
                "byModel": _grouped(everything, _named, price),
                "byProvider": _grouped(everything, _provided, price),
                "byAgent": _grouped(everything, lambda row: {"agentId": row.agent}, price), "byChannel": [],
                "daily": [
                    {
                        "date": day, "tokens": sums["totalTokens"], "cost": sums["totalCost"],
                        "messages": said["total"], "toolCalls": said["toolCalls"], "errors": said["errors"],
                    }
                    for day, sums, said in _days(everything, price)
                ],
                "costDaily": [{"date": day, **sums} for day, sums, _ in _days(everything, price)],
            },
        }  # fmt: skip

    def _session(self, info: SessionInfo, rows: list[UsageRow], caller: Caller) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "key": bare(caller.id, info.key), "sessionId": info.id, "updatedAt": round(info.updated_at * 1000),
            "agentId": self._services.roster.agent_of(info.key, info), "scope": "instance",
        }  # fmt: skip
        if label := info.settings.get("label"):
            shown["label"] = label
        price = self._price
        days = _days(rows, price)
        usage = {
            **_total(rows, price), "modelUsage": _grouped(rows, _named, price), "messageCounts": _messages(rows),
            "dailyBreakdown": [
                {"date": day, "tokens": sums["totalTokens"], "cost": sums["totalCost"], **sums} for day, sums, _ in days
            ],
            "dailyMessageCounts": [{"date": day, **said} for day, _, said in days],
        }  # fmt: skip
        return {**shown, "usage": usage}

    def _agent(self, call: Call) -> str | None:
        """The agent that is asked for; None for all."""
        params = call.params
        agent_id = params.get("agentId") or None
        if params.get("agentScope") == "all":
            if agent_id is not None:
                raise RpcError(INVALID_REQUEST, "agentScope=all cannot be combined with agentId")
            return None
        if agent_id is not None and not isinstance(agent_id, str):
            raise RpcError(INVALID_REQUEST, "invalid usage.cost params: at /agentId: must be string")
        return self._services.roster.find(call.caller, agent_id, "usage.cost").id

    async def _rows(self, caller: Caller, first: int, last: int) -> list[UsageRow]:
        """Who has a key of its own sees what its own sessions used, and the operator all."""
        rows = await self._services.store.usage(first, last, apart=bool(caller.id))
        return [row for row in rows if not caller.id or owns(caller.id, row.key)]


def _range(params: Mapping[str, Any], today: date) -> tuple[date, date]:
    """The first and the last day.  Raises RpcError (INVALID_REQUEST), in the product's words."""
    start, end = _date(params, "startDate"), _date(params, "endDate")
    if (start is None) != (end is None):
        raise RpcError(INVALID_REQUEST, "startDate and endDate must be provided together")
    if start is not None and end is not None:
        if start > end:
            raise RpcError(INVALID_REQUEST, "startDate must not be after endDate")
        return start, end
    if params.get("range") == "all":
        return EPOCH, today
    days = _RANGES.get(str(params.get("range")), params.get("days", DAYS))
    try:
        number = int(float(days)) if isinstance(days, int | float | str) else DAYS
    except (ValueError, OverflowError):
        number = DAYS
    first = today.toordinal() - min(max(number, 1), MOST_DAYS) + 1
    return max(date.fromordinal(first), EPOCH), today


def _date(params: Mapping[str, Any], name: str) -> date | None:
    given = params.get(name)
    if given is None or given == "":
        return None
    try:
        if not isinstance(given, str) or not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", given):
            raise ValueError
        return max(date.fromisoformat(given), EPOCH)
    except ValueError:
        message = f"invalid {name}: expected a valid YYYY-MM-DD calendar date"
        raise RpcError(INVALID_REQUEST, message) from None


def _nothing() -> dict[str, Any]:
    return {**dict.fromkeys(_TOKENS, 0), **dict.fromkeys(_COSTS, 0), "missingCostEntries": 0}


def _add(totals: dict[str, Any], row: UsageRow, cost: Cost | None) -> None:
    """What has a price that nobody told costs nothing, and is counted."""
    usage = row.usage
    cached = usage.cached_tokens or 0
    fresh = usage.prompt_tokens - cached
    totals["input"] += fresh
    totals["output"] += usage.completion_tokens
    totals["cacheRead"] += cached
    totals["totalTokens"] += usage.prompt_tokens + usage.completion_tokens
    if cost is None or cost.input is None or cost.output is None:
        if usage.prompt_tokens or usage.completion_tokens:
            totals["missingCostEntries"] += row.turns
        return
    again = cost.input if cost.cache_read is None else cost.cache_read
    dollars = {
        "inputCost": fresh * cost.input / TOKENS,
        "outputCost": usage.completion_tokens * cost.output / TOKENS,
        "cacheReadCost": cached * again / TOKENS,
    }
    for name, value in dollars.items():
        totals[name] += value
        totals["totalCost"] += value


def _total(rows: Iterable[UsageRow], price: _Price) -> dict[str, Any]:
    totals = _nothing()
    for row in rows:
        _add(totals, row, price(row.model))
    return totals


def _grouped(
    rows: Iterable[UsageRow], place: Callable[[UsageRow], dict[str, Any]], price: _Price
) -> list[dict[str, Any]]:
    """The sums of the rows that are of one place, and how many turns they were."""
    found: dict[str, tuple[dict[str, Any], list[UsageRow]]] = {}
    for row in rows:
        named = place(row)
        found.setdefault(str(named), (named, []))[1].append(row)
    return [
        {**named, "count": sum(row.turns for row in some), "totals": _total(some, price)}
        for named, some in (found[name] for name in sorted(found))
    ]


def _named(row: UsageRow) -> dict[str, Any]:
    provider, _, model = (row.model or "").partition("/")
    return {"provider": provider, "model": model}


def _provided(row: UsageRow) -> dict[str, Any]:
    return {"provider": _named(row)["provider"]}


def _messages(rows: Iterable[UsageRow]) -> dict[str, int]:
    """A turn is what was asked and what was answered.  Calls of tools are not counted."""
    turns = sum(row.turns for row in rows)
    return {"total": 2 * turns, "user": turns, "assistant": turns, "toolCalls": 0, "toolResults": 0, "errors": 0}


def _days(rows: Iterable[UsageRow], price: _Price) -> list[tuple[str, dict[str, Any], dict[str, int]]]:
    """Each day with its sums and its messages, the first one first."""
    found: dict[int, list[UsageRow]] = {}
    for row in rows:
        found.setdefault(row.day, []).append(row)
    return [
        ((EPOCH + timedelta(day)).isoformat(), _total(found[day], price), _messages(found[day]))
        for day in sorted(found)
    ]


def methods(services: Services) -> list[Method]:
    """Those of this file."""
    made = _UsageMethods(services)
    return [
        Method("usage.status", READ, made.status),
        Method("usage.cost", READ, made.cost),
        Method("sessions.usage", READ, made.sessions),
    ]
