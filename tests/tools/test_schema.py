"""Arguments against a JSON Schema: which pass, and what the model is told of those that do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ToolError
from gateway.tools.schema import PROBLEMS, check_arguments, problems

CASES = json.loads((Path(__file__).parents[1] / "data" / "tools" / "schema.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_case(case: dict[str, Any]) -> None:
    for value in case.get("valid", []):
        assert list(problems(value, case["schema"])) == [], value
    for value, *told in case.get("invalid", []):
        found = list(problems(value, case["schema"]))
        assert found, value
        if told:
            assert found == told


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-2, 2, allow_nan=False) | st.text("ab", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
types = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
schemas = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": types | st.lists(types, min_size=1, max_size=2, unique=True),
            "enum": st.lists(json_values, min_size=1, max_size=3),
            "const": json_values,
            "minimum": st.integers(-3, 3),
            "exclusiveMaximum": st.integers(-3, 3),
            "minLength": st.integers(0, 2),
            "maxItems": st.integers(0, 2),
            "minProperties": st.integers(0, 2),
            "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
            "pattern": st.sampled_from(["^a", "b$", "a|b"]),
        },
    )
    | st.booleans(),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
            "additionalProperties": inner,
            "items": inner,
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=2),
            "allOf": st.lists(inner, min_size=1, max_size=2),
        },
    ),
    max_leaves=5,
)


@given(schemas, json_values)
def test_as_an_independent_validator_says(schema: Any, value: Any) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="comes with the extra mcp")
    valid = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert valid == (not list(problems(value, schema)))


@given(schemas, st.dictionaries(st.sampled_from("abc"), json_values, max_size=3))
def test_it_passes_or_tells_the_model(schema: Any, arguments: dict[str, Any]) -> None:
    if isinstance(schema, bool):
        return
    if list(problems(arguments, schema)):
        with pytest.raises(ToolError, match=r"^The arguments are not right: "):
            check_arguments(arguments, schema)
    else:
        check_arguments(arguments, schema)


def test_a_schema_that_goes_in_a_circle() -> None:
    circle = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}
    assert list(problems(1, circle)) == ["the whole is nested too deeply"]


def test_so_many_faults_are_told() -> None:
    schema = {"type": "object", "properties": {f"p{n}": {"type": "integer"} for n in range(20)}}
    with pytest.raises(ToolError) as caught:
        check_arguments({f"p{n}": "x" for n in range(20)}, schema)
    assert caught.value.message.count("has to be an integer") == PROBLEMS
