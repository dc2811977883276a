"""`Idempotency-Key`: a request that is sent again gets the answer of the first, and costs no second run.

SDKs send a request again when it took them too long or the network broke, and an agent's run is not undone by that.
With the header the run is one: who comes while it is under way gets its answer from the beginning and on, who comes
later a replay.  Loaded with the first request that has it.

Source: https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header; 409 for a key that is used for
another request, where the draft has 422, as Stripe's API and the product's own protocol do.
"""

from __future__ import annotations

from asyncio import CancelledError, Task, get_running_loop, wait
from hashlib import sha256
from logging import getLogger
from re import compile as pattern

from ..deadlines import Deadlines
from ..errors import AgentError, MisuseError, RequestError
from ..model.http import Headers, RequestHead
from ..ports import Exchange, Handler, Timer
from ..records import NamedTuple
from .recording import Name, Recording, RecordingExchange

__all__ = ["KEY_HEADER", "Idempotency", "IdempotencyLimits"]

_logger = getLogger(__name__)

# Seconds for what handlers do when they are cancelled at the end, as `server` gives its own.
PATIENCE = 1.0

KEY_HEADER = b"idempotency-key"
_KEY = pattern(rb"[!-~]{1,255}")
_REPLAYED: Headers = ((b"idempotent-replayed", b"true"),)


class IdempotencyLimits(NamedTuple):
    """Times in seconds, sizes in bytes."""

    answers: int = 10_000
    """Answers for `Idempotency-Key`, complete or under way; the oldest complete one goes first. Beyond that, requests
    with the header run as those without."""
    answer_bytes: int = 1 << 20
    """The largest of them, ten times what models say; a larger one is given to those who wait for it, and not kept."""
    answers_bytes: int = 64 << 20
    """All of them together."""
    answer_kept: float = 600.0
    """From its end on: the default time-out of OpenAI's SDKs, after which they have tried twice more."""
    grace: float = 10.0
    """How long a run goes on when its last client has left: SDKs wait up to 8 s before they try again."""


class Idempotency:
    """The answers of one gateway.

    `routing` are the headers, in lower case, that choose the agent, its session and its model: part of a request.
    """

    def __init__(
        self, timer: Timer, limits: IdempotencyLimits | None = None, *, routing: frozenset[bytes] = frozenset()
    ) -> None:
        self._limits = limits or IdempotencyLimits()
        self._routing = routing
        self._answers: dict[Name, Recording] = {}
        self._done: dict[Recording, None] = {}  # those that are complete, the oldest first
        self._tasks: set[Task[None]] = set()
        self._kept: Deadlines[Recording] = Deadlines(timer, self._limits.answer_kept, self._release)
        self._grace: Deadlines[Recording] = Deadlines(timer, self._limits.grace, self._abandon)
        self.size = 0
        """Bytes that are kept."""

    def __len__(self) -> int:
        return len(self._answers)

    async def serve(self, handler: Handler, body_limit: int, exchange: Exchange) -> None:
        """Answer a request that has the header; `handler` would answer it.

        Raises RequestError (400) for a key that is none, 409 (idempotency_key_reused) where it belongs to another
        request, and what the answer is where that is an error.
        """
        head = exchange.head
        key = head.fields[KEY_HEADER]
        if not _KEY.fullmatch(key):
            message = "`Idempotency-Key` has to be 1 to 255 visible ASCII characters, for instance a UUID."
            raise RequestError(400, message, param="Idempotency-Key", code="invalid_idempotency_key")
        body = await exchange.body(body_limit)
        name = exchange.caller.id, head.path, key
        fingerprint = self._fingerprint(head, body)
        recording = self._answers.get(name)
        if recording is None:
            recording = Recording(name, fingerprint, self._limits.answer_bytes, self._grew)
            self._begin(recording, handler, RecordingExchange(recording, exchange, body))
        elif recording.fingerprint != fingerprint:
            raise RequestError(
                409,
                "This `Idempotency-Key` was used for another request. Take a new one for each request that is not the "
                "same as one before.",
                param="Idempotency-Key",
                code="idempotency_key_reused",
            )
        elif recording.over:
            exchange.decorate(_REPLAYED)
        self._grace.clear(recording)
        try:
            await recording.play(exchange)
        finally:
            if not recording.readers and not recording.over:
                if recording.kept:
                    self._grace.set(recording)
                else:
                    self._abandon(recording)

    async def aclose(self) -> None:
        """End what is under way, and forget all."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await wait(self._tasks, timeout=PATIENCE)
        for recording in [*self._answers.values()]:  # those of tasks that go on all the same, too
            self._release(recording)
        self._kept.close()
        self._grace.close()

    def _fingerprint(self, head: RequestHead, body: bytes) -> bytes:
        digest = sha256()
        for name, value in sorted(head.fields.items()):
            if name in self._routing:
                digest.update(b"%b:%d:%b\n" % (name, len(value), value))
        digest.update(b"\n")
        digest.update(body)
        return digest.digest()

    # -- the life of an answer

    def _begin(self, recording: Recording, handler: Handler, exchange: RecordingExchange) -> None:
        most = self._limits.answers
        while len(self._answers) >= most and self._done:
            self._release(next(iter(self._done)))
        if len(self._answers) < most:
            self._answers[recording.name] = recording
        else:
            recording.release()
        task = get_running_loop().create_task(self._run(recording, handler, exchange), name="recorded answer")
        recording.task = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, recording: Recording, handler: Handler, exchange: RecordingExchange) -> None:
        try:
            await handler(exchange)
            if not recording.over:
                raise MisuseError("a handler returned without a complete answer")
        except (RequestError, AgentError) as error:
            recording.fail(error)
        except CancelledError:
            recording.fail(RequestError(503, "the gateway is shutting down"))
            raise
        except Exception:
            head = exchange.head
            _logger.exception("the handler of %s %s failed req=%s", head.method, head.path, exchange.request_id)
            recording.fail(RequestError(500, "internal error"))
        finally:
            self._grace.clear(recording)
            if recording.good and recording.kept:
                self._done[recording] = None
                self._kept.set(recording)
            else:  # what a client should try again is not kept, nor what was refused at no cost
                self._release(recording)

    def _grew(self, recording: Recording, size: int) -> None:
        """An answer weighs so many bytes more."""
        if not recording.kept:
            return
        self.size += size
        while self.size > self._limits.answers_bytes and self._done:
            self._release(next(iter(self._done)))
        if recording.size > self._limits.answer_bytes or self.size > self._limits.answers_bytes:
            self._release(recording)

    def _abandon(self, recording: Recording) -> None:
        """Nobody came back for it."""
        self._release(recording)
        if recording.task is not None:
            recording.task.cancel()

    def _release(self, recording: Recording) -> None:
        """Forget an answer; those to whom it is being played get the rest of it."""
        if not recording.kept:
            return
        self.size -= recording.size
        del self._answers[recording.name]
        self._done.pop(recording, None)
        self._kept.clear(recording)
        recording.release()
