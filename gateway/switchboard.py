"""From the parts of a gateway to its WebSocket protocol.  Loaded with the first WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from . import __version__
from .agents.conversation import Conversations
from .agents.run import Runs
from .api.guard import Guard
from .assembly import Assembly
from .config.auth import resolve_auth
from .config.schema import Config
from .config.source import ConfigSource
from .control.connect import Connects, Penalties
from .control.devicefile import FILE_NAME, DeviceFile
from .control.devices import Devices
from .control.feed import Feed
from .control.health import Health
from .control.hub import Hub
from .control.method import Method, of_protocol
from .control.methods import (
    absent,
    agent,
    agents,
    chat,
    devices,
    models,
    session_changes,
    sessions,
    system,
    tools,
    usage,
    wakes,
)
from .control.methods import config as config_methods
from .control.methods import logs as log_methods
from .control.origins import Origins
from .control.presence import Presence
from .control.roster import Roster
from .control.rows import Rows
from .control.runs import Command, RunBook
from .control.scopes import PAIRING
from .control.sending import Sending
from .control.service import Control
from .control.services import Services
from .control.stability import Stability
from .control.wakes import Wakes
from .errors import ConfigError
from .logring import LogRing
from .ports import Ids, SessionStore
from .sessions.deferred import DeferredStore
from .sessions.place import file_of, state_folder
from .sessions.store import MemoryStore

__all__ = ["control"]

FAMILIES = (agent, agents, models, config_methods, log_methods, system, tools, usage, wakes, absent)


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
    starting: Callable[[], bool] = lambda: False,
) -> Control:
    """The protocol of a gateway.  From now on its runs are watched.  To be called in its event loop."""
    loop = asyncio.get_running_loop()
    hub = Hub(loop)
    registry = assembly.registry
    book = RunBook(runs, hub, loop, clock, lambda agent_id: registry.by_id[agent_id].shows_reasoning)
    runs.observer = book
    roster = Roster(registry, config, assembly.models)
    place = _place(conversations.store, config, environ)

    def seen() -> dict[str, Any]:  # of what is made below, and two of its parts ask for
        return services.state_version

    health = Health(conversations.store, roster, hub, loop, clock, path=place, state_version=seen)
    services = Services(
        registry=registry,
        conversations=conversations,
        store=conversations.store,
        hub=hub,
        book=book,
        presence=Presence(hub, loop, clock, __version__, ids(32), state_version=seen),
        roster=roster,
        health=health,
        wakes=Wakes(book, hub, clock, ids),
        stability=Stability(book, clock),
        config=config,
        clock=clock,
        ids=ids,
        since=since,
        version=__version__,
        environ=environ,
        source=None if source is None else source(),
        reload=reload,
        logs=logs,
        tools=assembly.invoker(),
        command=_command(assembly, runs, conversations),
    )
    paired = _devices(environ, hub, services.now)
    families = [family.methods(services) for family in FAMILIES]
    families += [devices.methods(services, paired), _talk(services, loop)]
    methods = [of_protocol(method) for family in families for method in family]
    connects = _connects(guard, paired, config, environ, services.now)
    return Control(services, connects, methods, loop, starting)


def _command(assembly: Assembly, runs: Runs, conversations: Conversations) -> Command | None:
    """What answers slash commands that people type; None where that is off."""
    commands = assembly.interceptor(conversations, typed=True)
    return None if commands is None else partial(commands.take, runs)


def _talk(services: Services, loop: asyncio.AbstractEventLoop) -> list[Method]:
    """The methods of sessions, and of what is said in them; from now on clients are told what happens there."""
    rows = Rows(services)
    feed = Feed(services, rows, loop)
    services.conversations.scribe = feed
    services.book.listeners.append(feed.listen)
    sending = Sending(services, feed, loop)
    return [
        *chat.methods(services, rows, feed, sending),
        *sessions.methods(services, rows),
        *session_changes.methods(services, rows, feed, sending),
    ]


def _connects(
    guard: Guard, paired: Devices, config: Config, environ: Mapping[str, str], now: Callable[[], int]
) -> Connects:
    """What judges who may come in."""
    origins = Origins(config.gateway.http.cors.allowed_origins)
    penalties = Penalties(asyncio.get_running_loop().time)
    return Connects(guard, paired, origins, clock=now, penalties=penalties, mode=_mode(config, environ))


def _devices(environ: Mapping[str, str], hub: Hub, now: Callable[[], int]) -> Devices:
    """The paired devices: in the state folder, or in memory where nothing tells of one."""
    folder = state_folder(environ)
    file = DeviceFile(None if folder is None else str(Path(folder) / FILE_NAME))
    return Devices(file, now, lambda name, payload: hub.broadcast(name, payload, scope=PAIRING, droppable=True))


def _mode(config: Config, environ: Mapping[str, str]) -> str:
    """What the gateway's secret is called: `token` or `password`."""
    try:
        return resolve_auth(config.gateway, environ).mode
    except ConfigError:  # the secret was given by an embedder, who has no name for it
        return "token"


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
