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
        self, exchange: Exchange, request: ChatRequest, *, after: str | None = None, kept: bool = False
    ) -> RunInput:
        """The run for a request.

        `after` is the run that it goes on from (see RunInput).  `kept`: it gets a session of its own where it names
        none.  Raises RequestError (400, 403, 404) for headers that cannot be what they are meant for.
        """
        head, caller, registry = exchange.head, exchange.caller, self._registry
        run_id = self._ids(32)
        key = model = None
        if self._routing.isdisjoint(head.fields):  # as nearly all are
            entry = registry.by_model(request.model)
            if self._by_user and request.user is not None:
                key = user_key(entry.id, request.user)
        else:
            agent = _first(head, _AGENT_HEADERS)
            entry = registry.by_model(request.model) if agent is None else registry.by_header(agent[1], agent[0])
            key = self._key(head, entry.id, request.user)
            model = _model(head, caller)
        if after is not None or (kept and key is None):
            key = fresh_key(entry.id, run_id)
        if key is not None and caller.id:
            key = scoped(caller.id, key)
        return _new(RunInput, (run_id, entry.id, key, request, (), model, caller, after))

    def _key(self, head: RequestHead, agent_id: str, user: str | None) -> str | None:
        key: str | None = None
        for source in self._sources:
            if source == "header":
                named = _first(head, _SESSION_HEADERS)
                key = None if named is None else explicit_key(named[1], named[0])
            elif source == "chat-id":
                named = _first(head, self._chat_headers)
                key = None if named is None else chat_key(agent_id, named[1])
            elif user is not None:
                key = user_key(agent_id, user)
            if key is not None:
                break
        return key


def _model(head: RequestHead, caller: Caller) -> str | None:
    """The model that the caller wants in place of the agent's own."""
    named = _first(head, _MODEL_HEADERS)
    if named is None:
        return None
    header, model = named[0], named[1].strip()
    if not caller.may("model"):
        message = f"This API key may not choose a model by `{header}`: it has no scope `model`."
        raise RequestError(403, message, type="permission_error", param=header, code="insufficient_scope")
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
