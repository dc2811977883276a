"""`typing.NamedTuple`, made in a third of the time: the start defines some fifty of them.

`typing` compiles the annotation of each member to find out whether it is a type, and `collections.namedtuple` compiles
a `__new__` for each class; here mypy looks after the annotations, since it sees the original, and the code of `__new__`
is compiled once for each number of members, and renamed.  What is made is the same.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterable
from functools import cache
from types import FunctionType
from typing import TYPE_CHECKING, Any

__all__ = ["NamedTuple"]

if TYPE_CHECKING:
    from typing import NamedTuple
else:

    @cache
    def _pattern(count: int) -> type:
        """A named tuple of so many members: all of one size share the code of its `__new__`, and its getters."""
        return namedtuple("Pattern", [f"member{index}" for index in range(count)])  # noqa: PYI024 - see above

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
            pattern = _pattern(len(members))
            new = pattern.__new__
            code = new.__code__.replace(co_varnames=(new.__code__.co_varnames[0], *members))
            defaults = {member: body[member] for member in members if member in body}
            getters = {member: vars(pattern)[origin] for member, origin in zip(members, pattern._fields, strict=True)}
            own = {
                "__doc__": f"{name}({', '.join(members)})",
                "__new__": FunctionType(code, new.__globals__, "__new__", tuple(defaults.values())),
                "_fields": members,
                "_field_defaults": defaults,
                "__match_args__": members,
            }
            return type(name, (tuple,), {**own, **_METHODS, **body, **getters})

    NamedTuple = type.__new__(_Maker, "NamedTuple", (), {})
