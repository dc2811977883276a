"""Runs micro-benchmarks to have their instructions counted from outside: `python -m tests.bench.counted NAME ...`.

Prepares each, does its short run, then its long one.  Between them it marks where it is for callgrind, which writes
what it has counted whenever `sched_yield` is called (`counting.py` has it do so), a function that nothing else calls.
With `--only short` or `--only long` one run only, for a tool that counts whole processes.
"""

from __future__ import annotations

import argparse
import gc
import os

from .benches import BENCHES, REFERENCE

__all__: list[str] = []


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="+")
    parser.add_argument("--only", choices=("short", "long"))
    options = parser.parse_args()
    known = {one.name: one for one in (*BENCHES, REFERENCE)}
    for name in options.names:
        one = known[name]
        short, long = one.rounds
        with one.make() as run:
            run(short)  # so that the interpreter has specialized what it is going to
            gc.collect()
            gc.freeze()  # what the benchmarks before this one have left is not looked at again
            if options.only:
                run(short if options.only == "short" else long)
                continue
            os.sched_yield()
            run(short)
            os.sched_yield()
            run(long)
            os.sched_yield()
        gc.unfreeze()


if __name__ == "__main__":
    main()
