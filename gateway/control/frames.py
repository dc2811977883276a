"""Frames as they are on the wire: one JSON object in each message.

    {"type": "req", "id": ..., "method": ..., "params": ...}
    {"type": "res", "id": ..., "ok": true, "payload": ...}
    {"type": "res", "id": ..., "ok": false, "error": {"code": ..., "message": ...}}
    {"type": "event", "event": ..., "payload": ..., "seq": n, "stateVersion": {...}}

Frames are closed: of a request, other members than those it may have make it none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import isfinite
from typing import Any

from ..errors import GatewayError
from ..json_limits import DIGITS, VALUES, limited_int, too_many_values
from ..records import NamedTuple
from ..wire.websocket import text_head
from .shapes import ANY, LARGEST, Shape, check, closed, const, text

__all__ = [
    "LONGEST_ID",
    "REQUEST",
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

LONGEST_ID = 512
"""Characters of a request's id, which each answer repeats, and of its method; the official client's ids have 40."""

REQUEST: Shape = closed(
    {
        "type": const("req"),
        "id": text(1, LONGEST_ID),
        "method": text(1, LONGEST_ID),
        "params?": ANY,
        "traceparent?": text(most=128),
        "expectedProfileId?": text(1, 128),
    }
)


def _number(digits: str) -> float | None:
    """A number as JavaScript has it: `5.0` is 5, and one that is too large is null when it is written again."""
    value = float(digits)
    if value.is_integer() and abs(value) <= LARGEST:
        return int(value)
    return value if isfinite(value) else None


class _NoConstant(Exception):
    """The json module met NaN or Infinity, which it reads although they are not JSON."""


def _no_constant(name: str) -> Any:
    raise _NoConstant(name)


_load = json.JSONDecoder(parse_float=_number, parse_int=limited_int, parse_constant=_no_constant).decode
_BEGINNING = re.compile(rf'\s*\{{\s*(?:"type"\s*:\s*"req"\s*,\s*)?"id"\s*:\s*"([^"\\]{{1,{LONGEST_ID}}})"')
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
    """`params` is whatever was given, None where nothing was; `profile` the account that it is meant for."""

    id: str
    method: str
    params: Any
    profile: str | None = None


def read(message: str | bytes) -> Request:
    """The request that a message is.  Raises NotJsonError, NotARequestError."""
    if len(message) > 2 * VALUES and too_many_values(message.encode() if isinstance(message, str) else message):
        raise NotARequestError(f"more than {VALUES} values and keys", _begun(message))
    try:
        value = _load(message if isinstance(message, str) else message.decode())
    except (json.JSONDecodeError, UnicodeDecodeError, _NoConstant) as error:
        raise NotJsonError("not JSON") from error
    except RecursionError:
        raise NotARequestError("nested too deeply", _begun(message)) from None
    except ValueError:  # of `limited_int`
        raise NotARequestError(f"a number of more than {DIGITS} digits", _begun(message)) from None
    wrong = check(REQUEST, value)
    if wrong is not None:
        request_id = value.get("id") if isinstance(value, dict) else None
        known = isinstance(request_id, str) and 0 < len(request_id) <= LONGEST_ID
        raise NotARequestError(wrong, str(request_id) if known else "invalid")
    return Request(value["id"], value["method"], value.get("params"), value.get("expectedProfileId"))


def _begun(message: str | bytes) -> str:
    """The id of a request that is not read, where it stands in front, so that who waits for its answer gets one."""
    head = message[: 2 * LONGEST_ID]
    found = _BEGINNING.match(head if isinstance(head, str) else head.decode("utf-8", "ignore"))
    return "invalid" if found is None else found[1]


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
