"""GET /v1/models and /v1/models/{id}."""

from __future__ import annotations

from typing import Any

import pytest
from asking import ask, chat, serving
from openai.types import Model

from gateway import Gateway
from gateway.agents.function import echo

CLOCK = 1_700_000_000.9


def row(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "openclaw", "permission": []}


def listed(*agents: str) -> list[str]:
    names: list[str] = []

    async def test(gateway: Gateway) -> None:
        answer = await ask(gateway, "/v1/models", method="GET")
        assert answer.status == 200
        document = answer.json
        assert document["object"] == "list"
        assert document["data"] == [row(entry["id"]) for entry in document["data"]]
        for entry in document["data"]:
            Model.model_validate(entry, strict=True)
            again = await ask(gateway, f"/v1/models/{entry['id']}", method="GET")
            assert again.json == entry, "what is listed can be asked for"
            assert (await chat(gateway, model=entry["id"])).status == 200, "and used"
        names.extend(entry["id"] for entry in document["data"])

    serving(test, agents=dict.fromkeys(agents, echo), clock=lambda: CLOCK)
    return names


def test_the_list() -> None:
    assert listed("main", "beta") == ["openclaw", "openclaw/default", "openclaw/main", "openclaw/beta"]
    assert listed("only") == ["openclaw", "openclaw/default", "openclaw/only"]
    assert listed("one", "two") == ["openclaw/one", "openclaw/two"], "no default among several"
    assert listed("default") == ["openclaw", "openclaw/default"], "no name twice"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("openclaw", "openclaw"),
        ("openclaw/main", "openclaw/main"),
        ("openclaw%2Fmain", "openclaw/main"),
        ("openclaw%2fmain", "openclaw/main"),
        ("open%63law/%6dain", "openclaw/main"),
        ("openclaw/main?x=1", "openclaw/main"),
    ],
)
def test_one(path: str, name: str) -> None:
    async def test(gateway: Gateway) -> None:
        answer = await ask(gateway, f"/v1/models/{path}", method="GET")
        assert (answer.status, answer.json) == (200, row(name))
        head = await ask(gateway, f"/v1/models/{path}", method="HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == str(len(answer.body))

    serving(test, agents={"main": echo}, clock=lambda: CLOCK)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("gpt-4o", "gpt-4o"),
        ("openclaw/nobody", "openclaw/nobody"),
        ("OpenClaw", "OpenClaw"),
        ("openclaw%252Fmain", "openclaw%2Fmain"),
        ("openclaw/main/", "openclaw/main/"),
        ("%zz", "%zz"),
        ("%E2%82%AC", "\u20ac"),
        ("%C2%80", "\x80"),
    ],
)
def test_none(path: str, shown: str) -> None:
    async def test(gateway: Gateway) -> None:
        answer = await ask(gateway, f"/v1/models/{path}", method="GET")
        assert answer.status == 404
        assert (answer.error["code"], answer.error["param"]) == ("model_not_found", "model")
        assert f"`{shown}`" in answer.error["message"]

    serving(test, agents={"main": echo})


def test_a_path_that_is_not_utf_8() -> None:
    async def test(gateway: Gateway) -> None:
        answer = await ask(gateway, "/v1/models/%ff", method="GET")
        assert (answer.status, answer.error["param"]) == (400, "model")

    serving(test, agents={"main": echo})
