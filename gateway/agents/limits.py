"""What the runs of an agent are held to: how many at a time, and how long they may be silent or take."""

from __future__ import annotations

from asyncio import Task, TimerHandle, get_running_loop
from collections.abc import Callable, Mapping
from logging import getLogger
from math import ceil
from typing import Any

from ..deadlines import Deadlines
from ..model.run import RunFailed, RunInput
from ..ports import Agent, Flow
from ..records import NamedTuple

__all__ = ["MOST_RUNS", "NO_LIMITS", "ActiveRun", "AgentRuns", "RunLimits", "too_many"]

MOST_RUNS = 10_000
"""Runs at a time, of all agents: one for each of the connections that a gateway takes."""

LOOKS = 4
"""How often, within a limit of silence, it is looked whether the agent was heard.  A run ends up to a quarter late; for
that a token costs no look at the clock."""

RETRY_AFTER = 1.0
"""Seconds.  A run ends at any moment, and nobody knows when: the least that the header can say."""

NEVER = 1 << 60
_logger = getLogger(__name__)


class RunLimits(NamedTuple):
    """Times in seconds; 0 for no limit.

    `first_token` is from the start of the agent to its first sign: text, reasoning, a call of a tool, the caller's or
    the gateway's.  `idle` is the time between two signs, while somebody waits for the next.  `total` is for all of it.
    None of them counts the time that a run waits for its session.
    """

    first_token: float = 0.0
    idle: float = 0.0
    total: float = 0.0
    concurrent: int = 0


NO_LIMITS = RunLimits()


class ActiveRun:
    """A run that is under way: the task that pulls it, and what its agent gave to be pulled.

    `silent` counts the looks since the agent was heard; below 0 it has not been heard yet.  `ending` is what the run
    ends with where somebody, or a limit, has ended it.  `flow` is what the caller was given and may be using.  `began`
    and `heard`, the time of the agent's first sign, are in seconds of `time.perf_counter`, and there only where runs
    are counted (`agents.counted`).
    """

    # Its members are set where it is made: to call an `__init__` would cost as much again.
    __slots__ = ("agent", "began", "cancelled", "ending", "flow", "heard", "produced", "run", "silent", "task")

    run: RunInput
    agent: AgentRuns | None
    task: Task[Any] | None
    produced: Any
    silent: int
    ending: RunFailed | None
    cancelled: bool
    flow: Flow | None
    began: float
    heard: float

    @property
    def is_pulled(self) -> bool:
        """Whether somebody waits for the agent: an async generator that is not running has given something."""
        return getattr(self.produced, "ag_running", True)

    def look(self) -> bool:
        """Whether somebody waits for the agent; `silent` begins anew where it was heard through a flow."""
        flow = self.flow
        if flow is None:
            return self.is_pulled
        if flow.heard:
            flow.heard = False
            self.silent = 0
        return flow.waited_for

    def end(self, ending: RunFailed) -> None:
        """Let the run end with this, unless it ends already."""
        if self.ending is not None:
            return
        self.ending = ending
        if self.flow is not None:
            self.flow.stop()
        # While the caller is busy with what it was given, to cancel would cost the caller its ending.  The run ends
        # when it is pulled again.
        if self.task is not None and self.is_pulled:
            self.cancelled = True
            self.task.cancel()

    def take_back(self) -> bool:
        """Take back the cancellation that `end` asked for; false where there was none, or others asked for one too."""
        if self.task is None or not self.cancelled:
            return False
        self.cancelled = False
        return self.task.uncancel() == 0


class AgentRuns:
    """The runs of one agent; `runs` has those of all agents.  `running` is how many it has, where it `accounts`."""

    def __init__(self, agent_id: str, agent: Agent, limits: RunLimits, runs: Mapping[str, ActiveRun]) -> None:
        self.agent = agent
        self.with_flow: Callable[[RunInput], Any] = getattr(agent, "with_flow", agent)
        self.running = 0
        self._runs = runs
        self.most = limits.concurrent or NEVER
        self._id = agent_id
        self._limits = limits
        self._look_every = min((time for time in limits[:2] if time > 0), default=0.0) / LOOKS
        self._idle_looks = self._looks_in(limits.idle)
        self.unheard = -self._looks_in(limits.first_token) - 1  # the first value of `silent`; a look may come at once
        # One timer for all runs, set once in a while: one for each would cost a short run a tenth more instructions.
        self._looking: TimerHandle | None = None
        self.totals: Deadlines[ActiveRun] | None = None
        self.accounts = limits.concurrent > 0 or limits.total > 0
        """Whether each run has to `enter` and to `leave`."""
        self.enters = self.accounts or self._look_every > 0
        """Whether the next run has to `enter`."""

    def _looks_in(self, time: float) -> int:
        return ceil(time / self._look_every - 1e-6) if time > 0 else NEVER

    @property
    def refusal(self) -> RunFailed | None:
        """Why there may not be one more, if so."""
        if self.running < self.most:
            return None
        return too_many(f"agent '{self._id}' has {self.most} runs under way, as many as its `maxConcurrent` allows")

    def enter(self, run: ActiveRun) -> None:
        """A run begins."""
        if self._looking is None and self._look_every:
            self._looking = get_running_loop().call_later(self._look_every, self._look_at_all)
        self.enters = self.accounts
        if self.accounts:
            self.running += 1
            if self._limits.total > 0:
                if self.totals is None:
                    self.totals = Deadlines(get_running_loop(), self._limits.total, self._too_long)
                self.totals.set(run)

    def leave(self, run: ActiveRun) -> None:
        """A run that has entered is over."""
        self.running -= 1
        if self.totals is not None:
            self.totals.clear(run)

    def close(self) -> None:
        """Keep no timer."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        if self.totals is not None:
            self.totals.close()

    def _look_at_all(self) -> None:
        self._looking = None
        runs = [run for run in self._runs.values() if run.agent is self]
        if runs:
            self._looking = get_running_loop().call_later(self._look_every, self._look_at_all)
        else:
            self.enters = True
        for run in runs:
            self._look(run)

    def _look(self, run: ActiveRun) -> None:
        first_token, idle, _, _ = self._limits
        waits = run.look()
        if run.silent < 0:
            run.silent += 1
            if run.silent == 0:
                self._over(
                    run, f"the agent gave no token within {first_token:g} s", "first_token_timeout", "firstTokenMs"
                )
        elif waits:
            run.silent += 1
            if run.silent > self._idle_looks:
                self._over(run, f"the agent was silent for {idle:g} s", "idle_timeout", "idleMs")
        else:  # it waits for its caller
            run.silent = 0

    def _too_long(self, run: ActiveRun) -> None:
        self._over(run, f"the run took longer than {self._limits.total:g} s", "total_timeout", "totalMs")

    def _over(self, run: ActiveRun, what: str, code: str, option: str) -> None:
        _logger.warning("%s: %s", run.run.label, what)
        run.end(RunFailed(f"{what}; `timeouts.{option}` of the agent allows more", code, 504))


def too_many(message: str) -> RunFailed:
    """The end of a run that may not begin now."""
    return RunFailed(message, "too_many_runs", 429, RETRY_AFTER)
