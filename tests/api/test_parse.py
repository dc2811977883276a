"""A chat completion request out of the bytes of its body: the cases of tests/data/chat, and random bytes."""

from __future__ import annotations

import json
from binascii import b2a_base64
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.api.parse import chat_request
from gateway.api.parse_messages import MESSAGES
from gateway.api.parse_tools import TOOL_CHARACTERS
from gateway.errors import RequestError
from gateway.json_limits import VALUES as VALUES_OF_A_BODY
from gateway.model.chat import ROLES, ChatRequest, Image, Message, Tool, ToolCall, ToolChoice

DATA = Path(__file__).parent.parent / "data" / "chat"
PNG = b"\x89PNG\r\n\x1a\n"
HI = [{"role": "user", "content": "hi"}]


def cases(*names: str) -> list[Any]:
    """A case says how its body is made, and what comes of it: `gives` members of the request, or an error.

    The body: `hex` bytes; `text`, `times` over, each `%` in it `fill` letters; `body` any JSON; `messages` and nothing
    else; `with` members besides a good message.
    """
    found = [(name, case) for name in names for case in json.loads((DATA / f"{name}.json").read_text("utf-8"))]
    return [pytest.param(case, id=f"{name}: {case['name']}") for name, case in found]


def body_of(case: dict[str, Any]) -> bytes:
    if "hex" in case:
        return bytes.fromhex(case["hex"])
    if "text" in case:
        text: str = case["text"] * case.get("times", 1)
        return (text.replace("%", "m" * case["fill"]) if "fill" in case else text).encode()
    if "messages" in case:
        return json.dumps({"messages": case["messages"]}).encode()
    if "with" in case:
        return json.dumps({"messages": HI, **case["with"]}).encode()
    return json.dumps(case["body"]).encode()


def message(role: str, text: str, name: Any = None, call_id: Any = None, calls: Any = (), parts: Any = ()) -> Message:
    """A message as the cases write it: calls as lists, images as their type, the hexadecimal digits and the detail."""
    read = [part if isinstance(part, str) else Image(part[0], bytes.fromhex(part[1]), part[2]) for part in parts]
    return Message(role, text, name, call_id, tuple(ToolCall(*call) for call in calls), tuple(read))


@pytest.mark.parametrize("case", cases("json", "types", "parameters", "messages", "tools", "images"))
def test_what_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        chat_request(body_of(case))
    error = caught.value
    assert case["says"] in error.message
    assert (error.status, error.type) == (400, "invalid_request_error")
    assert (error.param, error.code) == (case.get("param"), case.get("code"))
    assert len(error.message) < 300, "an error must not repeat all that was sent"


@pytest.mark.parametrize("case", cases("accepted"))
def test_what_is_accepted(case: dict[str, Any]) -> None:
    request = chat_request(body_of(case))
    for name, wanted in case["gives"].items():
        if name == "messages":
            assert request.messages == tuple(message(*one) for one in wanted)
        elif name == "tools":
            assert request.tools == tuple(Tool(*one) for one in wanted)
        elif name == "tool_choice":
            assert request.tool_choice == ToolChoice(*wanted)
        else:
            assert getattr(request, name) == wanted


def test_the_number_of_messages_is_limited() -> None:
    assert len(chat_request(json.dumps({"messages": HI * MESSAGES}).encode()).messages) == MESSAGES
    with pytest.raises(RequestError, match=str(MESSAGES)) as caught:
        chat_request(json.dumps({"messages": HI * (MESSAGES + 1)}).encode())
    assert caught.value.param == "messages"


def test_the_size_of_all_tools_is_limited() -> None:
    def body(characters: int) -> bytes:
        tools = [{"type": "function", "function": {"name": f"f{n}", "description": "x" * characters}} for n in range(4)]
        return json.dumps({"messages": HI, "tools": tools}).encode()

    assert len(chat_request(body(TOOL_CHARACTERS // 4 - 100)).tools) == 4
    with pytest.raises(RequestError, match=f"more than {TOOL_CHARACTERS} characters") as caught:
        chat_request(body(TOOL_CHARACTERS // 4))
    assert caught.value.param == "tools"


@pytest.mark.parametrize("member", ["tools", "response_format"])
def test_no_depth_is_too_deep_to_be_told(member: str) -> None:
    """Up to the depth at which the text itself is refused: what was read must not fail when it is looked at."""
    around = {
        "tools": '[{"type":"function","x":%s,"function":{"name":"f"}}]',
        "response_format": '{"type":"text","x":%s}',
    }
    for depth in range(900, 1100):
        value = around[member] % ("[" * depth + "]" * depth)
        check(b'{"messages":[{"role":"user","content":"hi"}],"%b":%b}' % (member.encode(), value.encode()))


@pytest.mark.parametrize("text", [",:[{" * 100_000, '\\"' * 100_000, "\\" * 150_000, '\\\\",[' * 50_000])
def test_only_marks_outside_of_strings_are_values(text: str) -> None:
    (message,) = chat_request(json.dumps({"messages": [{"role": "user", "content": text}]}).encode()).messages
    assert message.text == text


def test_the_number_of_values_is_limited() -> None:
    others = 10  # the object; two keys, two arrays; the message, its two keys and two values
    extra = [0] * (VALUES_OF_A_BODY - others)
    assert chat_request(json.dumps({"messages": HI, "extra": extra}).encode()).messages
    with pytest.raises(RequestError, match=str(VALUES_OF_A_BODY)):
        chat_request(json.dumps({"messages": HI, "extra": [*extra, 0]}).encode())


def test_an_error_does_not_repeat_a_long_type() -> None:
    part = {"type": "x" * 100_000}
    with pytest.raises(RequestError) as caught:
        chat_request(json.dumps({"messages": [{"role": "user", "content": [part]}]}).encode())
    assert len(caught.value.message) < 200


# Whatever comes, it is a request or a RequestError.

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(sorted(ROLES)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
DATA_URLS = st.binary(max_size=20).map(lambda data: f"data:;base64,{b2a_base64(PNG + data, newline=False).decode()}")
IMAGES = st.fixed_dictionaries({"url": DATA_URLS | st.text() | VALUES}, optional={"detail": VALUES})
PARTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "input_text", "refusal", "image_url"]) | VALUES},
    optional={"text": st.text() | VALUES, "refusal": st.text() | VALUES, "image_url": IMAGES | VALUES},
)
IDS = st.sampled_from(["a", "b"])
FUNCTIONS = st.fixed_dictionaries(
    {"name": IDS | VALUES},
    optional={"arguments": st.text() | VALUES, "parameters": VALUES, "description": VALUES, "strict": VALUES},
)
TOOLS = st.fixed_dictionaries({"type": st.just("function") | VALUES, "function": FUNCTIONS | VALUES})
CALLS = st.fixed_dictionaries({"id": IDS | VALUES, "type": st.just("function"), "function": FUNCTIONS})
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(sorted(ROLES)) | VALUES, "content": st.text() | st.lists(PARTS, max_size=3) | VALUES},
    optional={"name": VALUES, "tool_call_id": IDS | VALUES, "tool_calls": st.lists(CALLS, max_size=2) | VALUES},
)
NAMES = [
    "model",
    "user",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "response_format",
    "reasoning_effort",
    "logit_bias",
    "n",
    "functions",
    "function_call",
    "modalities",
    "logprobs",
    "parallel_tool_calls",
    "verbosity",
    "unknown",
]
BODIES = st.fixed_dictionaries(
    {"messages": st.lists(MESSAGE, max_size=3) | VALUES},
    optional={
        **dict.fromkeys(NAMES, VALUES),
        "tools": st.lists(TOOLS, max_size=2) | VALUES,
        "tool_choice": st.sampled_from(["auto", "none", "required"]) | TOOLS | VALUES,
    },
)


def check(body: bytes) -> None:
    error = None
    try:
        request = chat_request(body)
    except RequestError as refused:
        error = refused
    else:
        assert isinstance(request, ChatRequest)
        assert any(message.text or message.parts or message.role == "tool" for message in request.messages)
        assert request.images == sum(isinstance(part, Image) for one in request.messages for part in one.parts)
        whole = request._asdict() | {"parameters": dict(request.parameters)}
        json.dumps(whole, ensure_ascii=False, default=repr).encode()
    if error is not None:
        assert error.status == 400
        assert error.message.encode()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_random_bytes(body: bytes) -> None:
    check(body)
    check(b"{" + body)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet='{}[]":,\\u d8f0eE+-.1truefalsn\n\ufeff\U0001f980', max_size=40))
def test_random_marks(text: str) -> None:
    check(text.encode())


@settings(max_examples=300, deadline=None)
@given(BODIES)
def test_random_requests(body: dict[str, Any]) -> None:
    check(json.dumps(body).encode())


@settings(max_examples=200, deadline=None)
@given(BODIES, st.data())
def test_damaged_requests(body: dict[str, Any], data: st.DataObject) -> None:
    whole = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
    at = data.draw(st.integers(0, len(whole)))
    check(whole[:at])
    check(whole[:at] + data.draw(st.binary(min_size=1, max_size=2)) + whole[at + 1 :])
