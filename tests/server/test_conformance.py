"""Public conformance suites against the echo target and a whole gateway, where their folder is at hand.

Nothing may fail.  What is only less than perfect stands in a table, with the clause that speaks for it; the table holds
neither more nor less than what the suites find.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from processes import command

ROOT = Path(__file__).resolve().parents[2]
SUITES = Path(os.environ.get("GATEWAY_CONFORMANCE", ROOT.parent / "shared" / "conformance")) / "http"

pytestmark = [
    pytest.mark.skipif(
        not (SUITES / "run_cases.py").exists(),
        reason="no conformance suites: set GATEWAY_CONFORMANCE to the folder that holds http/run_cases.py",
    ),
    pytest.mark.timeout(180),
]


class Target(NamedTuple):
    """A server, and the statuses by which its application answers a good request that it does not serve."""

    name: str
    command: Sequence[str]
    accepts: Sequence[str]
    address: str = ""


ECHO = Target("echo", ("gateway.testing", "echo"), ("405",))
# Its `/` takes no POST, and other paths are not there; none of these is ever the answer to a malformed request.
GATEWAY = Target("gateway", ("gateway", "demo"), ("401", "404", "405"))


@pytest.fixture(scope="module", params=[ECHO, GATEWAY], ids=lambda target: target.name)
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    kind: Target = request.param
    started = command(*kind.command, "--port", "0")
    with subprocess.Popen(started, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            found = re.search(r"http://([0-9.]+:[0-9]+)", process.stdout.readline())
            assert found
            yield kind._replace(address=found[1])
        finally:
            process.terminate()
            process.stdout.read()


Rows = dict[str, dict[str, Any]]


def suite(runner: str, target: Target, accepts: str, out: Path, *options: str) -> Rows:
    """The rows of a runner by suite and id."""
    command = [sys.executable, str(SUITES / runner), target.address, "--accept", accepts, "--out", str(out), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=80, check=False)
    assert done.returncode in {0, 1}, done.stdout[-3000:] + done.stderr[-2000:]
    rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    return {f"{row.get('suite', '')} {row['id']}".strip(): row for row in rows}


BOTH = frozenset({"echo", "gateway"})
NOT_THERE = "the suite's own path for showing cookies; a gateway has no such page, and says 404"
NO_VALIDATORS = (
    "RFC 9110, 8.8: validators are for what is worth caching; no answer here has one, so none can be matched"
)
OWS = "RFC 9110, 5.5: white space around a value MUST be left out before it is read; refusing it would refuse good requests"


class Named(NamedTuple):
    """Why a verdict other than Pass is right: `where` it comes, and for which reason it stays."""

    verdict: str
    reason: str
    where: frozenset[str] = BOTH


PROBE = {
    "COMP-LEADING-CRLF": Named("Warn", "RFC 9112, 2.2: a server SHOULD ignore an empty line before a request line"),
    "RFC9112-3.2-FRAGMENT-IN-TARGET": Named(
        "Warn", "RFC 9110, 4.2.5 has it cut off by the client; clients that forget it exist, and it is cut off here"
    ),
    "COMP-GET-WITH-CL-BODY": Named("Warn", "RFC 9110, 9.3.1: no meaning, but allowed; it is read by its framing"),
    "COMP-HTTP10-NO-HOST": Named("Warn", "RFC 9112, 3.2 asks HTTP/1.1 for it; health checks speak HTTP/1.0 without"),
    "COMP-HTTP12-VERSION": Named("Warn", "RFC 9110, 15.6.6: there is no HTTP/1.2, so nobody knows what it would mean"),
    "COMP-ACCEPT-NONSENSE": Named(
        "Warn", "RFC 9110, 12.5.1: a server may disregard Accept and answer with what it has"
    ),
    "SMUG-CL-TRAILING-SPACE": Named("Warn", OWS),
    "SMUG-CL-EXTRA-LEADING-SP": Named("Warn", OWS),
    "MAL-CL-TAB-BEFORE-VALUE": Named("Warn", OWS),
    "SMUG-CL-LEADING-ZEROS": Named("Warn", "RFC 9110, 8.6: 1*DIGIT, a decimal number, with or without zeros in front"),
    "SMUG-CL-LEADING-ZEROS-OCTAL": Named("Warn", "the same: it is read as a decimal number, never as an octal one"),
    "SMUG-CL-DOUBLE-ZERO": Named("Warn", "the same: no content"),
    "SMUG-EXPECT-100-CL": Named("Warn", "RFC 9110, 10.1.1: the server MUST send 100 or a final answer; it does"),
    "SMUG-HEAD-CL-BODY": Named("Warn", "RFC 9110, 9.3.2: no meaning, but allowed; it is read by its framing"),
    "SMUG-OPTIONS-CL-BODY": Named("Warn", "RFC 9110, 9.3.7: OPTIONS may have content; it is read by its framing"),
    "SMUG-TRAILER-CONTENT-TYPE": Named("Warn", "RFC 9110, 6.5.1: a trailer is not merged into the header section here"),
    "SMUG-CL0-BODY-POISON": Named(
        "Warn", "RFC 9112, 9.3.2: what follows a request is the next one; `X` begins a method"
    ),
    "MAL-RANGE-OVERLAPPING": Named("Warn", "RFC 9110, 14.2: a server may ignore Range, and this one does"),
    "CAP-ETAG-304": Named("Warn", NO_VALIDATORS),
    "CAP-LAST-MODIFIED-304": Named("Warn", NO_VALIDATORS),
    "CAP-ETAG-IN-304": Named("Warn", NO_VALIDATORS),
    "CAP-INM-PRECEDENCE": Named("Warn", NO_VALIDATORS),
    "CAP-INM-WILDCARD": Named("Warn", NO_VALIDATORS),
    "CAP-INM-UNQUOTED": Named("Warn", NO_VALIDATORS),
    "CAP-ETAG-WEAK": Named("Warn", NO_VALIDATORS),
    "COOK-ECHO": Named("Fail", NOT_THERE, frozenset({"gateway"})),
    "COOK-MULTI-HEADER": Named("Warn", NOT_THERE, frozenset({"gateway"})),
    "COOK-PARSED-BASIC": Named("Warn", NOT_THERE, frozenset({"gateway"})),
    "COOK-PARSED-MULTI": Named("Warn", NOT_THERE, frozenset({"gateway"})),
    "COOK-PARSED-EMPTY-VAL": Named("Warn", NOT_THERE, frozenset({"gateway"})),
    "COOK-PARSED-SPECIAL": Named("Warn", NOT_THERE, frozenset({"gateway"})),
}

SILENT = (
    "RFC 9112, 2.1: the head is not complete, so there is nothing to answer yet; at its end, or in time, it is refused"
)
RAW = {
    "llhttp content-length#2 Error on `Content-Length` overflow": Named("WARN", SILENT),
    "llhttp content-length#3 Error on duplicate `Content-Length`": Named("WARN", SILENT),
    "llhttp invalid#18 Invalid HTTP version": Named("WARN", SILENT),
    "llhttp invalid#19 Invalid space after start line": Named("WARN", SILENT),
    "garden 32": Named("WARN", "RFC 9110, 8.6: 010 is ten, and eight bytes of them came; the rest is waited for"),
    "garden 74": Named("WARN", "RFC 9112, 9.3.2: NUL behind a good request is another one, which gets its own 400"),
}


def check(rows: Rows, table: dict[str, Named], target: Target) -> None:
    """What is not good is in the table, and the table holds nothing else."""
    expected = {name: named.verdict for name, named in table.items() if target.name in named.where}
    found = {name: row["verdict"] for name, row in rows.items() if row["verdict"].lower() != "pass"}
    assert found == expected


def test_probe(target: Target, tmp_path: Path) -> None:
    accepts = ",".join(target.accepts)
    rows = suite("run_probe.py", target, accepts, tmp_path / "rows")
    assert len(rows) > 200
    # A verdict depends on what comes within 0.15 s: on a busy machine, what differs is asked again, one at a time.
    for _ in range(2):
        expected = {name: named.verdict for name, named in PROBE.items() if target.name in named.where}
        late = [name for name, row in rows.items() if row["verdict"] != expected.get(name, "Pass")]
        if late:
            options = [option for name in late for option in ("--case", name)]
            rows |= suite("run_probe.py", target, accepts, tmp_path / "again", "--jobs", "1", *options)
    assert [row for row in rows.values() if row["scored"] and row["verdict"] in {"Fail", "Error"}] == []
    assert rows["COMP-HEAD-NO-BODY"]["observed"] == ["200 open"]  # of the application, and not only accepted
    check(rows, PROBE, target)


def test_raw_cases(target: Target, tmp_path: Path) -> None:
    rows = suite("run_cases.py", target, f"200-299,{','.join(target.accepts)}", tmp_path / "rows")
    assert len(rows) > 300
    short = {" ".join(name.split()[:2]) if name.startswith("garden") else name: row for name, row in rows.items()}
    assert [name for name, row in short.items() if row["verdict"] == "FAIL"] == []
    check(short, RAW, target)
    both = [row for row in rows.values() if row["expect"] == "te-close"]
    assert len(both) >= 10
    for row in both:  # Content-Length with Transfer-Encoding, however it is spelled: refused, and over
        assert (row["outcome"], row["statuses"], row["closed"]) == ("reject", [400], True), row["id"]


def test_the_tables_give_reasons() -> None:
    for named in (*PROBE.values(), *RAW.values()):
        assert named.reason == NOT_THERE or re.match(r"RFC 9\d\d\d, [0-9.]+|the same", named.reason)
        assert named.where
    assert all(named.where == {"gateway"} for named in PROBE.values() if named.verdict == "Fail")
