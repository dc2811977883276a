"""The log of all processes, as operators see it in the first worker."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from test_channel import house

from gateway.workers import logs as module
from gateway.workers.logs import LogForward, LogOfAll


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("gateway.test_logs")
    logger.setLevel(logging.DEBUG)
    yield logger
    logger.handlers.clear()


def lines(ring: LogOfAll) -> list[tuple[str, str, str]]:
    found = [json.loads(line) for line in ring.tail()["lines"]]
    return [(one["_meta"]["logLevelName"], json.loads(one["_meta"]["name"])["subsystem"], one["0"]) for one in found]


def test_all_lines_come_together_and_say_whose_they_are(logger: logging.Logger) -> None:
    async def main() -> None:
        async with asyncio.timeout(20), house() as made:
            first, second = await made.start(1), await made.start(2)
            ring = LogOfAll(first)
            ring.hide(["the-secret"])
            here, above = LogForward(second), LogForward(made.switch)
            logger.addHandler(here)
            logger.info("before it is open: 100%% of %s", "it")
            here.open()
            above.open()
            try:
                raise ValueError("the-secret")
            except ValueError:
                logger.exception("failed")
            thread = threading.Thread(target=logger.warning, args=("of a thread",))
            thread.start()
            thread.join()
            logger.handlers[:] = [above]
            logger.error("worker 2 has ended")
            logger.handlers[:] = [ring]
            logger.debug("own line, 100%")
            await made.until(lambda: len(lines(ring)) == 5)
            told = lines(ring)
            assert told[0] == ("DEBUG", "gateway.test_logs", "worker=1 own line, 100%")
            assert ("INFO", "gateway.test_logs", "worker=2 before it is open: 100% of it") in told
            assert ("WARN", "gateway.test_logs", "worker=2 of a thread") in told
            assert ("ERROR", "gateway.test_logs", "supervisor worker 2 has ended") in told
            (failed,) = (text for _, _, text in told if "failed" in text)
            assert failed.startswith("worker=2 failed\nTraceback")
            assert failed.endswith("ValueError: ***"), "secrets are hidden there"
            here.close()
            above.close()
            logger.handlers[:] = [here]
            logger.info("told to nobody: the loop has ended")

    asyncio.run(main())


def test_a_flood_has_a_limit(logger: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 10)

    async def main() -> None:
        async with asyncio.timeout(20), house() as made:
            first, second = await made.start(1), await made.start(2)
            ring = LogOfAll(first)
            forward = LogForward(second)
            forward.open()
            logger.addHandler(forward)
            for number in range(25):
                logger.info("line %d", number)
            await made.until(lambda: len(lines(ring)) == 11)
            assert lines(ring)[9][2] == "worker=2 line 9"
            assert lines(ring)[10] == ("WARN", "gateway.workers.logs", "worker=2 15 lines more are not shown here")
            logger.info("and on")
            await made.until(lambda: len(lines(ring)) == 12)

    asyncio.run(main())


def test_a_successor_goes_on_with_it() -> None:
    async def main() -> None:
        async with asyncio.timeout(20), house() as made:
            old = LogOfAll(await made.start(1))
            old.note("one", "two")
            cursor = old.tail()["cursor"]
            old.note("three")
            place = await made.start(1, serves=False)
            new = LogOfAll(place)
            new.note("own")
            await new.take_over(place)
            assert [text for _, _, text in lines(new)] == [
                f"worker=1 {word}" for word in ("one", "two", "three", "own")
            ]
            since = new.tail(cursor)
            assert [json.loads(line)["0"] for line in since["lines"]] == ["worker=1 three", "worker=1 own"]
            assert since["reset"] is False
            alone = await made.start(2)
            first = LogOfAll(alone)
            made.switch.serving.clear()
            first.note("nobody was here before")
            await first.take_over(alone)
            assert len(lines(first)) == 1

    asyncio.run(main())


def test_times_are_those_of_the_lines(logger: logging.Logger) -> None:
    async def main() -> Any:
        async with asyncio.timeout(20), house() as made:
            first = await made.start(1)
            ring = LogOfAll(first)
            (await made.start(2)).tell(1, "log", (("gateway.x", logging.INFO, 1_700_000_000.25, "then"),))
            await made.until(lambda: lines(ring))
            return json.loads(ring.tail()["lines"][0])["time"]

    assert asyncio.run(main()) == "2023-11-14T22:13:20.250Z"
