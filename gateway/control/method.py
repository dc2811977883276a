"""What clients can ask for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from .client import Client
from .problem import FORBIDDEN, INVALID_REQUEST, RpcError
from .scopes import ADMIN, OPERATOR, READ, WRITE, satisfied

__all__ = ["ADMIN", "READ", "WRITE", "Call", "Check", "Method", "missing_scope", "satisfied", "table"]

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

    def accept(self, payload: Any) -> None:
        """Send the first of two answers; the second is what the method returns."""
        self._accept(payload)


class Method(NamedTuple):
    """`scope` is what a client needs; None: nothing.

    `handler` gives the payload of the answer, and raises RpcError.  `check` is what params have to pass first.
    """

    name: str
    scope: str | None
    handler: Callable[[Call], Awaitable[Any]]
    check: Check | None = None

    def require(self, client: Client) -> None:
        """Raises RpcError for a client that is no operator's (INVALID_REQUEST), or lacks the scope (FORBIDDEN)."""
        if client.welcome.role != OPERATOR:
            raise RpcError(INVALID_REQUEST, f"unauthorized role: {client.welcome.role}")
        if self.scope is not None and not satisfied(self.scope, client.welcome.scopes):
            raise missing_scope(self.scope)


def missing_scope(scope: str) -> RpcError:
    """The refusal of a client that lacks a scope."""
    details = {"code": "MISSING_SCOPE", "missingScope": scope, "requiredScopes": [scope]}
    return RpcError(FORBIDDEN, f"missing scope: {scope}", details=details)


def table(methods: Iterable[Method]) -> dict[str, Method]:
    """By name.  Raises ValueError for two of one name."""
    found: dict[str, Method] = {}
    for method in methods:
        if found.setdefault(method.name, method) is not method:
            raise ValueError(f"there are two methods `{method.name}`")
    return found
