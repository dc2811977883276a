"""Which agents there are, and which of them a request means."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TypeAlias

from ..errors import ConfigError, RequestError
from ..model.caller import OPERATOR, Caller
from ..model.names import FAMILIES, PUBLIC
from ..ports import Agent
from ..records import NamedTuple
from .limits import NO_LIMITS, RunLimits

__all__ = ["EVERYTHING", "MODEL_SCOPE", "AgentEntry", "ModelCheck", "Registry", "taken_by"]

MAIN = "main"

EVERYTHING = frozenset({"tools", "images"})
"""What there is to understand besides text: tools of the caller, and images."""

MODEL_SCOPE = "model"
"""What a key needs to choose another model than the agent's own, which may cost more."""


ModelCheck: TypeAlias = Callable[[str, str], str]
"""(wanted, param) -> `provider/model`.  Raises RequestError (404, model_not_found) that names `param`."""


class AgentEntry(NamedTuple):
    """`id` in lower case.  `aliases` are further values of `model` that mean this agent.

    `check_model` tells whether a caller may have the agent answer with another model; None for agents that have none.
    `takes` is what it understands besides text, of EVERYTHING.  `shows_reasoning`: callers are told what it thinks.
    `own_model` is what it answers with otherwise.  `own_tools` gives the names of the tools that it has itself;
    None for an agent without.
    """

    id: str
    agent: Agent
    aliases: tuple[str, ...] = ()
    default: bool = False
    limits: RunLimits = NO_LIMITS
    check_model: ModelCheck | None = None
    takes: frozenset[str] = EVERYTHING
    shows_reasoning: bool = False
    own_model: str | None = None
    own_tools: Callable[[], Collection[str]] | None = None

    def model(self, wanted: str, caller: Caller, param: str) -> str:
        """The `provider/model` that a caller wants this agent to answer with; for RunInput.model.

        Raises RequestError that names `param`: 403 without the scope `model`, 400 for an agent that has no model, 404
        for a model that is not there.
        """
        if not caller.may(MODEL_SCOPE):
            message = f"The key `{caller.id}` may not choose models: it lacks the scope `{MODEL_SCOPE}`."
            raise RequestError(403, message, type="permission_error", param=param, code="insufficient_scope")
        if self.check_model is None:
            message = f"The agent `{self.id}` has no model that could be chosen."
            raise RequestError(400, message, param=param, code="model_not_supported")
        return self.check_model(wanted, param)


def taken_by(agent: Agent) -> frozenset[str]:
    """What an agent takes besides text: as its attribute `takes` says, else everything."""
    return EVERYTHING & frozenset(getattr(agent, "takes", EVERYTHING))


class Registry:
    """Looks agents up by what requests say.  Raises ConfigError for ids and aliases that are not unique."""

    def __init__(self, entries: Iterable[AgentEntry]) -> None:
        self.by_id: dict[str, AgentEntry] = {}
        self._by_alias: dict[str, AgentEntry] = {}
        for entry in entries:
            if self.by_id.setdefault(entry.id, entry) is not entry:
                raise ConfigError(f"agents: there are two agents with the id {entry.id!r}")
            for alias in entry.aliases:
                if self._by_alias.setdefault(alias.lower(), entry) is not entry:
                    raise ConfigError(f"agents: two agents have the alias {alias!r}")
        self.default = self._find_default()
        self._by_name = self._names()

    def _find_default(self) -> AgentEntry | None:
        marked = [entry for entry in self.by_id.values() if entry.default]
        if marked:
            return marked[0]
        if MAIN in self.by_id:
            return self.by_id[MAIN]
        return next(iter(self.by_id.values())) if len(self.by_id) == 1 else None

    def own_model(self, agent_id: str) -> str | None:
        """What an agent answers with where nothing else is said; None for one without, or that there is not."""
        entry = self.by_id.get(agent_id)
        return None if entry is None else entry.own_model

    @property
    def models(self) -> list[str]:
        """The values of `model` that are listed: the default agent under two names, then each agent."""
        return self.models_of(OPERATOR)

    def models_of(self, caller: Caller) -> list[str]:
        """Those of `models` that the caller may use."""
        ids = [f"{PUBLIC}/{agent_id}" for agent_id in self.by_id if caller.uses(agent_id)]
        if self.default is None or not caller.uses(self.default.id):
            return ids
        return list(dict.fromkeys((PUBLIC, f"{PUBLIC}/default", *ids)))  # an agent may be called `default`

    def by_header(self, value: str, header: str, caller: Caller = OPERATOR) -> AgentEntry:
        """The agent that a header names.  Raises RequestError (404; 403, agent_not_allowed)."""
        entry = self.by_id.get(value.strip().lower())
        if entry is None:
            raise self._unknown(f"The agent `{value.strip()}` of `{header}` does not exist.", header, value, caller)
        return self._allowed(entry, caller, header)

    def by_model(self, model: str | None, caller: Caller = OPERATOR) -> AgentEntry:
        """The agent that `model` names; the default agent for none.

        Raises RequestError (404, model_not_found; 403, agent_not_allowed).
        """
        entry = self._by_name.get(model or "")
        if entry is None:
            entry = self._by_name.get((model or "").strip().lower())
        if entry is not None:
            return entry if caller is OPERATOR or caller.agents is None else self._allowed(entry, caller, "model")
        wanted = (model or "").strip().lower()
        if self.default is None and wanted in {"", *FAMILIES, *(f"{family}/default" for family in FAMILIES)}:
            raise self._unknown("There is no default agent among several.", "model", wanted, caller)
        raise self._unknown(f"The model `{model}` does not exist.", "model", wanted, caller)

    def _allowed(self, entry: AgentEntry, caller: Caller, param: str) -> AgentEntry:
        if caller.uses(entry.id):
            return entry
        own = ", ".join(self.models_of(caller)[:20]) or "none of the agents here"
        message = f"This API key may not use the agent `{entry.id}`. It may use: {own}."
        raise RequestError(403, message, type="permission_error", param=param, code="agent_not_allowed")

    def _names(self) -> dict[str, AgentEntry]:
        """Every value of `model` that means an agent, in lower case."""
        names = {f"agent:{agent_id}": entry for agent_id, entry in self.by_id.items()}
        for family in FAMILIES:
            for agent_id, entry in self.by_id.items():
                names[f"{family}:{agent_id}"] = names[f"{family}/{agent_id}"] = entry
            if self.default is not None:
                names[""] = names[family] = names[f"{family}/default"] = self.default
        return names | self._by_alias

    def _unknown(self, message: str, param: str, wanted: str, caller: Caller) -> RequestError:
        plain = wanted.rpartition("/")[2].rpartition(":")[2]
        import difflib  # noqa: PLC0415 - only mistakes need it, and it costs the start a millisecond

        close = difflib.get_close_matches(plain, filter(caller.uses, self.by_id), n=1)
        listed = ", ".join(self.models_of(caller)[:20])
        hint = f"Did you mean `{PUBLIC}/{close[0]}`?" if close else f"Use one of: {listed}."
        return RequestError(404, f"{message} {hint}", param=param, code="model_not_found")
