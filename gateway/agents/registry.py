"""Which agents there are, and which of them a request means."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..errors import ConfigError, RequestError
from ..model.names import FAMILIES, PUBLIC
from ..ports import Agent

__all__ = ["EVERYTHING", "AgentEntry", "Registry"]

MAIN = "main"

EVERYTHING = frozenset({"tools", "images"})
"""What there is to understand besides text: tools of the caller, and images."""


class AgentEntry(NamedTuple):
    """`id` in lower case.  `aliases` are further values of `model` that mean this agent.

    `takes` is what it understands besides text, of EVERYTHING.  `shows_reasoning`: callers are told what it thinks.
    """

    id: str
    agent: Agent
    aliases: tuple[str, ...] = ()
    default: bool = False
    takes: frozenset[str] = EVERYTHING
    shows_reasoning: bool = False


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

    @property
    def models(self) -> list[str]:
        """The values of `model` that are listed: the default agent under two names, then each agent."""
        ids = [f"{PUBLIC}/{agent_id}" for agent_id in self.by_id]
        if self.default is None:
            return ids
        return list(dict.fromkeys((PUBLIC, f"{PUBLIC}/default", *ids)))  # an agent may be called `default`

    def by_header(self, value: str, header: str) -> AgentEntry:
        """The agent that a header names.  Raises RequestError (404)."""
        entry = self.by_id.get(value.strip().lower())
        if entry is None:
            raise self._unknown(f"The agent `{value.strip()}` of `{header}` does not exist.", header, value)
        return entry

    def by_model(self, model: str | None) -> AgentEntry:
        """The agent that `model` names; the default agent for none.  Raises RequestError (404, model_not_found)."""
        entry = self._by_name.get(model or "")
        if entry is not None:
            return entry
        wanted = (model or "").strip().lower()
        entry = self._by_name.get(wanted)
        if entry is not None:
            return entry
        if self.default is None and wanted in {"", *FAMILIES, *(f"{family}/default" for family in FAMILIES)}:
            raise self._unknown("There is no default agent among several.", "model", wanted)
        raise self._unknown(f"The model `{model}` does not exist.", "model", wanted)

    def _names(self) -> dict[str, AgentEntry]:
        """Every value of `model` that means an agent, in lower case."""
        names = {f"agent:{agent_id}": entry for agent_id, entry in self.by_id.items()}
        for family in FAMILIES:
            for agent_id, entry in self.by_id.items():
                names[f"{family}:{agent_id}"] = names[f"{family}/{agent_id}"] = entry
            if self.default is not None:
                names[""] = names[family] = names[f"{family}/default"] = self.default
        return names | self._by_alias

    def _unknown(self, message: str, param: str, wanted: str) -> RequestError:
        plain = wanted.rpartition("/")[2].rpartition(":")[2]
        import difflib  # noqa: PLC0415 - only mistakes need it, and it costs the start a millisecond

        close = difflib.get_close_matches(plain, self.by_id, n=1)
        hint = f"Did you mean `{PUBLIC}/{close[0]}`?" if close else f"Use one of: {', '.join(self.models[:20])}."
        return RequestError(404, f"{message} {hint}", param=param, code="model_not_found")
