"""The runs of the other workers, shown to the clients of the first one like its own."""

from __future__ import annotations

from typing import Any

from ..agents.conversation import Scribe
from ..control.record import Record
from ..control.runs import RunBook
from ..model.run import RunEvent
from ..model.session import Turn
from ..ports import Siblings
from .reports import ABORT, BATCH, OVER, WATCH, Report, Seen, session_of

__all__ = ["Showing"]


class Showing:
    """Asks the others for their runs while there are clients, and enters them into the book.

    `scribe` is who is shown what is said in sessions.
    """

    def __init__(self, siblings: Siblings, book: RunBook, scribe: Scribe) -> None:
        self._siblings = siblings
        self._book = book
        self._scribe = scribe
        self._on = False
        self._records: dict[int, dict[str, Record]] = {}  # of those under way, by the process they are in
        book.elsewhere = self.abort
        siblings.handle(BATCH, self._show)
        siblings.handle(OVER, self._again)
        siblings.on_lost(self.forget)

    @property
    def wanted(self) -> bool:
        """Whether there are clients."""
        return self._on

    def clients(self, there_are: bool) -> None:
        """The first has come, or the last has left."""
        self._on = there_are
        self._siblings.tell(None, WATCH, there_are)
        if not there_are:
            for process in list(self._records):
                self.forget(process)

    def abort(self, run_id: str) -> bool:
        """End a run of another worker; false where none is under way."""
        for process, records in self._records.items():
            if run_id in records:
                self._siblings.tell(process, ABORT, run_id)
                return True
        return False

    def forget(self, process: int) -> None:
        """Nothing more comes from there: its runs are over, as far as is known."""
        for record in self._records.pop(process, {}).values():
            record.leave()

    def _again(self, process: int) -> None:
        self.forget(process)
        self._siblings.tell(process, WATCH, self._on)

    # -- what is reported

    def _show(self, process: int, reports: list[Report]) -> None:
        if not self._on:
            return
        records = self._records.setdefault(process, {})
        for kind, *values in reports:
            _SHOW[kind](self, records, *values)

    def _begin(self, records: dict[str, Record], seen: Seen) -> None:
        records[seen.run_id] = self._book.begin(seen.run())

    def _take(self, records: dict[str, Record], run_id: str, event: RunEvent) -> None:
        record = records.get(run_id)  # none for a run that had begun before anybody wanted to see it
        if record is not None:
            record.take(event)

    def _leave(self, records: dict[str, Record], run_id: str) -> None:
        record = records.pop(run_id, None)
        if record is not None:
            record.leave()

    def _ask(self, _records: dict[str, Record], seen: Seen, asked: Any, first: int) -> None:
        self._scribe.began(seen.run(), asked, first)

    def _keep(self, _records: dict[str, Record], members: tuple[Any, ...], turn: Turn) -> None:
        self._scribe.kept(session_of(members), turn)


_SHOW = (Showing._begin, Showing._take, Showing._take, Showing._leave, Showing._ask, Showing._keep)
"""By the kind of the report."""
