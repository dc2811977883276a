"""`gateway chat`: talk with an agent of a running gateway, in a terminal or through a pipe."""

from __future__ import annotations

import asyncio
import signal
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from .chat_view import ChatView
from .console import INTERRUPTED, WRONG_USAGE, UnansweredError, complain
from .conversation import Conversation
from .lines import Lines
from .place import Place, add_place, find_place
from .rpc import WRITE, Patience, connected
from .signals import concluded

__all__ = ["add_arguments", "execute"]

HISTORY = 20
MAX_HISTORY = 1000
"""What `chat.history` takes for its `limit`."""


def add_arguments(parser: ArgumentParser) -> None:
    """The flags of the command."""
    parser.add_argument("--agent", metavar="ID", help="the agent; default: the gateway's default agent")
    parser.add_argument("--session-key", metavar="KEY", help="the session to go on with; default: the agent's main one")
    parser.add_argument(
        "--history",
        metavar="N",
        type=_count,
        default=HISTORY,
        help=f"how many of the messages before to show, 0 to {MAX_HISTORY}. Default: %(default)d.",
    )
    add_place(parser)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > MAX_HISTORY:
        raise ArgumentTypeError(f"{text!r} is not a number of messages, 0 to {MAX_HISTORY}")
    return int(text)


def execute(options: Namespace) -> int:
    """Talk; returns the exit code.  Raises ConfigError."""
    if sys.stdin is None:
        complain("standard input is closed: there is nobody to talk with")
        return WRONG_USAGE
    return concluded(_chat(find_place(options), options))


async def _chat(place: Place, options: Namespace) -> int:
    view = ChatView()
    lines = Lines()
    conversation = Conversation(view, options.session_key, options.agent, options.history, lines.done)
    with _interrupts(conversation):
        try:
            lines.start(conversation.heard)
            return await _stay(place, conversation, view)
        except asyncio.CancelledError:
            if not conversation.interrupted:
                raise
            return INTERRUPTED
        finally:
            view.end()


async def _stay(place: Place, conversation: Conversation, view: ChatView) -> int:
    """Talk over one connection after the other; returns the exit code."""
    patience = Patience(view.note)
    while True:
        try:
            async with connected(place, WRITE, {"chat", "session.message", "shutdown"}) as rpc:
                patience.connected()
                return await conversation.talk(rpc)
        except UnansweredError as error:
            view.end()
            await patience.pause(error)


@contextmanager
def _interrupts(conversation: Conversation) -> Iterator[None]:
    """Let Ctrl-C end an answer rather than the program."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def interrupt() -> None:
        if not conversation.interrupt():
            task.cancel()

    def handle(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(interrupt)

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
