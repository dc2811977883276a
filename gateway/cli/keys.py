"""`gateway keys`: make the secret of a key, and what to write into the configuration for it."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from argparse import ArgumentParser, Namespace

from ..config.fields import Wrong
from ..config.values import key_id
from .console import WRONG_USAGE, complain, say, write

__all__ = ["add_arguments", "execute"]

SECRET_BYTES = 32
"""Random ones: there is nothing to try out, so a quick hash of them is as good as a slow one."""

PREFIX = "gw-"
"""So that people and scanners for lost secrets see what it is."""

LEAST_CHARACTERS = 22
"""Of a secret that may be hashed: 128 bits in base64.  Whatever people can remember is found again from its SHA-256."""

MOST_BYTES = 4096
"""Of a secret on standard input: no header carries a longer one."""


def add_arguments(parser: ArgumentParser) -> None:
    """The flags of the command."""
    parser.add_argument(
        "action",
        choices=("new", "hash"),
        help="new: make a random secret, and print it and the key's line for the configuration; "
        "hash: read a secret of your own from standard input, and print its hash",
    )
    parser.add_argument("--id", metavar="ID", default="new-key", help="for `new`: the key's id. Default: new-key.")


def execute(options: Namespace) -> int:
    """Make or hash a secret; returns the exit code."""
    return _new(options.id) if options.action == "new" else _hash()


def _new(name: str) -> int:
    try:
        key_id(name)
    except Wrong as error:
        complain(f"--id: {error}")
        return WRONG_USAGE
    secret = PREFIX + os.urandom(SECRET_BYTES).hex()
    say("The secret, shown only here; give it to the client:")
    write(f"{secret}\n")
    say("The line for gateway.auth.keys in the configuration:")
    write(f'{{ id: "{name}", hash: "{_digest(secret.encode())}" }},\n')
    return 0


def _hash() -> int:
    data = sys.stdin.buffer.read(MOST_BYTES + 1)
    secret = data.strip(b" \t\r\n")
    if not secret or len(data) > MOST_BYTES or re.search(rb"[\x00-\x1f\x7f]", secret):
        complain("standard input has to hold one secret: one line without control characters")
        return WRONG_USAGE
    if len(secret) < LEAST_CHARACTERS:
        complain(
            f"this secret has fewer than {LEAST_CHARACTERS} characters: it could be found from its hash. "
            "Let `gateway keys new` make one, or write it as `secret`, or into a variable (`env`)"
        )
        return WRONG_USAGE
    write(f"{_digest(secret)}\n")
    return 0


def _digest(secret: bytes) -> str:
    return f"sha256:{hashlib.sha256(secret).hexdigest()}"
