"""Agents that are models: the first of several that can answer, or the one that the run names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from logging import getLogger
from typing import Any, TypeAlias, cast

from ..errors import AgentError
from ..model.run import ModelChange, RunEvent, RunInput
from ..ports import Agent, Flow

__all__ = ["COOL_DOWN", "COOL_DOWN_CAP", "CoolDown", "Fallbacks"]

COOL_DOWN = 60.0
"""Seconds for which a model that failed is not asked, as long as there are others: long enough that not every run waits
for it, short enough that nobody notices when it is back."""

COOL_DOWN_CAP = 600.0
"""The longest that a provider's own `Retry-After` makes it."""

# The codes of failures that are the provider's, and not the request's: another one may not have them.
_PROVIDERS = "upstream_"
# What a model cannot do, and another one may: see images; and, in second place, what the first one could.
_BLIND = "images_not_supported"
_UNABLE = "unsupported_parameter"

_logger = getLogger(__name__)


class CoolDown:
    """Models that failed a short time ago, whichever agent asked them.  `clock`: seconds of a monotonic clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[str, tuple[float, str]] = {}

    def reason(self, model: str) -> str | None:
        """Why a model is not to be asked now; None where it is."""
        until, reason = self._until.get(model, (0.0, ""))
        return reason if self._clock() < until else None

    def start(self, model: str, error: AgentError) -> None:
        """A model has failed."""
        seconds = COOL_DOWN if error.retry_after is None else min(max(error.retry_after, 1.0), COOL_DOWN_CAP)
        self._until[model] = (self._clock() + seconds, error.code)

    def end(self, model: str) -> None:
        """A model has answered."""
        self._until.pop(model, None)


_EventsOf: TypeAlias = Callable[[Agent, RunInput], AsyncIterator[RunEvent | Flow]]


class Fallbacks:
    """The agent.  `models` by `provider/model`, in the order in which they are tried; `choose` gives another one that
    the caller, or the session, wants, which then has to answer alone.

    The next model is tried where nothing was said yet and the failure is the provider's; the caller's own faults are
    told at once.  Raises AgentError: the last one, which tells how many were tried.
    """

    def __init__(self, models: Mapping[str, Agent], choose: Callable[[str], Agent], cool_down: CoolDown) -> None:
        self._models = models
        self._first = next(iter(models))
        self._choose = choose
        self._cool_down = cool_down

    def __call__(self, run: RunInput) -> AsyncIterator[RunEvent]:
        """The events of the model that answers; ModelChange before them where it is not the first."""
        return cast("AsyncIterator[RunEvent]", self._answer(run, _events))

    def with_flow(self, run: RunInput) -> AsyncIterator[RunEvent | Flow]:
        """The same, with a Flow among them where the model gives one."""
        return self._answer(run, _events_and_flows)

    def _answer(self, run: RunInput, events_of: _EventsOf) -> AsyncIterator[RunEvent | Flow]:
        if run.model is not None:
            return events_of(self._models.get(run.model) or self._choose(run.model), run)
        if len(self._models) == 1:
            return events_of(self._models[self._first], run)  # itself: nothing between the model and the run
        return self._in_turn(run, events_of)

    async def _in_turn(self, run: RunInput, events_of: _EventsOf) -> AsyncIterator[RunEvent | Flow]:
        skipped = {name: why for name in self._models if (why := self._cool_down.reason(name)) is not None}
        tried = [name for name in self._models if name not in skipped] or [*self._models]
        reason = skipped.get(self._first, "")
        failure: AgentError | None = None
        for number, name in enumerate(tried, 1):
            begun = False
            try:
                async with aclosing(cast("Any", events_of(self._models[name], run))) as events:
                    async for event in events:
                        if not begun:
                            begun = True
                            self._cool_down.end(name)
                            if name != self._first:
                                yield ModelChange(name, reason)
                        yield event
                return
            except AgentError as error:
                unfit = error.code == _BLIND or (error.code == _UNABLE and name != self._first)
                if begun or not (unfit or (error.code.startswith(_PROVIDERS) and error.status != 400)):
                    raise
                if not unfit:
                    self._cool_down.start(name, error)
                    failure = error
                reason = reason or error.code
                if number == len(tried):
                    raise (_last(failure, number, len(self._models)) if failure else error) from error
                _logger.warning("%s: %s failed, %s is asked: %s", run.label, name, tried[number], error.message)


def _last(error: AgentError, tried: int, models: int) -> AgentError:
    """The error of the last model, with what became of the others."""
    others = f"; {models - tried} more failed a short time ago" if tried < models else ""
    message = f"{error.message} ({tried} of {models} models were tried{others})"
    return AgentError(message, code=error.code, status=error.status, retry_after=error.retry_after)


def _events(agent: Agent, run: RunInput) -> AsyncIterator[RunEvent | Flow]:
    return cast("AsyncIterator[RunEvent | Flow]", agent(run))


def _events_and_flows(agent: Agent, run: RunInput) -> AsyncIterator[RunEvent | Flow]:
    return cast("AsyncIterator[RunEvent | Flow]", getattr(agent, "with_flow", agent)(run))
