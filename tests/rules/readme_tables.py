"""The tables of README.md that are made from the code.  `python tests/rules/readme_tables.py` renews them."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]  # so that it runs as a script

from gateway.api.metrics import UNANSWERED  # noqa: E402 - after the path it needs
from gateway.config import markdown  # noqa: E402 - as above
from gateway.metering import SERIES  # noqa: E402 - as above

__all__ = ["between", "limits", "series", "tables"]

LIMITS = ("server/limits.py", "wire/http1.py", "server/link.py", "throttle.py", "api/idempotency.py")


def limits() -> str:
    """The fields of the dataclasses `...Limits`, with their defaults and the reasons that stand below them."""
    rows = ["| Limit | | Reason |", "| --- | --- | --- |"]
    for file in LIMITS:
        for node in ast.parse((ROOT / "gateway" / file).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and node.name.endswith("Limits"):
                rows += [
                    _row(file, *pair) for pair in zip(node.body, node.body[1:], strict=False) if _is_limit(pair[0])
                ]
    return "\n".join(rows) + "\n"


def _is_limit(node: ast.stmt) -> bool:
    return isinstance(node, ast.AnnAssign) and node.value is not None and not isinstance(node.value, ast.Call)


def _row(file: str, field: ast.stmt, below: ast.stmt) -> str:
    assert isinstance(field, ast.AnnAssign)
    assert field.value is not None
    reason = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else None
    assert isinstance(reason, str), f"gateway/{file}:{field.lineno}: give the reason for the limit in a string below it"
    value = eval(compile(ast.Expression(field.value), file, "eval"))
    shown = str(value).lower() if isinstance(value, bool) else f"{value:,}".removesuffix(".0")
    return f"| `{ast.unparse(field.target)}` | {shown} | {' '.join(reason.split())} |"


def series() -> str:
    """What is counted, under the names that it is told with."""
    rows = ["| Name | Kind | Labels | What it tells |", "| --- | --- | --- | --- |"]
    for name, kind, labels, text in (*SERIES, UNANSWERED):
        told = f"{name}_total" if kind == "counter" else name
        rows.append(f"| `{told}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {text} |")
    return "\n".join(rows) + "\n"


def tables() -> dict[str, str]:
    return {"options": markdown(), "limits": limits(), "metrics": series()}


def between(name: str) -> re.Pattern[str]:
    """Where the table stands in README.md; group 2 is the table."""
    return re.compile(rf"(<!-- {name}: begin -->\n)(.*?)(<!-- {name}: end -->)", re.DOTALL)


def main() -> None:
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8")
    for name, table in tables().items():
        text = between(name).sub(lambda found, table=table: found[1] + table + found[3], text)  # type: ignore[misc]  # a default binds the loop's value
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
