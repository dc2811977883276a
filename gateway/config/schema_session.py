"""Options: the sessions.  See `schema`."""

from __future__ import annotations

from . import kinds, product, values
from .fields import Boolean, Choice, Integer, ListOf, SectionClass, Text, Wrong, option, section
from .kinds import count, milliseconds

__all__ = ["Queue", "Session"]


def _header(text: str) -> str:
    """Not one that holds secrets, which would end up in the keys of sessions."""
    values.header_name(text)
    if text.lower() in {"authorization", "cookie", "proxy-authorization"}:
        raise Wrong("this header holds secrets: no session can be named by it")
    return text


class Queue(SectionClass):
    mode: str = option(
        "queue",
        "What becomes of a request whose session is busy: it waits, it is refused, or it ends the run under way.",
        Choice(("queue", "reject", "interrupt")),
    )
    max_waiting: int = count(64, "The most requests that wait for one session.", 0)
    max_wait_ms: int = milliseconds(60_000, "The longest that each waits.")


YEAR_MINUTES = 366 * 24 * 60


class Session(SectionClass):
    IGNORED = product.SESSION

    sources: tuple[str, ...] = option(
        ("header", "user"),
        "Where a request's session comes from, the first that says something: the session-key `header`, a `chat-id` "
        "(one of chatIdHeaders), the `user` of the request.",
        ListOf(Choice(("header", "chat-id", "user"))),
    )
    chat_id_headers: tuple[str, ...] = option(
        ("X-OpenWebUI-Chat-Id", "X-Chat-Id", "X-Conversation-Id", "X-Thread-Id"),
        "The headers in which chat programs name a conversation, for `chat-id`.",
        # Open WebUI sends the first, LibreChat what its `headers` say (in its examples the third):
        # https://docs.openwebui.com, https://www.librechat.ai/docs.
        ListOf(Text("header name", _header)),
    )
    queue: Queue = section(Queue)
    max_sessions: int = count(10_000, "Sessions kept; the one unused for longest goes first.")
    max_turns: int = count(200, "Turns kept of one session, and given to a model; its oldest go first.", 1)
    max_chars: int = option(
        400_000,
        "Characters kept of one session, and given to a model; its oldest turns go first. A picture counts as 4,000, "
        "and one more for each 32 bytes.",
        Integer(1_000, 100_000_000),
    )
    max_bytes: int = option(
        1 << 30,
        "Bytes kept of all sessions together; the one unused for longest goes first.",
        Integer(1 << 20, 1 << 50),
    )
    idle_minutes: int = option(
        0, "Minutes after its last turn for which a session is kept; 0 for no end.", Integer(0, 10 * YEAR_MINUTES)
    )
    store: str | None = option(
        None,
        "Where sessions are kept: `sqlite`, a file in the state folder (`GATEWAY_STATE_DIR` or one of the product's "
        "variables, else `~/.gateway`), a file of your own, or `memory`, until the end of the process.",
        kinds.StoreName(),
        shown="sqlite; embedded gateways: memory",
    )
    slash_commands: bool | None = option(
        None,
        "Answer `/status`, `/new`, `/reset`, `/stop` and `/model` of an operator, instead of giving them to the agent: "
        "`true` everywhere, `false` nowhere. Unset: where people type (`chat.send` over WebSocket), and not over HTTP, "
        "where a program may mean such a text as it stands.",
        Boolean(),
    )
