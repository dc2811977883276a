"""What the product has and this gateway has not: channels, jobs, nodes, questions, approvals.  There are none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ..method import ADMIN, READ, Call, Method
from ..services import Services

__all__ = ["methods"]

APPROVALS = "operator.approvals"
QUESTIONS = "operator.questions"


def methods(services: Services) -> list[Method]:
    """Those of this file."""

    def none(**payload: Any) -> Callable[[Call], Awaitable[Any]]:
        async def answer(_: Call) -> Any:
            return payload

        return answer

    async def no_approvals(_: Call) -> list[Any]:
        return []

    async def nodes(_: Call) -> dict[str, Any]:
        return {"ts": services.now(), "nodes": []}

    async def channels(_: Call) -> dict[str, Any]:
        return {
            "ts": services.now(), "channelOrder": [], "channelLabels": {}, "channelDetailLabels": {},
            "channelSystemImages": {}, "channelMeta": [], "channels": {}, "channelAccounts": {},
            "channelDefaultAccountId": {}, "statusIssues": [],
        }  # fmt: skip

    async def jobs(call: Call) -> dict[str, Any]:
        limit = call.params.get("limit", 50)
        return {
            "jobs": [], "total": 0, "offset": call.params.get("offset", 0), "limit": limit, "hasMore": False,
            "nextOffset": None, "snapshotRevision": "0",  # nothing is ever added; clients hold pages together by it
        }  # fmt: skip

    return [
        Method("channels.status", READ, channels),
        Method("cron.list", READ, jobs),
        Method("cron.status", READ, none(enabled=False, triggersEnabled=False, jobs=0, nextWakeAtMs=None)),
        Method("node.list", READ, nodes),
        Method("question.list", QUESTIONS, none(questions=[])),
        Method("plugin.approval.list", APPROVALS, no_approvals),
        Method("exec.approval.list", APPROVALS, no_approvals),
        Method("taskSuggestions.list", READ, none(suggestions=[])),
        Method("update.status", ADMIN, none(sentinel=None, updateAvailable=None)),
    ]
