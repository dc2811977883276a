"""Fuzzing of everything that reads what a peer sends.

targets/    one module for each reader, with `one_input(data: bytes) -> None`; deterministic, raises what it finds
invariants  what holds of every reader: any cutting gives the same, an error is the end
llhttp      the independent reader of HTTP/1 and the reasoned list of where it may differ
frames      the same of WebSocket frames
driver      a server on the shipped doubles, and its answers as h11 reads them
loop        the event loop it runs in, whose time is virtual
mutate      mutations that know a grammar's words; the random mutator for where atheris is not installed
run         the command: atheris, random, standard input, or a file again
corpus/     small inputs for each target, findings among them; tests replay them all
dict/       the words of each grammar, in the syntax of libFuzzer and AFL
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["FOLDER", "names"]

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The targets there are, without importing any: atheris has to be told before what it shall watch."""
    return sorted(path.stem for path in (FOLDER / "targets").glob("[!_]*.py"))
