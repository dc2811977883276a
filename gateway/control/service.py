"""The protocol of one gateway: its clients, its methods, its events."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Task, TimerHandle, wait
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import uuid4

from ..config.schema import Config
from ..errors import PeerGone
from ..model.http import Headers
from ..ports import Exchange, Link
from ..sessions.place import state_folder
from .attachments import ATTACHMENT_BYTES, IMAGE_BYTES
from .client import MAX_BUFFERED_BYTES, Client
from .connect import Connects, Welcome
from .connection import MAX_PAYLOAD_BYTES, Connection
from .events import EVENTS
from .hub import Hub
from .method import ADMIN, READ, Method, satisfied, table
from .problem import UNAVAILABLE
from .refusals import ConnectRefusedError
from .scopes import OPERATOR
from .services import Services
from .sessions import MAIN, main_key

__all__ = ["TICK_SECONDS", "Control"]

REVOKED = 4001
"""The product's code for a connection whose secret is none any more."""
TICK_SECONDS = 30.0
"""Between two ticks: a client that misses two takes the connection for dead (`policy.tickIntervalMs`)."""
STRANGERS = 32
"""Connections of one address that have not said yet who they are; the product's number."""
RETRY_MS = 500
"""After which a client may come again that came while the gateway started."""
LAST_ANSWERS_SECONDS = 0.5
"""For the answers to requests when all runs are over: those that are still not there wait for something else."""

_TEXT: Headers = ((b"content-type", b"text/plain; charset=utf-8"),)


class Control:
    """Serves the WebSockets of one gateway.

    `connects` judges who may come in; `methods` are what clients can ask for; `starting` tells whether the gateway is
    not ready yet.
    """

    def __init__(
        self,
        services: Services,
        connects: Connects,
        methods: Iterable[Method],
        loop: AbstractEventLoop,
        starting: Callable[[], bool] = lambda: False,
    ) -> None:
        self.connects = connects
        self._starting = starting
        self.methods: dict[str, Method] = table(methods)
        self.boot_id = str(uuid4())
        self._services = services
        self._loop = loop
        self._events = list(EVENTS)
        self._strangers: Counter[str] = Counter()
        self._connections: set[Connection] = set()
        self._draining = False
        self._tick: TimerHandle | None = None
        self._goodbye: Task[None] | None = None

    @property
    def services(self) -> Services:
        """What its methods work with."""
        return self._services

    @property
    def hub(self) -> Hub:
        """The clients."""
        return self._services.hub

    def add(self, method: Method) -> None:
        """One more method, for all requests from now on.  Raises ValueError for a name that is taken."""
        self.methods = table((*self.methods.values(), method))

    def add_event(self, name: str) -> None:
        """One more event, for clients that connect from now on."""
        self._events.append(name)

    async def serve(self, exchange: Exchange) -> None:
        """Serve one WebSocket, to its end.  Raises RequestError (400, 426) for a handshake that is no good one."""
        host = exchange.peer.host
        if self._strangers[host] >= STRANGERS:
            exchange.respond(503, _TEXT, b"Too many unauthenticated sockets")
            return
        if self._draining:
            exchange.respond(503, _TEXT, b"The gateway is shutting down")
            return
        link = await exchange.accept_websocket()
        self._strangers[host] += 1
        connection = Connection(self, exchange, link)
        self._connections.add(connection)
        try:
            await connection.run()
        except PeerGone:
            pass
        finally:
            self._connections.discard(connection)
            if not connection.known:
                self._forget(host)

    # -- what a connection needs

    def require_ready(self) -> None:
        """See `connection.House.require_ready`."""
        if self._starting():
            raise ConnectRefusedError(
                UNAVAILABLE,
                "gateway starting; retry shortly",
                details={"reason": "startup-sidecars"},
                retryable=True,
                retry_after_ms=RETRY_MS,
                close_code=1013,
                close_reason="gateway starting",
            )

    def challenge(self) -> tuple[str, int]:
        """See `connection.House.challenge`."""
        return str(uuid4()), self._services.now()

    def admit(self, exchange: Exchange, link: Link, welcome: Welcome) -> Client:
        """See `connection.House.admit`."""
        exchange.admit(welcome.caller)
        self._forget(exchange.peer.host)
        services = self._services
        return Client(link, welcome, str(uuid4()), services.hub, since=services.clock())

    async def hello(self, client: Client) -> Mapping[str, Any]:
        """See `connection.House.hello`."""
        services = self._services
        caller = client.welcome.caller
        default = services.roster.default(caller)
        reads = client.welcome.role == OPERATOR and satisfied(READ, client.welcome.scopes)
        return {
            "type": "hello-ok",
            "protocol": client.welcome.protocol,
            "server": {"version": services.version, "connId": client.conn_id, "bootId": self.boot_id},
            "features": {
                "methods": list(self.methods),
                "events": list(self._events),
                "capabilities": ["published-model-catalog"],
            },
            "snapshot": {
                "presence": services.presence.entries(caller.id) if reads else [],
                "health": await services.health.snapshot(caller),
                "stateVersion": services.state_version,
                "uptimeMs": round((services.clock() - services.since) * 1000),
                **({} if default is None else {"sessionDefaults": _defaults(default.id)}),
                **(self._places() if satisfied(ADMIN, client.welcome.scopes) and caller.agents is None else {}),
            },
            **({"auth": dict(client.welcome.auth)} if client.welcome.auth else {}),
            "policy": {
                "maxPayload": MAX_PAYLOAD_BYTES,
                "maxBufferedBytes": MAX_BUFFERED_BYTES,
                "tickIntervalMs": round(TICK_SECONDS * 1000),
                "attachments": {"maxBytes": ATTACHMENT_BYTES, "maxImageBytes": IMAGE_BYTES},
            },
        }

    def _places(self) -> dict[str, str]:
        """What administrators are told besides."""
        services = self._services
        shown = {
            "configPath": None if services.source is None else services.source.path,
            "stateDir": state_folder(services.environ),
            "authMode": self.connects.mode,
        }
        return {name: value for name, value in shown.items() if value}

    def entered(self, client: Client) -> None:
        """See `connection.House.entered`."""
        services = self._services
        services.hub.add(client)
        services.presence.changed()
        services.health.watch()
        if self._tick is None:
            self._tick = self._loop.call_later(TICK_SECONDS, self._ticked)

    def dismiss(self, client: Client) -> None:
        """See `connection.House.dismiss`."""
        services = self._services
        services.hub.remove(client)
        services.presence.changed()

    def reconfigured(self, config: Config) -> None:
        """The gateway runs with this from now on."""
        self._services.config = config
        self._loop.call_soon(self._revoke)  # after the answer to who has asked for it

    # -- the life of the gateway

    def drain(self, restart_ms: int | None = None) -> None:
        """Tell all clients that the gateway stops, and close their connections when the runs they began are over.

        `restart_ms`: when it is expected to be back, in milliseconds.
        """
        self._draining = True
        payload: dict[str, Any] = {"reason": "gateway stopping"}
        if restart_ms is not None:
            payload["restartExpectedMs"] = restart_ms
        self._services.hub.broadcast("shutdown", payload)
        self._goodbye = self._loop.create_task(self._take_leave(), name="drain")

    async def _take_leave(self) -> None:
        await self._services.book.drain()
        answers = [task for connection in self._connections for task in connection.answers]
        if answers:  # to those who waited for the runs that have just ended
            await wait(answers, timeout=LAST_ANSWERS_SECONDS)
        self._close()

    def _close(self) -> None:
        hub = self._services.hub
        for client in list(hub.clients):
            hub.catch_up(client)
            client.close(1012, "service restart")

    async def aclose(self) -> None:
        """End all runs that are left, and all connections."""
        if self._goodbye is not None:
            self._goodbye.cancel()
        await self._services.book.aclose()
        self._close()
        self._services.presence.close()
        self._services.health.close()
        if self._tick is not None:
            self._tick.cancel()

    def _ticked(self) -> None:
        self._tick = None
        self._revoke()
        if self._services.hub.clients:
            self._services.hub.broadcast("tick", {"ts": self._services.now()}, droppable=True)
            self._tick = self._loop.call_later(TICK_SECONDS, self._ticked)

    def _revoke(self) -> None:
        """Close the connections of those whose keys have ended, or whose keys or devices were taken back."""
        for client in list(self._services.hub.clients):
            if not self.connects.recalls(client.welcome):
                client.close(REVOKED, "gateway auth changed")

    def _forget(self, host: str) -> None:
        """One fewer stranger from there."""
        self._strangers[host] -= 1
        if self._strangers[host] <= 0:
            del self._strangers[host]


def _defaults(agent_id: str) -> dict[str, Any]:
    """Where a client that names nothing talks.  Without a model there would be no agent."""
    return {
        "defaultAgentId": agent_id, "modelConfigured": True, "mainKey": MAIN, "scope": "per-sender",
        "mainSessionKey": main_key(agent_id),
    }  # fmt: skip
