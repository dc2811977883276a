"""The models: those that agents answer with, and those that can be chosen."""

from __future__ import annotations

from asyncio import Task, gather, get_running_loop, shield, timeout
from collections.abc import Iterable
from logging import getLogger
from typing import Any

from ...agents.registry import MODEL_SCOPE
from ...errors import AgentError, ConfigError
from ..method import READ, Call, Method
from ..services import Services
from ..sessions import locate

__all__ = ["methods"]

_logger = getLogger(__name__)

LIST_SECONDS = 60.0
"""How long the list of a provider is good; some are large, and many clients may ask."""
PATIENCE_SECONDS = 10.0
"""For the list of a provider."""


class _ModelMethods:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._lists: dict[str, tuple[Task[list[str] | None], float]] = {}  # by provider, of those there are

    async def index(self, call: Call) -> dict[str, Any]:
        """`models.list`."""
        params, roster, caller = call.params, self._services.roster, call.caller
        agent_id = params.get("agentId")
        if agent_id is not None:
            agent_id = roster.find(caller, agent_id, "models.list").id
        elif key := params.get("sessionKey"):
            agent_id = (await locate(self._services, caller, key)).agent_id
        models = roster.models(caller, agent_id)
        wanted = params.get("provider")
        outcomes: list[dict[str, Any]] = []
        if params.get("view") == "all" and caller.may(MODEL_SCOPE) and not params.get("preparedOnly"):
            providers = roster.providers if wanted is None else (wanted,)
            outcomes = await self._ask(models, providers, anew=params.get("refresh", False))
        rows = [roster.row(name, tags) for name, tags in models.items() if wanted in {None, name.partition("/")[0]}]
        return {"models": rows} | ({"providerOutcomes": outcomes} if outcomes else {})

    async def _ask(self, models: dict[str, list[str]], providers: Iterable[str], *, anew: bool) -> list[dict[str, Any]]:
        """Add the models that providers say they have; how that went, for each."""
        known = [name for name in providers if self._services.roster.provider(name) is not None]
        outcomes = []
        for name, listed in zip(known, await gather(*(self._listed(name, anew=anew) for name in known)), strict=True):
            outcomes.append({"provider": name, "status": "unavailable" if listed is None else "ready"})
            for model in listed or ():
                models.setdefault(f"{name}/{model}", [])
        return outcomes

    async def _listed(self, provider: str, *, anew: bool) -> list[str] | None:
        """What a provider says it has, or said a minute ago; None where it does not say."""
        task, at = self._lists.get(provider, (None, 0.0))
        now = get_running_loop().time()
        if task is None or now - at > LIST_SECONDS or (task.done() and (anew or task.result() is None)):
            task = get_running_loop().create_task(self._list(provider), name="models")
            self._lists[provider] = task, now
        return await shield(task)

    async def _list(self, provider: str) -> list[str] | None:
        try:
            async with timeout(PATIENCE_SECONDS):
                return await self._services.roster.listed(provider)
        except TimeoutError:
            _logger.warning("%s sent no list of its models within %g s", provider, PATIENCE_SECONDS)
        except (AgentError, ConfigError) as error:
            _logger.warning("the models of %s cannot be listed: %s", provider, error)
        return None

    async def auth_status(self, call: Call) -> dict[str, Any]:
        """`models.authStatus`: which providers there is a key for, never the key."""
        services = self._services
        roster, caller = services.roster, call.caller
        used = dict.fromkeys(name.partition("/")[0] for name in roster.models(caller))
        return {"ts": services.now(), "providers": [self._provider(name) for name in used]}

    def _provider(self, name: str) -> dict[str, Any]:
        roster = self._services.roster
        row: dict[str, Any] = {"provider": name, "authProvider": name, "displayName": name, "profiles": []}
        status = roster.auth_status(name)
        row["status"] = status
        if source := roster.key_source(name):
            row["apiKey"] = {"source": source}
        return row


def methods(services: Services) -> list[Method]:
    """Those of this file."""
    made = _ModelMethods(services)
    return [Method("models.list", READ, made.index), Method("models.authStatus", READ, made.auth_status)]
