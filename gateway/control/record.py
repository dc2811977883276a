"""One run, as the clients of the protocol see it."""

from __future__ import annotations

from asyncio import Future, Task, get_running_loop, shield, wait_for

from ..model.run import NO_USAGE, ModelChange, ReasoningDelta, RunDone, RunEvent, RunFailed, RunInput, ToolUse, Usage
from ..records import Protocol

__all__ = ["Book", "Record"]

SECONDS_PER_CHARACTER = 0.00001
"""How much longer the beat of a run is for each character that it said: each delta holds all of them."""
TEXT_CHARACTERS = 400_000
"""Of what a run says, for those who come later; what comes after it, they see as it comes."""

_ABORTED = frozenset({"run_aborted", "interrupted", "caller_left"})
_LEFT = RunFailed("the run ended with its caller", "caller_left", 499)


class Book(Protocol):
    """Where the records are kept, and what tells clients of them."""

    def queue(self, record: Record) -> None:
        """It has something to tell, at the next beat."""

    def end(self, record: Record) -> None:
        """It is over."""

    def tell_text(self, record: Record, delta: str) -> None:
        """More of the answer."""

    def tell_thoughts(self, record: Record, delta: str) -> None:
        """More of what a model thinks."""

    def tell_tool(self, record: Record, use: ToolUse) -> None:
        """One of the gateway's tools is called, or has given its result."""


class Record:
    """One run.  Times in milliseconds since the epoch; `ending` is None until it is over.

    It is a `watching.Watch`.
    """

    __slots__ = (
        "_book", "_done", "_due", "_thoughts", "ended_at", "ending", "model", "pending", "queued", "run", "seq",
        "started_at", "stop_reason", "task", "text", "usage",
    )  # fmt: skip

    def __init__(self, book: Book, run: RunInput, started_at: int) -> None:
        self.run = run
        self.started_at = started_at
        self.ended_at: int | None = None
        self.ending: RunDone | RunFailed | None = None
        self.stop_reason: str | None = None
        """Why it was stopped, by who stopped it."""
        self.text = ""
        self.usage = NO_USAGE
        self.model: str | None = None
        """`provider/model` that answered, where it was not the agent's first."""
        self.task: Task[None] | None = None
        """Pulls the run where no caller does: of runs that a client of the protocol began."""
        self._book = book
        self.pending: list[str] = []
        self.queued = False
        """Whether it waits for the beat."""
        self._due = 0.0
        self.seq = 0
        """The number of the last event of this run."""
        self._thoughts = ""
        self._done: Future[None] | None = None

    @property
    def key(self) -> str:
        """Of its session."""
        return self.run.session_key

    @property
    def aborted(self) -> bool:
        """Whether somebody ended it."""
        return isinstance(self.ending, RunFailed) and self.ending.code in _ABORTED

    def wake(self) -> None:
        """See `watching.Watch.wake`."""
        self._book.queue(self)

    def take(self, event: RunEvent) -> None:
        """See `watching.Watch.take`."""
        match event:
            case str():
                self.wake()
                self.pending.append(event)
            case list():
                self.wake()
                self.pending += event
            case RunDone() | RunFailed():
                self.ending = event
            case Usage():
                self.usage = self.usage.plus(event)
            case ModelChange():
                self.model = event.model
            case ToolUse():
                self.tell()
                self._book.tell_tool(self, event)
            case ReasoningDelta():
                self._thoughts += event.text
                self._book.queue(self)
            case _:
                pass

    def leave(self) -> None:
        """See `watching.Watch.leave`."""
        if self.ended_at is not None:
            return
        if self.ending is None:
            self.ending = _LEFT
        self._book.end(self)
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    async def wait(self, seconds: float) -> bool:
        """Until it is over, `seconds` at most; false where it is not."""
        if self.ended_at is None:
            if self._done is None:
                self._done = get_running_loop().create_future()
            try:
                await wait_for(shield(self._done), seconds)
            except TimeoutError:
                return False
        return True

    def is_due(self, now: float) -> bool:
        return now >= self._due

    def postpone(self, now: float) -> None:
        """Wait longer for the next delta, the longer what it repeats is."""
        self._due = now + len(self.text) * SECONDS_PER_CHARACTER

    def tell(self) -> None:
        """Tell what was said since it was told last."""
        if self._thoughts:
            thoughts, self._thoughts = self._thoughts, ""
            self._book.tell_thoughts(self, thoughts)
        if self.pending:
            delta = "".join(self.pending)
            self.pending.clear()
            room = TEXT_CHARACTERS - len(self.text)
            if room > 0:
                self.text += delta[:room]
            self._book.tell_text(self, delta)

    def next(self) -> int:
        """The number of the next event of this run."""
        self.seq += 1
        return self.seq
