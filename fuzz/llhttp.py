"""HTTP/1 as llhttp reads it (httptools, in llhttp's strict mode), to compare with our own readers.

What we accept, llhttp accepts too and reads as the same messages.  ALLOWED holds the exceptions, each with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import httptools

from gateway.model.http import BodyChunk, BodyEnd, Malformed, RequestHead

from .invariants import HttpEvent

__all__ = ["ALLOWED", "Llhttp", "Message", "compare_requests", "messages_of"]


@dataclass
class Message:
    """One message, as either reader sees it: `start` is (method, target) of a request, (status,) of a response."""

    start: tuple[bytes, ...] = ()
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    complete: bool = False


class Llhttp:
    """Its callbacks, as messages.  `error` is its word for why it stopped."""

    def __init__(self, data: bytes, *, request: bool = True) -> None:
        self.messages: list[Message] = []
        self.error = ""
        self._url = b""
        self._in_body = False
        self._requests = httptools.HttpRequestParser(self) if request else None
        self._responses = httptools.HttpResponseParser(self)
        parser = self._requests or self._responses
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.error = "upgrade"
        except httptools.HttpParserError as error:
            self.error = str(error)

    def on_message_begin(self) -> None:
        self.messages.append(Message())
        self._url = b""
        self._in_body = False

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        message = self.messages[-1]
        (message.trailers if self._in_body else message.headers).append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        if self._requests is not None:
            self.messages[-1].start = (self._requests.get_method(), self._url)
        else:
            self.messages[-1].start = (b"%d" % self._responses.get_status_code(),)
        self._in_body = True

    def on_body(self, body: bytes) -> None:
        self.messages[-1].body += body

    def on_message_complete(self) -> None:
        self.messages[-1].complete = True


def messages_of(events: Iterable[HttpEvent]) -> list[Message]:
    """The messages that our events tell of, an unfinished last one included."""
    messages: list[Message] = []
    for event in events:
        match event:
            case RequestHead():
                messages.append(Message((event.method.encode(), event.target.encode()), list(event.headers)))
            case BodyChunk(piece):
                messages[-1].body += piece
            case BodyEnd(trailers):
                messages[-1].complete = True
                messages[-1].trailers = list(trailers)
            case _:
                pass
    return messages


class _Reading(NamedTuple):
    """What our reader made of an input."""

    messages: list[Message]
    malformed: bool
    over: bool


def _upgrade(ours: _Reading) -> bool:
    return any(message.start[0] == b"CONNECT" or dict(message.headers).get(b"upgrade") for message in ours.messages)


ALLOWED: tuple[tuple[str, Callable[[_Reading], bool], str], ...] = (
    ("Invalid method encountered", lambda _: True, "llhttp has a list of methods; RFC 9110, 9.1 takes any token"),
    ("Expected", lambda _: True, "the same list: methods that begin like another one, PRI, SOURCE and its protocol"),
    ("", lambda ours: any(one.start[0] == b"PRI" for one in ours.messages), "to llhttp PRI is HTTP/2 in any version"),
    ("Invalid HTTP version", lambda ours: ours.malformed, "a version behind what we have refused"),
    ("Data after `Connection: close`", lambda ours: ours.over, "what follows the last request is thrown away here"),
    ("upgrade", _upgrade, "llhttp stops where another protocol may begin; here the handler decides"),
)
"""(how llhttp's error begins, when it may say so about what we accept, why)."""


def compare_requests(data: bytes, events: Sequence[HttpEvent], *, over: bool) -> None:
    """What our reader accepted, to its end, llhttp accepted too.  What is unfinished here was not accepted yet."""
    theirs = Llhttp(data)
    malformed = bool(events) and isinstance(events[-1], Malformed)
    ours = _Reading(messages_of(events), malformed, over)
    mine = [message for message in ours.messages if message.complete]
    others = [message for message in theirs.messages if message.complete]
    for one, other in zip(mine, others, strict=False):
        assert one == other, f"ours {one}\nllhttp's {other}"
    if len(others) < len(mine):
        reasons = [why for word, when, why in ALLOWED if theirs.error.startswith(word) and when(ours)]
        assert reasons, f"we accept {data!r}, and llhttp says {theirs.error or 'nothing'}"
    # We keep no connection of HTTP/1.0, and throw away what follows its request; llhttp reads on.
    if not theirs.error and not malformed and not over:
        assert len(others) == len(mine), f"we find {len(mine)} requests, llhttp {len(others)}"
