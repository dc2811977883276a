"""Classes of our own making are what the standard library makes."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from typing import Generic, TypeVar, get_args, get_type_hints
from typing import NamedTuple as Original
from typing import Protocol as OriginalProtocol

import pytest

from gateway.records import Enum, NamedTuple, Protocol


class Ours(NamedTuple):
    """What it is."""

    one: int
    other: str = "x"
    """A member."""

    @property
    def both(self) -> str:
        return f"{self.one}{self.other}"

    def more(self) -> Ours:
        return self._replace(one=self.one + 1)


class Theirs(Original):
    """What it is."""

    one: int
    other: str = "x"
    """A member."""

    @property
    def both(self) -> str:
        return f"{self.one}{self.other}"

    def more(self) -> Theirs:
        return self._replace(one=self.one + 1)


def test_the_class_is_the_same() -> None:
    names = ("__doc__", "__module__", "__slots__", "__match_args__", "_fields", "_field_defaults", "__bases__")
    for name in names:
        assert getattr(Ours, name) == getattr(Theirs, name), name
    assert Ours.__qualname__ == Ours.__name__ == "Ours"
    assert get_type_hints(Ours) == get_type_hints(Theirs) == {"one": int, "other": str}
    missing = set(dir(Theirs)) - set(dir(Ours)) - {"__orig_bases__"}
    assert not missing


def test_what_is_made_of_it_is_the_same() -> None:
    ours, theirs = Ours(1), Theirs(1)
    assert (*ours,) == (*theirs,) == (1, "x")
    assert (ours.both, (*ours.more(),), hash(ours)) == (theirs.both, (*theirs.more(),), hash(theirs))
    assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
    assert isinstance(pickle.loads(pickle.dumps(ours)), Ours)
    match ours:
        case Ours(one, other):
            assert (one, other) == (1, "x")
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'one'"):
        Ours(other="y")  # type: ignore[call-arg]  # which is what is tried
    with pytest.raises(AttributeError):
        ours.one = 2  # type: ignore[misc]  # which is what is tried
    with pytest.raises(AttributeError):
        ours.new = 2  # type: ignore[attr-defined]  # which is what is tried


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(TypeError, match="Expected 2 arguments, got 1"):
        Ours._make([1])
    with pytest.raises(TypeError, match=r"unexpected field names: \['none'\]"):
        Ours(1)._replace(none=1)  # type: ignore[call-arg]  # which is what is tried
    assert (Ours._make([1, "y"]), Ours(1)._asdict()) == (Ours(other="y", one=1), {"one": 1, "other": "x"})


def test_classes_of_one_size_share_nothing_but_code() -> None:
    class Other(NamedTuple):
        """As many members, with other names."""

        left: str
        right: str

    other = Other(right="r", left="l")
    assert (other.left, other.right, repr(other)) == ("l", "r", "Other(left='l', right='r')")
    with pytest.raises(TypeError, match="'left'"):
        Other(right="r")  # type: ignore[call-arg]  # which is what is tried
    assert (Ours(1).one, Ours(1).other) == (1, "x")


def complaint(function: Callable[..., object], *values: object, **named: object) -> str:
    with pytest.raises(TypeError) as told:
        function(*values, **named)
    return str(told.value)


@pytest.mark.parametrize("count", range(30))
def test_every_number_of_members_is_the_same(count: int) -> None:
    names = [f"member_{index}" for index in range(count)]
    body = {"__annotations__": dict.fromkeys(names, "int"), "__module__": __name__}
    ours = type(NamedTuple)("Many", (), dict(body))  # type: ignore[misc]  # as a class statement does it
    theirs = Original("Many", [(name, int) for name in names])  # type: ignore[misc]  # names are made here
    values = range(count)
    assert (*ours(*values),) == (*theirs(*values),) == tuple(values)
    assert repr(ours(*values)) == repr(theirs(*values))
    assert [getattr(ours(*values), name) for name in names] == [*values]
    assert complaint(ours, *values, "more") == complaint(theirs, *values, "more")
    assert complaint(ours, none=1) == complaint(theirs, none=1)


class Reader(Protocol):
    """Who reads."""

    limit: int

    def read(self) -> int:
        """One."""
        return 1


class Both(Reader, Protocol):
    """Reads and writes."""

    def write(self, one: int) -> None:
        """It."""
        assert one


One = TypeVar("One")


class Box(Generic[One]):
    """Of something."""


class TheirReader(OriginalProtocol):
    """Who reads."""

    limit: int

    def read(self) -> int:
        """One."""
        return 1


def test_a_protocol_is_a_name_until_it_is_looked_into() -> None:
    def function(one: Reader, other: Both | None, some: Callable[[Reader], list[Both]]) -> None:
        """With annotations."""

    class Writer(Protocol):  # nobody else can have looked into it
        """Who writes."""

    assert get_args(Box[Writer]) == (Writer,)
    assert "_made" not in vars(Writer)
    hints = get_type_hints(function, localns={"Callable": Callable})
    assert hints["one"] is Reader
    assert hints["some"] == Callable[[Reader], list[Both]]
    assert (Reader.__name__, Reader.__module__, Reader.__qualname__) == ("Reader", __name__, "Reader")
    assert (Reader.__doc__, repr(Both)) == ("Who reads.", f"<class '{__name__}.Both'>")
    assert deepcopy(Reader) is pickle.loads(pickle.dumps(Reader)) is Reader
    assert repr(Reader | None) == f"{__name__}.Reader | None" == repr(hints["other"]).replace("Both", "Reader")


def test_who_inherits_from_a_protocol_inherits_from_what_typing_makes() -> None:
    class Mine(Both):
        limit = 1

    class Theirs(TheirReader):
        limit = 1

    class Mixed(Mine, Reader, list[int]):
        pass

    assert Mine().read() == Theirs().read() == 1
    assert [one.__name__ for one in Mine.__mro__] == ["Mine", "Both", "Reader", "Protocol", "Generic", "object"]
    assert isinstance(Mixed(), list)
    assert Mine.__mro__[2] is Mixed.__mro__[3] is Reader.__mro__[0]
    assert inspect.getdoc(Mine.write) == "It."
    assert complaint(TheirReader).replace("TheirReader", "Reader") == complaint(Reader)
    for what in (Reader, TheirReader):
        with pytest.raises(TypeError, match="@runtime_checkable"):
            isinstance(1, what)  # type: ignore[misc]  # which is what is tried
        with pytest.raises(TypeError, match="@runtime_checkable"):
            issubclass(int, what)  # type: ignore[misc]  # which is what is tried


class Colour(Enum):
    """What is painted."""

    RED = "red"
    GREEN = "green"


class Size(int, Enum):
    SMALL = 1
    LARGE = 2


def test_members_of_an_enum_are_what_they_are() -> None:
    assert [(one.name, one.value) for one in Colour] == [("RED", "red"), ("GREEN", "green")]
    assert (len(Colour), {*Colour}) == (2, {Colour.RED, Colour.GREEN})
    assert Colour.RED in Colour
    assert (str(Colour.RED), repr(Colour.RED)) == ("Colour.RED", "<Colour.RED: 'red'>")
    assert all(copy is Colour.RED for copy in (deepcopy(Colour.RED), pickle.loads(pickle.dumps(Colour.RED))))
    assert pickle.loads(pickle.dumps(Size.LARGE)) is Size.LARGE
    assert (Size.SMALL < Size.LARGE, Size.LARGE.name, isinstance(Size.LARGE, Size)) == (True, "LARGE", True)
    match Colour.GREEN:
        case Colour.RED:
            pytest.fail("it is not")
        case Colour.GREEN:
            pass


CONTRACTS = """
import asyncio, sys
from gateway import Gateway, Message
from gateway.ports import Link

async def agent(run):
    yield "x"

async def start():
    async with Gateway(agents={"main": agent}, listen="127.0.0.1:0", token="t") as gateway:
        assert gateway.urls

asyncio.run(start())
modules = [module for name, module in sys.modules.items() if name.startswith("gateway.")]
contracts = {id(one): one for module in modules for one in vars(module).values() if type(one) is type(Link)}
print(len(contracts), *(one.__name__ for one in contracts.values() if "_made" in vars(one)))
"""


def test_no_contract_is_made_by_a_start() -> None:
    """What a protocol costs is the class; annotations and aliases do not ask for it."""
    done = subprocess.run([sys.executable, "-c", CONTRACTS], capture_output=True, text=True, timeout=30, check=True)
    count, *made = done.stdout.split()
    assert (int(count) > 20, made) == (True, [])
