"""What clients can ask for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeAlias

from ..model.caller import Caller
from ..records import NamedTuple
from .client import Client
from .params import PARAMS, required_scope
from .problem import FORBIDDEN, INVALID_REQUEST, RpcError
from .scopes import ADMIN, OPERATOR, READ, WRITE, satisfied
from .shapes import check

__all__ = [
    "ADMIN",
    "READ",
    "WRITE",
    "Call",
    "Check",
    "Method",
    "missing_scope",
    "of_protocol",
    "satisfied",
    "table",
    "unknown_method",
]

Check: TypeAlias = Callable[[Any], str | None]
"""params -> what is wrong with them, in the words of the product; None for what is right."""


class Call:
    """One request, as a method sees it."""

    __slots__ = ("_accept", "client", "id", "params")

    def __init__(
        self, client: Client, request_id: str, params: Mapping[str, Any], accept: Callable[[Any], None]
    ) -> None:
        self.client = client
        self.id = request_id
        self.params = params
        self._accept = accept

    @property
    def caller(self) -> Caller:
        """Who asks."""
        return self.client.welcome.caller

    def accept(self, payload: Any) -> None:
        """Send the first of two answers; the second is what the method returns."""
        self._accept(payload)


class Method(NamedTuple):
    """`scope` is what a client needs; None: nothing.  Where it depends on the call, `scope_of` gives it.

    `handler` gives the payload of the answer, and raises RpcError.  `check` is what params have to pass first.
    """

    name: str
    scope: str | None
    handler: Callable[[Call], Awaitable[Any]]
    check: Check | None = None
    scope_of: Callable[[Any], str | None] | None = None

    def require(self, client: Client, params: Any) -> None:
        """Raises RpcError for a client that is no operator's (INVALID_REQUEST), or lacks the scope (FORBIDDEN).

        `params` as they came, not checked yet.
        """
        if client.welcome.role != OPERATOR:
            raise RpcError(INVALID_REQUEST, f"unauthorized role: {client.welcome.role}")
        scope = self.scope if self.scope_of is None else self.scope_of(params)
        if scope is not None and not satisfied(scope, client.welcome.scopes):
            raise missing_scope(scope)


def missing_scope(scope: str) -> RpcError:
    """The refusal of a client that lacks a scope."""
    details = {"code": "MISSING_SCOPE", "missingScope": scope, "requiredScopes": [scope]}
    return RpcError(FORBIDDEN, f"missing scope: {scope}", details=details)


def unknown_method(client: Client, name: str) -> RpcError:
    """The refusal of a method that nobody can call.  Who is no admin is told of the scope, as for all without one."""
    if not satisfied(ADMIN, client.welcome.scopes):
        return missing_scope(ADMIN)
    return RpcError(INVALID_REQUEST, f"unknown method: {name[:200]}")


def of_protocol(method: Method) -> Method:
    """A method of the protocol: what its parameters look like and what a call of it needs stand in `params`.

    A check of its own is kept.
    """
    shape = PARAMS.get(method.name)
    if shape is None:
        return method
    return method._replace(check=method.check or partial(check, shape), scope_of=partial(required_scope, method.name))


def table(methods: Iterable[Method]) -> dict[str, Method]:
    """By name.  Raises ValueError for two of one name."""
    found: dict[str, Method] = {}
    for method in methods:
        if found.setdefault(method.name, method) is not method:
            raise ValueError(f"there are two methods `{method.name}`")
    return found
