"""Which session a request means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import RequestError
from ..model.caller import Caller
from ..model.session import SessionInfo
from ..records import NamedTuple
from ..sessions.keys import explicit_key, scoped
from .problem import INVALID_REQUEST, RpcError, rpc_error
from .services import Services

__all__ = ["MAIN", "Place", "canonical", "locate", "main_key", "session_key"]

MAIN = "main"
"""What the session is called that an agent has without being told of one."""


def main_key(agent_id: str) -> str:
    """The key of the session that an agent has without being told of one."""
    return f"agent:{agent_id}:{MAIN}"


class Place(NamedTuple):
    """A session: its key as it is stored, the agent it belongs to, and what is known of it; None for a new one."""

    key: str
    agent_id: str
    info: SessionInfo | None = None


async def locate(
    services: Services, caller: Caller, given: str, agent_id: str | None = None, *, param: str = "sessionKey"
) -> Place:
    """The session that a client means by a key: the one that is called so, else the agent's own of that name.

    Raises RpcError (INVALID_REQUEST) for keys that cannot be, and for agents that there are not, or not for this
    caller.  `param` names the key in errors.
    """
    agent_id = _known(services, agent_id)
    key = given.strip()
    exact = scoped(caller.id, key)
    info = await services.store.describe(exact)
    running = services.book.active_in(exact)  # in a session that begins with this run
    if info is not None or running:
        agent_of_it = running[0].run.agent_id if info is None else services.roster.agent_of(exact, info)
        place = Place(exact, agent_of_it, info)
        if agent_id not in {None, place.agent_id}:
            raise RpcError(INVALID_REQUEST, "session key agent does not match agentId")
    else:
        new = canonical(services, caller, key, agent_id, param=param)
        stored = scoped(caller.id, new.key)
        place = Place(stored, new.agent_id, None if stored == exact else await services.store.describe(stored))
    if not caller.uses(place.agent_id):
        raise RpcError(INVALID_REQUEST, f"this API key may not use the agent `{place.agent_id}`")
    return place


def _known(services: Services, agent_id: str | None) -> str | None:
    """The id of an agent that there is.  Raises RpcError."""
    if agent_id is None:
        return None
    known = agent_id.strip().lower()
    if known not in services.registry.by_id:
        raise RpcError(INVALID_REQUEST, f'unknown agent id "{agent_id[:200]}"')
    return known


def canonical(
    services: Services, caller: Caller, given: str, agent_id: str | None = None, *, param: str = "sessionKey"
) -> Place:
    """The session that a client means by a key; the bare name of one is that of an agent's own.

    Raises RpcError for keys that cannot be, and for agents that there are not.
    """
    try:
        key = explicit_key(given.strip(), param)
    except RequestError as error:
        raise rpc_error(error) from None
    agents = services.registry.by_id
    if key.lower().startswith("agent:"):
        _, named, *rest = key.split(":", 2)
        if not rest or not rest[0]:
            raise RpcError(INVALID_REQUEST, f"{param}: a session of an agent is called agent:<id>:<name>")
        if named.lower() not in agents:
            raise RpcError(INVALID_REQUEST, f'unknown agent id "{named[:200]}"')
        if agent_id not in {None, named.lower()}:
            raise RpcError(INVALID_REQUEST, "session key agent does not match agentId")
        return Place(f"agent:{named.lower()}:{rest[0]}", named.lower())
    if agent_id is None:
        default = services.roster.default(caller)
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
        return await locate(services, caller, key, agent_id)
    if session_id := params.get("sessionId"):
        place = canonical(services, caller, f"explicit:{session_id}", agent_id)
    elif params.get("to") or agent_id is not None:
        place = canonical(services, caller, MAIN, agent_id)
    else:
        place = canonical(services, caller, f"explicit:{params['idempotencyKey']}", agent_id)
    if not caller.uses(place.agent_id):
        raise RpcError(INVALID_REQUEST, f"this API key may not use the agent `{place.agent_id}`")
    return Place(scoped(caller.id, place.key) if caller.id else place.key, place.agent_id)
