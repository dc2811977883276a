"""From a request to the run that answers it: which agent, which session, which model.

Chat completions and responses are planned alike; what differs between them is how they are read and answered.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..agents.registry import Registry
from ..errors import RequestError
from ..model.caller import Caller
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
# `provider/model`; no name of a model comes near.
MODEL_CHARACTERS = 512

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
        self._routing = frozenset((*_AGENT_HEADERS, *_MODEL_HEADERS, *session_headers, *self._chat_headers))

    def plan(
        self,
        exchange: Exchange,
        request: ChatRequest,
        *,
        namespace: str = "openai",
        after: str | None = None,
        conversation: str | None = None,
        keep: str = "named",
    ) -> RunInput:
        """The run for a request.

        `namespace` is that of the keys it gets by its `user`, or for itself.  `after` is the run that it goes on from
        (see RunInput), `conversation` the id of one that the request's body names.  `keep` tells whether it has a
        session: `named`, where it names one; `always`, else one of its own; `never`.  Raises RequestError (400, 403,
        404) for headers that cannot be what they are meant for.
        """
        head, caller, registry = exchange.head, exchange.caller, self._registry
        run_id = self._ids(32)
        agent = model = None
        routed = not self._routing.isdisjoint(head.fields)  # few are
        if routed:
            agent = _first(head, _AGENT_HEADERS)
            model = _model(head, caller)
        if agent is None:
            agent_id = registry.by_model(request.model, caller).id
        else:
            agent_id = registry.by_header(agent[1], agent[0], caller).id
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
        return _new(RunInput, (run_id, agent_id, key, request, (), model, caller, after))

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


def _model(head: RequestHead, caller: Caller) -> str | None:
    """The model that the caller wants in place of the agent's own."""
    named = _first(head, _MODEL_HEADERS)
    if named is None:
        return None
    header, model = named[0], named[1].strip()
    if not caller.may("model"):
        message = f"This API key may not choose a model by `{header}`: it has no scope `model`."
        raise RequestError(403, message, param=header, code="insufficient_scope")
    if "/" not in model or len(model) > MODEL_CHARACTERS or not model.isprintable():
        raise RequestError(400, f"`{header}` has to be like `provider/model`.", param=header)
    return model


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
