"""The kinds of classes that the standard library makes at some cost, made for less: the start defines over a hundred.

NamedTuple  `typing` compiles the annotation of each member to find out whether it is a type, and `collections` compiles
            a `__new__` for each class; here the code of `__new__` stands below for each usual number of members, and
            is renamed.  What is made is the same.
Protocol    a name for annotations, until somebody inherits from it or looks into it: then what `typing` makes.
Enum        members that are told apart by identity and know their name and their value; no look-up, no flags.  Those
            of `int, Enum` have an order, too.

Type checkers see the originals, and look after the annotations.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator
from functools import cache, cached_property
from types import CodeType, FunctionType, new_class
from typing import TYPE_CHECKING, Any

__all__ = ["Enum", "NamedTuple", "Protocol"]

if TYPE_CHECKING:
    from enum import Enum
    from typing import NamedTuple, Protocol
else:
    from collections import _tuplegetter

    _new = tuple.__new__

    # By number of members.
    _USUAL = (
        lambda _cls: _new(_cls, ()),
        lambda _cls, a: _new(_cls, (a,)),
        lambda _cls, a, b: _new(_cls, (a, b)),
        lambda _cls, a, b, c: _new(_cls, (a, b, c)),
        lambda _cls, a, b, c, d: _new(_cls, (a, b, c, d)),
        lambda _cls, a, b, c, d, e: _new(_cls, (a, b, c, d, e)),
        lambda _cls, a, b, c, d, e, f: _new(_cls, (a, b, c, d, e, f)),
        lambda _cls, a, b, c, d, e, f, g: _new(_cls, (a, b, c, d, e, f, g)),
        lambda _cls, a, b, c, d, e, f, g, h: _new(_cls, (a, b, c, d, e, f, g, h)),
        lambda _cls, a, b, c, d, e, f, g, h, i: _new(_cls, (a, b, c, d, e, f, g, h, i)),
        lambda _cls, a, b, c, d, e, f, g, h, i, j: _new(_cls, (a, b, c, d, e, f, g, h, i, j)),
        lambda _cls, a, b, c, d, e, f, g, h, i, j, k: _new(_cls, (a, b, c, d, e, f, g, h, i, j, k)),
    )

    # Of `server.limits.Limits`, which every start defines.
    _LARGE = {
        21: lambda _cls, a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q, r, s, t, u, v: _new(
            _cls, (a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q, r, s, t, u, v)
        )
    }

    @cache
    def _code(count: int) -> CodeType:
        """That of the `__new__` of a named tuple of so many members."""
        usual = _USUAL[count] if count < len(_USUAL) else _LARGE.get(count)
        if usual is not None:
            return usual.__code__
        members = ", ".join(f"member{index}" for index in range(count))
        return eval(f"lambda _cls, {members}: _new(_cls, ({members}))").__code__  # noqa: S307 - of names made here

    @cache
    def _getter(index: int) -> Any:
        return _tuplegetter(index, f"Alias for field number {index}")

    def _make(cls: type, values: Iterable[Any]) -> tuple[Any, ...]:
        made = tuple.__new__(cls, values)
        if len(made) != len(cls._fields):
            raise TypeError(f"Expected {len(cls._fields)} arguments, got {len(made)}")
        return made

    def _replace(self: tuple[Any, ...], /, **values: Any) -> tuple[Any, ...]:
        made = self._make(map(values.pop, self._fields, self))
        if values:
            raise TypeError(f"Got unexpected field names: {[*values]}")
        return made

    def _asdict(self: tuple[Any, ...]) -> dict[str, Any]:
        return dict(zip(self._fields, self, strict=True))

    def _repr(self: tuple[Any, ...]) -> str:
        return f"{type(self).__name__}({', '.join(map('{}={!r}'.format, self._fields, self))})"

    def _plain(self: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(self)

    _METHODS = {
        "_make": classmethod(_make),
        "_replace": _replace,
        "__replace__": _replace,
        "_asdict": _asdict,
        "__repr__": _repr,
        "__getnewargs__": _plain,
        "__slots__": (),
    }

    class _Maker(type):
        def __new__(cls, name: str, _: tuple[type, ...], body: dict[str, Any]) -> type:
            members = tuple(body["__annotations__"])
            code = _code(len(members)).replace(
                co_name="__new__", co_qualname=f"{name}.__new__", co_varnames=("_cls", *members)
            )
            defaults = {member: body[member] for member in members if member in body}
            getters = {member: _getter(index) for index, member in enumerate(members)}
            own = {
                "__doc__": f"{name}({', '.join(members)})",
                "__new__": FunctionType(code, globals(), "__new__", tuple(defaults.values())),
                "_fields": members,
                "_field_defaults": defaults,
                "__match_args__": members,
            }
            return type(name, (tuple,), {**own, **_METHODS, **body, **getters})

    NamedTuple = type.__new__(_Maker, "NamedTuple", (), {})

    class _Contract:
        """A protocol that nobody has looked into yet."""

        __parameters__ = ()

        def __init__(self, name: str, body: dict[str, Any]) -> None:
            self._body = body
            self.__name__ = name
            self.__module__ = body["__module__"]
            self.__qualname__ = body["__qualname__"]
            self.__doc__ = body.get("__doc__")

        @cached_property
        def _made(self) -> type:
            bases = [base for base in self._body.get("__orig_bases__", ()) if base is not Protocol]
            return new_class(self.__name__, (*bases, typing.Protocol), exec_body=lambda body: body.update(self._body))

        def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
            return () if Protocol in bases else (self._made,)

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__typing_"):  # what `typing` asks of each argument of an alias
                raise AttributeError(name)
            return getattr(self._made, name)

        def __call__(self, *values: Any, **named: Any) -> Any:
            return self._made(*values, **named)

        def __reduce__(self) -> str:
            return self.__qualname__

        def __instancecheck__(self, one: object) -> bool:
            return isinstance(one, self._made)

        def __subclasscheck__(self, one: type) -> bool:
            return issubclass(one, self._made)

        def __or__(self, other: Any) -> Any:
            return self._made | other

        def __ror__(self, other: Any) -> Any:
            return other | self._made

        def __repr__(self) -> str:
            return f"<class '{self.__module__}.{self.__qualname__}'>"

    class _ContractMaker(type):
        def __new__(cls, name: str, _: tuple[type, ...], body: dict[str, Any]) -> _Contract:
            return _Contract(name, body)

    Protocol = type.__new__(_ContractMaker, "Protocol", (), {})

    class _EnumMaker(type):
        def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> type:
            values = {key: body.pop(key) for key in [*body] if key[0] != "_" and not callable(body[key])}
            made = super().__new__(cls, name, bases, body)
            made._members = []
            for key, value in values.items():
                member = int.__new__(made, value) if int in bases else object.__new__(made)
                member.name, member.value = key, value
                setattr(made, key, member)
                made._members.append(member)
            return made

        def __iter__(cls) -> Iterator[Any]:
            return iter(cls._members)

        def __len__(cls) -> int:
            return len(cls._members)

        def __contains__(cls, one: object) -> bool:
            return one in cls._members

    class Enum(metaclass=_EnumMaker):
        def __reduce__(self) -> tuple[Any, ...]:
            return getattr, (type(self), self.name)

        def __repr__(self) -> str:
            return f"<{type(self).__name__}.{self.name}: {self.value!r}>"

        def __str__(self) -> str:
            return f"{type(self).__name__}.{self.name}"
