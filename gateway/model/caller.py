"""Who asks, once the guard has let them in."""

from __future__ import annotations

from ..records import NamedTuple

__all__ = ["OPERATOR", "Caller"]


class Caller(NamedTuple):
    """`id` is that of the key that was shown, empty for the gateway's own secret; it may be logged.

    `agents` are the ids of those it may use and `scopes` what it may do; None: all of them.
    """

    id: str = ""
    agents: frozenset[str] | None = None
    scopes: frozenset[str] | None = None

    def uses(self, agent_id: str) -> bool:
        """Whether the caller may use this agent."""
        return self.agents is None or agent_id in self.agents

    def may(self, scope: str) -> bool:
        """Whether the caller may do what `scope` names."""
        return self.scopes is None or scope in self.scopes


OPERATOR = Caller()
"""Who knows the gateway's own secret, or sits at its machine."""
