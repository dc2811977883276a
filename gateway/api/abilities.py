"""What an agent takes besides text: a request that brings more is refused, rather than half understood."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from ..agents.registry import AgentEntry
from ..errors import RequestError
from ..model.chat import ChatRequest, Image
from ..model.run import RunInput

__all__ = ["PlaceOf", "image_places", "in_messages", "require_abilities"]


PlaceOf: TypeAlias = Callable[[int, int], str]
"""(index of a message, of one of its parts) -> how the request calls that part."""


def in_messages(message: int, part: int) -> str:
    """`PlaceOf` for chat completions."""
    return f"messages[{message}].content[{part}]"


def require_abilities(entry: AgentEntry, run: RunInput, place_of: PlaceOf = in_messages) -> None:
    """Raises RequestError (400) that names the member which this agent has no use for."""
    request = run.request
    if request.tools and "tools" not in entry.takes and request.tool_choice.mode != "none":
        what = f"The agent `{entry.id}` takes no tools: send none, or `tool_choice` 'none'."
        raise RequestError(400, what, param="tools", code="unsupported_parameter")
    if request.images and "images" not in entry.takes and run.model is None:  # another model knows by itself
        message, part, _ = next(image_places(request))
        place = place_of(message, part)
        what = f"`{place}` is an image, and the agent `{entry.id}` takes none."
        raise RequestError(400, what, param=place, code="unsupported_content")


def image_places(request: ChatRequest) -> Iterator[tuple[int, int, Image]]:
    """The images of a request: the index of the message, that of the content part, and the image."""
    for message, one in enumerate(request.messages):
        for part, found in enumerate(one.parts):
            if isinstance(found, Image):
                yield message, part, found
