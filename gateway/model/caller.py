"""Who asks, once the guard has let them in, and what one client's key lets it do."""

from __future__ import annotations

from ..records import NamedTuple

__all__ = ["API_SCOPES", "NAMED_SCOPES", "OPERATOR", "OPERATOR_SCOPES", "SCOPES", "Caller", "Key", "Rate"]

API_SCOPES = ("chat", "responses", "embeddings", "models")
"""What a key may do of which nothing else is said: use the API as a client of OpenAI does."""

NAMED_SCOPES = ("tools", "model", "metrics", "operator")
"""What has to be granted by name: to call the gateway's tools directly, to choose another model than the agent's own,
to read the metrics, and what only its operator should do (slash commands, WebSockets of an embedder)."""

OPERATOR_SCOPES = ("operator.read", "operator.write", "operator.admin", "operator.approvals", "operator.pairing")
"""What a key may do in the OpenClaw protocol, by name too; without any of them it cannot connect there."""

SCOPES = (*API_SCOPES, *NAMED_SCOPES, *OPERATOR_SCOPES)


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


class Rate(NamedTuple):
    """At most `requests` at once, and as many again within `seconds`, evenly spread (a token bucket)."""

    requests: int
    seconds: float


class Key(NamedTuple):
    """A key, without its secret.

    `caller` tells its id, which is logged, and what it may use.  `expires`: from when on it is refused, in seconds
    since the epoch.
    """

    caller: Caller
    rate: Rate | None = None
    expires: float | None = None
