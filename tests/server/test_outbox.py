"""What is sent within one turn of the loop, over transports that note what they are given."""

from __future__ import annotations

from asyncio import AbstractEventLoop, WriteTransport
from collections.abc import Callable
from typing import cast

from gateway.server.outbox import LONELY_TURNS, SENT_AT_ONCE, Outbox


class Loop:
    """`call_soon`, and a turn when the test says so."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], object]] = []

    def call_soon(self, callback: Callable[[], object]) -> None:
        self.soon.append(callback)

    def turn(self) -> None:
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()


class Note(WriteTransport):
    """A transport that notes what it is given, in a list that others may note in too."""

    def __init__(self, name: str, noted: list[tuple[str, bytes]]) -> None:
        super().__init__()
        self.name = name
        self.noted = noted

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.noted.append((self.name, bytes(data)))


class Rig:
    def __init__(self) -> None:
        self.loop = Loop()
        self.outbox = Outbox(cast("AbstractEventLoop", self.loop))
        self.noted: list[tuple[str, bytes]] = []
        self.a, self.b = Note("a", self.noted), Note("b", self.noted)

    def left(self) -> list[tuple[str, bytes]]:
        noted = self.noted[:]
        self.noted.clear()
        return noted

    def lonely(self) -> Rig:
        """After enough turns with one thing to send."""
        for _ in range(LONELY_TURNS):
            self.outbox.put(self.a, b".")
            assert self.left() == []
            self.loop.turn()
            assert self.left() == [("a", b".")]
        return self


def test_one_turn_is_one_write_for_each_transport() -> None:
    rig = Rig()
    for transport, data in ((rig.a, b"1"), (rig.b, b"2"), (rig.a, b"3")):
        rig.outbox.put(transport, data)
    assert rig.left() == []
    rig.loop.turn()
    assert rig.left() == [("a", b"13"), ("b", b"2")]
    assert rig.loop.soon == []


def test_flush_does_not_wait() -> None:
    rig = Rig()
    rig.outbox.put(rig.a, b"1")
    rig.outbox.flush()
    assert rig.left() == [("a", b"1")]
    rig.loop.turn()
    assert rig.left() == []


def test_what_is_alone_in_its_turn_is_sent_at_once() -> None:
    rig = Rig().lonely()
    for _ in range(SENT_AT_ONCE):
        rig.outbox.put(rig.b, b"!")
        assert rig.left() == [("b", b"!")]
        assert rig.loop.soon == []


def test_one_in_some_is_collected_to_see_whether_it_is_alone() -> None:
    rig = Rig().lonely()
    for _ in range(3):
        for _ in range(SENT_AT_ONCE):
            rig.outbox.put(rig.a, b"!")
        assert len(rig.left()) == SENT_AT_ONCE
        rig.outbox.put(rig.a, b"?")
        assert rig.left() == []
        rig.loop.turn()
        assert rig.left() == [("a", b"?")]


def test_a_crowd_is_collected_again() -> None:
    rig = Rig().lonely()
    for _ in range(SENT_AT_ONCE):
        rig.outbox.put(rig.a, b"!")
    rig.left()
    rig.outbox.put(rig.a, b"1")
    rig.outbox.put(rig.b, b"2")
    rig.loop.turn()
    assert rig.left() == [("a", b"1"), ("b", b"2")]
    rig.outbox.put(rig.a, b"3")
    assert rig.left() == [], "the last turn was crowded"
    rig.loop.turn()
    assert rig.left() == [("a", b"3")]


def test_several_pieces_of_one_transport_are_a_crowd() -> None:
    rig = Rig()
    for _ in range(LONELY_TURNS + 1):
        rig.outbox.put(rig.a, b"1")
        rig.outbox.put(rig.a, b"2")
        assert rig.left() == []
        rig.loop.turn()
        assert rig.left() == [("a", b"12")]
