"""What is to be embedded, and the vectors that come of it.

Source: https://platform.openai.com/docs/api-reference/embeddings/create.
"""

from __future__ import annotations

from typing import Any

from ..records import NamedTuple

__all__ = ["EmbeddingsRequest"]


class EmbeddingsRequest(NamedTuple):
    """`input` as it came: a string, strings, token numbers, or lists of them; `vectors` is how many vectors that makes.

    `base64`: whether the vectors are to be base64 of 32-bit floats, least significant byte first, instead of arrays of
    numbers.  `model` is None where the request had none.
    """

    input: Any
    vectors: int
    model: str | None = None
    base64: bool = False
    dimensions: int | None = None
    user: str | None = None
