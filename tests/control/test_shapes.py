"""Parameters against their shapes: what the product said of the same values, and what no value may do.

`params.jsonl`, `scopes.jsonl`: values and what OpenClaw said of them; `requests.jsonl`: what its programs ask for.
`test_shapes_product.py` asks the product again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control import shapes
from gateway.control.frames import REQUEST
from gateway.control.params import PARAMS, SCOPES, required_scope
from gateway.control.shapes import ANY, ID, LARGEST, MOST_FAULTS, TEXT, array, check, closed, record, text, whole

DATA = Path(__file__).parents[1] / "data" / "control"


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


CASES = rows("params.jsonl")
REQUESTS = rows("requests.jsonl")
SHAPES = {**PARAMS, "(request)": REQUEST}
UNCHECKED = {method for method in PARAMS if check(PARAMS[method], {"no such field": 1}) is None} - {"wake"}


@pytest.mark.parametrize("method", sorted(SHAPES.keys() - UNCHECKED))
def test_what_the_product_says(method: str) -> None:
    cases = [case for case in CASES if case["method"] == method]
    assert any(case["error"] for case in cases)
    assert any(case["error"] is None for case in cases)
    for case in cases:
        assert check(SHAPES[method], case["params"]) == case["error"], case["params"]


def test_cases_are_of_methods() -> None:
    assert {case["method"] for case in CASES} == SHAPES.keys() - UNCHECKED


@pytest.mark.parametrize("method", sorted(UNCHECKED))
def test_methods_that_take_any_object(method: str) -> None:
    assert check(PARAMS[method], {}) is None
    assert check(PARAMS[method], [1]) == "must be object"


@pytest.mark.parametrize("row", REQUESTS, ids=[f"{row['command']}-{row['frame']['method']}" for row in REQUESTS])
def test_recorded_requests(row: dict[str, Any]) -> None:
    frame = row["frame"]
    method = frame["method"]
    assert check(REQUEST, frame) is None
    if method in PARAMS:
        found = check(PARAMS[method], frame.get("params", {}))
        invalid = f"invalid {method} params: "
        told = row.get("error", {}).get("message", "")
        assert (invalid + found if found else None) == (told if told.startswith(invalid) else None)


@pytest.mark.parametrize("row", rows("scopes.jsonl"), ids=lambda row: row["method"])
def test_scopes(row: dict[str, Any]) -> None:
    assert required_scope(row["method"], row["params"]) == row["scope"]


def test_each_method_has_a_scope() -> None:
    assert SCOPES.keys() == PARAMS.keys()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=10) | st.dictionaries(st.text(st.characters(), max_size=20), inner, max_size=10)
    ),
    max_leaves=20,
)


@given(st.sampled_from(sorted(SHAPES)), json_values)
def test_any_value_is_judged(method: str, value: Any) -> None:
    found = check(SHAPES[method], value)
    required_scope(method, value)
    if found is not None:
        assert found
        assert len(found) < 10_000
        found.encode()


@given(st.sampled_from(CASES), st.data())
def test_any_value_in_a_field_is_judged(case: dict[str, Any], data: st.DataObject) -> None:
    value = case["params"]
    if isinstance(value, dict) and value:
        name = data.draw(st.sampled_from(sorted(value)))
        found = check(SHAPES[case["method"]], {**value, name: data.draw(json_values)})
        assert found is None or 0 < len(found) < 10_000


def test_no_more_faults_than_the_limit() -> None:
    found = check(array(ID), [0] * 1_000_000)
    assert found == "; ".join(f"at /{index}: must be string" for index in range(MOST_FAULTS))


def test_a_fault_is_said_once() -> None:
    assert check(PARAMS["config.schema.lookup"], {"path": "?"}) == (
        r'at /path: must match pattern "^[A-Za-z0-9_./\[\]\-*]+$"'
    )
    assert check(shapes.literals("a", "b", "c"), 1) == (
        "must be string; must be equal to constant; must match a schema in anyOf"
    )


def test_names_are_not_repeated_without_end() -> None:
    found = check(closed({}), {"x" * 1_000_000: 1})
    assert found == f"at root: unexpected property '{'x' * shapes.LONGEST_NAME}…'"
    found = check(record(TEXT), {"y" * 1_000_000: 1})
    assert found == f"at /{'y' * shapes.LONGEST_NAME}…: must be string"


def test_half_a_surrogate_pair_can_be_said() -> None:
    assert check(closed({}), {"a\ud800": 1}) == "at root: unexpected property 'a?'"


def test_many_unexpected_properties_are_one_fault() -> None:
    # The product says of each of eight that its "schema is false"; the first by name is what clients look for.
    value = {f"extra{number}": 1 for number in range(100)}
    assert check(PARAMS["sessions.list"], value) == "at root: unexpected property 'extra0'"


@pytest.mark.parametrize(
    ("shape", "value", "found"),
    [
        (whole(0), LARGEST, None),
        (whole(0), LARGEST + 1, f"must be <= {LARGEST}"),
        (whole(0), 10**400, f"must be <= {LARGEST}"),
        (whole(0), 5.0, None),
        (whole(0), -0.0, None),
        (whole(0), 5.5, "must be integer"),
        (whole(0), -5.5, "must be integer; must be >= 0"),
        (whole(0), float("inf"), "must be integer"),
        (whole(0), float("nan"), "must be integer"),
        (whole(0), True, "must be integer"),
        (whole(0), "5", "must be integer"),
        (shapes.NUMBER, 10**400, "must be <= 1.7976931348623157e+308"),
        (shapes.NUMBER, float("inf"), "must be number"),
        (shapes.NUMBER, False, "must be number"),
        (shapes.const(1), 1.0, None),
        (shapes.const(1), True, "must be number; must be equal to constant"),
        (shapes.const(True), 1, "must be boolean; must be equal to constant"),
        (shapes.member("a"), ["a"], "must be equal to one of the allowed values"),
        (text(most=2), "e\u0301e", "must not have more than 2 characters"),
        (record(shapes.FLAG), {"a\nb": 1}, "at /a\nb: must be boolean"),
        (PARAMS["sessions.usage"], {"startDate": "2026-01-02\n"}, r'at /startDate: must match pattern "^\d{4}-\d{2}-\d{2}$"'),
        (PARAMS["sessions.usage"], {"startDate": "٢٠٢٦-٠١-٠٢"}, r'at /startDate: must match pattern "^\d{4}-\d{2}-\d{2}$"'),
        (array(ANY, unique=True), [1, 1.0], "must not have duplicate items"),
        (array(ANY, unique=True), [1, True, "1", None], None),
    ],
)  # fmt: skip
def test_values_at_the_edge(shape: shapes.Shape, value: Any, found: str | None) -> None:
    assert check(shape, value) == found


def connecting(client: str, protocol: int, **device: str) -> dict[str, Any]:
    proof = {"id": "d", "publicKey": "p", "signature": "s", "signedAt": 1, **device}
    who = {"id": client, "version": "1", "platform": "linux", "mode": "ui"}
    return {"minProtocol": 3, "maxProtocol": protocol, "client": who, "device": proof}


@pytest.mark.parametrize("client", ["openclaw-control-ui", "clawdbot-control-ui", "moltbot-macos", "webchat-ui", "cli"])
def test_clients_of_all_names(client: str) -> None:
    assert check(PARAMS["connect"], connecting(client, 4, nonce="n")) is None


def test_only_clients_of_protocol_3_sign_without_a_nonce() -> None:
    assert check(PARAMS["connect"], connecting("cli", 3)) is None
    assert check(PARAMS["connect"], connecting("cli", 4)) == "at /device: must have required property 'nonce'"
    assert check(PARAMS["connect"], connecting("clawdbot", 3)) == (
        "at /client/id: must be equal to one of the allowed values"
    )
