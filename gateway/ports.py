"""The contracts where floors meet.  Above and below each of them, neither side knows the other.

Visitor                what the guard looks at
Exchange, BodyWriter   what `server` offers a handler for one HTTP request
Link                   what `server` offers a handler for one WebSocket connection
Refusal                how the API renders the errors that `server` has to answer by itself
SessionStore           where the turns of sessions are kept
SessionLanes           who may be at work in a session, and who waits for that
Agent                  what an agent is
Flow                   text of an agent that can go straight to where it is written
GatewayTool            what an agent can do besides talking
Event                  what an embedder tells its WebSocket clients
Siblings               the other processes that serve the same gateway
Timer                  the part of an event loop that `deadlines` uses
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias

from .model.caller import Caller
from .model.http import Headers, Peer, RequestHead
from .model.run import RunEvent, RunInput
from .model.session import Session, SessionInfo, Turn, UsageRow

__all__ = [
    "Agent",
    "BodyWriter",
    "Encode",
    "Event",
    "Exchange",
    "Flow",
    "GatewayTool",
    "Handler",
    "Ids",
    "LaneVisit",
    "Link",
    "LinkHandler",
    "Offer",
    "Refusal",
    "SessionLanes",
    "SessionStore",
    "Siblings",
    "Tap",
    "TextSink",
    "Timer",
    "TimerHandle",
    "Visitor",
]


Encode: TypeAlias = Callable[[list[str]], bytes]


class BodyWriter(Protocol):
    """The body of a streaming answer.

    `write` never waits: what is written within one turn of the event loop leaves in one piece.  A producer looks at
    `full` after each write and, where it is true, awaits `drain()` before it goes on; that is all of the backpressure.
    """

    full: bool

    def write(self, data: bytes) -> None:
        """Append to the body.  Raises PeerGone when there is nobody to read it."""

    def put(self, piece: str) -> bool:
        """Append a piece that is to be encoded: all those that are sent together at once, by `encode` of `stream`.

        That costs a third of a `write` for each.  Gives `full`.  Raises PeerGone as `write` does.
        """

    def put_all(self, pieces: list[str]) -> bool:
        """`put` for several."""

    def flush(self) -> None:
        """Send what was written so far at once.  Raises PeerGone."""

    async def drain(self) -> None:
        """Wait until there is room again.  Raises PeerGone when the peer left or did not read in time."""

    def fill_silence(self, data: bytes) -> None:
        """Write `data` whenever nothing was written for some seconds (a limit of the server), until the end."""

    async def end(self) -> None:
        """Complete the body."""


class Visitor(Protocol):
    """Somebody at the door: what was asked, and from where."""

    @property
    def head(self) -> RequestHead: ...

    @property
    def peer(self) -> Peer: ...


class Exchange(Protocol):
    """One request and its answer."""

    head: RequestHead
    peer: Peer
    request_id: str
    caller: Caller
    """Who asks: OPERATOR until `admit` tells."""

    async def body(self, limit: int) -> bytes:
        """The whole request body; it is given once.

        Raises RequestError with status 413 when it is, or turns out to be, over `limit` bytes, 408 when it stops
        coming, 400 when its framing is broken.
        """

    def ready_body(self, limit: int) -> bytes | None:
        """`body` where nothing has to be waited for, else None: then `body` is to be asked."""

    async def settle(self) -> None:
        """Read the body, to its end or as far as the server would for the next request, although nobody wants it.

        Broken framing is told before what else was wrong.  Raises RequestError as `body`, but for the size.
        """

    def decorate(self, headers: Headers) -> None:
        """Add header lines to the answer, whatever it is going to be; to be called before there is one."""

    def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        """Send a complete answer.  Framing, Date, request id and the security headers are added."""

    def stream(self, status: int, headers: Headers, encode: Encode | None = None) -> BodyWriter:
        """Send the head of an answer whose body follows piece by piece.

        `encode` makes bytes of a list of what was `put`; where it is None, only `write` is of use.
        """

    def fail(self) -> None:
        """Tell that what is being streamed ends as a failure, whatever its status said: it is no answer to keep."""

    def admit(self, caller: Caller) -> None:
        """Tell that this peer has proved who it is: the connection no longer counts as unauthenticated."""

    async def accept_websocket(self) -> Link:
        """Answer 101 and go on as a WebSocket.  Raises RequestError (400, 426) when the handshake is not a good one."""


class Link(Protocol):
    """One WebSocket connection, after its handshake (RFC 6455).  Iterate over it to read messages until it closes."""

    head: RequestHead
    peer: Peer

    def __aiter__(self) -> AsyncIterator[str | bytes]: ...

    async def send(self, message: str | bytes) -> None:
        """Send one message; waits while the peer reads too slowly.  Raises PeerGone when the connection is over."""

    @property
    def full(self) -> bool:
        """Whether the peer reads too slowly: more than it should hold waits to be sent."""

    def write(self, frames: bytes) -> None:
        """Send whole messages, already framed (`wire.websocket.text_head`), without waiting.

        What is `full` takes more, and holds it; a sender looks before.  Raises PeerGone when the connection is over.
        """

    async def drain(self) -> None:
        """Wait until it is not `full`.  Raises PeerGone when the peer left or did not read in time."""

    def limit(self, max_message: int) -> None:
        """The size that messages of the peer may have from now on, in bytes; larger ones close with 1009."""

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame and wait, for a limited time, for the peer's."""


Handler: TypeAlias = Callable[[Exchange], Awaitable[object]]
"""Answers a request.  What is awaited may be what the handler itself would only wait for: each coroutine that stands
between a task and an agent costs every token."""
LinkHandler: TypeAlias = Callable[[Link], Awaitable[None]]

Refusal: TypeAlias = Callable[[int, str], tuple[Headers, bytes]]
"""(status, reason) -> the headers and the body of an answer that `server` has to give by itself (400, 408, 431 ...)."""


class SessionStore(Protocol):
    """The turns of sessions, by key.

    Each method may raise StoreError (see `errors`): then nothing was changed, and what was there before is whole.
    A session that nothing was added to for longer than the store keeps it is as if it had never been.
    """

    async def load(self, key: str) -> Session:
        """What is known of the session; an empty one for a key never seen."""

    async def commit(self, key: str, turn: Turn, *, drop: int = 0, keep: int | None = None) -> SessionInfo:
        """Add one turn, whole or not at all; when this returns, it is kept.  What the session is then.

        Of the turns that are there, the first `drop` go, and those from number `keep` on (counted before that) too.
        """

    async def choose_model(self, key: str, model: str | None) -> None:
        """Keep the model that the session's runs shall use."""

    async def locate(self, run_id: str) -> tuple[str, int] | None:
        """Where the turn of a run is: the key, and the number of turns up to it, itself included.

        Sessions that were forked share turns; then it is any one of them.
        """

    async def fork(self, key: str, turns: int, new_key: str) -> None:
        """Begin a session with the first `turns` of another, in place of what it held; nothing where there is none."""

    async def sessions(self) -> tuple[SessionInfo, ...]:
        """All there are, the last used first."""

    async def describe(self, key: str) -> SessionInfo | None:
        """One of them; None where there is none."""

    async def configure(self, key: str, change: Mapping[str, Any]) -> SessionInfo:
        """Keep these settings with a session, which begins where there was none; None for what is to be forgotten.

        Raises AgentError (400, `session_settings_too_large`).
        """

    async def usage(self, since: int, until: int, *, apart: bool = False) -> tuple[UsageRow, ...]:
        """The tokens of the days from `since` to `until`, themselves included; `apart`: for each session.

        Counted is what was kept, and stays counted when the session is reset or deleted.
        """

    async def trim(self, key: str, drop: int) -> int:
        """Let go of the first `drop` turns of a session; how many are left."""

    async def delete(self, key: str) -> bool:
        """Forget a session; false where there was none."""

    async def reset(self, key: str) -> bool:
        """Forget what was said in a session, but not its model and settings; false where there was none."""

    async def aclose(self) -> None:
        """Give back what it holds; what was committed is kept."""


class LaneVisit(Protocol):
    """One run's stay in the lane of its session: `async with` waits for its turn.

    Raises AgentError (409, `session_busy`) where too many wait already, or after the longest wait.
    """

    key: str
    interrupted: bool
    """The run was to end before it had begun."""
    end: Callable[[], bool] | None
    """Ends the run, once it has begun; false where it is over already."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class SessionLanes(Protocol):
    """One run at a time in each session, by key; first come, first served."""

    @property
    def waiting(self) -> int:
        """How many runs wait for their session."""

    def enter(self, key: str, *, waits: bool = False) -> LaneVisit:
        """A stay that is still to begin.  `waits`: in every mode, and it ends none."""

    async def interrupt(self, key: str) -> bool:
        """End the run under way in a session; false where there is none."""


Agent: TypeAlias = Callable[[RunInput], AsyncIterator[RunEvent] | Awaitable[str]]
"""An async generator function of run events, or a coroutine function that returns the whole answer.

A generator may simply end: that is `RunDone("stop")`.  An exception is `RunFailed`; `AgentError` chooses its members.
"""


class TextSink(Protocol):
    """What text is put into: one piece that is not empty, or several.  True means that nothing more should come now."""

    @property
    def put(self) -> Callable[[str], bool]: ...
    @property
    def put_all(self) -> Callable[[list[str]], bool]: ...


Tap: TypeAlias = Callable[[list[str]], bool]
"""Sees texts before they are written, and tells whether they may be; if not, nothing more is either."""


class Flow:
    """Text that is still to come of an agent, and can go straight to where it is written.

    An agent with a method `with_flow`, to be called as the agent is, gives one among its events wherever nothing but
    text is likely to come next: that saves waking a task and walking through generators for each token.  Who gets one
    may use it or not, and then goes on with the next event.  Who hands it on, and has to see the text, adds to `taps`.
    """

    __slots__ = ("heard", "taps", "waited_for")

    def __init__(self) -> None:
        self.taps: list[Tap] = []
        self.heard = False
        """Something came; for whoever looks from time to time, and then says False."""
        self.waited_for = False
        """Whether `into` waits for what comes."""

    async def into(self, sink: TextSink) -> bool:
        """Put the text into `sink` as it comes.

        Returns when the next event is due: when something else has come, when a tap says no, when `stop` is called; and
        when `sink` is full, which is the result.  Raises what `sink` raises.
        """
        raise NotImplementedError

    def stop(self) -> None:
        """Let `into` return."""
        raise NotImplementedError


class GatewayTool(Protocol):
    """A tool that the gateway itself can use, for a model or for whoever invokes it.

    `name` is 1 to 64 of A-Z a-z 0-9 _ -, as OpenAI's API has it; `parameters` is the JSON Schema of an object.
    """

    @property
    def name(self) -> str: ...

    @property
    def description(self) -> str | None: ...

    @property
    def parameters(self) -> Mapping[str, Any]: ...

    async def call(self, arguments: Mapping[str, Any]) -> str:
        """The result, as text for the model.

        Raises ToolError where the model is to be told what went wrong, AgentError where the run has to end.  When it is
        cancelled, what it has begun ends.
        """


Offer: TypeAlias = Callable[[], Awaitable[Mapping[str, GatewayTool]]]
"""The tools of an agent by name, as they are now: those of a server come and go."""

Ids: TypeAlias = Callable[[int], str]
"""n -> n random lower-case hexadecimal digits that nobody can guess."""


class Event(Protocol):
    """An event that clients of the WebSocket protocol are told."""

    name: str

    def send(self, payload: Mapping[str, Any]) -> None:
        """Tell those there are, without waiting for them.  To be called in the gateway's event loop.

        Raises TypeError or ValueError for what is not JSON; dataclasses, enums and the like are told as JSON.
        """


class Siblings(Protocol):
    """The other processes that serve the same gateway (`workers.channel`, where the members are told in full).

    `number` is that of this worker, from 1 on, `count` how many there are; 0 is the supervisor.  Handlers are added
    before the gateway starts; messages are for later.  What is put into the one of the `outboxes` that has a worker's
    number arrives at its `inbox`: datagram sockets, for file descriptors, that outlive the processes.
    """

    number: int
    count: int
    inbox: Any  # a socket; the module is not imported here: floors without I/O look at this one
    outboxes: Mapping[int, Any]

    def tell(self, to: int | None, kind: str, *values: Any) -> None:
        """Send values to a worker, the supervisor (0), or all other workers (None), without waiting."""

    async def ask(self, to: int, kind: str, *values: Any, timeout: float | None) -> Any:  # noqa: ASYNC109 - part of the question
        """What the handler there answers.  Raises GatewayError: that of the handler, or that nobody answers."""

    def handle(self, kind: str, function: Callable[..., Any]) -> None:
        """Let `function(sender, *values)` be called for messages of this kind; its result, awaited, is the answer."""

    def on_lost(self, function: Callable[[int], None]) -> None:
        """Let `function(sender)` be called when a process is gone."""


class TimerHandle(Protocol):
    def cancel(self) -> None: ...


class Timer(Protocol):
    """The part of an event loop that tells and waits for the time, in seconds of a monotonic clock."""

    def time(self) -> float: ...

    def call_at(self, when: float, callback: Callable[..., Any], /, *args: Any) -> TimerHandle: ...
