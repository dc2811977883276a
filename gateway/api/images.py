"""Images in requests: data URLs (RFC 2397), what they are by their first bytes, and how many may be how large.

Nothing is decompressed here: an image that is small as a file and huge as pixels is the model's to refuse.
"""

from __future__ import annotations

import re
from binascii import Error, a2b_base64

from ..errors import RequestError
from ..model.chat import Image, media_type_of
from ..records import NamedTuple

__all__ = ["NO_URLS", "ImageLimits", "Images"]


class ImageLimits(NamedTuple):
    """Of one request: how many images, the bytes of each and of all.  `urls`: they may be somewhere else."""

    most: int = 8
    each: int = 10 << 20
    total: int = 20 << 20
    urls: bool = False


NO_URLS = ImageLimits()
"""Images that come with their request, within OpenClaw's limits."""

# Of a URL: what browsers and servers take at least (RFC 9110, section 4.1, asks for 8,000).
URL_CHARACTERS = 8_192

# `re` compiles these at their first use: most gateways are never sent an image.
_DATA = r"(?i)data:[^,]{0,256}?;base64,"
_HTTP = r"(?i)https?://"
_DETAILS = frozenset({"auto", "low", "high", "original"})


class Images:
    """Reads the images of one request and counts them."""

    def __init__(self, limits: ImageLimits) -> None:
        self.count = 0
        self._limits = limits
        self._bytes = 0

    def read(self, place: str, url: str, detail: str | None = None) -> Image:
        """The image that a URL holds, or names: then it has to be fetched yet.

        Raises RequestError (400) that names `place`, that of the URL.
        """
        self.count += 1
        if self.count > self._limits.most:
            what = f"The request holds more than {self._limits.most} images."
            raise RequestError(400, what, param=place, code="too_many_images")
        if detail is not None and detail not in _DETAILS:
            what = f"`{place}`: `detail` has to be 'auto', 'low' or 'high'."
            raise RequestError(400, what, param=place, code="invalid_value")
        if re.match(_HTTP, url):
            return self._elsewhere(place, url, detail)
        data = self._data(place, url)
        media_type = media_type_of(data)
        if media_type is None:
            raise _invalid(place, "is no image of the types PNG, JPEG, GIF and WebP, by its first bytes")
        return Image(media_type, data, detail)

    def _data(self, place: str, url: str) -> bytes:
        head = re.match(_DATA, url)
        if head is None:
            forms = "a data URL, `data:image/png;base64,...`" + (", or http(s)" if self._limits.urls else "")
            raise _invalid(place, f"has to be {forms}")
        if (len(url) - head.end()) // 4 * 3 > self._limits.each + 2:  # before it is decoded
            raise _too_large(place, self._limits.each)
        try:
            # A copy without the head, once; `strict_mode` knows no line ends, no blanks, no forgotten padding.
            data = a2b_base64(url[head.end() :].encode("ascii"), strict_mode=True)
        except (Error, UnicodeEncodeError) as error:
            why = "it holds other characters" if isinstance(error, UnicodeEncodeError) else error
            raise _invalid(place, f"is not base64: {why}") from None
        if len(data) > self._limits.each:
            raise _too_large(place, self._limits.each)
        self._bytes += len(data)
        if self._bytes > self._limits.total:
            what = f"The images of the request have more than {self._limits.total} bytes together."
            raise RequestError(400, what, param=place, code="image_too_large")
        return data

    def _elsewhere(self, place: str, url: str, detail: str | None) -> Image:
        if not self._limits.urls:
            raise _invalid(place, "is not fetched by this gateway: send the image itself, as a data URL")
        if len(url) > URL_CHARACTERS:
            raise _invalid(place, f"is longer than {URL_CHARACTERS} characters")
        return Image("", b"", detail, url)


def _too_large(place: str, limit: int) -> RequestError:
    return RequestError(400, f"`{place}` has more than {limit} bytes.", param=place, code="image_too_large")


def _invalid(place: str, what: str) -> RequestError:
    return RequestError(400, f"`{place}` {what}.", param=place, code="invalid_image_url")
