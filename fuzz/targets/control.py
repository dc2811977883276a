"""Messages of the WebSocket protocol: which are requests, and whether any parameters upset their checks."""

from __future__ import annotations

import json
from typing import Any

from gateway.control.frames import LONGEST_ID, NotARequestError, NotJsonError, Request, encoded, failure, read
from gateway.control.params import PARAMS, SCOPES, required_scope
from gateway.control.problem import INVALID_REQUEST, RpcError
from gateway.control.shapes import check

__all__ = ["one_input"]

LONGEST_TEXT = 10_000
STRANGER = {"no such field": None}
UNEXPECTED = "unexpected property 'no such field'"
CLOSED = {method for method, shape in PARAMS.items() if UNEXPECTED in (check(shape, STRANGER) or "")}
MEMBERS = {"type", "id", "method", "params", "traceparent", "expectedProfileId"}


def one_input(data: bytes) -> None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        assert isinstance(_read(data), NotJsonError)
        return
    found = _read(data)
    assert repr(found) == repr(_read(text)), "bytes and text differ"
    if isinstance(found, NotJsonError):
        assert not _is_json(text), "JSON that is not read"
    elif isinstance(found, NotARequestError):
        assert found.id == "invalid" or 0 < len(found.id) <= LONGEST_ID
        _told(found.id, f"invalid request frame: {found.message}")
    else:
        assert json.loads(text).keys() <= MEMBERS
        _again(found)
        _checked(found)


def _read(message: str | bytes) -> Request | NotARequestError | NotJsonError:
    try:
        return read(message)
    except (NotARequestError, NotJsonError) as error:
        return error


def _is_json(text: str) -> bool:
    def no_constant(name: str) -> Any:
        raise ValueError(name)

    try:
        json.loads(text, parse_constant=no_constant)
    except (ValueError, RecursionError):
        return False
    return True


def _told(request_id: str, message: str) -> None:
    """An answer can be made of it, which is not endless, and a client reads the same."""
    assert len(message) <= LONGEST_TEXT
    answer = json.loads(failure(request_id, RpcError(INVALID_REQUEST, message).shape()))
    assert answer == {
        "type": "res",
        "id": request_id,
        "ok": False,
        "error": {"code": INVALID_REQUEST, "message": message},
    }


def _again(request: Request) -> None:
    """What was read is read again."""
    frame = {"type": "req", "id": request.id, "method": request.method, "params": request.params}
    if request.profile is not None:
        frame["expectedProfileId"] = request.profile
    assert repr(read(encoded(frame))) == repr(request)


def _checked(request: Request) -> None:
    """Its parameters are judged by every method, and by none changed."""
    before = encoded(request.params)
    for method, shape in PARAMS.items():
        wrong = check(shape, request.params)
        assert wrong == check(shape, request.params)
        if wrong is not None:
            assert wrong
            wrong.encode()
            _told(request.id, f"invalid {method} params: {wrong}")
        elif method in CLOSED:
            assert UNEXPECTED in (check(shape, request.params | STRANGER) or ""), (
                f"{method} takes any field beside these"
            )
        scope = required_scope(method, request.params)
        assert scope is None or scope in SCOPES.values()
    assert encoded(request.params) == before
