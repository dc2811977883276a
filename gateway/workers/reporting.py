"""What a worker tells of its runs, while somebody in the first worker wants to see them.

Events are gathered for a moment and sent together, and the next ones not before these were shown: where that takes
long, what was said in the meantime is one longer piece.  No run ever waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from logging import getLogger

from ..agents.conversation import Conversations
from ..agents.run import Runs
from ..control.watching import watched
from ..errors import GatewayError
from ..model.chat import Message
from ..model.run import ModelChange, ReasoningDelta, RunDone, RunEvent, RunFailed, RunInput, ToolUse, Usage
from ..model.session import SessionInfo, Turn
from ..ports import Flow, Siblings
from .reports import ABORT, BATCH, BEGAN, EVENT, LEFT, OVER, TEXT, WATCH, Report, Seen, asked, kept

__all__ = ["Reporter"]

_logger = getLogger(__name__)

BEAT_SECONDS = 0.05
"""Between two batches: a third of what clients wait for the next delta."""
SHOW_SECONDS = 30.0
"""For a batch to be shown; past it, the first worker stands still, and is told no more until it asks again."""


_SHOWN = (RunDone, RunFailed, Usage, ModelChange, ToolUse, ReasoningDelta)
"""Of the events, besides text: the others are for the session and for the run's caller."""


class Reporter:
    """Tells the processes that asked to `watch`.  It is an `agents.run.Observer`, and a `conversation.Scribe`."""

    def __init__(self, siblings: Siblings, runs: Runs, conversations: Conversations) -> None:
        self._siblings = siblings
        self._runs = runs
        self._conversations = conversations
        self._tellers: dict[int, _Teller] = {}
        siblings.handle(WATCH, self._watch)
        siblings.handle(ABORT, lambda _, run_id: runs.abort(run_id))
        siblings.on_lost(self._leave)

    def close(self) -> None:
        """Tell how the last runs ended, and no more."""
        for process, teller in list(self._tellers.items()):
            teller.finish()
            self._leave(process)

    # -- who wants to know

    def _watch(self, process: int, on: bool) -> None:
        if not on:
            self._leave(process)
        elif process not in self._tellers:
            self._tellers[process] = _Teller(self._siblings, process, self._leave)
            self._runs.observer = self
            self._conversations.scribe = self

    def _leave(self, process: int) -> None:
        teller = self._tellers.pop(process, None)
        if teller is not None:
            teller.close()
        if not self._tellers:
            self._runs.observer = self._conversations.scribe = None

    # -- what happens

    def watch(
        self, run: RunInput, events: AsyncGenerator[RunEvent | Flow, None]
    ) -> AsyncGenerator[RunEvent | Flow, None]:
        """See `agents.run.Observer.watch`."""
        return watched(events, lambda: _Watch(self, run))

    def began(self, run: RunInput, asked_now: tuple[Message, ...], first: int) -> None:
        """See `conversation.Scribe.began`."""
        self.report(asked(run, asked_now, first))

    def kept(self, info: SessionInfo, turn: Turn) -> None:
        """See `conversation.Scribe.kept`."""
        self.report(kept(info, turn))

    def report(self, report: Report) -> None:
        """Tell all who want to know."""
        for teller in self._tellers.values():
            teller.add(report)

    def promise(self, watch: _Watch) -> None:
        """It is going to have text."""
        for teller in self._tellers.values():
            teller.promise(watch)
        if not self._tellers:  # they have left during the run, of which nothing need be gathered any more
            asyncio.get_running_loop().call_soon(watch.settle)


class _Watch:
    """One run.  A `control.watching.Watch`."""

    def __init__(self, reporter: Reporter, run: RunInput) -> None:
        self.pending: list[str] = []
        self._reporter = reporter
        self._run_id = run.run_id
        reporter.report((BEGAN, Seen(run)))

    def wake(self) -> None:
        self._reporter.promise(self)

    def take(self, event: RunEvent) -> None:
        if isinstance(event, list):
            if not self.pending:
                self.wake()
            self.pending += event
        elif event.__class__ is str:
            if not self.pending:
                self.wake()
            self.pending.append(event)
        elif isinstance(event, _SHOWN):
            self.settle()
            self._reporter.report((EVENT, self._run_id, event))

    def leave(self) -> None:
        self.settle()
        self._reporter.report((LEFT, self._run_id))

    def settle(self) -> None:
        """What was said is reported now, before anything else of this run."""
        if self.pending:
            text = "".join(self.pending)
            self.pending.clear()
            self._reporter.report((TEXT, self._run_id, text))


class _Teller:
    """What is told to one process."""

    def __init__(self, siblings: Siblings, process: int, give_up: Callable[[int], None]) -> None:
        self._siblings = siblings
        self._process = process
        self._give_up = give_up
        self._reports: list[Report] = []
        self._promised: dict[_Watch, None] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, report: Report) -> None:
        self._reports.append(report)
        self._begin()

    def promise(self, watch: _Watch) -> None:
        self._promised[watch] = None
        self._begin()

    def finish(self) -> None:
        """Tell what is not told yet, without waiting for an answer."""
        for watch in self._taken():
            watch.settle()
        if self._reports:
            self._siblings.tell(self._process, BATCH, self._reports)

    def close(self) -> None:
        self._promised.clear()
        self._reports.clear()
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._tell(), name="reports")

    def _taken(self) -> dict[_Watch, None]:
        promised, self._promised = self._promised, {}
        return promised

    async def _tell(self) -> None:
        try:
            while True:
                await asyncio.sleep(BEAT_SECONDS)
                for watch in self._taken():
                    watch.settle()
                reports, self._reports = self._reports, []
                if not reports:
                    break
                await self._siblings.ask(self._process, BATCH, reports, timeout=SHOW_SECONDS)
        except Exception as error:  # no run may come to harm
            known = isinstance(error, GatewayError)
            _logger.warning("runs are not shown to the clients of another worker: %s", error, exc_info=not known)
            self._task = None  # it is this one, which need not be cancelled
            self._siblings.tell(self._process, OVER)
            self._give_up(self._process)
        finally:
            self._task = None
