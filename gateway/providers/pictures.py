"""Images as text."""

from __future__ import annotations

from binascii import b2a_base64

from ..model.chat import Image

__all__ = ["base64_of", "data_url"]


def base64_of(image: Image) -> str:
    """Its bytes (RFC 4648, section 4), in one line."""
    return b2a_base64(image.data, newline=False).decode("ascii")


def data_url(image: Image) -> str:
    """The image itself as a URL (RFC 2397)."""
    return f"data:{image.media_type};base64,{base64_of(image)}"
