"""What the methods work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..agents.conversation import Conversations
from ..agents.registry import Registry
from ..config.schema import Config
from ..config.source import ConfigSource
from ..logring import LogRing
from ..ports import Ids, SessionStore
from ..tools.invoker import Invoker
from .health import Health
from .hub import Hub
from .presence import Presence
from .roster import Roster
from .runs import Command, RunBook
from .stability import Stability
from .wakes import Wakes

__all__ = ["Services"]


@dataclass(slots=True)
class Services:
    """`clock` gives seconds since the epoch, `ids` random hexadecimal digits.  `since` is when the gateway started.

    `config` is what the gateway runs with, `source` the file that it was read from, None where there is none.
    `reload` takes over what can be of a configuration that was read anew, and gives the names of what was renewed.
    `logs` is the end of the log, where it is kept.
    """

    registry: Registry
    conversations: Conversations
    store: SessionStore
    hub: Hub
    book: RunBook
    presence: Presence
    roster: Roster
    health: Health
    wakes: Wakes
    stability: Stability
    config: Config
    clock: Callable[[], float]
    ids: Ids
    since: float
    version: str
    environ: Mapping[str, str] = field(default_factory=dict)
    source: ConfigSource | None = None
    reload: Callable[[Config, Mapping[str, str]], Sequence[str]] | None = None
    logs: LogRing | None = None
    tools: Invoker | None = None
    command: Command | None = None

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return int(self.clock() * 1000)

    @property
    def state_version(self) -> dict[str, Any]:
        """The numbers that tell which presence and which health a client has seen last."""
        return {"presence": self.presence.version, "health": self.health.version}
