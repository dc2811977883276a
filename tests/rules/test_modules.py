"""What every module of the package has: a purpose, a list of what it offers, a readable size."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

import gateway

PACKAGE = Path(gateway.__file__).parent
FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}

FILE_LINES = 430
FUNCTION_LINES = 60
LONG_FUNCTIONS: dict[str, str] = {}
"""`file.py:function` -> why it cannot be two functions."""

API = {
    "Agent",
    "AgentError",
    "Call",
    "Caller",
    "ChatRequest",
    "ConfigError",
    "Gateway",
    "GatewayError",
    "Image",
    "Key",
    "Limits",
    "Message",
    "PeerGone",
    "Rate",
    "ReasoningDelta",
    "RequestError",
    "RpcError",
    "RunDone",
    "RunFailed",
    "RunInput",
    "ToolCallDelta",
    "ToolError",
    "Usage",
    "__version__",
}


def module_name(file: str) -> str:
    return ".".join(["gateway", *file.removesuffix(".py").removesuffix("__init__").strip("/").split("/")]).strip(".")


def kind(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest: the order ruff asks for."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("file", FILES)
def test_module(file: str) -> None:
    source = FILES[file].read_text(encoding="utf-8")
    tree = ast.parse(source)
    assert ast.get_docstring(tree), f"gateway/{file}: begin with a docstring that says what the module is for"
    assert "from __future__ import annotations" in source, f"gateway/{file}: add `from __future__ import annotations`"

    module = importlib.import_module(module_name(file))
    names = [name for name in getattr(module, "__all__", ()) if not name.startswith("__")]
    assert hasattr(module, "__all__"), f"gateway/{file}: add `__all__` (`__all__: list[str] = []` for nothing)"
    assert names == sorted(set(names), key=kind), f"gateway/{file}: sort `__all__`: {sorted(set(names), key=kind)}"
    missing = [name for name in names if not hasattr(module, name)]
    assert not missing, f"gateway/{file}: `__all__` promises {missing}, which the module does not have"
    public = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_")
    }
    hidden = sorted(public - set(names))
    assert not hidden, f"gateway/{file}: put {hidden} into `__all__`, or let the names begin with an underscore"


@pytest.mark.parametrize("file", FILES)
def test_size(file: str) -> None:
    source = FILES[file].read_text(encoding="utf-8")
    lines = len(source.splitlines())
    assert lines <= FILE_LINES, (
        f"gateway/{file} has {lines} lines (limit {FILE_LINES}): move its second noun to a module"
    )
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and f"{file}:{node.name}" not in LONG_FUNCTIONS:
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_LINES, (
                f"gateway/{file}:{node.lineno} {node.name} has {length} lines (limit {FUNCTION_LINES}): "
                f"name the second thing it does, and make that a function"
            )


def test_long_functions_still_exist() -> None:
    found = {
        f"{file}:{node.name}"
        for file, path in FILES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= FUNCTION_LINES
    }
    stale = LONG_FUNCTIONS.keys() - found
    assert not stale, f"{sorted(stale)} need no exception any more: remove them from LONG_FUNCTIONS"


def test_public_api() -> None:
    assert set(gateway.__all__) == API, (
        "the public names changed: if that is meant, change API here and the changelog in README.md as well"
    )


def test_type_checkers_see_the_same() -> None:
    stub = PACKAGE / "__init__.pyi"
    if not stub.exists():
        pytest.skip("no stub: type checkers read the module itself")
    told = {
        alias.asname or alias.name
        for node in ast.parse(stub.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    assert told == API - {"__version__"}, "gateway/__init__.pyi must import exactly what __all__ names"


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = gateway.no_such_name  # type: ignore[attr-defined]  # that is the point


def test_version_is_a_literal() -> None:
    source = (PACKAGE / "__init__.py").read_text(encoding="utf-8")
    assert re.search(r'^__version__ = "\d+\.\d+\.\d+"$', source, re.MULTILINE), (
        "write __version__ as a literal: a vendored copy has no package metadata to look it up in"
    )


def test_typed() -> None:
    assert (PACKAGE / "py.typed").is_file(), "py.typed is gone: without it no type checker believes our annotations"


def test_family_names_stand_in_one_table() -> None:
    # The product's name in prose, OpenClaw, is a word like any other; the spelling that programs compare is not.
    spelled = re.compile(r"openclaw|clawdbot|moltbot|OPENCLAW|CLAWDBOT|MOLTBOT")
    wrong = [
        f"gateway/{file}:{number}"
        for file, path in FILES.items()
        if file != "model/names.py"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if spelled.search(line)
    ]
    assert not wrong, f"{wrong}: take the names from gateway/model/names.py, which is the only place that spells them"


def test_no_transport_is_known_by_its_class() -> None:
    """A transport of uvloop is of no class of asyncio: whoever asks is told that it is none."""
    asked = re.compile(r"isinstance\([^)]*\b(?:Base|Read|Write|Subprocess|Datagram)?Transport\b")
    wrong = [
        f"gateway/{file}:{number}"
        for file, path in FILES.items()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if asked.search(line)
    ]
    assert not wrong, f"{wrong}: write cast(...), and rely on what is called"
