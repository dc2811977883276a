"""The WebSocket cases of data/websocket over real sockets, to the echo target and to a whole gateway.

Each case is sent together with its handshake, in one segment: the frames are there before the 101 is written.
"""

from __future__ import annotations

import asyncio
import socket
import time
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from frames import HANDSHAKES, NAMED_CASES, handshake, masked
from processes import Launch, Running
from websockets.sync.client import connect
from wsproto.frame_protocol import FrameDecoder

import gateway
from gateway import testing
from gateway.cli.place import Place
from gateway.cli.websocket import dial
from gateway.ports import Exchange, Link
from gateway.server.server import Server

# Those for a server with its own limits, and with the compression that the target agrees upon.
CASES = {
    name: case
    for name, case in NAMED_CASES.items()
    if "role" not in case and "max_message" not in case and not case.get("deflate")
}
OFFER = {"changes": ["Sec-WebSocket-Extensions: permessage-deflate"]}
CLOSE = masked(0x88, b"\x03\xe8")


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[bool, Running]]:
    """Without and with compression."""
    launcher = Launch(tmp_path_factory.mktemp("echo"))
    try:
        start = ("echo", "--port", "0")
        yield {
            False: launcher.start(*start, module="gateway.testing"),
            True: launcher.start(*start, "--compression", module="gateway.testing"),
        }
    finally:
        launcher.close()


def answered(connection: socket.socket) -> bytes:
    """All there is until the other side ends."""
    got = b""
    while piece := connection.recv(65_536):
        got += piece
    return got


def frames_in(data: bytes) -> dict[int, list[bytes]]:
    """The payloads by opcode; a close frame has to be the last."""
    decoder = FrameDecoder(client=True)
    decoder.receive_bytes(data)
    found: dict[int, list[bytes]] = {1: [], 2: [], 8: [], 10: []}
    while (frame := decoder.process_buffer()) is not None:
        assert not found[8], "something follows the close frame"
        assert isinstance(frame.payload, bytes)
        found[int(frame.opcode)].append(frame.payload)
    assert len(decoder.buffer) == 0
    assert len(found[8]) == 1, "the connection ended without a close frame"
    return found


def exchange(port: int, head: bytes, frames: bytes, *, bytewise: bool = False) -> dict[int, list[bytes]]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if bytewise:
            connection.sendall(head)
            for place in range(len(frames)):
                connection.sendall(frames[place : place + 1])
        else:
            connection.sendall(head + frames)
        status, _, rest = answered(connection).partition(b"\r\n\r\n")
    assert status.startswith(b"HTTP/1.1 101 "), status
    return frames_in(rest)


def check(case: dict[str, Any], got: dict[int, list[bytes]]) -> None:
    events = case["events"]
    code = events[-1][1] if events[-1][0] == "closed" else 1000
    if code == 1005:
        assert got[8] == [b""]
    else:
        assert int.from_bytes(got[8][0][:2], "big") == code
    if events[-1][0] == "closed" and "out" in case and not len(got[8][0]) > 2:
        return  # the peer has closed: whether it gets answers to what it said before is left to chance
    assert got[1] == [event[1].encode() for event in events if event[0] == "text"]
    assert [data.hex() for data in got[2]] == [event[1] for event in events if event[0] == "binary"]
    assert [data.hex() for data in got[10]] == [event[1] for event in events if event[0] == "ping"]


@pytest.mark.parametrize("name", CASES)
def test_case(targets: dict[bool, Running], name: str) -> None:
    case = CASES[name]
    frames = bytes.fromhex("".join(case["in"]))
    if case["events"][-1][0] != "closed":
        frames += CLOSE
        case = {**case, "events": [*case["events"], ["closed", 1000]]}
    deflate = "deflate" in case
    head = handshake(OFFER if deflate else {"changes": []})
    check(case, exchange(targets[deflate].port, head, frames))
    if len(frames) < 40:
        check(case, exchange(targets[deflate].port, head, frames, bytewise=True))


@pytest.mark.parametrize("name", HANDSHAKES)
def test_handshake_with_the_echo_target(targets: dict[bool, Running], name: str) -> None:
    case = HANDSHAKES[name]
    follows = case.get("body", "").encode() if case["status"] != 101 else masked(0x81, b"early") + CLOSE
    with socket.create_connection(("127.0.0.1", targets[True].port), timeout=10) as connection:
        connection.sendall(handshake(case) + follows)
        if case["status"] == 101:
            head, _, rest = answered(connection).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 ")
            assert frames_in(rest)[8] == [b"\x03\xe8"]
        else:
            status = int(connection.recv(65_536).split()[1])
            assert status in ({200, 204, 426} if case.get("plain") else {case["status"]})


def test_frames_from_before_the_101() -> None:
    """They come while the handler still makes up its mind, and wait, within a limit."""

    async def slow(exchange: Exchange) -> None:
        await asyncio.sleep(0.1)
        await testing.echo(exchange)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = Server(loop, testing.echo_options()._replace(handler=slow))
        listener = await loop.create_server(server.protocol, "127.0.0.1", 0)
        async with listener, asyncio.timeout(10):
            reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
            writer.write(handshake({"changes": []}) + masked(0x81, b"with the head"))
            for number in range(500):
                await asyncio.sleep(0)
                writer.write(masked(0x81, b"%04d" % number * 100))
            writer.write(CLOSE[:3])
            await asyncio.sleep(0.2)
            writer.write(CLOSE[3:])
            head, _, rest = (await reader.read()).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 ")
            got = frames_in(rest)
            assert got[1] == [b"with the head", *(b"%04d" % number * 100 for number in range(500))]
            writer.close()
            await server.close()

    asyncio.run(main())


async def echo(link: Link) -> None:
    async for message in link:
        await link.send(message)


def test_handshakes_with_a_gateway() -> None:
    async def one(port: int, case: dict[str, Any]) -> tuple[int, dict[str, str]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = handshake({**case, "changes": [*case["changes"], "Authorization: Bearer t"]})
        writer.write(head + case.get("body", "").encode())
        answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        writer.close()
        fields = dict(line.split(": ", 1) for line in answer[1:] if line)
        return int(answer[0].split()[1]), fields

    async def main() -> None:
        async def agent(run: gateway.RunInput) -> str:
            return "x"

        made = gateway.Gateway(agents={"main": agent}, links={"/ws": echo}, listen="127.0.0.1:0", token="t")
        async with made, asyncio.timeout(30):
            port = int(made.urls[0].rpartition(":")[2])
            for name, case in HANDSHAKES.items():
                status, fields = await one(port, case)
                assert status == case["status"], name
                for field, value in case.get("headers", []):
                    assert fields[field].startswith(value) or case["status"] == 405, name
                if status == 426:
                    assert fields["sec-websocket-version"] == "13"
                assert (fields.get("sec-websocket-accept") is not None) is (status == 101), name

    asyncio.run(main())


def test_our_own_client(targets: dict[bool, Running]) -> None:
    """Client and server from this house, and what both make of what the other sends."""
    messages = ["", "short", "grüße \U0001f980" * 99, "long " * 200_000, *(f"{number}" * 50 for number in range(500))]
    for target in targets.values():
        asyncio.run(_echoed(f"ws://127.0.0.1:{target.port}/any/path?x=1", messages))


async def _echoed(url: str, messages: list[str]) -> None:
    heard: list[str] = []
    closed: list[tuple[int, str]] = []
    everything = asyncio.Event()

    def hear(text: str) -> None:
        heard.append(text)
        if len(heard) == len(messages):
            everything.set()

    client = await dial(Place(url), hear, lambda *how: closed.append(how))
    for message in messages:
        client.send(message)
    async with asyncio.timeout(20):
        await everything.wait()
    await client.close(1000, "done")
    assert heard == messages
    assert [code for code, _ in closed] == [1000]
    client.send("into the void")
    await client.close()


# Compression


def test_compression_is_off_unless_it_is_wanted(targets: dict[bool, Running]) -> None:
    for wanted, target in targets.items():
        with connect(f"ws://127.0.0.1:{target.port}/", compression="deflate", max_size=None) as link:
            assert [extension.name for extension in link.protocol.extensions] == ["permessage-deflate"] * wanted
            for message in (
                "",
                "short",
                "long " * 5_000,
                b"\0" * 100_000,
                bytes(range(256)) * 1000,
                "grüße \U0001f980" * 99,
            ):
                link.send(message)
                assert link.recv(10) == message
            link.send(iter(["in ", "three ", "fragments " * 50]))
            assert link.recv(10) == "in three " + "fragments " * 50


def test_a_gateway_compresses_where_it_is_told_to() -> None:
    async def main() -> None:
        async def agent(run: gateway.RunInput) -> str:
            return "x"

        for compression in (None, True):
            made = gateway.Gateway(
                agents={"main": agent}, links={"/ws": echo}, listen="127.0.0.1:0", token="t", compression=compression
            )
            async with made, asyncio.timeout(10):
                reader, writer = await asyncio.open_connection("127.0.0.1", int(made.urls[0].rpartition(":")[2]))
                writer.write(handshake({"changes": [*OFFER["changes"], "Authorization: Bearer t"]}))
                head = await reader.readuntil(b"\r\n\r\n")
                assert (b"\r\nSec-WebSocket-Extensions: permessage-deflate" in head) is bool(compression)
                writer.close()

    asyncio.run(main())


LIMIT = 25 * 1024 * 1024


def test_a_bomb_costs_the_process_no_more_than_the_limit(targets: dict[bool, Running]) -> None:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = (stream.compress(bytes(50_000_000)) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert 45_000 < len(bomb) < 55_000
    target = targets[True]
    before = target.memory()
    for _ in range(5):  # one after the other, they cost what one costs
        got = exchange(target.port, handshake(OFFER), masked(0xC2, bomb))
        assert got[8][0][:2] == b"\x03\xf1"
        assert got[2] == []
    assert target.peak_memory() - before < LIMIT * 9 // 8 + 4 * 1024 * 1024


# Floods


@pytest.mark.parametrize(
    ("opening", "piece"),
    [
        (b"", masked(0x89, b"")),
        (b"", masked(0x81, b"")),
        (b"", masked(0x8A, b"")),
        (masked(0x02, b""), masked(0x00, b"")),
    ],
    ids=["pings", "messages", "pongs", "fragments"],
)
def test_a_flood_leaves_others_their_time(targets: dict[bool, Running], opening: bytes, piece: bytes) -> None:
    target = targets[False]
    before = target.memory()
    with socket.create_connection(("127.0.0.1", target.port), timeout=10) as flooder:
        flooder.sendall(handshake({"changes": []}) + opening)
        flooder.setblocking(False)
        end = time.monotonic() + 0.5
        slowest, asked = 0.0, 0
        with socket.create_connection(("127.0.0.1", target.port), timeout=10) as other:
            while time.monotonic() < end:
                for _ in range(20):
                    try:
                        flooder.send(piece * 10_000)
                        flooder.recv(1_000_000)
                    except BlockingIOError:
                        break
                began = time.monotonic()
                other.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert other.recv(65_536).startswith(b"HTTP/1.1 200 ")
                slowest = max(slowest, time.monotonic() - began)
                asked += 1
    assert asked > 5
    # A read of 64 KiB holds 10,922 of them, which is a tenth of a second's work on an idle machine.
    assert slowest < 0.25
    assert target.memory() - before < 4 * 1024 * 1024
