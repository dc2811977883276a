"""Images that a request names by a URL: fetched on behalf of whoever asks, so from nowhere that only we can reach.

Loaded where the configuration allows it.  Each URL, that of each redirect too, has to name a host of the list, and each
connection goes to the very address that was looked up and found to be public: a name that means another address a
moment later gains nothing (DNS rebinding).  Nothing of ours goes along: no credentials, no cookies; no proxy is asked.
"""

from __future__ import annotations

from asyncio import Semaphore, get_running_loop, timeout
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from socket import SOCK_STREAM, getaddrinfo
from typing import Any
from urllib.parse import urljoin

from ..errors import RequestError
from ..model.chat import ChatRequest, Image, media_type_of
from ..model.http import Headers
from ..providers.origin import Origin, parse_url
from ..providers.settings import Timeouts
from ..providers.upstream import Response, Upstream, UpstreamError
from .abilities import PlaceOf, image_places, in_messages
from .images import ImageLimits

__all__ = ["Fetcher", "is_public"]

# Names looked up at a time; those of a list are few, and a resolver answers in milliseconds.
LOOKUPS = 4

# Requests whose images are fetched at a time; the others wait, within their time.  What is fetched is held in memory.
FETCHES = 32

_HEADERS: Headers = (
    (b"accept", b"image/png, image/jpeg, image/gif, image/webp"),
    (b"accept-encoding", b"identity"),
    (b"user-agent", b"gateway"),
)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

# https://www.iana.org/assignments/iana-ipv4-special-registry, and multicast: what is not one public host.
_SPECIAL_IPV4 = (
    *map(ip_network, ("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12")),
    *map(ip_network, ("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24")),
    *map(ip_network, ("192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24")),
    *map(ip_network, ("224.0.0.0/4", "240.0.0.0/4")),
)
# Of IPv6 only what is given out to hosts (RFC 4291, 2.4), so neither IPv4-mapped nor NAT64 addresses, and in it not
# what stands for an IPv4 address or for nothing: https://www.iana.org/assignments/iana-ipv6-special-registry.
_GLOBAL_IPV6 = ip_network("2000::/3")
_SPECIAL_IPV6 = tuple(map(ip_network, ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")))


def is_public(address: str) -> bool:
    """Whether an IP address is that of a host in the public internet."""
    found = ip_address(address)
    if isinstance(found, IPv4Address):
        return not any(found in network for network in _SPECIAL_IPV4)
    plain = IPv6Address(int(found))  # without a zone: one with a zone is in no network
    return plain in _GLOBAL_IPV6 and not any(plain in network for network in _SPECIAL_IPV6)


class Fetcher:
    """`hosts` as in the configuration: names, `.name` for all below it, `*`.  `seconds` are for a whole request.

    `lookup` is asked for the addresses of a name, in a thread; each of them has to be one that `admits`.
    """

    def __init__(
        self,
        hosts: tuple[str, ...],
        limits: ImageLimits,
        redirects: int,
        seconds: float,
        *,
        lookup: Callable[..., Sequence[tuple[Any, ...]]] = getaddrinfo,
        admits: Callable[[str], bool] = is_public,
    ) -> None:
        self._names = frozenset(hosts)
        self._suffixes = tuple(host for host in hosts if host.startswith("."))
        self._limits = limits
        self._redirects = redirects
        self._seconds = seconds
        self._lookup = lookup
        self._admits = admits
        # Threads of its own: names whose servers do not answer must not hold up the names of providers.
        self._threads = ThreadPoolExecutor(LOOKUPS, "image-names")
        self._turns = Semaphore(FETCHES)
        self._upstream = Upstream(Timeouts(seconds, seconds, seconds), resolve=self._resolve)

    async def __call__(
        self, request: ChatRequest, place_of: PlaceOf = in_messages, member: str = ".image_url.url"
    ) -> ChatRequest:
        """The request with all its images.  Raises RequestError (400) that names the URL at fault."""
        room = self._limits.total - sum(len(image.data) for _, _, image in image_places(request))
        fetched: dict[tuple[int, int], Image] = {}
        place = "messages"
        try:
            async with timeout(self._seconds), self._turns:
                for message, part, image in image_places(request):
                    if image.url is None:
                        continue
                    place = place_of(message, part) + member
                    data = await self._fetch(image.url, min(room, self._limits.each))
                    room -= len(data)
                    fetched[message, part] = image._replace(media_type=_media_type(data), data=data)
        except TimeoutError:
            raise _refused(place, f"the images did not come within {self._seconds:g} s") from None
        except (UpstreamError, ValueError) as error:
            raise _refused(place, str(error)) from None
        messages = list(request.messages)
        for (message, part), image in fetched.items():
            parts = messages[message].parts
            messages[message] = messages[message]._replace(parts=(*parts[:part], image, *parts[part + 1 :]))
        return request._replace(messages=tuple(messages))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._upstream.aclose()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _resolve(self, origin: Origin) -> str:
        """The address to connect to.  Raises UpstreamError where one of the name's addresses is not admitted."""
        ask = partial(self._lookup, origin.host, origin.port, type=SOCK_STREAM)
        try:
            found = await get_running_loop().run_in_executor(self._threads, ask)
        except (OSError, UnicodeError):
            raise UpstreamError(f"the name {origin.host} is not known", code="upstream_unreachable") from None
        addresses = [str(entry[4][0]) for entry in found]
        if not addresses or not all(map(self._admits, addresses)):  # not which: that would tell about our network
            raise UpstreamError(f"{origin.host} has no public address", code="address_not_public")
        return addresses[0]

    async def _fetch(self, url: str, limit: int) -> bytes:
        for _ in range(self._redirects + 1):
            self._check(url)
            with await self._upstream.request("GET", url, _HEADERS) as response:
                head = response.head
                if head.status not in _REDIRECTS:
                    return await _read(response, limit)
                url = urljoin(url, head.fields.get(b"location", b"").decode("latin-1"))
        raise ValueError(f"there are more than {self._redirects} redirects")

    def _check(self, url: str) -> None:
        if not url.isascii():
            raise ValueError("its URL holds characters that have to be percent-encoded")
        host = parse_url(url)[0].host.removesuffix(".")
        if not (host in self._names or "*" in self._names or host.endswith(self._suffixes)):
            raise ValueError(f"{host[:100]} is not among the hosts that images may come from")


async def _read(response: Response, limit: int) -> bytes:
    head = response.head
    if head.status != 200:
        raise ValueError(f"the server answered with status {head.status}")
    if head.fields.get(b"content-encoding", b"identity") != b"identity":
        raise ValueError("the server compressed it although it was asked not to")
    pieces: list[bytes] = []
    size = head.content_length or 0
    if size <= limit:
        size = 0
        while size <= limit and (data := await response.read()):
            pieces.append(data)
            size += len(data)
    if size > limit:
        raise ValueError(f"it has more than {limit} bytes")
    return b"".join(pieces)


def _media_type(data: bytes) -> str:
    found = media_type_of(data)
    if found is None:
        raise ValueError("it is no image of the types PNG, JPEG, GIF and WebP, by its first bytes")
    return found


def _refused(place: str, why: str) -> RequestError:
    return RequestError(400, f"`{place}` could not be fetched: {why[:300]}.", param=place, code="invalid_image_url")
