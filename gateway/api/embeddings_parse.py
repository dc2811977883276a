"""An embeddings request out of the bytes of its body.

Source: https://platform.openai.com/docs/api-reference/embeddings/create.
"""

from __future__ import annotations

from typing import Any

from ..errors import RequestError
from ..model.embeddings import EmbeddingsRequest
from .json_body import json_body
from .members import integer, kind_of, wrong
from .parse import MODEL_CHARACTERS

__all__ = ["INPUTS", "TOKENS", "embeddings_request"]

# As OpenAI: of one request.
INPUTS = 2_048
TOKENS = 300_000
# Tokens are numbers of their own in the request's JSON, and cost less to read than what VALUES of json_body counts on.
VALUES = TOKENS + 2 * INPUTS
# The number of a token, and of dimensions; no model has a vocabulary, or a vector, near as large.
TOKEN = 2**31 - 1

_dimensions = integer(1, TOKEN)


def embeddings_request(body: bytes) -> EmbeddingsRequest:
    """Read and check a request body.  Raises RequestError (400) that names the member at fault."""
    value = json_body(body, VALUES)
    if not isinstance(value, dict):
        raise RequestError(400, f"The request body has to be a JSON object, not {kind_of(value)}.")
    for name in ("model", "user", "encoding_format"):
        if value.get(name) is not None and not isinstance(value[name], str):
            raise wrong(name, "a string", value[name])
    model, encoding, dimensions = value.get("model"), value.get("encoding_format"), value.get("dimensions")
    if model is not None and len(model) > MODEL_CHARACTERS:
        raise RequestError(400, f"`model` is longer than {MODEL_CHARACTERS} characters.", param="model")
    if encoding not in {None, "float", "base64"}:
        raise RequestError(400, "`encoding_format` has to be 'float' or 'base64'.", param="encoding_format")
    if dimensions is not None:
        _dimensions("dimensions", dimensions)
    given = value.get("input")
    count = _count(given)
    return EmbeddingsRequest(given, count, model or None, encoding == "base64", dimensions, value.get("user"))


def _count(given: Any) -> int:
    """How many inputs there are."""
    if given is None:
        raise RequestError(400, "Missing required parameter: `input`.", param="input")
    if isinstance(given, str):
        _check_text("input", given)
        return 1
    if not isinstance(given, list):
        raise wrong("input", "a string or an array", given)
    if not given:
        raise RequestError(400, "`input` is empty.", param="input")
    if _is_token(given[0]):
        _check_tokens("input", given)
        return 1
    if len(given) > INPUTS:
        raise RequestError(400, f"`input` has more than {INPUTS} entries.", param="input")
    tokens = 0
    for index, one in enumerate(given):
        place = f"input[{index}]"
        if isinstance(one, str) and isinstance(given[0], str):
            _check_text(place, one)
        elif isinstance(one, list) and isinstance(given[0], list):
            _check_tokens(place, one)
            tokens += len(one)
        else:
            wanted = "a string" if isinstance(given[0], str) else "an array of tokens"
            raise wrong(place, wanted if isinstance(given[0], str | list) else "a string or an array of tokens", one)
    if tokens > TOKENS:
        raise RequestError(400, f"`input` has more than {TOKENS} tokens.", param="input")
    return len(given)


def _check_text(place: str, text: str) -> None:
    if not text:
        raise RequestError(400, f"`{place}` is an empty string.", param=place)


def _check_tokens(place: str, tokens: list[Any]) -> None:
    if not tokens:
        raise RequestError(400, f"`{place}` is empty.", param=place)
    if len(tokens) > TOKENS:
        raise RequestError(400, f"`{place}` has more than {TOKENS} tokens.", param=place)
    for token in tokens:
        if not _is_token(token):
            raise wrong(place, "tokens: integers that are not negative", token)


def _is_token(value: Any) -> bool:
    return value.__class__ is int and 0 <= value <= TOKEN
