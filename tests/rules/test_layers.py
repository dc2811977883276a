"""Imports point downwards.  Read from the source, so that an import nobody has run yet is judged as well."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "gateway"

RANK = {
    "errors": 0,
    "records": 0,
    "model": 1,
    "addresses": 1,
    "json_limits": 1,
    "ports": 2,
    "deadlines": 2.5,  # a tool that the rooms above share, sessions among them
    "tallies": 2.5,  # what counts, for the rooms above
    "vitals": 2.5,
    "ids": 3,
    "throttle": 3,
    "logring": 3,
    "messages": 3,
    "processes": 3,
    "targets": 3,
    "wire": 3,
    "config": 3,
    "sessions": 3,
    "server": 4,
    "agents": 4,
    "providers": 4,
    "tools": 4,
    "api": 5,
    "control": 5,
    "listening": 5,
    "bounds": 5,
    "suppliers": 5,
    "assembly": 5.2,
    "metering": 5.4,
    "extras": 5.5,
    "switchboard": 5.5,
    "app": 6,
    "workers": 5.2,  # what several processes of one gateway share; `app` loads it where there are several
    "cli": 7,
    # Doors to the building: they may look at every floor, and no floor looks at them.
    "testing": 8,
    "__init__": 8,
    "__main__": 8,
}

STRANGERS = {
    "server": {"sessions", "config", "providers", "tools"},
    "api": {"server", "control"},
    "control": {"server", "api"},
    "providers": {"sessions", "config"},
    "tools": {"sessions", "config"},
}
"""Rooms that a room must not know although its rank would allow it."""

HOME = {"h11": "wire/heads.py", "wsproto": "wire/websocket.py"}
"""The one file that may import a dependency: the one line that a vendorer edits."""

STANDARD = sys.stdlib_module_names
LAZY = {"app.py", "assembly.py", "extras.py", "suppliers.py", "cli/run.py"}
"""Where an import may stand in a function: the tables of kinds that load a provider or a store on demand; and the
command `run`, whose supervisor needs nothing of what serves, and what serves nothing of the supervisor."""


@dataclass(frozen=True)
class Import:
    file: str
    line: int
    level: int
    module: str
    names: tuple[str, ...]
    plain: bool
    """`import x`, not `from x import y`."""
    in_function: bool

    def __str__(self) -> str:
        return f"gateway/{self.file}:{self.line}"


def read(path: Path) -> list[Import]:
    file = path.relative_to(PACKAGE).as_posix()
    found: list[Import] = []

    def visit(node: ast.AST, in_function: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.extend(
                    Import(file, child.lineno, 0, alias.name, (), plain=True, in_function=in_function)
                    for alias in child.names
                )
            elif isinstance(child, ast.ImportFrom):
                names = tuple(alias.name for alias in child.names)
                found.append(
                    Import(file, child.lineno, child.level, child.module or "", names, False, in_function),
                )
            visit(child, in_function or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    visit(ast.parse(path.read_text(encoding="utf-8")), in_function=False)
    return found


FILES = sorted(PACKAGE.rglob("*.py"))
IMPORTS = [one for path in FILES for one in read(path)]


def room(file: str) -> str:
    """`wire/heads.py` is in room `wire`, `errors.py` is its own room."""
    return file.split("/", maxsplit=1)[0].removesuffix(".py")


def targets(one: Import) -> Iterator[str]:
    """The rooms that a relative import enters; `__version__` of the package belongs to nobody."""
    base = one.file.split("/")[:-1]
    base = base[: len(base) - (one.level - 1)]
    parts = [*base, *(one.module.split(".") if one.module else [])]
    if parts:
        yield parts[0]
    else:
        yield from (name for name in one.names if name != "__version__")


def test_every_room_has_a_rank() -> None:
    rooms = {room(path.relative_to(PACKAGE).as_posix()) for path in FILES}
    unknown = rooms - RANK.keys()
    assert not unknown, f"{sorted(unknown)}: give it a rank in {Path(__file__).name}, or move the code to a ranked room"


def test_imports_point_to_a_lower_rank() -> None:
    wrong = [
        f"{one}: {room(one.file)} (rank {RANK[room(one.file)]}) imports {target} (rank {RANK.get(target, 'none')})"
        for one in IMPORTS
        if one.level
        for target in targets(one)
        if target != room(one.file) and RANK.get(target, 99) >= RANK[room(one.file)]
    ]
    assert not wrong, "\n".join([*wrong, "Pass the thing in from app.py, or put its contract into ports.py."])


def test_strangers_do_not_meet() -> None:
    wrong = [
        f"{one}: {room(one.file)} must not know {target}"
        for one in IMPORTS
        if one.level
        for target in targets(one)
        if target in STRANGERS.get(room(one.file), ())
    ]
    assert not wrong, "\n".join([*wrong, "They meet in app.py only: take what is needed as an argument."])


def test_the_package_does_not_name_itself() -> None:
    wrong = [str(one) for one in IMPORTS if not one.level and one.module.split(".")[0] == "gateway"]
    assert not wrong, f"{wrong}: write a relative import, so that the folder works under any other name"


def test_relative_imports_stay_inside() -> None:
    wrong = [str(one) for one in IMPORTS if one.level > len(one.file.split("/"))]
    assert not wrong, f"{wrong}: too many leading dots, this leaves the package"


def test_no_dynamic_import_by_absolute_name() -> None:
    wrong = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
                first = node.args[0] if node.args else None
                if isinstance(first, ast.Constant) and str(first.value).split(".")[0] == "gateway":
                    wrong.append(f"gateway/{path.relative_to(PACKAGE)}:{node.lineno}")
    assert not wrong, f"{wrong}: use import_module('.name', __package__), so that the folder works under any other name"


def test_only_the_standard_library_and_two_dependencies() -> None:
    wrong = [
        f"{one}: imports {one.module}"
        for one in IMPORTS
        if not one.level and one.module.split(".")[0] not in sys.stdlib_module_names | HOME.keys()
    ]
    assert not wrong, "\n".join(
        [*wrong, "An extra is loaded on demand with importlib, and is named in pyproject.toml."]
    )


@pytest.mark.parametrize("dependency", HOME)
def test_a_dependency_has_one_home(dependency: str) -> None:
    uses = [one for one in IMPORTS if not one.level and one.module.split(".")[0] == dependency]
    assert uses, f"{dependency} is a dependency, but {HOME[dependency]} does not import it: drop it from pyproject.toml"
    wrong = [str(one) for one in uses if one.file != HOME[dependency]]
    assert not wrong, f"{wrong}: only gateway/{HOME[dependency]} may import {dependency}; re-export what you need there"
    wrong = [str(one) for one in uses if one.plain]
    assert not wrong, f"{wrong}: write `from {dependency} import ...`, so that one edit moves it to another package"


def test_no_import_in_a_function() -> None:
    """But for the standard library's modules that rare paths need: the start does not pay for them.

    Each says so on its line, beside the `noqa` that ruff asks for.  Our own floors have no such way round: among them an
    import in a function hides a cycle.
    """
    wrong = [
        str(one)
        for one in IMPORTS
        if one.in_function and one.file not in LAZY and (one.level or one.module.split(".")[0] not in STANDARD)
    ]
    assert not wrong, f"{wrong}: import at the top; if that makes a cycle, the code stands on the wrong floor"


def test_no_type_checking_guard() -> None:
    """Around imports of our own; what mypy is to see of the standard library's makes no cycle."""
    wrong = [
        f"gateway/{path.relative_to(PACKAGE)}:{one.lineno}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for part in node.body
        for one in ast.walk(part)
        if (isinstance(one, ast.ImportFrom) and one.level)
        or (isinstance(one, ast.Import) and "gateway" in ast.dump(one))
    ]
    assert not wrong, f"{wrong}: a guard hides an import cycle; move the shared type down into model or ports"
