"""Images in requests: their sizes, what they are, and those that are fetched."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from asking import ask, serving

from gateway import Gateway
from gateway.api import fetching as fetching_module
from gateway.api.fetching import Fetcher, is_public
from gateway.api.images import ImageLimits, Images
from gateway.api.parse import chat_request
from gateway.config import load
from gateway.errors import ConfigError, RequestError
from gateway.model.chat import ChatRequest, Image
from gateway.testing import ScriptedAgent

PNG = b"\x89PNG\r\n\x1a\n"
PLACE = "messages[0].content[0].image_url.url"


def data_url(data: bytes, head: str = "data:image/png;base64,") -> str:
    return head + b64encode(data).decode()


def body(*urls: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": u}} for u in urls]}]}


def refused(limits: ImageLimits, *urls: str) -> RequestError:
    with pytest.raises(RequestError) as caught:
        chat_request(json.dumps(body(*urls)).encode(), limits)
    assert caught.value.status == 400
    return caught.value


# What comes with the request.


@pytest.mark.parametrize("size", [8, 9, 10, 11, 100])
def test_the_size_of_each_is_limited(size: int) -> None:
    image = data_url(PNG.ljust(size, b"\0"))
    assert Images(ImageLimits(each=size)).read(PLACE, image).data == PNG.ljust(size, b"\0")
    error = refused(ImageLimits(each=size - 1), image)
    assert (error.message, error.param) == (f"`{PLACE}` has more than {size - 1} bytes.", PLACE)
    assert error.code == "image_too_large"


def test_the_size_of_all_is_limited() -> None:
    image = data_url(PNG)
    assert chat_request(json.dumps(body(*[image] * 3)).encode(), ImageLimits(total=24)).images == 3
    error = refused(ImageLimits(total=23), *[image] * 3)
    assert error.message == "The images of the request have more than 23 bytes together."
    assert error.param == "messages[0].content[2].image_url.url"


def test_the_number_is_limited() -> None:
    image = data_url(PNG)
    assert chat_request(json.dumps(body(image)).encode(), ImageLimits(most=1)).images == 1
    assert refused(ImageLimits(most=1), image, image).message == "The request holds more than 1 images."
    assert refused(ImageLimits(most=0), image).code == "too_many_images"


def test_a_large_one_is_refused_before_it_is_decoded() -> None:
    """Whatever stands in it: the error is that of its size."""
    error = refused(ImageLimits(each=1000), "data:image/png;base64," + "?" * 100_000)
    assert error.message == f"`{PLACE}` has more than 1000 bytes."


def test_a_url_is_taken_where_that_is_allowed() -> None:
    (message,) = chat_request(json.dumps(body("https://a.test/x")).encode(), ImageLimits(urls=True)).messages
    assert message.parts == (Image("", b"", None, "https://a.test/x"),)
    error = refused(ImageLimits(urls=True), "https://a.test/" + "x" * 10_000)
    assert error.message == f"`{PLACE}` is longer than 8192 characters."
    assert "or http(s)" in refused(ImageLimits(urls=True), "ftp://a.test/x").message


# Which addresses are public.


@pytest.mark.parametrize("address", [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.255", "169.254.169.254",
    "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::ffff:8.8.8.8", "::ffff:127.0.0.1", "::8.8.8.8", "64:ff9b::8.8.8.8", "64:ff9b::7f00:1", "64:ff9b:1::1",
    "100::1", "2001::1", "2001:0:7f00:1::", "2001:20::1", "2001:db8::1", "2002:7f00:1::1", "2002:808:808::1", "3fff::1",
    "5f00::1", "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%1", "fec0::1", "ff02::1", "4000::1",
])  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "1.1.1.1",
        "99.255.255.255",
        "100.128.0.1",
        "172.15.0.1",
        "172.32.0.1",
        "223.255.255.255",
        "2001:4860:4860::8888",
        "2606:4700::1111",
        "2a00:1450::1",
        "3ffe::1",
    ],
)
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(address)


# What is fetched.


class Site:
    """A server of images: a path to the answer to it, as bytes, and the requests that came."""

    def __init__(self, answers: dict[str, bytes]) -> None:
        self.answers = answers
        self.heads: list[bytes] = []
        self.port = 0
        self.left = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                path = head.split(b" ", 2)[1].decode()
                writer.write(
                    self.answers.get(path, answer(b"", status="404 Not Found")).replace(b"PORT", b"%d" % self.port)
                )
                await writer.drain()
                if path == "/cut":
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.left.set()


def answer(data: bytes, status: str = "200 OK", extra: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(data)}\r\n{extra}\r\n".encode() + data


def moved(to: str, status: str = "302 Found") -> bytes:
    return answer(b"elsewhere", status, f"Location: {to}\r\n")


@asynccontextmanager
async def site(answers: dict[str, bytes]) -> AsyncIterator[Site]:
    made = Site(answers)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


NAMES = {
    "images.test": "127.0.0.1",
    "cdn.images.test": "127.0.0.1",
    "other.test": "127.0.0.1",
    "inside.images.test": "127.0.0.2",
}


def lookup(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
    """Of these names only 127.0.0.1 is held for public here."""
    if host not in NAMES:
        raise OSError(f"{host} is not known")
    return [(2, 1, 6, "", (NAMES[host], port))]


ANSWERS = {
    "/cat.png": answer(PNG + b"cat"),
    "/cat.png?size=1": answer(PNG + b"small"),
    "/moved": moved("/cat.png"),
    "/far": moved("http://cdn.images.test:PORT/moved", "301 Moved Permanently"),
    "/three": moved("/far", "307 Temporary Redirect"),
    "/four": moved("three", "308 Permanent Redirect"),
    "/round": moved("/round", "303 See Other"),
    "/nowhere": answer(b"", "302 Found"),
    "/inside": moved("http://inside.images.test:PORT/cat.png"),
    "/other": moved("http://other.test:PORT/cat.png"),
    "/file": moved("file:///etc/passwd"),
    "/user": moved("http://me:secret@images.test:PORT/cat.png"),
    "/umlaut": moved("http://images.test:PORT/k\u00e4tzchen"),
    "/page": answer(b"<html>"),
    "/broken": b"no HTTP\r\n\r\n",
    "/cut": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\n" + PNG,
    "/large": answer(PNG + b"x" * 93),
    "/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"32\r\n" + PNG.ljust(50) + b"\r\n" + b"33\r\n" + b"x" * 51 + b"\r\n0\r\n\r\n",
    "/packed": answer(PNG, extra="Content-Encoding: gzip\r\n"),
    "/silent": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + PNG,
}  # fmt: skip


LIMITS = ImageLimits(each=100, total=150, urls=True)


def fetching(
    test: Callable[[Callable[..., Awaitable[ChatRequest]], Site], Awaitable[None]],
    limits: ImageLimits = LIMITS,
    hosts: tuple[str, ...] = ("images.test", ".images.test"),
    seconds: float = 5,
    **arguments: Any,
) -> None:
    async def main() -> None:
        async with site(ANSWERS) as server:
            options = {"lookup": lookup, "admits": lambda address: address == "127.0.0.1", **arguments}
            fetcher = Fetcher(hosts, limits, 3, seconds, **options)

            async def fetch(*urls: str) -> ChatRequest:
                full = [url.replace("PORT", str(server.port)) for url in urls]
                return await fetcher(chat_request(json.dumps(body(*full)).encode(), limits))

            try:
                await test(fetch, server)
            finally:
                await fetcher.aclose()

    asyncio.run(main())


def images(request: ChatRequest) -> list[Image]:
    return [part for message in request.messages for part in message.parts if isinstance(part, Image)]


def test_images_are_fetched() -> None:
    async def test(fetch: Callable[..., Awaitable[ChatRequest]], server: Site) -> None:
        url = "http://images.test:PORT/cat.png"
        found = images(await fetch(url, data_url(PNG), f"{url}?size=1", "HTTP://CDN.Images.test:PORT/cat.png#x"))
        assert [(image.media_type, image.data) for image in found] == [
            ("image/png", PNG + b"cat"),
            ("image/png", PNG),
            ("image/png", PNG + b"small"),
            ("image/png", PNG + b"cat"),
        ]
        assert found[0].url == url.replace("PORT", str(server.port))
        assert found[1].url is None
        for head in server.heads:
            lines = head.decode().lower().split("\r\n")
            assert {line.partition(":")[0] for line in lines[1:] if line} == {
                "host",
                "accept",
                "accept-encoding",
                "user-agent",
            }, "nothing of ours, and nothing of the caller's, goes along"

    fetching(test)


@pytest.mark.parametrize("path", ["/moved", "/far", "/three"])
def test_redirects_are_followed(path: str) -> None:
    async def test(fetch: Callable[..., Awaitable[ChatRequest]], server: Site) -> None:
        (image,) = images(await fetch(f"http://images.test:PORT{path}"))
        assert image.data == PNG + b"cat"

    fetching(test)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://images.test:PORT/four", "there are more than 3 redirects"),
        ("http://images.test:PORT/round", "there are more than 3 redirects"),
        ("http://images.test:PORT/nowhere", "there are more than 3 redirects"),
        ("http://images.test:PORT/inside", "inside.images.test has no public address"),
        ("http://inside.images.test:PORT/cat.png", "inside.images.test has no public address"),
        ("http://other.test:PORT/cat.png", "other.test is not among the hosts that images may come from"),
        ("http://images.test:PORT/other", "other.test is not among the hosts"),
        ("http://evilimages.test:PORT/cat.png", "evilimages.test is not among the hosts"),
        ("http://images.test.evil.test:PORT/", "images.test.evil.test is not among the hosts"),
        ("http://images.test@other.test:PORT/", "a URL has to be http://host or https://host"),
        ("http://127.0.0.1:PORT/cat.png", "127.0.0.1 is not among the hosts"),
        ("http://[::1]:PORT/cat.png", "::1 is not among the hosts"),
        ("http://images.test:PORT/file", "a URL has to be http://host or https://host"),
        ("http://images.test:PORT/user", "without user information"),
        ("http://images.test:99999/", "a URL has to be"),
        ("http://unknown.images.test/", "the name unknown.images.test is not known"),
        ("http://images.test:PORT/a b", "holds characters that have to be percent-encoded"),
        ("http://images.test:PORT/\r\nx: y", "holds characters that have to be percent-encoded"),
        ("http://ïmages.test:PORT/", "its URL holds characters that have to be percent-encoded"),
        ("http://images.test:PORT/umlaut", "its URL holds characters that have to be percent-encoded"),
        ("http://images.test:PORT/missing", "the server answered with status 404"),
        ("http://images.test:PORT/page", "it is no image of the types PNG, JPEG, GIF and WebP"),
        ("http://images.test:PORT/broken", "images.test"),
        ("http://images.test:PORT/cut", "images.test"),
        ("http://images.test:PORT/large", "it has more than 100 bytes"),
        ("http://images.test:PORT/chunked", "it has more than 100 bytes"),
        ("http://images.test:PORT/packed", "compressed it"),
        ("http://images.test:1/", "cannot be reached"),
    ],
)
def test_what_is_not_fetched(url: str, says: str) -> None:
    async def test(fetch: Callable[..., Awaitable[ChatRequest]], server: Site) -> None:
        with pytest.raises(RequestError) as caught:
            await fetch(data_url(PNG), url)
        error = caught.value
        assert (error.status, error.code) == (400, "invalid_image_url")
        assert error.param == "messages[0].content[1].image_url.url"
        assert error.message.startswith(f"`{error.param}` could not be fetched: ")
        assert says in error.message
        assert len(error.message) < 400

    fetching(test)


def test_the_images_share_their_size() -> None:
    async def test(fetch: Callable[..., Awaitable[ChatRequest]], server: Site) -> None:
        url = "http://images.test:PORT/cat.png"
        assert len(images(await fetch(data_url(PNG), url, url))) == 3
        with pytest.raises(RequestError, match="it has more than 10 bytes"):
            await fetch(data_url(PNG), url, url, url)

    fetching(test, ImageLimits(each=100, total=8 + 3 * 11 - 1, urls=True))


def test_the_time_is_limited() -> None:
    async def test(fetch: Callable[..., Awaitable[ChatRequest]], server: Site) -> None:
        with pytest.raises(RequestError) as caught:
            await asyncio.wait_for(fetch("http://images.test:PORT/silent"), 5)
        assert caught.value.code == "invalid_image_url"
        assert "0.2 s" in caught.value.message
        await asyncio.wait_for(server.left.wait(), 5)

    fetching(test, seconds=0.2)


def test_only_so_many_requests_fetch_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching_module, "FETCHES", 2)

    async def test(fetch: Callable[..., Awaitable[ChatRequest]], server: Site) -> None:
        url = "http://images.test:PORT/silent"
        waiting = [asyncio.ensure_future(fetch(url)) for _ in range(5)]
        while len(server.heads) < 2:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.1)
        assert len(server.heads) == 2
        for task in waiting[:2]:
            task.cancel()
        while len(server.heads) < 4:
            await asyncio.sleep(0.005)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)

    fetching(test)


def test_a_fetch_that_is_cancelled_is_seen_by_the_server() -> None:
    async def test(fetch: Callable[..., Awaitable[ChatRequest]], server: Site) -> None:
        task = asyncio.ensure_future(fetch("http://images.test:PORT/silent"))
        while not server.heads:
            await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.wait_for(server.left.wait(), 5)

    fetching(test)


def test_a_name_that_means_another_address_a_moment_later_gains_nothing() -> None:
    """The connection goes to the address that was looked at: there is no second look-up that could say another."""
    asked = []

    def rebinding(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        asked.append(host)
        return [(2, 1, 6, "", ("127.0.0.1" if len(asked) == 1 else "127.0.0.2", port))]

    async def test(fetch: Callable[..., Awaitable[ChatRequest]], server: Site) -> None:
        assert images(await fetch("http://images.test:PORT/cat.png"))
        assert asked == ["images.test"]
        with pytest.raises(RequestError, match="no public address"):
            await fetch("http://cdn.images.test:PORT/cat.png")
        assert len(server.heads) == 1

    fetching(test, lookup=rebinding)


def test_one_private_address_among_public_ones_is_enough() -> None:
    def several(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        return [(2, 1, 6, "", (address, port)) for address in ("127.0.0.1", "10.0.0.1")]

    async def test(fetch: Callable[..., Awaitable[ChatRequest]], server: Site) -> None:
        with pytest.raises(RequestError, match="no public address"):
            await fetch("http://images.test:PORT/cat.png")
        assert not server.heads

    fetching(test, lookup=several)


# Through a gateway.


def configured(folder: Path, images: str) -> Any:
    path = folder / "gateway.json5"
    chat = f"{{ enabled: true, maxImageParts: 2, maxTotalImageBytes: 20, images: {images} }}"
    path.write_text(f"{{gateway: {{http: {{endpoints: {{chatCompletions: {chat}}}}}}}}}", encoding="utf-8")
    return load(str(path), environ={}).config


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "2130706433", "0x7f.1", "127.1", "localhost."])
def test_a_gateway_fetches_nothing_from_its_own_machine(host: str, tmp_path: Path) -> None:
    agent = ScriptedAgent("never")
    config = configured(tmp_path, '{ allowUrl: true, urlAllowlist: ["*"] }')

    async def test(gateway: Gateway) -> None:
        async with site(ANSWERS) as server:
            answer = await ask(gateway, body=body(f"http://{host}:{server.port}/cat.png"))
            assert (answer.status, answer.error["param"]) == (400, PLACE)
            assert "has no public address" in answer.error["message"] or "is not known" in answer.error["message"]
            assert not server.heads

    serving(test, config=config, agents={"main": agent})
    assert not agent.runs


@pytest.mark.parametrize("stream", [False, True])
def test_a_gateway_fetches_from_listed_hosts(stream: bool, tmp_path: Path) -> None:
    agent = ScriptedAgent("nice")
    config = configured(tmp_path, '{ allowUrl: true, urlAllowlist: ["images.test"] }')

    async def test(gateway: Gateway) -> None:
        gateway._fetcher._lookup, gateway._fetcher._admits = lookup, lambda _: True  # no public server is at hand
        async with site(ANSWERS) as server:
            url = f"http://images.test:{server.port}/cat.png"
            answer = await ask(gateway, body={**body(url, data_url(PNG)), "stream": stream})
            assert answer.status == 200, answer.body
            refused = await ask(gateway, body={**body(url + "x"), "stream": stream})
            assert (refused.status, refused.error["param"]) == (400, PLACE)
            assert "the server answered with status 404" in refused.error["message"]
            other = await ask(gateway, body={**body(f"http://other.test:{server.port}/cat.png"), "stream": stream})
            assert "is not among the hosts" in other.error["message"]

    serving(test, config=config, agents={"main": agent})
    (run,) = agent.runs
    assert [image.data for image in images(run.request)] == [PNG + b"cat", PNG]


def test_limits_of_the_configuration(tmp_path: Path) -> None:
    agent = ScriptedAgent("nice")
    config = configured(tmp_path, "{ maxBytes: 12 }")

    async def test(gateway: Gateway) -> None:
        async def message(*urls: str) -> str:
            answer = await ask(gateway, body=body(*urls))
            return "" if answer.status == 200 else answer.error["message"]

        assert await message(data_url(PNG + b"1234")) == ""
        assert "more than 12 bytes" in await message(data_url(PNG + b"12345"))
        assert "more than 20 bytes together" in await message(data_url(PNG + b"123"), data_url(PNG + b"12"))
        assert "more than 2 images" in await message(*[data_url(PNG)] * 3)
        assert "is not fetched by this gateway" in await message("https://example.com/cat.png")

    serving(test, config=config, agents={"main": agent})
    assert len(agent.runs) == 1


def test_urls_need_a_list_of_hosts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it needs urlAllowlist beside it"):
        configured(tmp_path, "{ allowUrl: true }")
    images = (
        '{ allowUrl: true, urlAllowlist: ["Images.Example.com", "*.cdn.example.com"], allowedMimes: ["image/png"] }'
    )
    endpoint = configured(tmp_path, images).gateway.http.endpoints.chat_completions
    assert endpoint.images.url_allowlist == ("images.example.com", ".cdn.example.com")
