"""From the parts of a gateway to its WebSocket protocol.  Loaded with the first WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from . import __version__
from .agents.conversation import Conversations
from .agents.run import Runs
from .api.guard import Guard
from .assembly import Assembly
from .config.schema import Config
from .config.source import ConfigSource
from .control.connect import Connects
from .control.hub import Hub
from .control.method import Method
from .control.methods import agent, system
from .control.methods import config as config_methods
from .control.methods import logs as log_methods
from .control.params import PARAMS
from .control.presence import Presence
from .control.runs import RunBook
from .control.service import Control
from .control.services import Services
from .control.shapes import check
from .logring import LogRing
from .ports import Ids

__all__ = ["control"]


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
    source: Callable[[], ConfigSource] | None = None,
    reload: Callable[[Config, Mapping[str, str]], Sequence[str]] | None = None,
    logs: LogRing | None = None,
) -> Control:
    """The protocol of a gateway.  From now on its runs are watched.  To be called in its event loop."""
    loop = asyncio.get_running_loop()
    hub = Hub(loop)
    registry = assembly.registry
    book = RunBook(runs, hub, loop, clock, lambda agent_id: registry.by_id[agent_id].shows_reasoning)
    runs.observer = book
    services = Services(
        registry=registry,
        conversations=conversations,
        store=conversations.store,
        hub=hub,
        book=book,
        presence=Presence(hub, loop, clock, __version__, ids(32)),
        config=config,
        clock=clock,
        ids=ids,
        since=since,
        version=__version__,
        environ=environ,
        source=None if source is None else source(),
        reload=reload,
        logs=logs,
    )
    families = (agent, config_methods, log_methods, system)
    methods = [_checked(method) for family in families for method in family.methods(services)]
    return Control(services, Connects(guard), methods, loop)


def _checked(method: Method) -> Method:
    """With the product's parameters, where it has none of its own."""
    shape = PARAMS.get(method.name)
    return method if method.check is not None or shape is None else method._replace(check=partial(check, shape))
