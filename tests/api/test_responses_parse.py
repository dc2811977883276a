"""A response request out of the bytes of its body: the cases of tests/data/responses, and random values."""

from __future__ import annotations

import json
from base64 import b64decode
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response

from gateway.api.parse_messages import MESSAGES
from gateway.api.responses_bytes import response
from gateway.api.responses_input import REFERENCES, Reference
from gateway.api.responses_parse import ResponsesRequest, responses_request
from gateway.errors import RequestError
from gateway.model.chat import Image, Message, Tool, ToolCall, ToolChoice
from gateway.model.run import NO_USAGE, Answer, RunDone

DATA = Path(__file__).parent.parent / "data" / "responses"
RUN = "0123456789abcdef0123456789abcdef"


def cases(name: str) -> list[Any]:
    """A case says how its body is made: `text`; `body`; `items` of an input; `with` members besides a good input.

    Each `%` is `fill` letters.  What comes of it: `messages`, and `gives` members of the request; or an error.
    """
    return [pytest.param(case, id=case["name"]) for case in json.loads((DATA / f"{name}.json").read_text("utf-8"))]


def body_of(case: dict[str, Any]) -> bytes:
    if "text" in case:
        text: str = case["text"]
    elif "items" in case:
        text = json.dumps({"input": case["items"]})
    elif "with" in case:
        text = json.dumps({"input": "hi", **case["with"]})
    else:
        text = json.dumps(case["body"])
    return text.replace("%", "m" * case.get("fill", 1)).encode()


def message(value: list[Any]) -> Message:
    role, text, name, call_id, calls = (*value, None, None, None)[:5]
    return Message(role, text, name, call_id, tuple(ToolCall(*call) for call in calls or ()))


@pytest.mark.parametrize("case", cases("refused"))
def test_what_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        responses_request(body_of(case))
    error = caught.value
    assert case["says"] in error.message
    assert (error.status, error.type) == (case.get("status", 400), "invalid_request_error")
    assert error.param == case.get("param")
    if "code" in case:
        assert error.code == case["code"]
    assert len(error.message) < 300, "an error must not repeat all that was sent"


@pytest.mark.parametrize("case", cases("accepted"))
def test_what_is_accepted(case: dict[str, Any]) -> None:
    chat = responses_request(body_of(case)).chat
    if "messages" in case:
        assert chat.messages == tuple(map(message, case["messages"]))
    for name, wanted in case.get("gives", {}).items():
        match name:
            case "tools":
                assert chat.tools == tuple(Tool(*tool) for tool in wanted)
            case "tool_choice":
                assert chat.tool_choice == ToolChoice(*wanted)
            case _:
                assert getattr(chat, name) == wanted


def test_what_it_goes_on_from() -> None:
    plain = responses_request(b'{"input": "hi"}')
    assert (plain.after, plain.conversation, plain.store) == (None, None, True)
    after = responses_request(json.dumps({"input": "hi", "previous_response_id": f"resp_{RUN}"}).encode())
    assert (after.after, after.echo["previous_response_id"]) == (RUN, f"resp_{RUN}")
    assert responses_request(b'{"input": "hi", "store": false}').store is False
    for conversation in ("c", {"id": "c"}):
        found = responses_request(json.dumps({"input": "hi", "conversation": conversation}).encode())
        assert (found.conversation, found.echo["conversation"]) == ("c", {"id": "c"})


def test_what_is_repeated() -> None:
    assert responses_request(b'{"input": "hi"}').echo == {
        "instructions": None,
        "max_output_tokens": None,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "store": True,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "truncation": "disabled",
        "user": None,
        "metadata": {},
    }


def test_images() -> None:
    gif = "R0lGODlhAQABAAAAACw="
    content = [
        {"type": "input_text", "text": "what"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{gif}", "detail": "low"},
        {"type": "input_text", "text": "is it"},
    ]
    chat = responses_request(json.dumps({"input": [{"role": "user", "content": content}]}).encode()).chat
    picture = Image("image/gif", b64decode(gif), "low")
    assert chat.messages == (Message("user", "what\nis it", parts=("what", picture, "is it")),)
    assert chat.images == 1
    with pytest.raises(RequestError) as caught:
        responses_request(json.dumps({"input": [{"role": "user", "content": content[1:2] * 9}]}).encode())
    assert (caught.value.param, caught.value.code) == ("input[0].content[8].image_url", "too_many_images")
    one = responses_request(json.dumps({"input": [{"role": "user", "content": content[1:2]}]}).encode()).chat
    assert one.messages[0].parts == (picture,)


def test_the_number_of_items_is_limited() -> None:
    item = {"role": "user", "content": "hi"}
    assert len(responses_request(json.dumps({"input": [item] * MESSAGES}).encode()).chat.messages) == MESSAGES
    with pytest.raises(RequestError, match=str(MESSAGES)) as caught:
        responses_request(json.dumps({"input": [item] * (MESSAGES + 1)}).encode())
    assert caught.value.param == "input"


NAMES = ["type", "role", "content", "text", "call_id", "name", "arguments", "output", "id", "format", "schema"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.sampled_from(["message", "user", "function"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=8,
)
MEMBERS = [
    "input",
    "tools",
    "tool_choice",
    "text",
    "reasoning",
    "metadata",
    "conversation",
    "include",
    "stream",
    "user",
]


@given(st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=4))
def test_any_members(body: dict[str, Any]) -> None:
    with suppress(RequestError):
        request = responses_request(json.dumps(body).encode())
        Response.model_validate_json(response(RUN, 1, "m", request.echo, Answer("x", NO_USAGE, RunDone())), strict=True)


def test_references_are_messages_to_be_put_in() -> None:
    other = RUN[::-1]
    items = [
        {"role": "user", "content": "a"},
        {"type": "item_reference", "id": f"rs_{RUN}00"},
        {"type": "item_reference", "id": f"msg_{RUN}01"},
        {"type": "item_reference", "id": f"fc_{RUN}02"},
        {"type": "function_call_output", "call_id": "c1", "output": "x"},
        {"type": "item_reference", "id": f"msg_{other}00"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    request = responses_request(json.dumps({"input": items, "instructions": "i"}).encode())
    assert [(message.role, message.text) for message in request.chat.messages] == [
        ("system", "i"),
        ("user", "a"),
        ("assistant", ""),
        ("tool", "x"),
        ("assistant", ""),
        ("assistant", "b"),
        ("user", "c"),
    ]
    assert request.references == {2: Reference(RUN, text=True, calls=(2,)), 4: Reference(other, text=True)}
    assert (request.places[2], request.places[4]) == ("input[2]", "input[5]")


def test_the_number_of_references_is_limited() -> None:
    def asked(number: int) -> ResponsesRequest:
        pairs = (
            [{"role": "user", "content": "a"}, {"type": "item_reference", "id": f"msg_{n:032x}00"}]
            for n in range(number)
        )
        return responses_request(json.dumps({"input": [one for pair in pairs for one in pair]}).encode())

    assert len(asked(REFERENCES).references) == REFERENCES
    with pytest.raises(RequestError, match=f"more than {REFERENCES}"):
        asked(REFERENCES + 1)
