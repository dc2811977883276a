"""What the processes of a gateway say to each other, over real socket pairs."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.errors import AgentError, ConfigError, MisuseError, RequestError
from gateway.workers import channel as module
from gateway.workers.channel import ASK, GENERATION, TELL, Channel, ChannelError, frame, number_of
from gateway.workers.switch import Switch

if not hasattr(socket, "AF_UNIX"):
    pytest.skip("several processes need unix sockets", allow_module_level=True)


class House:
    """A supervisor, and workers in this process; each has a list of what it heard."""

    def __init__(self) -> None:
        self.switch = Switch(3)
        self.workers: dict[int, Channel] = {}
        self.heard: dict[int, list[Any]] = {}

    async def start(self, number: int, *, serves: bool = True) -> Channel:
        ours, theirs = socket.socketpair()
        for one in (ours, theirs):
            one.setblocking(False)
        address = self.switch.address(number)
        await self.switch.attach(address, ours)
        worker = Channel(number, 3)
        await worker.open(theirs)
        if serves:
            self.switch.serving[number] = address
        self.workers[address] = worker
        heard = self.heard[address] = []
        worker.handle("note", lambda sender, *values: heard.append((sender, *values)))
        worker.on_lost(lambda gone: heard.append(("lost", gone)))
        return worker

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.001)


@asynccontextmanager
async def house() -> AsyncIterator[House]:
    made = House()
    try:
        yield made
    finally:
        for worker in made.workers.values():
            await worker.aclose()
        await made.switch.aclose()
        await asyncio.sleep(0.01)


def run(test: Callable[[House, Channel, Channel, Channel], Awaitable[None]]) -> None:
    """With three workers at work, whose addresses are 257, 258 and 259."""

    async def main() -> None:
        async with asyncio.timeout(20), house() as made:
            await test(made, await made.start(1), await made.start(2), await made.start(3))

    asyncio.run(main())


def test_telling() -> None:
    async def test(made: House, one: Channel, two: Channel, _: Channel) -> None:
        at_supervisor: list[Any] = []
        made.switch.handle("note", lambda *values: at_supervisor.append(values))
        for number in range(100):
            one.tell(2, "note", number, {"a": [b"x"]})
        one.tell(0, "note", "up")
        two.tell(None, "note", "all")
        made.switch.tell(3, "note", "down")
        made.switch.tell(None, "note", "down to all")
        await made.until(lambda: len(made.heard[259]) == 3 and len(made.heard[258]) == 101 and at_supervisor)
        of_one = [note for note in made.heard[258] if note[0] == 257]
        assert of_one == [(257, number, {"a": [b"x"]}) for number in range(100)], "in order"
        assert at_supervisor == [(257, "up")]
        await made.until(lambda: len(made.heard[257]) == 2)
        assert sorted(made.heard[257]) == [(0, "down to all"), (258, "all")], "whoever tells all hears nothing of it"

    run(test)


@pytest.mark.parametrize("to", [0, 2])
def test_asking(to: int) -> None:
    async def test(made: House, one: Channel, two: Channel, _: Channel) -> None:
        there = two if to else made.switch

        async def later(sender: int, pause: float) -> str:
            await asyncio.sleep(pause)
            return f"{pause} for {number_of(sender)}"

        there.handle("later", later)
        there.handle("now", lambda sender, *values: (sender, values))
        slow = asyncio.ensure_future(one.ask(to, "later", 0.05, timeout=10))
        quick = asyncio.ensure_future(one.ask(to, "later", 0.0, timeout=None))
        assert await one.ask(to, "now", 1, "two", timeout=10) == (257, (1, "two"))
        assert await quick == "0.0 for 1"
        assert not slow.done(), "questions do not wait for each other"
        assert await slow == "0.05 for 1"
        assert not one._questions
        assert not made.switch._asked

    run(test)


def test_the_supervisor_asks() -> None:
    async def test(made: House, one: Channel, _two: Channel, _three: Channel) -> None:
        one.handle("runs", lambda sender: (sender, 5))
        assert await made.switch.ask(1, "runs", timeout=10) == (0, 5)
        assert await made.switch.ask(257, "runs", timeout=10) == (0, 5), "also by the address of the process"
        assert not made.switch._asked

    run(test)


class PrivateError(AgentError):
    def __init__(self) -> None:
        super().__init__("mine")
        self.thing = lambda: None


ERRORS = [
    AgentError("busy", code="session_busy", status=409, retry_after=1),
    RequestError(400, "no", param="x", headers=((b"a", b"b"),)),
    ConfigError("a", "b"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_of_ours_arrives_as_it_was(error: Exception) -> None:
    async def test(_house: House, one: Channel, two: Channel, _: Channel) -> None:
        def fail(_sender: int) -> None:
            raise error

        async def fail_later(_sender: int) -> None:
            await asyncio.sleep(0)
            raise error

        two.handle("now", fail)
        two.handle("later", fail_later)
        for kind in ("now", "later"):
            with pytest.raises(type(error)) as caught:
                await one.ask(2, kind, timeout=10)
            assert caught.value.args == error.args
            assert caught.value.__dict__ == error.__dict__

    run(test)


def test_other_errors_are_told_where_they_happened(caplog: pytest.LogCaptureFixture) -> None:
    async def test(made: House, one: Channel, two: Channel, _: Channel) -> None:
        def fail(_sender: int, error: str) -> Any:
            if error == "private":
                raise PrivateError
            return lambda: None if error == "result" else 1 / 0

        async def divide(_sender: int) -> None:
            raise ZeroDivisionError

        two.handle("fail", fail)
        two.handle("divide", divide)
        for kind, *values in (("fail", "private"), ("fail", "result"), ("divide",)):
            with pytest.raises(ChannelError, match=rf"worker 2 failed at '{kind}': \w+"):
                await one.ask(2, kind, *values, timeout=10)
        assert len(caplog.records) == 3
        two.tell(1, "unknown kind")  # another version of the code may know it
        one.tell(2, "divide")
        await made.until(lambda: len(caplog.records) == 4)
        one.tell(2, "note", "goes on")
        await made.until(lambda: made.heard[258])

    with caplog.at_level(logging.ERROR):
        run(test)
    assert all("of worker 1 failed" in record.getMessage() for record in caplog.records)


def test_nobody_there() -> None:
    async def test(made: House, one: Channel, two: Channel, three: Channel) -> None:
        await three.aclose()
        await made.until(lambda: 3 not in made.switch.serving)
        for to in (3, 259, 5, 999):
            with pytest.raises(ChannelError, match=rf"worker {number_of(to)} is gone"):
                await one.ask(to, "note", timeout=10)
            one.tell(to, "note", "lost")
        with pytest.raises(ChannelError, match="worker 2 does not know 'nothing'"):
            await one.ask(2, "nothing", timeout=10)
        with pytest.raises(ChannelError, match="the supervisor does not know 'nothing'"):
            await two.ask(0, "nothing", timeout=10)
        with pytest.raises(ChannelError, match="worker 9 is gone"):
            await made.switch.ask(9, "note", timeout=10)

    run(test)


def test_who_answers_too_late_is_cancelled() -> None:
    async def test(made: House, one: Channel, two: Channel, _: Channel) -> None:
        ended: list[str] = []

        async def forever(_sender: int, name: str) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(name)

        for there in (two, made.switch):
            there.handle("forever", forever)
        for to in (0, 2):
            with pytest.raises(ChannelError, match=r"did not answer within 0\.01 seconds"):
                await one.ask(to, "forever", "late", timeout=0.01)
            await made.until(lambda: ended == ["late"])
            asking = asyncio.ensure_future(one.ask(to, "forever", "cancelled", timeout=None))
            await asyncio.sleep(0.01)
            asking.cancel()
            await made.until(lambda: ended == ["late", "cancelled"])
            ended.clear()
        asking = asyncio.ensure_future(made.switch.ask(2, "forever", "of the supervisor", timeout=None))
        await asyncio.sleep(0.01)
        asking.cancel()
        await made.until(lambda: ended)
        assert not made.switch._asked
        await made.until(lambda: not two._answering)

    run(test)


def test_the_end_of_one_is_told_to_all() -> None:
    async def test(made: House, one: Channel, two: Channel, three: Channel) -> None:
        ended: list[str] = []
        at_supervisor: list[int] = []
        made.switch.on_lost(at_supervisor.append)

        async def forever(sender: int) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(f"of {sender}")

        for there in (one, made.switch):
            there.handle("forever", forever)
        asking = [asyncio.ensure_future(two.ask(to, "forever", timeout=None)) for to in (0, 1)]
        asked = [asyncio.ensure_future(by.ask(2, "forever", timeout=None)) for by in (one, three, made.switch)]
        two.handle("forever", forever)
        await made.until(lambda: len(made.switch._asked) == 4)
        assert two._pipe is not None
        two._pipe.end()  # as the kernel would, when the process dies
        for question in asked:
            with pytest.raises(ChannelError, match="worker 2 is gone"):
                await question
        for question in asking:
            with pytest.raises(ChannelError, match="the supervisor is gone"):
                await question
        await made.until(lambda: len(made.heard[257]) + len(made.heard[259]) == 2 and len(ended) >= 2)
        assert made.heard[257] == made.heard[259] == [("lost", 258)]
        assert made.heard[258] == [("lost", 0)]
        assert at_supervisor == [258]
        assert ended.count("of 258") == 2, "nobody waits for these any more"
        assert not made.switch._asked
        with pytest.raises(ChannelError, match="the supervisor is gone"):
            await two.ask(1, "forever", timeout=None)
        two.tell(1, "note")

    run(test)


def test_two_processes_of_one_worker() -> None:
    async def test(made: House, one: Channel, old: Channel, three: Channel) -> None:
        waiting = asyncio.Event()

        async def which(sender: int, name: str) -> str:
            await waiting.wait()
            return f"the old one, {number_of(sender)} {name}"

        old.handle("which", which)
        question = asyncio.ensure_future(one.ask(2, "which", "before", timeout=10))
        await made.until(lambda: made.switch._asked)
        new = await made.start(2, serves=False)
        new.handle("which", lambda _sender, name: f"the new one, {name}")
        made.switch.serving[2] = 2 * GENERATION + 2
        assert await one.ask(2, "which", "after", timeout=10) == "the new one, after"
        waiting.set()
        assert await question == "the old one, 1 before", "answers come from the process that was asked"
        old.tell(1, "note", "still here")
        new.tell(1, "note", "here too")
        await made.until(lambda: len(made.heard[257]) == 2)
        assert sorted(made.heard[257]) == [(258, "still here"), (514, "here too")]
        one.tell(258, "note", "to the old one")
        one.tell(2, "note", "to the new one")
        three.tell(None, "note", "to all")
        await made.until(lambda: len(made.heard[258]) == len(made.heard[514]) == 2)
        made.switch.detach(258)
        await made.until(lambda: ("lost", 258) in made.heard[257])
        assert made.switch.serving[2] == 514

    run(test)


def test_messages_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FRAME", 1000)

    async def test(made: House, one: Channel, two: Channel, _: Channel) -> None:
        with pytest.raises(ChannelError, match="the limit is 1000"):
            one.tell(2, "note", b"x" * 1000)
        two.handle("long", lambda _: b"x" * 1000)
        with pytest.raises(ChannelError, match="the limit is 1000"):
            await one.ask(2, "long", timeout=10)
        assert not one._questions
        one.tell(2, "note", "short")
        await made.until(lambda: made.heard[258])

    run(test)


def test_a_frame_that_is_none_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    async def test(made: House, one: Channel, _two: Channel, _three: Channel) -> None:
        assert one._pipe is not None
        one._pipe.send(b"\xff" * 100)
        await made.until(lambda: 1 not in made.switch.serving)
        await made.until(lambda: made.heard[257] == [("lost", 0)])
        assert "worker 1 has sent no message of ours" in caplog.text

    run(test)


@pytest.mark.parametrize("form", [ASK, TELL])
def test_values_that_cannot_be_read(form: int, caplog: pytest.LogCaptureFixture) -> None:
    async def test(made: House, one: Channel, _two: Channel, _three: Channel) -> None:
        question = one._questions[1] = asyncio.get_running_loop().create_future()
        broken = module.envelope(2, form, 1, b"no pickle")
        assert one._pipe is not None
        one._pipe.send(broken)
        if form == ASK:
            with pytest.raises(ChannelError, match="cannot be read there"):
                await question
        question.cancel()
        one.tell(2, "note", "goes on")
        await made.until(lambda: made.heard[258])
        assert "a message of worker 1 cannot be read" in caplog.text

    run(test)


def test_one_that_does_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 1 << 20)

    async def test(made: House, one: Channel, _two: Channel, _three: Channel) -> None:
        ours, deaf = socket.socketpair()
        ours.setblocking(False)
        with deaf:
            address = made.switch.address(2)
            await made.switch.attach(address, ours)
            for _ in range(100):
                made.switch.tell(address, "note", b"x" * 100_000)
            await made.until(lambda: ("lost", address) in made.heard[257])
        assert "worker 2 does not read what it is told: given up" in caplog.text
        one.tell(2, "note", "the others go on")
        await made.until(lambda: (257, "the others go on") in made.heard[258])

    run(test)


def test_any_segmentation() -> None:
    async def test(made: House, one: Channel, _two: Channel, _three: Channel) -> None:
        data = b"".join(frame(2, TELL, 0, "note", number) for number in range(20))
        assert one._pipe is not None
        for start in range(0, len(data), 7):
            one._pipe.send(data[start : start + 7])
            await asyncio.sleep(0)
        await made.until(lambda: len(made.heard[258]) == 20)
        assert made.heard[258] == [(257, number) for number in range(20)]

    run(test)


def test_not_before_it_is_open() -> None:
    worker = Channel(1, 2)
    with pytest.raises(MisuseError, match="not open"):
        worker.tell(0, "note")
