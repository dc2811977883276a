"""What the gateway costs: micro-benchmarks, instruction counts with accepted figures, and how costs grow.

    python -m tests.bench            a table of the micro-benchmarks
    python -m tests.bench --check    fails where a hot path costs a tenth more instructions than was accepted
    python -m tests.bench.growth     cost per token, connection and turn as their number grows, with a picture
    python -m tests.bench.peers      README's table from the output of a benchmark against other servers

`README.md` beside this file says more.
"""
