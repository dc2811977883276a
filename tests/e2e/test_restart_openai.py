"""The official SDK before and after the gateway is killed."""

from __future__ import annotations

from typing import Any

from openai import OpenAI
from openai.types.responses import Response
from processes import TOKEN, Launch, Running, configuration, python_agent

MODEL = "openclaw/assistant"


def config() -> dict[str, Any]:
    endpoints = {"chatCompletions": {"enabled": True}, "responses": {"enabled": True}}
    return configuration(python_agent("assistant"), http={"endpoints": endpoints})


def test_a_response_is_gone_on_from(launch: Launch) -> None:
    def asked(text: str, gateway: Running, previous: str | None) -> Response:
        with OpenAI(base_url=gateway.base_url, api_key=TOKEN, max_retries=0, timeout=20) as client:
            return client.responses.create(model=MODEL, input=text, previous_response_id=previous)

    path = launch.file(config())
    before = launch(path)
    first = asked("a", before, None)
    second = asked("b", before, first.id)
    before.process.kill()
    before.process.wait()
    after = launch(path)
    assert asked("c", after, second.id).output_text.endswith(
        "| user: b | assistant: " + second.output_text + " | user: c"
    )
    assert asked("d", after, first.id).output_text == "user: a | assistant: user: a | user: d"


def test_a_user_finds_their_session(launch: Launch) -> None:
    def asked(gateway: Running, user: str, *texts: str) -> str:
        with OpenAI(base_url=gateway.base_url, api_key=TOKEN, max_retries=0, timeout=20) as client:
            roles: Any = [{"role": "assistant" if at % 2 else "user", "content": text} for at, text in enumerate(texts)]
            answer = client.chat.completions.create(model=MODEL, user=user, messages=roles)
            return answer.choices[0].message.content or ""

    path = launch.file(config())
    before = launch(path)
    first = asked(before, "ann", "a")
    second = asked(before, "ann", "b")
    before.process.kill()
    before.process.wait()
    after = launch(path)
    known = f"user: a | assistant: {first} | user: b | assistant: {second}"
    assert asked(after, "ann", "c") == f"{known} | user: c"
    assert asked(after, "bob", "c") == "user: c"
    third = f"{known} | user: c"
    resent = asked(after, "ann", "a", first, "b", second, "c", third, "d")
    assert resent == f"{third} | assistant: {third} | user: d", "what is sent again is there once"
