"""Which session a request means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import RequestError
from ..model.caller import Caller
from ..sessions.keys import explicit_key, scoped
from .problem import INVALID_REQUEST, RpcError, rpc_error
from .services import Services

__all__ = ["MAIN", "Place", "canonical", "session_key"]

MAIN = "main"
"""What the session is called that an agent has without being told of one."""


class Place(NamedTuple):
    """A session: its key as it is stored, and the agent it belongs to."""

    key: str
    agent_id: str


def canonical(services: Services, given: str, agent_id: str | None = None) -> Place:
    """The session that a client means by a key; the bare name of one is that of an agent's own.

    Raises RpcError for keys that cannot be, and for agents that there are not.
    """
    try:
        key = explicit_key(given.strip(), "sessionKey")
    except RequestError as error:
        raise rpc_error(error) from None
    agents = services.registry.by_id
    if key.lower().startswith("agent:"):
        _, named, *rest = key.split(":", 2)
        if named.lower() in agents and rest and rest[0]:
            return Place(f"agent:{named.lower()}:{rest[0]}", named.lower())
    if agent_id is None:
        default = services.registry.default
        if default is None:
            raise RpcError(INVALID_REQUEST, "there is no default agent: name one with agentId")
        agent_id = default.id
    return Place(f"agent:{agent_id}:{key}", agent_id)


async def session_key(services: Services, caller: Caller, params: Mapping[str, Any]) -> Place:
    """The session that `agent` is to run in: `sessionKey`, else one for `sessionId`, `to`, or the run alone.

    Raises RpcError (INVALID_REQUEST) for agents that there are not, or not for this caller.
    """
    wanted = params.get("agentId")
    agent_id: str | None = None
    if wanted is not None:
        agent_id = wanted.strip().lower()
        if agent_id not in services.registry.by_id:
            raise RpcError(INVALID_REQUEST, f'invalid agent params: unknown agent id "{wanted[:200]}"')
    if key := params.get("sessionKey"):
        place = canonical(services, key, agent_id)
    elif session_id := params.get("sessionId"):
        place = canonical(services, f"explicit:{session_id}", agent_id)
    elif params.get("to") or agent_id is not None:
        place = canonical(services, MAIN, agent_id)
    else:
        place = canonical(services, f"explicit:{params['idempotencyKey']}", agent_id)
    if not caller.uses(place.agent_id):
        raise RpcError(INVALID_REQUEST, f"this API key may not use the agent `{place.agent_id}`")
    return Place(scoped(caller.id, place.key) if caller.id else place.key, place.agent_id)
