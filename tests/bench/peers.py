"""README's table of the gateway beside other servers, from what a benchmark of all of them has written.

    python -m tests.bench.peers out.json out.txt --command './bench.py ...' --readme

`out.txt` is what the benchmark prints, a Markdown table for each workload; `out.json` what its `--json` writes, every
sample.  Either will do: the tables are taken from the text, the machine and the workloads' primary figures from
whichever is there, those of the samples first.  `--readme` puts the result between README.md's marks.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

__all__ = ["Cell", "Report", "from_json", "from_text", "main", "rendered"]

README = Path(__file__).resolve().parents[2] / "README.md"
MARKS = re.compile(r"(<!-- peers: begin -->\n)(.*?)(<!-- peers: end -->)", re.DOTALL)
OURS = "gateway"

TITLES = {
    "w1": "W1: JSON completion, heads repeat, us/request",
    "w1u": "W1u: JSON completion, no two heads alike, us/request",
    "w2": "W2: SSE, 200 tokens at once, us/token",
    "w2s": "W2s: SSE, a turn of the loop before each token, us/token",
    "w2p": "W2p: SSE, 500 streams, 10 ms between tokens, us/token",
    "w3": "W3: idle connection, KiB",
    "w4-64": "W4: WebSocket echo, 64 B, us/round trip",
    "w4-4096": "W4: WebSocket echo, 4 KiB, us/round trip",
    "w5-burst": "W5: relay of a stream, all at once, us/token",
    "w5-paced": "W5: relay of a stream, 10 ms between tokens, us/token",
    "cold": "start to listening, ms",
}
"""What the primary figure of each workload is, by the benchmark's name for it."""

_BEGINNINGS = {
    "w1": "W1: ", "w1u": "W1u: ", "w2": "W2: ", "w2s": "W2s: ", "w2p": "W2p: ", "w3": "W3: ",
    "w4-64": "W4: WebSocket text echo, 64 B", "w4-4096": "W4: WebSocket text echo, 4 KiB",
    "w5-burst": "W5: relay of an upstream SSE stream, burst", "w5-paced": "W5: relay of an upstream SSE stream, 10 ms",
    "cold": "Cold start",
}  # fmt: skip
"""How the headings of the benchmark's tables begin."""


class Cell(NamedTuple):
    """The primary figure of one server, and `ratio` to the gateway's, with the lowest and highest of the rounds."""

    primary: float
    ratio: str


class Report(NamedTuple):
    """By workload and server.  `note` tells the machine; `tables` are those of the text, as they stand there."""

    note: str
    cells: Mapping[str, Mapping[str, Cell]]
    tables: str = ""


def from_text(text: str) -> Report:
    """Reads what the benchmark prints; what stands before its first line of the machine is left out."""
    note = next((line for line in text.splitlines() if re.search(r"Python 3\.\d+\.\d+; \d+ round", line)), "")
    if not note:
        raise ValueError("this is not what the benchmark prints: no line tells the machine and the rounds")
    tables = text[text.index(note) + len(note) :].strip()
    cells: dict[str, dict[str, Cell]] = {}
    for title, body in re.findall(r"^### (.*)\n\n((?:.|\n)*?)(?=^### |\Z)", tables + "\n", re.MULTILINE):
        name = next((name for name, start in _BEGINNINGS.items() if title.startswith(start)), None)
        if name is None:
            raise ValueError(f"an unknown workload: {title}")
        head, _, *rows = [_columns(line) for line in body.splitlines() if line.startswith("|")]
        ratio = next(number for number, column in enumerate(head) if column.startswith("vs gateway"))
        cells[name] = {
            row[0].strip("*"): Cell(float(row[1].replace(",", "")), row[ratio])
            for row in rows
            if re.fullmatch(r"[\d.,]+", row[1])
        }
    return Report(note, cells, tables)


def _columns(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def from_json(text: str) -> Report:
    """Reads what `--json` writes."""
    told = json.loads(text)
    cells = {}
    for name, rows in told["loads"].items():
        samples = {server: row["samples"] for server, row in rows.items() if row["samples"] and server != "direct"}
        ours = samples.get(OURS, [])
        cells[name] = {
            server: Cell(median(one["primary"] for one in found), _ratio(found, ours))
            for server, found in samples.items()
        }
    return Report(told["machine"], cells)


def _ratio(samples: Sequence[Mapping[str, Any]], ours: Sequence[Mapping[str, Any]]) -> str:
    """Round by round, as the benchmark does."""
    pairs = sorted(one["primary"] / other["primary"] for one, other in zip(samples, ours, strict=False))
    if not pairs:
        return "-"
    return f"{median(pairs):.2f}x ({pairs[0]:.2f}-{pairs[-1]:.2f})"


def rendered(report: Report, date: str, command: str) -> str:
    """Markdown: one table of all, and the benchmark's own folded up below it."""
    return "\n".join(_lines(report, date, command)) + "\n"


def _lines(report: Report, date: str, command: str) -> Iterator[str]:
    servers = sorted({server for rows in report.cells.values() for server in rows} - {OURS})
    yield f"{report.note}; {date}, `{command}`."
    yield ""
    yield f"| | **{OURS}** | " + " | ".join(servers) + " |"
    yield "| --- |" + " ---: |" * (len(servers) + 1)
    for name, rows in report.cells.items():
        others = [f"{rows[one].primary:,.2f}, {rows[one].ratio}" if one in rows else "" for one in servers]
        ours = f"**{rows[OURS].primary:,.2f}**" if OURS in rows else "failed"
        yield f"| {TITLES[name]} | {ours} | " + " | ".join(others) + " |"
    if report.tables:
        yield ""
        yield "<details><summary>All columns</summary>"
        yield ""
        for line in report.tables.splitlines():
            yield re.sub(r"^### (.*)$", r"**\1**", line)  # its headings are not README's
        yield ""
        yield "</details>"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers", description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="what the benchmark printed, or its --json")
    parser.add_argument("--date", default=f"{datetime.now(UTC):%Y-%m-%d}", help="of the run (default: today)")
    parser.add_argument("--command", default="bench.py", help="what was run")
    parser.add_argument("--readme", action="store_true", help="put it into README.md, instead of printing it")
    options = parser.parse_args(arguments)
    reports = []
    for path in options.files:
        text = path.read_text(encoding="utf-8")
        try:
            reports.append(from_json(text) if text.lstrip().startswith("{") else from_text(text))
        except (ValueError, KeyError) as error:
            print(f"{path}: {error}", file=sys.stderr)
            return 2
    best = next((one for one in reports if not one.tables), reports[0])
    report = best._replace(tables=next((one.tables for one in reports if one.tables), ""))
    text = rendered(report, options.date, options.command)
    if not options.readme:
        print(text)
        return 0
    readme = README.read_text(encoding="utf-8")
    if not MARKS.search(readme):
        print("README.md has no place for it: <!-- peers: begin -->", file=sys.stderr)
        return 2
    README.write_text(MARKS.sub(lambda found: found[1] + text + found[3], readme), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
