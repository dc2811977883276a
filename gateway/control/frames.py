"""Frames as they are on the wire: one JSON object in each message.

    {"type": "req", "id": ..., "method": ..., "params": ...}
    {"type": "res", "id": ..., "ok": true, "payload": ...}
    {"type": "res", "id": ..., "ok": false, "error": {"code": ..., "message": ...}}
    {"type": "event", "event": ..., "payload": ..., "seq": n, "stateVersion": {...}}

Frames are closed: of a request, other members than those it may have make it none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import GatewayError
from ..wire.websocket import text_head

__all__ = [
    "Body",
    "NotARequestError",
    "NotJsonError",
    "Request",
    "encoded",
    "event",
    "failure",
    "framed",
    "read",
    "result",
]

_MEMBERS = frozenset({"type", "id", "method", "params", "traceparent", "expectedProfileId"})
# An id is repeated in each answer and kept while the request is under way; the official client's have 40 characters.
ID_CHARACTERS = 512

_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
_escape = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class NotJsonError(GatewayError):
    """A message that is no JSON."""


class NotARequestError(GatewayError):
    """JSON that is no request.  `id` is what it may have meant to be called, or `invalid`."""

    def __init__(self, message: str, request_id: str) -> None:
        super().__init__(message)
        self.message = message
        self.id = request_id


class Request(NamedTuple):
    """`params` is whatever was given, None where nothing was."""

    id: str
    method: str
    params: Any


def read(message: str | bytes) -> Request:
    """The request that a message is.  Raises NotJsonError, NotARequestError."""
    try:
        value = json.loads(message, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise NotJsonError("not JSON") from error
    if not isinstance(value, dict):
        raise NotARequestError("at root: must be object", "invalid")
    request_id = value.get("id")
    wrong = _fault(value)
    if wrong is not None:
        raise NotARequestError(wrong, request_id if isinstance(request_id, str) and request_id else "invalid")
    return Request(value["id"], value["method"], value.get("params"))


def _fault(frame: Mapping[str, Any]) -> str | None:
    """What makes a frame no request."""
    faults = [f"at root: unexpected property '{name[:64]}'" for name in frame if name not in _MEMBERS][:8]
    faults += [f"must have required property '{name}'" for name in ("type", "id", "method") if name not in frame]
    if "type" in frame and frame["type"] != "req":
        faults.append("at /type: must be equal to constant")
    for name in ("id", "method"):
        value = frame.get(name, "-")
        if not isinstance(value, str):
            faults.append(f"at /{name}: must be string")
        elif not value:
            faults.append(f"at /{name}: must NOT have fewer than 1 characters")
        elif len(value) > ID_CHARACTERS:
            faults.append(f"at /{name}: must NOT have more than {ID_CHARACTERS} characters")
    for name in ("traceparent", "expectedProfileId"):
        if not isinstance(frame.get(name, ""), str):
            faults.append(f"at /{name}: must be string")
    return "; ".join(faults) or None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def encoded(value: Any) -> bytes:
    """JSON in UTF-8.  Half a surrogate pair, which UTF-8 cannot carry, is escaped."""
    try:
        return _dump(value).encode()
    except UnicodeEncodeError:
        return _escape(value).encode()


def framed(payload: bytes) -> bytes:
    """A text message of a server."""
    return text_head(len(payload)) + payload


def result(request_id: str, payload: Any) -> bytes:
    """The answer to a request that succeeded."""
    return encoded({"type": "res", "id": request_id, "ok": True, "payload": payload})


def failure(request_id: str, shape: Mapping[str, Any]) -> bytes:
    """The answer to one that failed; `shape` is that of `RpcError`."""
    return encoded({"type": "res", "id": request_id, "ok": False, "error": shape})


def event(name: str, payload: Any) -> bytes:
    """An event without a number, as there is one only: `connect.challenge`."""
    return encoded({"type": "event", "event": name, "payload": payload})


class Body:
    """An event that many are sent, each with a number of their own.

    It is encoded once; for each client only the number is added.
    """

    __slots__ = ("_framed", "_text")

    def __init__(self, name: str, payload: Any, state_version: Mapping[str, int] | None = None) -> None:
        frame: dict[str, Any] = {"type": "event", "event": name, "payload": payload}
        if state_version is not None:
            frame["stateVersion"] = state_version
        self._text = encoded(frame)[:-1] + b',"seq":'
        self._framed: dict[int, bytes] = {}  # digits of the number to all that goes before it

    @property
    def size(self) -> int:
        """In bytes, about."""
        return len(self._text)

    def before(self, digits: int) -> bytes:
        """The frame up to its number, of so many digits; what follows that is `}`."""
        found = self._framed.get(digits)
        if found is None:
            found = self._framed[digits] = text_head(len(self._text) + digits + 1) + self._text
        return found
