"""What clients may do: scopes, and what one of them includes."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "ADMIN",
    "NODE",
    "OPERATOR",
    "PAIRING",
    "READ",
    "WRITE",
    "allowed",
    "common",
    "missing",
    "normal",
    "satisfied",
]

OPERATOR = "operator"
NODE = "node"
"""The roles: who gives orders, and a machine that carries them out."""

ADMIN = "operator.admin"
READ = "operator.read"
WRITE = "operator.write"
PAIRING = "operator.pairing"

# What `operator.write` includes.
_WRITERS = frozenset({READ, "operator.talk", "operator.sessions.read", "operator.sessions.write"})


def satisfied(needed: str, scopes: Iterable[str]) -> bool:
    """Whether who has `scopes` may do what needs one: admin may do all, and who may write may read."""
    return any(scope in {needed, ADMIN} or (scope == WRITE and needed in _WRITERS) for scope in scopes)


def missing(role: str, asked: Iterable[str], granted: Iterable[str]) -> str | None:
    """The first scope asked for that is not granted, or not one of the role's; None where all are."""
    granted = tuple(granted)
    for scope in asked:
        mine = scope.startswith(f"{role}.")
        if not mine or not (satisfied(scope, granted) if role == OPERATOR else scope in granted):
            return scope
    return None


def allowed(role: str, asked: Iterable[str], granted: Iterable[str]) -> bool:
    """Whether all that is asked for is granted."""
    return missing(role, asked, granted) is None


def common(asked: Iterable[str], granted: Iterable[str]) -> tuple[str, ...]:
    """What an operator gets that asks for some scopes where some are granted, each with all that it includes."""
    asked, granted = tuple(asked), tuple(granted)
    both = dict.fromkeys((*asked, *granted))
    return tuple(scope for scope in both if allowed(OPERATOR, (scope,), asked) and allowed(OPERATOR, (scope,), granted))


def normal(scopes: Iterable[str]) -> tuple[str, ...]:
    """Sorted, each once, with what the broad ones include, as the product keeps those of a device."""
    found = {scope.strip() for scope in scopes} - {""}
    if ADMIN in found:
        found |= {READ, WRITE}
    elif WRITE in found:
        found.add(READ)
    return tuple(sorted(found))
