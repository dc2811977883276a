"""GET /metrics where several processes serve: whichever answers tells the figures of all."""

from __future__ import annotations

import http.client
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from processes import TOKEN, Launch, Running, until
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families
from test_workers import FOUND_HERE, children, connect, gone, receive, send, settings

if sys.platform != "linux":
    pytest.skip("looks at processes in /proc", allow_module_level=True)

ON = {"enabled": True}
UNANSWERED = "gateway_scrapes_unanswered_total"


@pytest.fixture
def running(launch: Launch) -> Iterator[Running]:
    """A gateway of two processes that counts."""
    http_settings = {"endpoints": {"chatCompletions": ON, "metrics": ON}}
    running = launch(settings(http=http_settings), env=FOUND_HERE)
    yield running
    family = [running.process.pid, *children(running)]
    for pid in family:
        os.kill(pid, signal.SIGCONT)
    running.stop()
    gone(family)


def scrape(client: http.client.HTTPConnection, accept: str = "*/*") -> list[Any]:
    client.request("GET", "/metrics", headers={"Authorization": f"Bearer {TOKEN}", "Accept": accept})
    answer = client.getresponse()
    text = answer.read().decode()
    assert answer.status == 200
    read: Any = openmetrics_families if accept.startswith("application") else text_families
    return list(read(text))


def by_worker(families: list[Any], name: str, **labels: str) -> dict[str, float]:
    """The figures of a name, by the worker they are of."""
    found = [sample for family in families for sample in family.samples if sample.name == name]
    return {sample.labels["worker"]: sample.value for sample in found if labels.items() <= sample.labels.items()}


def test_each_figure_tells_its_worker(running: Running) -> None:
    asked: Counter[str] = Counter()
    clients = [connect(running) for _ in range(30)]
    for client in clients:
        send(client, "pid")
        asked[receive(client)] += 1
    assert len(asked) == 2
    for accept in ("*/*", "application/openmetrics-text"):
        for client in clients[:6]:  # of both workers, as good as surely
            families = scrape(client, accept)
            assert len({family.name for family in families}) == len(families), "each family is told once"
            for family in families:
                assert all(sample.labels["worker"] in {"1", "2"} for sample in family.samples), family.name
            runs = by_worker(families, "gateway_runs_total", agent="pid", outcome="completed")
            assert sorted(runs.values()) == sorted(asked.values())
            times = by_worker(families, "process_start_time_seconds")
            assert set(times) == {"1", "2"}
            connections = by_worker(families, "gateway_connections")
            assert sum(connections.values()) == 30
            assert by_worker(families, UNANSWERED) == {}
    for client in clients:
        client.close()


def test_a_worker_that_stands_still_is_left_out_and_counted(running: Running) -> None:
    client = connect(running)
    send(client, "pid")
    here = int(receive(client))
    [other] = set(children(running)) - {here}
    all_told = scrape(client)
    pids = by_worker(all_told, "gateway_ready")
    assert pids == {"1": 1, "2": 1}
    os.kill(other, signal.SIGSTOP)
    began = time.monotonic()
    families = scrape(client)
    assert 1.5 < time.monotonic() - began < 8
    [mine] = by_worker(families, "gateway_ready")
    [(worker, count)] = by_worker(families, UNANSWERED).items()
    assert (worker, count) == (mine, 1)
    assert (
        next(s.labels["of"] for f in families for s in f.samples if s.name == UNANSWERED) == {"1": "2", "2": "1"}[mine]
    )
    assert re.search(r"a scrape goes without the figures of worker \d: ", running.text())
    os.kill(other, signal.SIGCONT)
    assert set(by_worker(scrape(client), "gateway_ready")) == {"1", "2"}
    client.close()


def test_a_worker_that_is_replaced_counts_anew(running: Running) -> None:
    client = connect(running)
    send(client, "pid")
    here = int(receive(client))
    [other] = set(children(running)) - {here}
    before = by_worker(scrape(client), "process_start_time_seconds")
    os.kill(other, signal.SIGKILL)

    def back() -> bool:
        after = by_worker(scrape(client), "process_start_time_seconds")
        return len(after) == 2 and after != before

    until("its successor is seen", back, 30)
    client.close()
