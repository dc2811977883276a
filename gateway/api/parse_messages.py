"""The messages of a request.

Source: https://platform.openai.com/docs/api-reference/chat/create.
"""

from __future__ import annotations

from typing import Any

from ..errors import RequestError
from ..model.chat import ROLES, Message, Part
from .images import ImageLimits, Images
from .members import mapping, missing, text, wrong
from .parse_tools import check_answers, tool_calls, word

__all__ = ["MESSAGES", "messages"]

# Of one request, to bound the work that small messages make; the longest real conversations have hundreds.
MESSAGES = 10_000

# Of these, a message of a role and a text is complete.  Each to its one copy: every request would keep its own.
_PLAIN = {role: role for role in ROLES - {"tool"}}
_ASKING = frozenset({"user", "function"})

# See parse.
_new = tuple.__new__


def messages(value: Any, limits: ImageLimits) -> tuple[tuple[Message, ...], int]:
    """The messages, and how many images they hold.  Raises RequestError (400) that names the member at fault."""
    if value is None:
        raise missing("messages")
    if not isinstance(value, list):
        raise wrong("messages", "an array", value)
    if len(value) > MESSAGES:
        raise RequestError(400, f"`messages` has more than {MESSAGES} entries.", param="messages")
    asked = False
    found = []
    rest = None
    for one in value:
        try:
            role, content = one["role"], one["content"]
        except (KeyError, TypeError):
            role = content = None
        # Nothing is left to check of most.
        if content.__class__ is str and role.__class__ is str and len(one) == 2 and role in _PLAIN:
            found.append(_new(Message, (_PLAIN[role], content, None, None, (), ())))
            if content and role in _ASKING:
                asked = True
            continue
        if rest is None:
            rest = _Reader(limits)
        message = rest.read(f"messages[{len(found)}]", one)
        found.append(message)
        if message.role == "tool" or (message.role in _ASKING and (message.text or message.parts)):
            asked = True
    if rest is not None and rest.has_calls:
        check_answers(found)
    if asked:
        return tuple(found), 0 if rest is None else rest.images.count
    raise RequestError(400, "Missing user message in `messages`: there is nothing to answer.", param="messages")


class _Reader:
    """Reads the messages of one request that are more than a role and a text."""

    def __init__(self, limits: ImageLimits) -> None:
        self.images = Images(limits)
        self.has_calls = False

    def read(self, place: str, value: Any) -> Message:
        if not isinstance(value, dict):
            raise wrong(place, "an object", value)
        role = value.get("role")
        if not isinstance(role, str) or role not in ROLES:
            roles = ", ".join(f"'{one}'" for one in sorted(ROLES))
            raise RequestError(400, f"`{place}.role` has to be one of {roles}.", param=f"{place}.role")
        calls = value.get("tool_calls")
        if calls is not None:
            calls = tool_calls(f"{place}.tool_calls", calls)
            if calls and role != "assistant":
                what = f"`{place}.tool_calls`: only messages with role 'assistant' have them."
                raise RequestError(400, what, param=f"{place}.tool_calls")
        if value.get("function_call") is not None:
            what = f"`{place}.function_call` is not served: use `tool_calls`, which took its place."
            raise RequestError(400, what, param=f"{place}.function_call")
        name = value.get("name")
        if name is not None and not isinstance(name, str):
            raise wrong(f"{place}.name", "a string", name)
        content = value.get("content")
        if content is None and isinstance(value.get("refusal"), str):  # an assistant's message, as it was answered
            content = value["refusal"]
        said, parts = (content, ()) if isinstance(content, str) else self._content(f"{place}.content", content, role)
        call_id = value.get("tool_call_id")
        if role == "tool":
            if call_id is None:
                raise missing(f"{place}.tool_call_id")
            self.has_calls = True
            return Message(role, said, name, word(f"{place}.tool_call_id", call_id))
        if calls:
            self.has_calls = True
        return Message(role, said, name, None, calls or (), parts)

    def _content(self, place: str, content: Any, role: str) -> tuple[str, tuple[Part, ...]]:
        """The text of a content, and its parts where there is more than text."""
        if content is None:  # an assistant's message that only called tools
            return "", ()
        if not isinstance(content, list):
            raise wrong(place, "a string or an array of parts", content)
        parts = tuple(self._part(f"{place}[{index}]", part, role) for index, part in enumerate(content))
        texts = [part for part in parts if isinstance(part, str)]
        return "\n".join(texts), () if len(texts) == len(parts) else parts

    def _part(self, place: str, part: Any, role: str) -> Part:
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(kind, str):
            served = "parts have a `type`, and `text` or `image_url`"
            raise RequestError(400, f"`{place}` is not a content part; {served}.", param=place)
        if kind in _TEXT_MEMBERS:
            member = _TEXT_MEMBERS[kind]
            found = part.get(member)
            if not isinstance(found, str):
                raise wrong(f"{place}.{member}", "a string", found)
            return found
        if kind != "image_url":
            served = "only parts of the types 'text' and 'image_url' are served"
            raise RequestError(400, f"`{place}` has the type '{kind[:64]}'; {served}.", param=place)
        if role != "user":
            what = f"`{place}` is an image, which only messages with role 'user' may hold."
            raise RequestError(400, what, param=place)
        image = mapping(f"{place}.image_url", part.get("image_url"))
        detail = image.get("detail")
        if detail is not None and not isinstance(detail, str):
            raise wrong(f"{place}.image_url.detail", "a string", detail)
        at = f"{place}.image_url.url"
        return self.images.read(at, text(at, image.get("url")), detail)


# The content parts that are text, and the member that holds it.
_TEXT_MEMBERS = {"text": "text", "input_text": "text", "refusal": "refusal"}
