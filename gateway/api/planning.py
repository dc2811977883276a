"""From a request to the run that answers it: which agent, which session, which model.

Chat completions and responses are planned alike; what differs between them is how they are read and answered.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..agents.registry import AgentEntry, Registry
from ..errors import RequestError
from ..model.chat import ChatRequest
from ..model.http import RequestHead
from ..model.names import headers
from ..model.run import RunInput, fresh_key
from ..ports import Exchange, Ids
from ..sessions.keys import chat_key, explicit_key, scoped, user_key

__all__ = ["Planner"]

_AGENT_HEADERS = (*headers("agent-id"), *headers("agent"))
_SESSION_HEADERS = headers("session-key")
_MODEL_HEADERS = headers("model")

_new = tuple.__new__  # see api/parse.py


class Planner:
    """Makes the RunInput of a request.

    `sources` are where a session's key may come from, the first that says something wins: `header` (the header made
    for it), `chat-id` (one of `chat_headers`, in which chat programs name a conversation), `user` (the member).
    """

    def __init__(
        self,
        registry: Registry,
        ids: Ids,
        sources: Sequence[str] = ("header", "user"),
        chat_headers: Sequence[str] = (),
    ) -> None:
        self._registry = registry
        self._ids = ids
        self._sources = tuple(sources)
        self._by_user = "user" in sources
        self._chat_headers = tuple(name.lower().encode() for name in chat_headers) if "chat-id" in sources else ()
        session_headers = _SESSION_HEADERS if "header" in sources else ()
        self.routing = frozenset((*_AGENT_HEADERS, *_MODEL_HEADERS, *session_headers, *self._chat_headers))
        """The headers that say where a request goes, in lower case."""

    def plan(
        self,
        exchange: Exchange,
        request: ChatRequest,
        *,
        namespace: str = "openai",
        after: str | None = None,
        conversation: str | None = None,
        keep: str = "named",
    ) -> tuple[AgentEntry, RunInput]:
        """The run for a request, and the agent that it is for.

        `namespace` is that of the keys it gets by its `user`, or for itself.  `after` is the run that it goes on from
        (see RunInput), `conversation` the id of one that the request's body names.  `keep` tells whether it has a
        session: `named`, where it names one; `always`, else one of its own; `never`.  Raises RequestError (400, 403,
        404) for headers that cannot be what they are meant for.
        """
        head, caller, registry = exchange.head, exchange.caller, self._registry
        run_id = self._ids(32)
        agent = model = None
        known = head.known
        routed = known.get(self) if known else None
        if routed is None:
            routed = not self.routing.isdisjoint(head.fields)
            if known is not None:
                known[self] = routed
        if not routed and keep == "named" and request.user is conversation is after is None:
            entry = registry.by_model(request.model, caller)
            return entry, _new(RunInput, (run_id, entry.id, None, request, (), None, caller, None, False))
        if routed:
            agent = _first(head, _AGENT_HEADERS)
            model = _first(head, _MODEL_HEADERS)
        if agent is None:
            entry = registry.by_model(request.model, caller)
        else:
            entry = registry.by_header(agent[1], agent[0], caller)
        agent_id = entry.id
        key: str | None = None
        if keep != "never":
            if after is not None:
                key = fresh_key(agent_id, run_id, namespace)
            elif routed or conversation is not None:
                key = self._key(head, agent_id, request.user, conversation, namespace)
            elif request.user is not None and self._by_user:
                key = user_key(agent_id, request.user, f"{namespace}-user")
            if key is None and keep == "always":
                key = fresh_key(agent_id, run_id, namespace)
            if key is not None and caller.id:
                key = scoped(caller.id, key)
        wanted = None if model is None else entry.model(model[1], caller, model[0])
        return entry, _new(RunInput, (run_id, agent_id, key, request, (), wanted, caller, after, False))

    def _key(
        self, head: RequestHead, agent_id: str, user: str | None, conversation: str | None, namespace: str
    ) -> str | None:
        key: str | None = None
        for source in self._sources:
            if source == "header":
                named = _first(head, _SESSION_HEADERS)
                key = None if named is None else explicit_key(named[1], named[0])
            elif conversation is not None:
                continue
            elif source == "chat-id":
                named = _first(head, self._chat_headers)
                key = None if named is None else chat_key(agent_id, named[1])
            elif user is not None:
                key = user_key(agent_id, user, f"{namespace}-user")
            if key is not None:
                return key
        return None if conversation is None else user_key(agent_id, conversation, f"{namespace}-conversation")


def _first(head: RequestHead, names: tuple[bytes, ...]) -> tuple[str, str] | None:
    """(name, value) of the first of these headers that the request has and that is not empty."""
    fields = head.fields
    for name in names:
        if value := fields.get(name):
            try:
                return name.decode(), value.decode()
            except UnicodeDecodeError:
                raise RequestError(400, f"`{name.decode()}` is not UTF-8.", param=name.decode()) from None
    return None
