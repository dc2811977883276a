"""Run a target.

    python -m fuzz.run TARGET                        until interrupted: with atheris, or at random without it
    python -m fuzz.run TARGET --seconds 3600         for an hour
    python -m fuzz.run TARGET --random --runs 10000 --seed 1
    python -m fuzz.run TARGET FILE...                again what was found
    python -m fuzz.run TARGET - < FILE               one input from standard input, as AFL wants it
    python -m fuzz.run TARGET -- -jobs=2 ...         with options of libFuzzer

Without FILE it starts from corpus/TARGET and dict/TARGET.dict.  What fails is written to `crash-...` in the current
folder, with the traceback on standard error; the exit code is then not 0.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from hashlib import sha1
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

from . import FOLDER, names
from .mutate import Mutator, read_dictionary

__all__ = ["MAX_INPUT", "load", "main", "mutator_of", "run_at_random"]

OneInput = Callable[[bytes], None]

MAX_INPUT = 2048
"""Bytes of an input, where none of libFuzzer's options says otherwise.  The limits that the targets set are smaller."""

WATCHED = ["gateway", "h11", "wsproto"]
"""What atheris watches: new paths there make an input worth keeping."""


def load(target: str) -> OneInput:
    one_input: OneInput = import_module(f"fuzz.targets.{target}").one_input
    return one_input


def corpus_of(target: str) -> list[Path]:
    """In the order of their names, so that random runs repeat."""
    return sorted(path for path in (FOLDER / "corpus" / target).glob("*") if path.is_file())


def dictionary_of(target: str) -> Path:
    return FOLDER / "dict" / f"{target}.dict"


def mutator_of(target: str) -> Mutator:
    return Mutator(read_dictionary(dictionary_of(target)), [path.read_bytes() for path in corpus_of(target)])


def run_at_random(target: str, one_input: OneInput, *, seed: int, runs: int | None, seconds: float | None) -> int:
    """The corpus, then inputs out of it that are changed at random; the same seed gives the same ones.

    Returns how many of these ran.  A fault is raised as it came, with the input in a file.
    """
    for path in corpus_of(target):
        _try(one_input, path.read_bytes())
    mutator = mutator_of(target)
    random = Random(f"{target} {seed}")
    until = None if seconds is None else time.monotonic() + seconds
    done = 0
    while (runs is None or done < runs) and (until is None or time.monotonic() < until):
        _try(one_input, mutator.fresh(random, MAX_INPUT))
        done += 1
    return done


def _try(one_input: OneInput, data: bytes) -> None:
    try:
        one_input(data)
    except Exception:
        name = f"crash-{sha1(data, usedforsecurity=False).hexdigest()}"
        Path(name).write_bytes(data)
        print(f"the input is in {name}: {data[:400]!r}", file=sys.stderr)
        raise


def run_atheris(target: str, arguments: Sequence[str], seconds: float | None) -> None:
    """Never returns: libFuzzer ends the process."""
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=WATCHED):
        one_input = load(target)
    mutator = mutator_of(target)

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        if seed % 2:
            mutated: bytes = atheris.Mutate(data, max_size)
            return mutated
        return mutator.change(data, Random(seed), max_size)

    options = [f"-max_len={MAX_INPUT}", f"-dict={dictionary_of(target)}"]
    if seconds is not None:
        options.append(f"-max_total_time={seconds:g}")
    folders = []
    if all(argument.startswith("-") for argument in arguments):  # new inputs go to the first folder, not into ours
        folders = [tempfile.mkdtemp(prefix=f"fuzz-{target}-"), str(FOLDER / "corpus" / target)]
    atheris.Setup([sys.argv[0], *options, *arguments, *folders], one_input, custom_mutator=mutate)
    atheris.Fuzz()


def run_standard_input(one_input: OneInput) -> int:
    """AFL takes only a signal for a fault."""
    data = sys.stdin.buffer.read()
    try:
        one_input(data)
    except Exception:
        traceback.print_exc()
        sys.stderr.flush()
        os.abort()
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    split = given.index("--") if "--" in given else len(given)
    parser = argparse.ArgumentParser(
        prog="python -m fuzz.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", choices=names())
    parser.add_argument("files", nargs="*", metavar="FILE", help="inputs to run once; - for standard input")
    parser.add_argument("--random", action="store_true", help="the random mutator, even where atheris is installed")
    parser.add_argument("--seed", type=int, default=0, help="of the random mutator")
    parser.add_argument("--runs", type=int, help="how many inputs; without it and --seconds until interrupted")
    parser.add_argument("--seconds", type=float)
    options = parser.parse_args(given[:split])
    if options.files == ["-"]:
        return run_standard_input(load(options.target))
    if options.files:
        one_input = load(options.target)
        for file in options.files:
            one_input(Path(file).read_bytes())
        print(f"{options.target}: {len(options.files)} inputs, nothing found")
        return 0
    if options.random or find_spec("atheris") is None:
        start = time.monotonic()
        done = run_at_random(
            options.target, load(options.target), seed=options.seed, runs=options.runs, seconds=options.seconds
        )
        print(f"{options.target}: {done} inputs in {time.monotonic() - start:.1f} s, nothing found")
        return 0
    more = [] if options.runs is None else [f"-runs={options.runs}"]
    run_atheris(options.target, [*more, *given[split + 1 :]], options.seconds)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
