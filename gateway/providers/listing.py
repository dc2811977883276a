"""Which models a provider has, as it says itself.

Sources: https://platform.openai.com/docs/api-reference/models/list, https://docs.anthropic.com/en/api/models-list,
https://github.com/ollama/ollama/blob/main/docs/api.md#list-local-models.
"""

from __future__ import annotations

import json
from re import fullmatch
from typing import Any

from .attempts import not_an_answer, read_whole, request_headers
from .dialect import Dialect
from .errors import provider_error
from .events import text_of
from .settings import Provider
from .upstream import Upstream

__all__ = ["PAGES", "list_models"]

PAGE_BYTES = 16_777_216
"""The largest list; that of OpenRouter, with a description of each of its hundreds, has about one."""

PAGES = 20
"""Anthropic lists up to 1000 models on a page; it has some tens."""

_ID = r"[A-Za-z0-9._:-]+"

OLLAMA = "ollama"
"""The provider whose own list is asked for; it tells the models that were pulled, whatever it is asked to speak."""


async def list_models(provider: Provider, dialect: Dialect, upstream: Upstream) -> list[str]:
    """The ids of the models, in order.  Raises UpstreamError."""
    headers = request_headers(dialect.headers(provider), provider)

    async def get(url: str) -> tuple[int, bytes]:
        with await upstream.request("GET", url, headers) as response:
            return response.head.status, await read_whole(provider, response, PAGE_BYTES)

    if provider.name == OLLAMA:
        status, body = await get(f"{provider.base_url.removesuffix('/v1')}/api/tags")
        if status == 200:
            return _names(provider, _document(provider, body), "models", "name")
    url = _models_url(provider)
    found: list[str] = []
    after = ""
    for _ in range(PAGES):
        status, body = await get(f"{url}{after}")
        if status != 200:
            raise provider_error(provider, "", status, body)
        document = _document(provider, body)
        found += _names(provider, document, "data", "id")
        last = text_of(document, "last_id")
        if document.get("has_more") is not True or not fullmatch(_ID, last):
            break
        after = f"{'&' if '?' in url else '?'}after_id={last}"
    return sorted(set(found), key=str.lower)


def _models_url(provider: Provider) -> str:
    if provider.api != "anthropic-messages":
        return f"{provider.base_url}/models"
    return f"{provider.base_url.removesuffix('/v1')}/v1/models?limit=1000"


def _document(provider: Provider, body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise not_an_answer(provider, f"answered with something that is no list; is {provider.base_url} right?")
    return value


def _names(provider: Provider, document: dict[str, Any], key: str, name: str) -> list[str]:
    rows = document.get(key)
    if not isinstance(rows, list):
        raise not_an_answer(provider, f"sent a list without `{key}`; is {provider.base_url} right?")
    names = (
        text_of(row, name).removeprefix("models/") for row in rows
    )  # Google's prefix, which it takes and we do not
    return [one for one in names if one and one.isprintable()]
