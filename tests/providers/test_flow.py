"""A model's text by way of flows is what it is event by event, wherever the stream is cut and whoever takes it."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest
from flowing import Body, Wire, feed, model_of, pulled, relayed
from scripted_provider import DONE, asked, chunk
from test_streams import DATA, DIALECTS, sse

from gateway.errors import PeerGone
from gateway.model.run import RunDone, Usage
from gateway.ports import Flow
from gateway.providers.connection import LOOKS
from gateway.providers.settings import Timeouts

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def framed(*events: bytes) -> list[bytes]:
    return [b"%x\r\n%b\r\n" % (len(event), event) for event in events]


def after_blank_lines(data: bytes) -> list[bytes]:
    return [event + b"\n\n" for event in data.split(b"\n\n") if event]


def no_ids(seen: list[Any]) -> list[Any]:
    """Without the ids that are made anew each time."""
    return [event[:1] + event[2:] if type(event).__name__ == "ToolCallDelta" else event for event in seen]


async def same(pieces: list[bytes], api: str = "openai", room: int = 1 << 30) -> Body:
    dialect = DIALECTS[api]()
    body = await relayed(pieces, Body(room), dialect=dialect)
    assert no_ids(body.seen) == no_ids(await pulled(pieces, dialect))
    return body


STREAMS = [
    pytest.param(api, sse(api, case["stream"]), id=f"{api}: {case['name']}")
    for api in DIALECTS
    for case in json.loads((DATA / f"{api}.json").read_text("utf-8"))
    if "stream" in case
]


@pytest.mark.parametrize(("api", "raw"), STREAMS)
def test_every_answer_is_the_same(api: str, raw: bytes) -> None:
    events = after_blank_lines(raw)

    async def main() -> None:
        for room in (1 << 30, 1):
            await same([CHUNKED, *framed(*events), b"0\r\n\r\n"], api, room)
            await same([CHUNKED, *framed(*events)], api, room)  # cut off
            await same([HEAD + b"Content-Length: %d\r\n\r\n" % len(raw), *events], api, room)
            await same([HEAD + b"\r\n", *events], api, room)

    asyncio.run(main())


TEXTS = ["Hello", " world", 'a "quote"', "\n\n", "grüße", "🦀", '"}}]}\n\ndata: {', "", "x" * 300, "end"]


def test_cut_at_every_byte() -> None:
    events = [chunk(text) for text in TEXTS]
    odd = [b": keep-alive\n\n", chunk("odd", created=1), chunk(tail := "tail", x=[1])]
    last = [chunk(finish="stop"), chunk(usage={"prompt_tokens": 1, "completion_tokens": 2}), DONE]
    raw = b"".join(framed(*events[:4], *odd, *events[4:], *last)) + b"0\r\n\r\n"
    texts = [*TEXTS[:4], "odd", tail, *(text for text in TEXTS[4:] if text)]

    async def main() -> None:
        for cut in range(0, len(raw), 3):
            body = await relayed([CHUNKED, raw[:cut], raw[cut:]], Body())
            assert body.seen == [*texts, Usage(1, 2), RunDone("stop")], cut
        for step in (1, 2, 64, 255):
            body = await same([CHUNKED, *(raw[at : at + step] for at in range(0, len(raw), step))])
            assert body.seen == [*texts, Usage(1, 2), RunDone("stop")], step
            assert body.flowed

    asyncio.run(main())


def test_text_flows() -> None:
    """All but the first text, in one go: nobody is woken in between."""
    pieces = [CHUNKED, *framed(*(chunk(f"t{n}") for n in range(100)), chunk(finish="stop"), DONE), b"0\r\n\r\n"]

    async def main() -> None:
        body = await relayed(pieces, Body(), turns=9)
        assert (len(body.seen), body.flows, body.flowed) == (101, 1, 99)
        body = await relayed(
            [CHUNKED, b"".join(pieces[1:50]), b"".join(pieces[50:100]), *pieces[100:]], Body(), turns=9
        )
        assert (len(body.seen), body.flows, body.flowed) == (101, 1, 51)

    asyncio.run(main())


def test_a_body_that_is_full_stops_it() -> None:
    pieces = [CHUNKED, *framed(*(chunk(f"t{n}") for n in range(50)), chunk(finish="stop"), DONE), b"0\r\n\r\n"]

    async def main() -> None:
        for room in (1, 2, 7):
            body = await same(pieces, room=room)
            assert body.drained >= 3

    asyncio.run(main())


@pytest.mark.parametrize("after", [1, 5, 20])
def test_a_peer_that_leaves_ends_it(after: int) -> None:
    pieces = [CHUNKED, *framed(*(chunk(f"t{n}") for n in range(50)))]

    async def main() -> None:
        wire = Wire()
        body = Body(leaves_after=after)
        speaking = asyncio.create_task(feed(wire, pieces))
        with pytest.raises(PeerGone):
            await body.take(model_of(wire).with_flow(asked()))
        await speaking
        assert body.seen == [f"t{n}" for n in range(after)]
        assert wire.transport.closed == "abort", "the provider is told"
        wire.limits.close()

    asyncio.run(main())


def test_a_task_that_is_cancelled_ends_it() -> None:
    async def main() -> None:
        wire = Wire()
        body = Body()
        taking = asyncio.create_task(body.take(model_of(wire).with_flow(asked())))
        await feed(wire, [CHUNKED, *framed(chunk("a"), chunk("b"))], close=False)
        assert body.flowing
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
        assert wire.transport.closed == "abort"
        wire.connection.data_received(framed(chunk("c"))[0])  # what was on the way
        assert body.seen == ["a", "b"]
        wire.limits.close()

    asyncio.run(main())


def test_stopped_and_gone_on_with() -> None:
    pieces = framed(*(chunk(f"t{n}") for n in range(6)), chunk(finish="stop") + DONE)

    async def main() -> None:
        wire = Wire()
        body = Body()
        speaking = asyncio.create_task(feed(wire, [CHUNKED, *pieces[:3]], close=False))
        async for event in model_of(wire).with_flow(asked()):
            if isinstance(event, Flow):
                if body.flows == 0:
                    await speaking
                body.flows += 1
                waiting = asyncio.create_task(event.into(body))
                await asyncio.sleep(0)
                event.stop()
                event.stop()
                wire.transport.feed(pieces[2 + body.flows])  # before anybody has noticed
                await waiting
                event.stop()
            else:
                body.seen.append(event)
        texts = [text for event in body.seen[:-1] for text in ([event] if isinstance(event, str) else event)]
        assert texts == [f"t{n}" for n in range(6)]
        assert body.seen[-1] == RunDone("stop")
        wire.limits.close()

    asyncio.run(main())


def test_taps_see_all_that_flows_before_it_is_written() -> None:
    pieces = [CHUNKED, *framed(*(chunk(f"t{n}") for n in range(20)), chunk(finish="stop"), DONE), b"0\r\n\r\n"]
    heard: list[str] = []

    async def main() -> None:
        body = Body()

        def tap(texts: list[str]) -> bool:
            assert body.seen == [f"t{n}" for n in range(len(heard) + 1)]
            heard.extend(texts)
            return len(heard) < 9

        wire = Wire()
        events = cast("AsyncGenerator[Any, None]", model_of(wire).with_flow(asked()))
        speaking = asyncio.create_task(feed(wire, pieces, turns=9))
        assert await anext(events) == "t0"
        body.put("t0")
        flow = await anext(events)
        assert isinstance(flow, Flow)
        flow.taps.append(tap)
        assert not await flow.into(body)
        assert heard == [f"t{n}" for n in range(1, 10)]
        assert body.seen == [f"t{n}" for n in range(9)], "what it said no to is not written"
        await events.aclose()
        await speaking
        wire.limits.close()

    asyncio.run(main())


def test_what_is_raised_by_a_tap_is_raised_where_it_is_waited() -> None:
    def tap(texts: list[str]) -> bool:
        raise ValueError(texts)

    async def main() -> None:
        with pytest.raises(ValueError, match="b"):
            await relayed([CHUNKED, *framed(chunk("a"), chunk("b"), chunk("c"))], Body(), tap, turns=9)

    asyncio.run(main())


# -- silence


def quiet(texts: int, pause: float, idle: float) -> tuple[list[Any], float]:
    """What is seen of a provider that says so many texts, with a pause before each, and then nothing; the time."""

    async def main() -> tuple[list[Any], float]:
        wire = Wire(Timeouts(idle=idle))
        body = Body()
        taking = asyncio.create_task(body.take(model_of(wire).with_flow(asked())))
        await feed(wire, [CHUNKED], close=False)
        for n in range(texts):
            await asyncio.sleep(pause)
            wire.transport.feed(framed(chunk(f"t{n}"))[0])
        began = asyncio.get_running_loop().time()
        await taking
        wire.limits.close()
        return body.seen, asyncio.get_running_loop().time() - began

    return asyncio.run(asyncio.wait_for(main(), 30))


def test_silence_is_noticed_not_too_early() -> None:
    seen, took = quiet(3, 0.01, 0.2)
    assert seen[:3] == ["t0", "t1", "t2"]
    assert seen[3][0] == "upstream_idle_timeout"
    assert "sent nothing for 0.2 s in the middle" in seen[3][1]
    assert took >= 0.19
    assert took < 0.2 * (LOOKS + 1) / LOOKS + 5, "and not never"


def test_what_goes_on_is_not_silent() -> None:
    seen, _ = quiet(12, 0.05, 0.3)
    assert len(seen) == 13


def test_without_a_limit_there_is_none() -> None:
    async def main() -> None:
        wire = Wire(Timeouts(idle=0))
        body = Body()
        taking = asyncio.create_task(body.take(model_of(wire).with_flow(asked())))
        await feed(wire, [CHUNKED, *framed(chunk("a"), chunk("b"))], close=False)
        assert body.flowing
        assert not len(wire.limits.flow)
        wire.transport.feed(b"".join([*framed(chunk(finish="stop"), DONE), b"0\r\n\r\n"]))
        await taking
        assert body.seen == ["a", "b", RunDone("stop")]
        assert wire.parked

    asyncio.run(main())


def test_random_streams() -> None:
    """Streams of all that can come, cut anywhere."""
    rng = random.Random(6)
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
    odd = [
        b": comment\n\n",
        b"data: nonsense\n\n",
        chunk("x", object="other"),
        b"data: " + json.dumps({"choices": [{"delta": {"reasoning": "hm"}}]}).encode() + b"\n\n",
        b"data: " + json.dumps({"choices": [{"delta": {"tool_calls": [call]}}]}).encode() + b"\n\n",
        chunk(finish="length"),
        DONE,
        b'data: {"error": {"message": "no"}}\n\n',
        b"event: x\n",
        b"\r\n",
    ]

    async def main() -> None:
        for _ in range(150):
            events = [rng.choice(odd) if rng.random() < 0.1 else chunk(f"t{n}") for n in range(rng.randrange(25))]
            pieces = [*framed(*events), b"0\r\n\r\n"]
            if rng.random() < 0.5:
                raw = b"".join(pieces)
                cuts = sorted(rng.randrange(len(raw) + 1) for _ in range(rng.randrange(12)))
                pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
            await same([CHUNKED, *pieces], room=rng.choice([1, 3, 1 << 30]))

    asyncio.run(main())
