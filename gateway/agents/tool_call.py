"""One call of one of the gateway's tools, from the model's words to the text that it is told.

Whatever goes wrong in it is the model's to know: it can try again, or do without.  Only an AgentError ends the run.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from logging import getLogger
from typing import Any

from ..errors import AgentError, ToolError
from ..model.chat import ToolCall
from ..ports import GatewayTool
from ..records import NamedTuple

__all__ = ["Result", "fit", "perform"]

_logger = getLogger(__name__)

REASON_CHARACTERS = 1_000
"""Of what a tool's exception says."""


class Result(NamedTuple):
    text: str
    failed: bool = False


async def perform(call: ToolCall, tools: Mapping[str, GatewayTool], seconds: float | None, characters: int) -> Result:
    """Do what the model asks for, within `seconds`; tell at most so many `characters`.  Raises AgentError."""
    tool = tools.get(call.name)
    if tool is None:
        return Result(f"There is no tool `{call.name[:64]}`. There are: {', '.join(tools) or 'none'}.", failed=True)
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return Result(fit(await tool.call(_arguments(call.arguments)), characters))
    except ToolError as error:
        return Result(fit(error.message, characters), failed=True)
    except AgentError:
        raise
    except Exception as error:  # it is somebody's program, and may fail in any way
        if limit.expired():
            return Result(f"The tool took longer than {seconds:g} s and was given up.", failed=True)
        _logger.warning("tool %s failed", call.name, exc_info=error)
        reason = fit(str(error), REASON_CHARACTERS)
        return Result(f"The tool failed: {type(error).__name__}{': ' if reason else ''}{reason}", failed=True)


def fit(text: str, characters: int) -> str:
    """The text without what UTF-8 cannot hold, cut where it is too long, with a note that says so."""
    if not text.isascii():
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if len(text) <= characters:
        return text
    return f"{text[:characters]}\n[cut: these are the first {characters} of {len(text)} characters]"


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def _arguments(text: str) -> dict[str, Any]:
    """Raises ToolError that tells the model what it has written wrong."""
    try:
        arguments = json.loads(text or "{}", parse_constant=_no_constant)
        json.dumps(arguments, ensure_ascii=False).encode()  # an escape of half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise ToolError(f"The arguments are not valid JSON: {error}. Call the tool again with a JSON object.") from None
    if not isinstance(arguments, dict):
        raise ToolError("The arguments have to be a JSON object. Call the tool again with one.")
    return arguments
