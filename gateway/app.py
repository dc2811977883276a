"""The gateway as one object: the only place where the floors are joined.

Nothing is shared between two gateways of one process, and nothing outside is touched: no signal handlers, no logging
set-up, no environment.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from ssl import SSLContext
from types import TracebackType
from typing import Any, Self, TypeVar

from . import extras
from .api.chat import Chat
from .api.guard import Guard, KeyCheck
from .api.health import Health
from .api.models import PREFIX, Models
from .api.pages import Hosts, Origins
from .api.planning import Planner
from .api.problem import refusal
from .api.router import Route, Router, answer_failed, link_route
from .assembly import Assembly, keys_of
from .bounds import connection_limits, throttle_limits
from .config.schema import Config
from .errors import GatewayError
from .ids import random_ids
from .listening import Listen, addresses_of, own_names, require_guarded
from .model.caller import Key
from .ports import Agent, Event, Exchange, GatewayTool, Handler, Ids, LinkHandler, SessionStore, Siblings
from .server.connection import Connection
from .server.limits import Limits
from .server.listeners import Listener, UnixAddress, open_listener
from .server.server import Server
from .server.services import Options
from .throttle import Throttle

__all__ = ["Gateway"]

AnyMethod = TypeVar("AnyMethod", bound=Callable[..., Awaitable[Any]])


class Gateway:
    """An OpenAI-compatible API in front of agents.

    `agents`: id to agent (`ports.Agent`), besides those of `config`.  `tools`: Python functions, or
    `ports.GatewayTool`, for the models of `config`.  `listen`: `host:port`, `unix:/path`, a socket that listens, or
    several; none at all for a gateway on sockets that the caller serves (`loop.create_server(gw.protocol,
    sock=s)`).  `token` is the token or password that clients have to show, `keys` those of single clients: secret to
    key, or a lookup (`api.keys.Lookup`), in place of those of `config`.  Without both, only this machine may be
    listened to.  `links`: path to WebSocket handler; `compression`: of their messages, where the client can do it too,
    with permessage-deflate.  `metrics`: count, and serve GET /metrics.  Without `config` the chat endpoint is on.  For
    those who connect as operators: `source` gives the `config.ConfigSource` that `config` came from, which they may
    change then; `logs` is a `logring.LogRing`, whose lines they see.  `siblings`: processes that share its work.

    Raises ConfigError where the parts do not make a gateway.
    """

    _rates: Any = None  # these are made when they are first needed
    _answers: Any = None
    _extensions: Any = None

    def __init__(
        self,
        config: Config | None = None,
        *,
        agents: Mapping[str, Agent] | None = None,
        tools: Iterable[Callable[..., Any] | GatewayTool] = (),
        listen: Listen | Iterable[Listen] | None = None,
        token: str | None = None,
        keys: Mapping[str, Key] | Callable[[str], Key | None] | None = None,
        tls: SSLContext | None = None,
        links: Mapping[str, LinkHandler] | None = None,
        compression: bool | None = None,
        metrics: bool | None = None,
        limits: Limits | None = None,
        store: SessionStore | None = None,
        ids: Ids | None = None,
        clock: Callable[[], float] = time.time,
        environ: Mapping[str, str] | None = None,
        drain: float | None = None,
        source: Callable[[], Any] | None = None,
        logs: Any = None,
        siblings: Siblings | None = None,
    ) -> None:
        self.config = config or Config()
        settings = self.config.gateway
        self._environ, self._token, self._clock = dict(environ or {}), token, clock
        self._enabled = config is None or settings.http.endpoints.chat_completions.enabled
        self._ids, self._limits = ids or random_ids(), limits or connection_limits(self.config)
        self._drain = settings.shutdown.drain_ms / 1000 if drain is None else drain
        self._addresses = addresses_of(self.config, listen)
        self._certificate = None if tls else extras.certificate(self.config)
        self._tls: Callable[[], SSLContext] | None = (lambda: tls) if tls else self._certificate
        self._proxies = extras.proxies(self.config)
        self._image_limits = extras.image_limits(self.config)
        self._fetcher = extras.fetcher(self.config, self._image_limits)
        self._source, self._logs, self._siblings, self._links = source, logs, siblings, dict(links or {})
        self._compression = settings.ws.compression if compression is None else compression
        self._sharing = extras.sharing(siblings)
        require_guarded(self.config, self._addresses, token, has_keys=keys is not None)
        own = self._sharing.portion(self.config)
        self._assembly = Assembly(own, agents or {}, self._environ, tools=tools, ids=self._ids, clock=clock)
        self.registry = self._assembly.registry
        self._given = keys is not None
        self._keys: Any = keys_of(self.config, self.registry, self._environ, token) if keys is None else keys
        self._guard: Guard | None = None
        self._conversations = self._assembly.conversations(store, self._sharing.lanes)
        self.runs = extras.runs_of(self._assembly, self._conversations, own, counted=metrics)
        sessions = self.config.session
        self.planner = Planner(self.registry, self._ids, sessions.sources, sessions.chat_id_headers)
        self._listeners: list[Listener] = []
        self._server: Server | None = None
        self._control: Any = None  # from the first WebSocket on
        self._since, self._state = clock(), "new"
        self._meter = extras.metering(
            self.runs, self._since, lambda: (not self._failing(), self._server, self._control)
        )
        self._closed: asyncio.Event | None = None

    # -- life

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Listen.  Does nothing where that was done.

        Raises ConfigError where an address cannot be listened at, GatewayError after `aclose`.
        """
        if self._state == "started":
            return
        if self._state != "new":
            what = "is being started by another task" if self._state == "starting" else "was closed; make a new one"
            raise GatewayError(f"this gateway {what}")
        self._state = "starting"
        loop = asyncio.get_running_loop()
        self._closed = asyncio.Event()
        self._server = Server(loop, self._options())
        self._assembly.start()
        if self._meter is not None:
            self._meter.start(loop)
        protocol: Callable[[], asyncio.BaseProtocol] = self.protocol
        if self._tls is not None:
            from .server.secure import SecureTransport

            protocol = partial(SecureTransport, self._server.services, self._tls, self.protocol)
        scheme = "http" if self._tls is None else "https"
        try:
            await self._sharing.learn(self._guard)
            for address in self._addresses:
                place, file = extras.bind(address) if isinstance(address, UnixAddress) else (address, None)
                self._listeners.append(await open_listener(loop, protocol, place, scheme, file))
        except BaseException:  # also when it is cancelled: nothing may stay open
            await self.aclose()
            raise
        self._sharing.open(self._server.services, self.runs, self._conversations, self._guard, self.reload)
        self._state = "started"

    def reload(self, config: Config | None = None, environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """Read the certificate's files anew, for the connections to come, and take over the keys of `config`.

        Gives what was renewed, `certificate` and `keys`.  Certificates are looked at by themselves too, when a client
        connects.  Keys that were given to the constructor stay, and so does a gateway without authentication.  Raises
        ConfigError where something cannot be used; all that is in use stays then.
        """
        done = []
        keys: Any = None
        if config is not None and not self._given:
            keys = keys_of(config, self.registry, environ or {}, self._token)
            if keys is None and self._keys is not None:
                keys = {}
        if self._certificate is not None:
            self._certificate.reload()
            done.append("certificate")
        if keys is not None and self._guard is not None:
            self._keys = keys
            self._guard.replace_keys(self._key_check(keys))
            if config is not None:
                auth = self.config.gateway.auth.replace(keys=config.gateway.auth.keys)
                self.config = self.config.replace(gateway=self.config.gateway.replace(auth=auth))
            if self._control is not None:
                self._control.reconfigured(self.config)
            done.append("keys")
        return tuple(done)

    async def drain(self, deadline: float | None = None, patience: float = 0.0) -> None:
        """Stop accepting, and wait up to `deadline` seconds for the runs under way; those left end with an error.

        Where another process has taken over, connections may send one more request for `patience` seconds.
        """
        if self._state != "started" or self._server is None:
            return
        self._state = "leaving" if patience else "draining"
        self._sharing.drain(leaving=patience > 0)
        for listener in self._listeners:
            await listener.close()
        if self._control is not None:
            self._control.drain()
        waiting = asyncio.ensure_future(self._server.drain(patience))
        try:
            await asyncio.wait({waiting}, timeout=self._drain if deadline is None else deadline)
            self.runs.stop_all()
            if not waiting.done():
                await asyncio.wait({waiting}, timeout=1.0)  # for the error frames of the runs just stopped
        finally:
            waiting.cancel()

    async def aclose(self) -> None:
        """End everything at once: listeners, connections, runs."""
        if self._state == "closed":
            return
        self._state = "closed"
        for listener in self._listeners:
            await listener.close()
        if self._control is not None:
            await self._control.aclose()
        if self._server is not None:
            await self._server.close()
        if self._answers is not None:
            await self._answers.aclose()
        self.runs.close()
        self._sharing.close()
        if self._meter is not None:
            self._meter.close()
        await self._assembly.aclose()
        if self._fetcher is not None:
            await self._fetcher.aclose()
        if self._closed is not None:
            self._closed.set()

    async def serve_forever(self) -> None:
        """Serve until `aclose` is called, or this is cancelled."""
        await self.start()
        if self._closed is not None:
            await self._closed.wait()

    # -- what there is to know

    @property
    def urls(self) -> list[str]:
        """Where clients find it: `http://127.0.0.1:18789`, `unix:/path`.  Ports that were 0 are those bound."""
        return [listener.url for listener in self._listeners]

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return 0 if self._server is None else self._server.connections

    @property
    def cuts(self) -> Mapping[str, int]:
        """How many connections and requests each limit has ended or refused since the start, by the limit's name."""
        return {} if self._server is None else self._server.cuts

    def metrics(self) -> str:
        """What is counted, as GET /metrics tells it of this process.  Raises GatewayError where that is off."""
        if self._meter is None:
            raise GatewayError("nothing is counted: say `metrics=True`, or gateway.http.endpoints.metrics.enabled")
        from .api.metrics_bytes import exposition

        return exposition([((), self._meter.families())]).decode()

    def protocol(self) -> Connection:
        """A Protocol for one more connection, for `loop.create_server(gw.protocol, sock=...)` after `start`."""
        if self._server is None:
            raise GatewayError("the gateway has not been started")
        return self._server.protocol()

    # -- what its WebSocket protocol has besides

    def rpc(
        self, name: str, *, scope: str | None = "operator.admin", params: Mapping[str, Any] | None = None
    ) -> Callable[[AnyMethod], AnyMethod]:
        """Decorator: clients with `scope` (None: all) can ask a coroutine function by this name.

        It is given its parameters by name, checked against `params`, a JSON Schema, or else against its type hints; and
        the call itself as a parameter with the type `gateway.Call`.  What it returns is told as JSON, and so is a
        `gateway.RpcError` that it raises.  Raises ConfigError for names that are taken, and hints without schema.
        """
        registered: Callable[[AnyMethod], AnyMethod] = self._extend().method(name, scope, params)
        return registered

    def event(self, name: str, *, scope: str | None = "operator.read", droppable: bool = False) -> Event:
        """An event of this name, with a method `send(payload)` that tells it to all clients with `scope` (None: all).

        `droppable`: a client that reads too slowly does without.  Raises ConfigError for a name that is taken.
        """
        made: Event = self._extend().event(name, scope, droppable=droppable)
        return made

    # -- how it is put together

    def _options(self) -> Options:
        settings = self.config.gateway
        hosts = Hosts((*settings.http.allowed_hosts, *own_names(self._addresses)))
        origins = Origins(settings.http.cors.allowed_origins, hosts)
        throttle = Throttle(throttle_limits(self.config), asyncio.get_running_loop().time)
        check_hosts = bool(settings.http.allowed_hosts)
        keys = None if self._keys is None else self._key_check(self._keys)
        self._guard = guard = Guard(self._token, throttle, hosts, origins, check_hosts=check_hosts, keys=keys)
        router = self._router(guard)
        handler: Handler = router.route
        if self._proxies is not None:
            from .server.proxies import BehindProxies

            handler = BehindProxies(self._proxies, handler, self._limits.connections_per_peer).serve
        if settings.http.cors.allowed_origins:
            from .api.cors import Cors

            handler = Cors(origins, handler, router.methods).serve
        return Options(
            handler=handler,
            refusal=refusal,
            link_factory=extras.links(compression=self._compression),
            ids=self._ids,
            clock=self._clock,
            limits=self._limits,
            failed=answer_failed,
            answered=extras.answered(self.config, self._meter, router.route_of),
            is_proxy=None if self._proxies is None else self._proxies.trusts,
        )

    def _key_check(self, keys: Any) -> KeyCheck:
        # Loaded on demand: most gateways have one secret.
        from .api.keys import Rates, keyring

        if self._rates is None:
            self._rates = Rates(asyncio.get_running_loop().time)
        return KeyCheck(keyring(keys), self._rates, self._clock)

    def _router(self, guard: Guard) -> Router:
        health = Health(self._failing)
        routes = {
            **dict.fromkeys(("/healthz", "/health"), Route({"GET": health.live}, guarded=False)),
            **dict.fromkeys(("/readyz", "/ready"), Route({"GET": health.ready}, guarded=False)),
        }
        own = {path: link_route(handler, guard.check_origin) for path, handler in self._links.items()}
        trees: dict[str, Route] = {}
        images, fetch = self._image_limits, self._fetcher
        if self._enabled:
            body_limit = self.config.gateway.http.endpoints.chat_completions.max_body_bytes
            chat = Chat(self.planner, self.runs, self._clock, body_limit, images=images, fetch=fetch)
            models = Models(self.registry, int(self._clock()))
            routes["/v1/chat/completions"] = self._post(chat.create, body_limit, "chat")
            routes["/v1/models"] = Route({"GET": models.index}, scope="models")
            trees[PREFIX] = Route({"GET": models.one}, scope="models")
        endpoints = self.config.gateway.http.endpoints
        if endpoints.responses.enabled:
            from .api.responses import Responses

            body_limit = endpoints.responses.max_body_bytes
            responses = Responses(self.planner, self.runs, self._clock, body_limit, images=images, fetch=fetch)
            routes["/v1/responses"] = self._post(responses.create, body_limit, "responses")
        if endpoints.embeddings.enabled:
            from .api.embeddings import Embeddings

            given = endpoints.embeddings
            body_limit = given.max_body_bytes
            embeddings = Embeddings(self._assembly.embed(), given.model, given.models, body_limit)
            routes["/v1/embeddings"] = self._post(embeddings.create, body_limit, "embeddings")
        if self._assembly.toolbox is not None:
            from .api.invoke import BODY_BYTES, Invoke

            invoke = Invoke(self._assembly.invoker())
            routes["/tools/invoke"] = self._post(invoke.create, BODY_BYTES, "tools")
        if self._meter is not None:
            from .api.metrics import Metrics

            routes["/metrics"] = Route({"GET": Metrics(self._meter.families, self._siblings).index}, scope="metrics")
        routes = {"/": extras.root(routes), **routes, **own}
        sockets = self._sharing.sockets(self._serve_socket)
        return Router(guard, routes, trees, sockets if self.config.gateway.ws.enabled else None)

    async def _serve_socket(self, exchange: Exchange) -> None:
        if self._control is None:
            # Loaded on demand: a gateway of which only HTTP is asked needs none of it.
            from .switchboard import control

            assert self._guard is not None, "it guards the router that calls this"
            self._control = control(
                self._assembly, self.runs, self._conversations, self._guard,
                config=self.config, clock=self._clock, ids=self._ids, since=self._since, environ=self._environ,
                source=self._source, reload=self._sharing.reloading(self.reload), logs=self._logs,
                starting=lambda: self._state == "starting",
            )  # fmt: skip
            if self._extensions is not None:
                self._extensions.attach(self._control)
            self._sharing.show(self._control)
        await self._control.serve(exchange)

    def _extend(self) -> Any:
        if self._extensions is None:
            # Loaded on demand: most gateways have the protocol's methods only.
            from .control.extension import Extensions

            self._extensions = Extensions()
            if self._control is not None:
                self._extensions.attach(self._control)
        return self._extensions

    def _post(self, handler: Handler, body_limit: int, scope: str) -> Route:
        """A route for requests of which those with an `Idempotency-Key` are answered once each."""
        once = self._sharing.once(partial(self._once, handler, body_limit), body_limit)
        return Route({"POST": handler}, scope=scope, once=once)

    def _once(self, handler: Handler, body_limit: int, exchange: Exchange) -> Awaitable[object]:
        # Loaded on demand: few clients ask for it.
        from .api.idempotency import Idempotency

        if self._answers is None:
            self._answers = Idempotency(asyncio.get_running_loop(), routing=self.planner.routing)
        answered: Awaitable[object] = self._answers.serve(handler, body_limit, exchange)
        return answered

    def _failing(self) -> list[str]:
        return {"started": [], "leaving": [], "new": ["starting"], "starting": ["starting"]}.get(
            self._state, ["draining"]
        )
