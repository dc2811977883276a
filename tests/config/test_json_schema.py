"""The option table as a JSON Schema: what the loader takes it takes too, and the faults it can see it sees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it has no types, and comes with the extra `mcp`
import pytest

from gateway.config import load, options
from gateway.config.json5 import loads
from gateway.config.json_schema import json_schema, ui_hints

DATA = Path(__file__).parents[1] / "data" / "config"
VALIDATOR = jsonschema.Draft7Validator(json_schema())


def faults(value: Any) -> list[str]:
    return sorted("/".join(map(str, error.absolute_path)) for error in VALIDATOR.iter_errors(value))


def test_it_is_a_schema() -> None:
    jsonschema.Draft7Validator.check_schema(json_schema())
    assert json.loads(json.dumps(json_schema())) == json_schema()


def test_good_configurations_pass_but_for_what_has_no_effect() -> None:
    path = DATA / "product.json5"
    ignored = str(load(str(path), environ={"TOKEN": "x"}).warnings)
    for error in VALIDATOR.iter_errors(loads(path.read_text(encoding="utf-8"))):
        assert error.validator == "additionalProperties", error
        where = [key for key in error.absolute_path if isinstance(key, str)]
        for key in error.instance.keys() - error.schema["properties"].keys() - {"$schema"}:
            assert ".".join([*where, key]) in ignored.replace("[]", "")


@pytest.mark.parametrize(
    ("value", "places"),
    [
        ({}, []),
        ({"channels": {"any": [1]}}, [""]),
        ({"gateway": {"port": 70000}}, ["gateway/port"]),
        ({"gateway": {"port": "1"}}, ["gateway/port"]),
        ({"gateway": {"prt": 1}}, ["gateway"]),
        ({"gateway": {"auth": {"token": {"source": "env", "id": "T"}}}}, []),
        ({"gateway": {"auth": {"token": {"source": "file", "id": "T"}}}}, ["gateway/auth/token"]),
        ({"gateway": {"auth": {"mode": "nothing"}}}, ["gateway/auth/mode"]),
        ({"gateway": {"auth": {"keys": [{"id": "a", "rate": "5/s"}, {"secret": "x"}]}}}, ["gateway/auth/keys/1"]),
        ({"agents": {"list": [{"id": "a", "model": {"primary": "a/b", "fallbacks": []}}]}}, []),
        ({"agents": {"list": [{"id": "a", "model": {"fallbacks": []}}]}}, ["agents/list/0/model"]),
        ({"agents": {"entries": {"a": {"runtime": {"type": "echo"}, "tools": ["x"]}, "b": {"tools": {}}}}}, []),
        ({"models": {"providers": {"a": {"models": ["m", {"id": "n", "cost": {}}], "headers": {"X": "y"}}}}}, []),
        ({"models": {"providers": {"a": {"maxRetries": 1.5}}}}, ["models/providers/a/maxRetries"]),
        ({"tools": {"list": [{"name": "t", "parameters": {"type": "object"}}]}}, []),
    ],
)
def test_faults(value: Any, places: list[str]) -> None:
    assert faults(value) == places


def test_every_option_has_its_place() -> None:
    hints = ui_hints()
    for row in options():
        path = row.path.replace("<name>", "*")
        assert path in hints, path
        assert hints[path].get("help", "") == row.help
        assert ("(secret)" in row.values) == bool(
            hints[path].get("sensitive") or hints.get(f"{path}.*", {}).get("sensitive")
        ), path
        found = json_schema()
        for part in path.replace("[]", ".[]").split("."):
            if "anyOf" in found:
                found = next(one for one in found["anyOf"] if one["type"] == "object")
            found = found["items"] if part == "[]" else found["additionalProperties" if part == "*" else "properties"]
            found = found if part in {"[]", "*"} else found[part]
    assert hints["gateway.http.endpoints.chatCompletions.maxBodyBytes"]["label"] == "Max body bytes"


def test_defaults_are_good_values() -> None:
    def walk(schema: dict[str, Any]) -> None:
        if "default" in schema:
            jsonschema.Draft7Validator(schema).validate(schema["default"])
        for member in schema.get("properties", {}).values():
            walk(member)

    walk(json_schema())
    assert json_schema()["properties"]["gateway"]["properties"]["port"]["default"] == 18789


KEYWORDS = frozenset(
    [
        "$schema",
        "title",
        "description",
        "default",
        "const",
        "required",
        "additionalProperties",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "pattern",
        "minItems",
        "maxItems",
        "uniqueItems",
        "type",
        "properties",
        "items",
        "enum",
        "anyOf",
        "oneOf",
        "allOf",
        "not",
    ]
)
"""What the forms of OpenClaw's Control UI know (2026.9.6): of anything else they show nothing at all."""


def test_the_products_forms_can_show_it() -> None:
    left: list[Any] = [json_schema()]
    while left:
        schema = left.pop()
        assert schema.keys() <= KEYWORDS, schema
        if "anyOf" in schema:
            assert all(one["type"] in {"string", "object", "array"} for one in schema["anyOf"]), schema
            continue
        assert schema["type"] in {"object", "array", "string", "integer", "boolean"}
        assert (schema["type"] != "array") or "items" in schema
        left += schema.get("properties", {}).values()
        left += [schema[name] for name in ("items", "additionalProperties") if isinstance(schema.get(name), dict)]
