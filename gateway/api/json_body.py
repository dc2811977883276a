"""The JSON text of a request body (RFC 8259)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from json import JSONDecodeError, JSONDecoder
from typing import Any

from ..errors import RequestError
from ..json_limits import VALUES, limited_int, too_many_values
from ..ports import Exchange

__all__ = ["body_of", "json_body"]


class _NoConstant(Exception):
    """The json module met NaN or Infinity, which it reads although they are not JSON."""


def _no_constant(name: str) -> Any:
    raise _NoConstant(name)


_decoder = JSONDecoder(parse_constant=_no_constant, parse_int=limited_int)
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once  # type: ignore[attr-defined]  # made in __init__
# Compiled at their first use.
_STRING_OR_CONSTANT = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|NaN|-?Infinity'
_SURROGATE = rb"\\u[dD][89a-fA-F]"


def body_of(exchange: Exchange, limit: int) -> Awaitable[bytes]:
    """The body of a request that has to have one; see `Exchange.body`.  Raises RequestError (411)."""
    head = exchange.head
    if head.content_length is None and not head.chunked:
        raise RequestError(411, "The request needs a body, and a Content-Length or Transfer-Encoding with it.")
    return exchange.body(limit)


def json_body(body: bytes, values: int = VALUES) -> Any:
    """The value of a JSON text (RFC 8259).  Raises RequestError (400) that tells line and column.

    `values`: the most values and keys there may be.
    """
    if too_many_values(body, values):
        raise RequestError(400, f"The request body holds more than {values} values and keys.", code="invalid_json")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise RequestError(
            400, f"The request body is not UTF-8: byte {error.start} is 0x{body[error.start]:02x}.", code="invalid_json"
        ) from None
    text = text.removeprefix("\ufeff")  # a byte order mark, which some clients on Windows send
    try:
        # What `decode` does, but for the white space around the value, which most clients do not send.
        try:
            value, end = _scan(text, 0)
        except StopIteration:  # it does not begin with a value, or breaks off: `decode` says so in words
            value, end = None, 0
        if end != len(text) or not end:
            value = _decoder.decode(text)
        # `in` would first try, and fail, to read it as a number
        if body.find(b"\\u") >= 0 and re.search(_SURROGATE, body):
            _check_text(value)
    except _NoConstant as error:
        found = next(match for match in re.finditer(_STRING_OR_CONSTANT, text) if match[0][0] != '"')
        line, column = text.count("\n", 0, found.start()) + 1, found.start() - text.rfind("\n", 0, found.start())
        what = f"The request body is not valid JSON: {error} is no JSON value, at line {line} column {column}."
        raise RequestError(400, what, code="invalid_json") from None
    except JSONDecodeError as error:
        what = "The request body is empty." if not text.strip() else f"The request body is not valid JSON: {error.msg}"
        place = f" at line {error.lineno} column {error.colno}." if text.strip() else ""
        raise RequestError(400, what + place, code="invalid_json") from None
    except RecursionError:
        raise RequestError(400, "The request body is nested too deeply.", code="invalid_json") from None
    except ValueError:  # of `limited_int`
        raise RequestError(400, "The request body holds a number that is too long.", code="invalid_json") from None
    return value


def _check_text(value: Any) -> None:
    """Escapes of one half of a surrogate pair make a string that is no Unicode text and could not be passed on."""
    match value:
        case str():
            try:
                value.encode()
            except UnicodeEncodeError:
                message = "The request body holds an escaped surrogate without its other half."
                raise RequestError(400, message, code="invalid_json") from None
        case list():
            for one in value:
                _check_text(one)
        case dict():
            for key, one in value.items():
                _check_text(key)
                _check_text(one)
        case _:
            pass
