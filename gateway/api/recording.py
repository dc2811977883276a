"""An answer that is kept as it comes into being, and played to any number of clients, from its beginning.

A handler writes it through `RecordingExchange`, in a task of its own; each client is served by `Recording.play`.
"""

from __future__ import annotations

from asyncio import Event, Task, sleep
from collections.abc import Callable
from typing import TypeAlias

from ..errors import AgentError, MisuseError, PeerGone, RequestError
from ..model.caller import Caller
from ..model.http import Headers
from ..ports import BodyWriter, Encode, Exchange, Link

__all__ = ["PIECE_BYTES", "Name", "Recording", "RecordingExchange"]

Name: TypeAlias = tuple[str, str, bytes]
"""What an answer is known by: the id of its caller, the path, the caller's key for the request."""

PIECE_BYTES = 64
"""What a piece counts for besides its bytes: the object that holds them."""

# A producer that never waits is stopped after this much for one turn of the loop, and a client is given no more at
# once: the same as for an answer that is sent and not kept (`server.stream`).
TURN_BYTES = 49_152


class Recording:
    """One answer.  `grew(recording, bytes)` is told what it comes to weigh.

    While it is `kept`, all of it stays, and whoever comes can still be served from its beginning.  Once it is not, what
    all readers have had is dropped, and the producer waits for the slowest of them: no more than `backlog` bytes wait.
    """

    __slots__ = (
        "_ended", "_filler", "_first", "_grew", "_head", "_news", "_pieces", "_readers", "_room", "_unread", "_whole",
        "backlog", "error", "failed", "fingerprint", "kept", "name", "size", "task",
    )  # fmt: skip

    def __init__(self, name: Name, fingerprint: bytes, backlog: int, grew: Callable[[Recording, int], None]) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.backlog = backlog
        self.kept = True
        self.size = 0
        self.failed = False
        """What was streamed ended as a failure."""
        self.error: RequestError | AgentError | None = None
        self.task: Task[None] | None = None
        self._grew = grew
        self._head: tuple[int, Headers] | None = None
        self._whole = False
        self._filler = b""
        self._pieces: list[bytes] = []
        self._first = 0  # the number of the first of them: those before were dropped
        self._unread = 0  # bytes of them
        self._readers: dict[object, int] = {}  # to the number of the piece that comes next
        self._ended = False
        self._news = Event()
        self._room = Event()

    @property
    def over(self) -> bool:
        """Nothing more comes."""
        return self._ended or self.error is not None

    @property
    def good(self) -> bool:
        """It is a whole answer, and not one that a client should ask for again."""
        return self._ended and self._head is not None and self._head[0] < 400 and not self.failed

    @property
    def readers(self) -> int:
        """How many clients it is being played to."""
        return len(self._readers)

    # -- what the handler does

    def begin(self, status: int, headers: Headers, *, whole: bool) -> None:
        """The head of the answer; a `whole` one has its body in one piece."""
        if self._head is not None:
            raise MisuseError("the request has been answered")
        self._head = status, headers
        self._whole = whole
        self._tell()

    def fill_silence(self, data: bytes) -> None:
        self._filler = data

    def add(self, data: bytes) -> None:
        """More of the body."""
        if not data:
            return
        self._pieces.append(data)
        self._unread += len(data)
        self.size += len(data) + PIECE_BYTES
        self._grew(self, len(data) + PIECE_BYTES)
        self._tell()

    def end(self) -> None:
        """The body is complete."""
        self._ended = True
        self._tell()

    def fail(self, error: RequestError | AgentError) -> None:
        """There will be no answer, or not the rest of it."""
        if not self._ended:
            self.error = error
            self._tell()

    @property
    def full(self) -> bool:
        """The producer has to wait for readers."""
        return not self.kept and self._unread > self.backlog

    async def room(self) -> None:
        """Wait until the producer may go on."""
        while self.full:
            self._room.clear()
            await self._room.wait()

    def release(self) -> None:
        """It need not be kept for others any more."""
        self.kept = False
        self._drop()

    # -- what clients do

    async def play(self, exchange: Exchange) -> None:
        """Answer a client with it, from the beginning and to the end.

        Raises what the handler did where there is no answer, PeerGone where it breaks off or the client does.
        """
        reader = object()
        self._readers[reader] = self._first
        try:
            while self._head is None:
                if self.error is not None:
                    raise self.error
                await self._news.wait()
            status, headers = self._head
            if self._whole:
                exchange.respond(status, headers, b"".join(self._pieces))
            else:
                await self._stream(reader, exchange.stream(status, headers))
        finally:
            del self._readers[reader]
            self._drop()

    async def _stream(self, reader: object, body: BodyWriter) -> None:
        if self._filler:
            body.fill_silence(self._filler)
        begun = False
        while True:
            data = self._take(reader)
            if data:
                body.write(data)
                if not begun:
                    body.flush()  # clients wait only so long for a first byte
                    begun = True
                if body.full:
                    await body.drain()
            elif self._ended:
                break
            elif self.error is not None:
                raise PeerGone("the answer broke off")
            else:
                await self._news.wait()
        await body.end()

    def _take(self, reader: object) -> bytes:
        """What comes next for a reader."""
        at = self._readers[reader]
        taken: list[bytes] = []
        size = 0
        for piece in self._pieces[at - self._first :]:
            taken.append(piece)
            size += len(piece)
            if size >= TURN_BYTES:
                break
        self._readers[reader] = at + len(taken)
        self._drop()
        return b"".join(taken)

    def _drop(self) -> None:
        """Forget what everybody has had, where nobody else can come."""
        if self.kept or self._whole:
            return
        had = min(self._readers.values(), default=self._first) - self._first
        if had:
            self._unread -= sum(map(len, self._pieces[:had]))
            del self._pieces[:had]
            self._first += had
        if not self.full:
            self._room.set()

    def _tell(self) -> None:
        self._news.set()
        self._news.clear()


class RecordingExchange:
    """`ports.Exchange` and `ports.BodyWriter` for the handler of an answer that is recorded.

    `first` is the exchange of the client that asked first, `body` what it sent.
    """

    def __init__(self, recording: Recording, first: Exchange, body: bytes) -> None:
        self.head = first.head
        self.peer = first.peer
        self.request_id = first.request_id
        self.caller = first.caller
        self.full = False
        self._recording = recording
        self._body = body
        self._decoration: Headers = ()
        self._encode: Encode | None = None
        self._turn = 0

    # -- Exchange

    async def body(self, limit: int) -> bytes:
        body = self.ready_body(limit)
        if body is None:
            raise RequestError(413, f"the request body is larger than {limit} bytes")
        return body

    def ready_body(self, limit: int) -> bytes | None:
        if len(self._body) > limit:
            return None
        body, self._body = self._body, b""
        return body

    async def settle(self) -> None:
        """It has been read."""

    def decorate(self, headers: Headers) -> None:
        self._decoration += headers

    def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        self._recording.begin(status, (*self._decoration, *headers), whole=True)
        self._recording.add(body)
        self._recording.end()

    def stream(self, status: int, headers: Headers, encode: Encode | None = None) -> RecordingExchange:
        self._recording.begin(status, (*self._decoration, *headers), whole=False)
        self._encode = encode
        return self

    def fail(self) -> None:
        self._recording.failed = True

    def admit(self, caller: Caller) -> None:
        """Each client has been admitted by itself."""

    async def accept_websocket(self) -> Link:
        raise MisuseError("a WebSocket is not recorded")

    # -- BodyWriter

    def write(self, data: bytes) -> None:
        self._recording.add(data)
        self._turn += len(data) + PIECE_BYTES
        if self._turn >= TURN_BYTES or self._recording.full:
            self.full = True

    def put(self, piece: str) -> bool:
        return self.put_all([piece])

    def put_all(self, pieces: list[str]) -> bool:
        if self._encode is None:
            raise MisuseError("pieces were put into a stream that cannot encode them")
        self.write(self._encode(pieces))
        return self.full

    def flush(self) -> None:
        """What is recorded is played at once."""

    async def drain(self) -> None:
        self.full = False
        self._turn = 0
        if self._recording.full:
            await self._recording.room()
        else:
            await sleep(0)

    def fill_silence(self, data: bytes) -> None:
        self._recording.fill_silence(data)

    async def end(self) -> None:
        self._recording.end()
