"""Files that come with a message: images, in base64."""

from __future__ import annotations

import re
from binascii import Error, a2b_base64
from collections.abc import Mapping, Sequence
from typing import Any

from ..model.chat import Image, media_type_of
from .problem import INVALID_REQUEST, RpcError

__all__ = ["ATTACHMENT_BYTES", "IMAGE_BYTES", "images_of"]

ATTACHMENT_BYTES = 19_464_192
"""Of all attachments of a message, decoded: what fits into a message of 25 MiB as base64 (`policy.attachments`)."""
IMAGE_BYTES = 6 * 1024 * 1024
"""Of one image."""
IMAGES = 20
"""With one message; models take fewer."""

_HEAD = re.compile(r"(?i)data:[^,]{0,256}?;base64,")


def images_of(attachments: Sequence[Mapping[str, Any]]) -> tuple[Image, ...]:
    """The images that a message brings along.  Raises RpcError (INVALID_REQUEST) that tells which is none, and why."""
    if len(attachments) > IMAGES:
        raise RpcError(INVALID_REQUEST, f"a message may have {IMAGES} attachments; this one has {len(attachments)}")
    images = [_image(number, attachment) for number, attachment in enumerate(attachments)]
    if sum(len(image.data) for image in images) > ATTACHMENT_BYTES:
        raise RpcError(INVALID_REQUEST, f"the attachments have more than {ATTACHMENT_BYTES} bytes together")
    return tuple(images)


def _image(number: int, attachment: Mapping[str, Any]) -> Image:
    given = attachment.get("fileName")
    name = f"attachment {number}" + (f" ({given[:100]!r})" if isinstance(given, str) and given else "")
    content = attachment.get("content")
    if not isinstance(content, str) or not content:
        raise RpcError(INVALID_REQUEST, f"{name}: content has to be base64 text")
    head = _HEAD.match(content)
    text = content[head.end() :] if head else content
    if len(text) // 4 * 3 > IMAGE_BYTES + 2:  # before it is decoded
        raise RpcError(INVALID_REQUEST, f"{name}: has more than {IMAGE_BYTES} bytes")
    try:
        data = a2b_base64(text.encode("ascii"), strict_mode=True)
    except (Error, UnicodeEncodeError):
        raise RpcError(INVALID_REQUEST, f"{name}: content is not base64") from None
    if len(data) > IMAGE_BYTES:
        raise RpcError(INVALID_REQUEST, f"{name}: has more than {IMAGE_BYTES} bytes")
    media_type = media_type_of(data)
    if media_type is None:
        raise RpcError(INVALID_REQUEST, f"{name}: is no image of the types PNG, JPEG, GIF and WebP, by its first bytes")
    return Image(media_type, data)
