"""From the parts of a gateway to its WebSocket protocol.  Loaded with the first WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from . import __version__
from .agents.conversation import Conversations
from .agents.run import Runs
from .api.guard import Guard
from .assembly import Assembly
from .config.schema import Config
from .control.connect import Connects
from .control.health import Health
from .control.hub import Hub
from .control.method import Method
from .control.methods import absent, agent, agents, models, system
from .control.params import PARAMS
from .control.presence import Presence
from .control.roster import Roster
from .control.runs import RunBook
from .control.service import Control
from .control.services import Services
from .control.shapes import check
from .errors import ConfigError
from .ports import Ids, SessionStore
from .sessions.deferred import DeferredStore
from .sessions.place import file_of
from .sessions.store import MemoryStore

__all__ = ["control"]

FAMILIES = (agent, agents, models, system, absent)


def control(
    assembly: Assembly,
    runs: Runs,
    conversations: Conversations,
    guard: Guard,
    *,
    config: Config,
    clock: Callable[[], float],
    ids: Ids,
    since: float,
    environ: Mapping[str, str],
) -> Control:
    """The protocol of a gateway.  From now on its runs are watched.  To be called in its event loop."""
    loop = asyncio.get_running_loop()
    hub = Hub(loop)
    registry = assembly.registry
    book = RunBook(runs, hub, loop, clock, lambda agent_id: registry.by_id[agent_id].shows_reasoning)
    runs.observer = book
    roster = Roster(registry, config, assembly.models)
    presence = Presence(hub, loop, clock, __version__, ids(32))
    health = Health(
        conversations.store,
        roster,
        hub,
        loop,
        clock,
        path=_place(conversations.store, config, environ),
        state_version=lambda: services.state_version,
    )
    services = Services(
        registry=registry,
        conversations=conversations,
        store=conversations.store,
        hub=hub,
        book=book,
        presence=presence,
        roster=roster,
        health=health,
        config=config,
        clock=clock,
        ids=ids,
        since=since,
        version=__version__,
        environ=environ,
    )
    book.listeners.append(lambda _, begins: None if begins else health.touched())
    methods = [_checked(method) for family in FAMILIES for method in family.methods(services)]
    return Control(services, Connects(guard), methods, loop)


def _checked(method: Method) -> Method:
    """With the product's parameters, where it has none of its own."""
    shape = PARAMS.get(method.name)
    return method if method.check is not None or shape is None else method._replace(check=partial(check, shape))


def _place(store: SessionStore, config: Config, environ: Mapping[str, str]) -> str:
    """Where sessions are kept, in words."""
    if isinstance(store, MemoryStore):
        return "memory"
    if isinstance(store, DeferredStore):
        try:
            return file_of(config.session.store or "", environ)
        except ConfigError:
            return "nowhere"  # each request with a session tells why
    return str(getattr(store, "path", type(store).__name__))
