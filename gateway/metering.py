"""What is counted of one gateway, put together: names, help, and where the figures come from.  Loaded where it is asked
for.
"""

from __future__ import annotations

import sys
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from . import __version__, vitals
from .agents.counted import CountedRuns
from .model.metrics import Distribution, Family, Sample, Series
from .server.counted import WEBSOCKET, CountedAnswers
from .server.server import Server
from .server.services import Answered
from .tallies import Cell, Histogram, Key

__all__ = ["SERIES", "Metering"]

LAG_SECONDS = 1.0
"""Between two looks at how late the event loop is: often enough to see a loop that is held up again and again."""

_LAGS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


SERIES = (
    Series("gateway_build_info", "gauge", ("version", "python"), "1, with the versions of the gateway and of Python."),
    Series("gateway_start_time_seconds", "gauge", (), "When the gateway was made, in seconds since the epoch."),
    Series("gateway_ready", "gauge", (), "1 while it takes requests, 0 while it starts or drains."),
    Series("gateway_connections", "gauge", (), "Open connections, WebSockets among them."),
    Series("gateway_websocket_connections", "gauge", (), "Open WebSockets."),
    Series("gateway_websocket_clients", "gauge", (), "Clients of the WebSocket protocol that have said who they are."),
    Series("gateway_http_requests", "counter", ("route", "code"), "Requests that are over, by the status answered."),
    Series("gateway_http_request_duration_seconds", "histogram", ("route",), "From its head to the end of its answer."),
    Series("gateway_cuts", "counter", ("limit",), "Connections and requests that a limit has ended or refused."),
    Series("gateway_runs", "counter", ("agent", "outcome"), "Runs of agents that are over, or were refused."),
    Series("gateway_run_duration_seconds", "histogram", ("agent",), "From the start of the agent to its end."),
    Series("gateway_run_first_token_seconds", "histogram", ("agent",), "From the start of an agent until it is heard."),
    Series("gateway_runs_in_flight", "gauge", ("agent",), "Runs under way."),
    Series("gateway_runs_waiting", "gauge", (), "Runs that wait for the one before them in their session."),
    Series("gateway_tokens", "counter", ("agent", "model", "type"), "Tokens that agents say they have used."),
    Series("gateway_session_store_seconds", "histogram", ("operation",), "How long the session store took."),
    Series("gateway_event_loop_delay_seconds", "histogram", (), "How late a timer was that is due each second."),
    Series("process_cpu_seconds", "counter", (), "CPU time in user and system mode."),
    Series("process_resident_memory_bytes", "gauge", (), "Memory in RAM."),
    Series("process_open_fds", "gauge", (), "Open file descriptors."),
    Series("process_max_fds", "gauge", (), "How many there may be."),
    Series("process_start_time_seconds", "gauge", (), "When the process was started, in seconds since the epoch."),
)  # fmt: skip
"""All there are, in the order in which they are told."""


class Metering:
    """The figures of a gateway whose runs are `runs`; `since` is when it was made, in seconds since the epoch.

    `look` tells whether it is ready, and gives its server and its WebSocket protocol, `control.service.Control`, as far
    as there are any.
    """

    def __init__(self, runs: CountedRuns, since: float, look: Callable[[], tuple[bool, Server | None, Any]]) -> None:
        self._runs = runs
        self._since = since
        self._gateway = look
        self._answers: CountedAnswers | None = None
        self._lag = Histogram(_LAGS)
        self._timer: TimerHandle | None = None
        self._due = 0.0

    def start(self, loop: AbstractEventLoop) -> None:
        """Begin to look at how late the loop is."""
        self._due = loop.time() + LAG_SECONDS
        self._timer = loop.call_at(self._due, self._look, loop)

    def close(self) -> None:
        """Keep no timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self, loop: AbstractEventLoop) -> None:
        self._lag.observe((), max(0.0, loop.time() - self._due))
        self.start(loop)

    def observer(
        self, route: Callable[[str], str], log: Callable[[Answered, float], None] | None
    ) -> Callable[[Answered, float], None]:
        """What is told of answers: it counts them, and tells `log` of them too."""
        self._answers = answers = CountedAnswers(route)
        if log is None:
            return answers.count

        def both(answered: Answered, seconds: float) -> None:
            answers.count(answered, seconds)
            log(answered, seconds)

        return both

    def families(self) -> tuple[Family, ...]:
        """All figures, as they are now; those that the system does not tell are left out."""
        figures = self._figures()
        found = []
        for name, kind, labels, text in SERIES:
            samples = tuple(
                Sample(tuple(zip(labels, key, strict=True)), value) for key, value in figures[name] if value is not None
            )
            if samples or labels:
                found.append(Family(name, kind, text, samples))
        return tuple(found)

    def _figures(self) -> dict[str, Sequence[tuple[Key, Any]]]:
        runs = self._runs
        ready, server, control = self._gateway()
        tokens = (("prompt", runs.prompt_tokens), ("completion", runs.completion_tokens))
        ended = [(key, sum(cell[:-1])) for key, cell in runs.ended.values.items()]
        answers = self._answers.seconds if self._answers is not None else Histogram()
        cuts = {} if server is None else server.cuts
        single = {
            "gateway_start_time_seconds": self._since,
            "gateway_ready": int(ready),
            "gateway_connections": 0 if server is None else server.connections,
            "gateway_websocket_connections": 0 if server is None else server.websockets,
            "gateway_websocket_clients": 0 if control is None else len(control.hub.clients),
            "gateway_runs_waiting": runs.waiting,
            "gateway_event_loop_delay_seconds": self._lag.distribution(*self._lag.values.values()),
            "process_cpu_seconds": vitals.cpu_seconds(),
            "process_resident_memory_bytes": vitals.resident_bytes(),
            "process_open_fds": vitals.open_files(),
            "process_max_fds": vitals.most_files(),
            "process_start_time_seconds": vitals.started_at(),
        }
        return {name: [((), value)] for name, value in single.items()} | {
            "gateway_build_info": [((__version__, sys.version.partition(" ")[0]), 1)],
            "gateway_http_requests": [(key, sum(cell[:-1])) for key, cell in answers.values.items()],
            "gateway_http_request_duration_seconds": _by_first(
                answers, ((key, cell) for key, cell in answers.values.items() if key[0] != WEBSOCKET)
            ),
            "gateway_cuts": [((name,), count) for name, count in cuts.items()],
            "gateway_runs": ended + [((agent, "refused"), count) for (agent,), count in runs.refused.values.items()],
            "gateway_run_duration_seconds": _by_first(runs.ended, runs.ended.values.items()),
            "gateway_run_first_token_seconds": _by_first(runs.first_tokens, runs.first_tokens.values.items()),
            "gateway_session_store_seconds": _by_first(runs.store_calls, runs.store_calls.values.items()),
            "gateway_runs_in_flight": [((agent,), count) for agent, count in runs.under_way.items()],
            "gateway_tokens": [
                ((*key, kind), count) for kind, counter in tokens for key, count in counter.values.items()
            ],
        }


def _by_first(histogram: Histogram, cells: Iterable[tuple[Key, Cell]]) -> list[tuple[Key, Distribution]]:
    """The cells of each value of the first label together."""
    grouped: dict[str, list[Cell]] = {}
    for key, cell in cells:
        grouped.setdefault(key[0], []).append(cell)
    return [((first,), histogram.distribution(*group)) for first, group in grouped.items()]
