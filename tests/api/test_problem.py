"""Errors as OpenAI's error objects."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from gateway.api.problem import JSON, error_object, refusal, render, run_error, run_error_object
from gateway.errors import RequestError
from gateway.model.http import REASONS
from gateway.model.run import RunFailed


def parsed(body: bytes) -> dict[str, Any]:
    document = json.loads(body)
    assert list(document) == ["error"]
    assert list(document["error"]) == ["message", "type", "param", "code"]
    error: dict[str, Any] = document["error"]
    return error


def test_the_headers_of_every_answer() -> None:
    assert JSON == ((b"content-type", b"application/json; charset=utf-8"), (b"cache-control", b"no-store"))


def test_a_refused_request() -> None:
    error = RequestError(400, "no `x`", param="x", code="odd", headers=((b"allow", b"POST"),))
    status, headers, body = render(error)
    assert status == 400
    assert headers == (*JSON, (b"allow", b"POST"))
    assert parsed(body) == {"message": "no `x`", "type": "invalid_request_error", "param": "x", "code": "odd"}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, None),
        (404, "not_found"),
        (405, "method_not_allowed"),
        (408, "request_timeout"),
        (411, "length_required"),
        (413, "payload_too_large"),
        (426, "upgrade_required"),
        (431, "headers_too_large"),
    ],
)
def test_codes_by_status(status: int, code: str | None) -> None:
    assert parsed(render(RequestError(status, "x"))[2])["code"] == code


@pytest.mark.parametrize("status", [400, 408, 413, 414, 431, 500, 501, 503, 505])
def test_refusals_of_the_server(status: int) -> None:
    headers, body = refusal(status, "because")
    assert headers == (*JSON, (b"retry-after", b"5")) if status == 503 else JSON
    error = parsed(body)
    assert error["message"] == "because"
    assert error["type"] == ("invalid_request_error" if status < 500 else "api_error")
    assert error["code"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (404, "invalid_request_error"),
        (409, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "api_error"),
        (504, "api_error"),
    ],
)
def test_failed_runs(status: int, kind: str) -> None:
    failed = RunFailed("it broke", "broken", status)
    error = run_error(failed)
    assert (error.status, error.message, error.code, error.type) == (status, "it broke", "broken", kind)
    assert error.headers == ()
    assert parsed(run_error_object(failed)) == {"message": "it broke", "type": kind, "param": None, "code": "broken"}


@pytest.mark.parametrize("status", [-1, 0, 100, 200, 204, 302, 399, 499, 529, 599, 999, 10_000])
def test_statuses_that_are_none_of_an_error(status: int) -> None:
    error = run_error(RunFailed("it broke", "broken", status))
    assert (error.status, error.message, error.code, error.type) == (500, "it broke", "broken", "api_error")


def test_every_error_status_of_http_is_kept() -> None:
    for status in REASONS:
        if status >= 400:
            assert run_error(RunFailed("x", "y", status)).status == status


@pytest.mark.parametrize(
    ("seconds", "value"),
    [(0, b"0"), (1, b"1"), (1.2, b"2"), (59.999, b"60"), (-3, b"0"), (math.inf, None), (math.nan, None)],
)
def test_retry_after(seconds: float, value: bytes | None) -> None:
    headers = run_error(RunFailed("wait", "busy", 429, seconds)).headers
    assert headers == (() if value is None else ((b"retry-after", value),))


def test_text_of_any_kind() -> None:
    text = 'quote " back \\ line \n nul \x00 crab \U0001f980 half \ud83d'
    assert parsed(error_object(text, text, None, None))["message"] == text.replace("\ud83d", "?")
