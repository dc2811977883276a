"""`typing.NamedTuple`, made in a third of the time: the start defines some fifty of them.

`typing` compiles the annotation of each member to find out whether it is a type, and `collections.namedtuple` compiles
a `__new__` for each class; here mypy looks after the annotations, since it sees the original, and the code of `__new__`
stands below for each usual number of members, and is renamed.  What is made is the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

__all__ = ["NamedTuple"]

if TYPE_CHECKING:
    from typing import NamedTuple
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

    @cache
    def _code(count: int) -> CodeType:
        """That of the `__new__` of a named tuple of so many members."""
        if count < len(_USUAL):
            return _USUAL[count].__code__
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
