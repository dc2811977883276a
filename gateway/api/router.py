"""Path and method to handler, and the one place where refusals become answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from ..agents.conversation import failed
from ..errors import AgentError, RequestError
from ..model.http import RequestHead
from ..ports import Exchange, Handler, LinkHandler
from ..records import NamedTuple
from ..wire.upgrade import is_websocket as asks
from .guard import Guard
from .problem import render, run_error

__all__ = ["Route", "Router", "answer_failed", "link_route"]

_ALL_METHODS = b"GET, HEAD, POST, OPTIONS"


class Route(NamedTuple):
    """`methods` by name; a GET also serves HEAD.

    A guarded route asks for the gateway's secret first, or for a key with `scope` (`model.key.SCOPES`).  `once` serves
    its requests with an `Idempotency-Key`, where they are served otherwise than those without.  `link`: it serves
    WebSockets.
    """

    methods: Mapping[str, Handler]
    guarded: bool = True
    scope: str = "operator"
    once: Handler | None = None
    link: bool = False

    @property
    def allow(self) -> bytes:
        """The value of an Allow header (RFC 9110, 10.2.1)."""
        names = [*self.methods, "HEAD"] if "GET" in self.methods else [*self.methods]
        return ", ".join(names).encode()


async def _server_options(exchange: Exchange) -> None:
    exchange.respond(204, ((b"allow", _ALL_METHODS),))


async def answer_failed(exchange: Exchange, error: RequestError | AgentError) -> None:
    """Answer a request whose handler has raised this."""
    refused = error if isinstance(error, RequestError) else run_error(failed(error))
    try:
        await exchange.settle()
    except RequestError as broken:  # what is wrong with the message comes before what is wrong in it
        refused = broken
    exchange.respond(*render(refused))


def link_route(handler: LinkHandler, check: Callable[[Exchange], None]) -> Route:
    """A path on which only WebSockets are served; `check` raises RequestError for one that must not be opened."""

    async def get(exchange: Exchange) -> None:
        check(exchange)
        await handler(await exchange.accept_websocket())

    return Route({"GET": get}, link=True)


class Router:
    """`route` is the handler of a whole gateway.

    `routes` go by the exact path, `trees` by what the path begins with; `socket` takes the WebSockets that no route
    is for, on any path.  Checks are made in this order: path (404),
    method (405), what the guard checks (421, 403, 429, 401), and then whatever the handler checks.
    """

    def __init__(
        self, guard: Guard, routes: Mapping[str, Route], trees: Mapping[str, Route], socket: Handler | None = None
    ) -> None:
        self._guard = guard
        self._routes = routes
        self._trees = trees
        self._socket = socket

    def route(self, exchange: Exchange) -> Awaitable[object]:
        """Answer one request.  Raises RequestError, as do handlers, and AgentError: see `answer_failed`."""
        head = exchange.head
        handler, scope = ((known := head.known) and known.get(self)) or self._search(head)
        if scope is not None:
            self._guard.check(exchange, scope)
        return handler(exchange)

    def methods(self, path: str) -> bytes:
        """What is served at a path, as Allow has it; of one where there is nothing, what is served anywhere."""
        route = self._routes.get(path) or self._tree(path)
        return _ALL_METHODS if route is None else route.allow

    def route_of(self, path: str) -> str:
        """What serves a path, by one of a few names: the path itself, one that ends in `*`, or `other`."""
        if path in self._routes:
            return path
        return next((f"{prefix}*" for prefix in self._trees if path.startswith(prefix)), "other")

    def _search(self, head: RequestHead) -> tuple[Handler, str | None]:
        """The handler of a request, and the scope that a key needs for it; None where nobody is asked for one."""
        if head.method == "CONNECT":  # RFC 9110, 9.3.6
            raise RequestError(501, "This is no proxy: CONNECT is not served.")
        if head.target == "*":  # RFC 9110, 9.3.7: about the server as a whole
            return _server_options, None
        route = self._routes.get(head.path) or self._tree(head.path)
        if self._socket is not None and head.method == "GET" and (route is None or not route.link) and asks(head):
            return self._socket, None
        if route is None:
            raise RequestError(404, f"There is nothing at `{head.path}`.", code="not_found")
        method = "GET" if head.method == "HEAD" else head.method
        handler = route.methods.get(method)
        if handler is None:
            message = f"`{head.path}` does not serve {head.method}, only {route.allow.decode()}."
            raise RequestError(405, message, headers=((b"allow", route.allow),))
        if route.once is not None and b"idempotency-key" in head.fields:
            handler = route.once
        found = handler, route.scope if route.guarded else None
        if head.known is not None:
            head.known[self] = found
        return found

    def _tree(self, path: str) -> Route | None:
        for prefix, route in self._trees.items():
            if path.startswith(prefix) and len(path) > len(prefix):
                return route
        return None
