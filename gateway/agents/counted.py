"""Runs that are counted: how they ended, how long they took, how many tokens they used.

Nothing of this is on the way of a run that is not counted, and a token costs the same here: the agent's first sign is
noticed by the mark of it that limits need, `ActiveRun.silent`, and each later one not at all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from time import perf_counter
from typing import Any, TypeVar

from ..model.run import ModelChange, RunFailed, RunInput, Usage
from ..ports import SessionStore
from ..sessions.timed import TimedStore
from ..tallies import MOST, OTHER, SECONDS, Cell, Counter, Histogram
from .conversation import STOPPED, Conversations
from .limits import MOST_RUNS, ActiveRun
from .registry import Registry
from .run import Interceptor, Runs

__all__ = ["OUTCOMES", "CountedRuns"]

_Noted = TypeVar("_Noted")
_begin, _leave, _judge = Runs._begin, Runs._leave, Runs._judge
_silent: Any = ActiveRun.silent  # type: ignore[misc]  # the slot, which mypy takes for a member of instances

_LEFT = RunFailed("its caller has left", "cancelled", 499)
_COMPLETED = "completed"
_OUTCOMES = {
    "first_token_timeout": "timeout",
    "idle_timeout": "timeout",
    "total_timeout": "timeout",
    "shutting_down": "aborted",
    **dict.fromkeys(STOPPED, "aborted"),
    _LEFT.code: "cancelled",
}
_FAILED = "error"
_REFUSED = "refused"

OUTCOMES = (_COMPLETED, _FAILED, *dict.fromkeys(_OUTCOMES.values()), _REFUSED)
"""How a run ends: well; badly; at one of its limits; because somebody has ended it; because its caller has left; or it
did not begin."""


class _Unheard(ActiveRun):
    """A run whose agent has not been heard yet; with its first sign it becomes a plain one."""

    __slots__ = ()

    @property
    def silent(self) -> int:
        looks: int = _silent.__get__(self)
        return looks

    @silent.setter
    def silent(self, looks: int) -> None:
        _silent.__set__(self, looks)
        if looks == 0:
            self.heard = perf_counter()
            self.__class__ = ActiveRun  # type: ignore[assignment]  # a plain one again: nothing more is to be noticed


class CountedRuns(Runs):
    """`ended` are seconds by agent and outcome, `first_tokens` by agent, `store_calls` by operation.

    `refused` are numbers by agent, `prompt_tokens` and `completion_tokens` by agent and model, which is empty where
    nobody knows it.
    """

    def __init__(
        self,
        registry: Registry,
        conversations: Conversations,
        most: int = MOST_RUNS,
        interceptor: Interceptor | None = None,
    ) -> None:
        super().__init__(registry, conversations, most, interceptor)
        self.ended = Histogram(most=(MOST + 1) * len(OUTCOMES))
        self.first_tokens = Histogram()
        self.store_calls = Histogram()
        conversations.watch_store(self._timed)
        self.refused = Counter()
        self.prompt_tokens = Counter()
        self.completion_tokens = Counter()
        self._own_model = registry.own_model
        self._answering: dict[ActiveRun, str] = {}  # where it is not the run's first model
        # By agent: what it is called, and the cells of runs that end well, and of first tokens.
        self._known: dict[str, tuple[str, Cell, Cell]] = {}
        for number, agent_id in enumerate(self._agents):
            name = agent_id if number < MOST else OTHER
            self._known[agent_id] = name, self.ended.cell((name, _COMPLETED)), self.first_tokens.cell((name,))

    def _timed(self, store: SessionStore) -> SessionStore:
        timed: Any = TimedStore(store, self.store_calls.observe)  # which hands on what it does not define
        return timed  # type: ignore[no-any-return]  # as above

    @property
    def under_way(self) -> Mapping[str, int]:
        """How many runs of each agent there are; of one that has none, 0."""
        numbers = dict.fromkeys((name for name, _, _ in self._known.values()), 0)
        for active in self._active.values():
            numbers[self._known[active.run.agent_id][0]] += 1
        return numbers

    @property
    def waiting(self) -> int:
        """How many runs wait for their session."""
        return self._conversations.waiting

    def _refusal(self, run: RunInput) -> RunFailed | None:
        refused = super()._refusal(run)
        if refused is not None:
            self.refused.add((self._known[run.agent_id][0],))
        return refused

    def _begin(self, run: RunInput, *, flows: bool = False) -> ActiveRun:
        if self._stopped:
            self.refused.add((self._known[run.agent_id][0],))
        active = _begin(self, run, flows=flows)
        active.began = perf_counter()
        active.heard = 0.0
        active.__class__ = _Unheard
        return active

    def _leave(self, active: ActiveRun) -> None:
        if active.agent is None:
            return
        _leave(self, active)
        began = active.began
        name, completed, first_tokens = self._known[active.run.agent_id]
        seconds = perf_counter() - began
        ending = active.ending
        cell = completed if ending is None else self.ended.cell((name, _OUTCOMES.get(ending.code, _FAILED)))
        cell[bisect_left(SECONDS, seconds)] += 1
        cell[-1] += seconds
        if active.heard and (ending is None or ending.code != "first_token_timeout"):
            seconds = active.heard - began
            first_tokens[bisect_left(SECONDS, seconds)] += 1
            first_tokens[-1] += seconds
        if self._answering:
            self._answering.pop(active, None)

    def _judge(self, run: RunInput, active: ActiveRun, error: BaseException) -> RunFailed:
        try:
            return self._note(active, _judge(self, run, active, error))
        except BaseException:
            self._note(active, _LEFT)
            raise

    def _note(self, active: ActiveRun, event: _Noted) -> _Noted:
        if active.agent is None:  # it is over, or counted where it is pulled
            return event
        if isinstance(event, RunFailed):
            active.ending = active.ending or event
        elif isinstance(event, Usage):
            self._use(active, event.plausible)
        elif isinstance(event, ModelChange):
            self._answering[active] = event.model
        return event

    def _use(self, active: ActiveRun, usage: Usage) -> None:
        run = active.run
        model = self._answering.get(active) or run.model or self._own_model(run.agent_id) or ""
        key = self._known[run.agent_id][0], model
        self.prompt_tokens.add(key, usage.prompt_tokens)
        self.completion_tokens.add(key, usage.completion_tokens)
