"""GET /metrics of a gateway on real sockets, read by Prometheus's own parsers."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest
from asking import CHAT, TOKEN, Answer, ask, chat, say, serving, until
from processes import Launch, configuration
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families
from websockets.asyncio.client import connect

from gateway import AgentError, Caller, Gateway, GatewayError, Key, RunFailed, RunInput, Usage
from gateway.agents.run import Runs
from gateway.config import Config
from gateway.config import Gateway as Settings
from gateway.metering import SERIES
from gateway.ports import Link

Figures = Mapping[str, float]


async def talker(run: RunInput) -> AsyncIterator[Any]:
    """Does what it is told."""
    text = run.request.messages[-1].text
    match text:
        case "fail":
            raise AgentError("no", code="broken", status=502)
        case "fail late":
            yield "a"
            yield RunFailed("no", "broken", 502)
        case "wait":
            yield "a"
            await asyncio.sleep(60)
        case "slow":
            await asyncio.sleep(0.3)
            yield "a"
        case _:
            yield "a"
            yield Usage(3, 5)
            yield "b"


AGENTS: dict[str, Any] = {"main": talker}
ON = {"enabled": True}


def figures(families: list[Metric]) -> Figures:
    """Each figure by what it is called in the text."""
    found: dict[str, float] = {}
    for family in families:
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            name = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert name not in found, f"{name} is told twice"
            found[name] = sample.value
    return found


async def scrape(gateway: Gateway, **more: Any) -> Figures:
    answer = await ask(gateway, "/metrics", method="GET", **more)
    assert answer.status == 200
    return figures([*text_families(answer.body.decode())])


def counting(test: Callable[[Gateway], Awaitable[None]], **arguments: Any) -> None:
    serving(test, **{"agents": AGENTS, "metrics": True, **arguments})


def requests(told: Figures, route: str = CHAT) -> dict[str, float]:
    """Requests of a route, by status."""
    start, end = "gateway_http_requests_total{code=", f",route={route}}}"
    return {
        name.removeprefix(start).removesuffix(end): value
        for name, value in told.items()
        if name.startswith(start) and name.endswith(end)
    }


def runs(told: Figures) -> dict[str, float]:
    """Runs by outcome; those that there were."""
    start = "gateway_runs_total{agent=main,outcome="
    return {name[len(start) : -1]: value for name, value in told.items() if name.startswith(start) and value}


def test_off_by_default() -> None:
    async def test(gateway: Gateway) -> None:
        assert (await ask(gateway, "/metrics", method="GET")).status == 404
        assert b"/metrics" not in (await ask(gateway, "/", method="GET")).body
        with pytest.raises(GatewayError, match="nothing is counted"):
            gateway.metrics()
        assert type(gateway.runs) is Runs, "nothing is counted, nor asked whether it is"
        assert gateway._server is not None
        assert gateway._server.services.options.answered is None

    serving(test, agents=AGENTS)


def test_a_configuration_turns_it_on(launch: Launch) -> None:
    running = launch(configuration(http={"endpoints": {"chatCompletions": ON, "metrics": ON}}))
    told = asyncio.run(_of_process(running.origin))
    assert told["gateway_ready"] == 1
    assert requests(told) == {"200": 1}
    assert runs(told) == {"completed": 1}
    assert told["process_cpu_seconds_total"] > 0
    assert told["process_resident_memory_bytes"] > 10_000_000
    assert 3 < told["process_open_fds"] < told["process_max_fds"]
    assert told["process_start_time_seconds"] <= told["gateway_start_time_seconds"] + 1


async def _of_process(url: str) -> Figures:
    token = "e2e-secret"
    assert (await ask(url, body=say(), token=token)).status == 200
    answer = await ask(url, "/metrics", method="GET", token=token)
    return figures([*text_families(answer.body.decode())])


def test_what_was_asked_is_counted() -> None:
    async def test(gateway: Gateway) -> None:
        for stream in (False, True):
            for text in ("hi", "hi", "fail", "fail late"):
                await chat(gateway, text, stream=stream)
        assert (await ask(gateway, body=say(), token="wrong")).status == 401
        assert (await ask(gateway, body=say(), token=None)).status == 401
        assert (await ask(gateway, body=b"{")).status == 400
        assert (await ask(gateway, method="DELETE")).status == 405
        told = await scrape(gateway)
        assert requests(told) == {"200": 6, "502": 2, "401": 2, "400": 1, "405": 1}
        assert runs(told) == {"completed": 4, "error": 4}
        assert told["gateway_tokens_total{agent=main,model=,type=prompt}"] == 12
        assert told["gateway_tokens_total{agent=main,model=,type=completion}"] == 20
        assert told["gateway_runs_in_flight{agent=main}"] == 0

    counting(test)


def test_any_path_is_one_of_a_few_routes() -> None:
    async def test(gateway: Gateway) -> None:
        for path in ("/a", "/b", "/metrics/", "/v1/models/openclaw", "/v1/models/none", "/v1/models", "/healthz"):
            await ask(gateway, path, method="GET")
        await scrape(gateway)
        told = await scrape(gateway)
        assert requests(told, "other") == {"404": 3}
        assert requests(told, "/v1/models/*") == {"200": 1, "404": 1}
        assert requests(told, "/v1/models") == requests(told, "/healthz") == requests(told, "/metrics") == {"200": 1}
        routes = {name.rpartition("=")[2] for name in told if name.startswith("gateway_http_requests_total")}
        assert len(routes) == 5

    counting(test)


@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_is_counted(stream: bool) -> None:
    async def test(gateway: Gateway) -> None:
        host, _, port = gateway.urls[0].removeprefix("http://").partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        body = json.dumps(say("wait", stream=stream)).encode()
        head = (
            f"POST {CHAT} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await until(lambda: gateway.runs.active)
        under_way = await scrape(gateway)
        assert under_way["gateway_runs_in_flight{agent=main}"] == 1
        assert under_way["gateway_connections"] == 2
        writer.transport.abort()
        await until(lambda: not gateway.runs.active)
        told = await scrape(gateway)
        assert requests(told) == {"aborted": 1}
        assert runs(told) == {"cancelled": 1}
        assert told["gateway_runs_in_flight{agent=main}"] == 0

    counting(test)


def test_a_limit_that_strikes_is_counted() -> None:
    async def test(gateway: Gateway) -> None:
        host, _, port = gateway.urls[0].removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"no request at all, and never one\r\n\r\n")
        assert b" 400 " in await reader.read()
        writer.close()
        assert (await scrape(gateway))["gateway_cuts_total{limit=refused 400}"] == 1

    counting(test)


def test_histograms_hold_together() -> None:
    async def test(gateway: Gateway) -> None:
        for text in ("hi", "slow", "hi"):
            await chat(gateway, text, stream=True)
        await asyncio.sleep(1.1)  # a look at the loop
        told = await scrape(gateway)
        slow = 0.299  # a timer of uvloop may end a part of a millisecond early: its clock counts whole ones
        for name, least in (
            (f"gateway_http_request_duration_seconds%s{{%sroute={CHAT}}}", slow),
            ("gateway_run_duration_seconds%s{agent=main%s}", slow),
            ("gateway_run_first_token_seconds%s{agent=main%s}", slow),
            ("gateway_event_loop_delay_seconds%s%s", 0.0),
        ):
            stem, _, labels = name.partition("%s")
            of = [value for key, value in told.items() if key.startswith(f"{stem}_bucket") and _fits(key, labels)]
            assert of == sorted(of), "each bucket holds those before it"
            whole = next(value for key, value in told.items() if key.startswith(f"{stem}_count") and _fits(key, labels))
            total = next(value for key, value in told.items() if key.startswith(f"{stem}_sum") and _fits(key, labels))
            assert of[-1] == whole >= 1
            assert total >= least
        assert told["gateway_run_first_token_seconds_bucket{agent=main,le=0.25}"] == 2
        assert told["gateway_run_first_token_seconds_count{agent=main}"] == 3

    counting(test)


def _fits(key: str, labels: str) -> bool:
    """Whether a figure is of the one label value that is looked at."""
    wanted = [part for part in labels.replace("%s", "").strip("{}").split(",") if part]
    return all(part in key for part in wanted)


def test_websockets_are_counted() -> None:
    async def echo(link: Link) -> None:
        async for message in link:
            await link.send(message)

    async def test(gateway: Gateway) -> None:
        url = gateway.urls[0].replace("http", "ws")
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        async with connect(f"{url}/echo", additional_headers=bearer), connect(url):
            told = await scrape(gateway)
            assert told["gateway_websocket_connections"] == 2
            assert told["gateway_connections"] == 3
            assert told["gateway_websocket_clients"] == 0, "nobody has said who they are"
        await until(lambda: gateway.connections == 0)
        told = await scrape(gateway)
        assert told["gateway_websocket_connections"] == 0
        assert requests(told, "websocket") == {"101": 2}
        assert not any("duration" in name and "websocket" in name for name in told)

    counting(test, links={"/echo": echo})


def test_who_may_read_them() -> None:
    keys = {
        "scraper": Key(Caller("scraper", None, frozenset({"metrics"}))),
        "client": Key(Caller("client", None, frozenset({"chat", "models", "operator"}))),
    }

    async def test(gateway: Gateway) -> None:
        async def asked(token: str | None, **more: Any) -> Answer:
            return await ask(gateway, "/metrics", method="GET", token=token, **more)

        assert (await asked(TOKEN)).status == (await asked("scraper")).status == 200
        refused = await asked("client")
        assert (refused.status, refused.error["code"]) == (403, "insufficient_scope")
        assert "metrics" in refused.error["message"]
        for token in (None, "wrong"):
            refused = await asked(token)
            assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")
            assert b"gateway_" not in refused.body
        assert (await ask(gateway, body=say(), token="scraper")).status == 403, "it may do nothing else"
        assert (await ask(gateway, "/metrics", token=TOKEN)).status == 405
        head = await ask(gateway, "/metrics", method="HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert head.headers["cache-control"] == "no-store"

    counting(test, keys=keys)


def test_openmetrics_for_who_asks() -> None:
    async def test(gateway: Gateway) -> None:
        await chat(gateway)
        accept = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        answer = await ask(gateway, "/metrics", method="GET", headers={"Accept": accept})
        assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        families = [*openmetrics_families(answer.body.decode())]  # type: ignore[no-untyped-call]  # it has no hints
        assert requests(figures(families)) == {"200": 1}
        assert [family.name for family in families] == [name for name, *_ in SERIES]

    counting(test)


def test_an_embedder_reads_them() -> None:
    async def test(gateway: Gateway) -> None:
        await chat(gateway)
        families = [*text_families(gateway.metrics())]
        assert runs(figures(families)) == {"completed": 1}
        assert [(one.name, one.type) for one in families] == [(name, kind) for name, kind, *_ in SERIES]
        for family, series in zip(families, SERIES, strict=True):
            assert family.documentation == series.help
            assert all(set(sample.labels) - {"le"} == set(series.labels) for sample in family.samples), family.name

    counting(test)


def test_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    http = Settings().http
    endpoints = http.endpoints.replace(
        metrics=http.endpoints.metrics.replace(**ON),
        chat_completions=http.endpoints.chat_completions.replace(**ON),
    )
    config = Config(gateway=Settings(http=http.replace(access_log=True, endpoints=endpoints)))

    async def test(gateway: Gateway) -> None:
        with caplog.at_level(logging.INFO):
            await chat(gateway)
        assert sum('"POST /v1/chat/completions" 200' in line for line in caplog.messages) == 1
        assert requests(await scrape(gateway)) == {"200": 1}

    serving(test, agents=AGENTS, config=config)


def test_labels_cannot_break_the_text() -> None:
    model = 'p/"quoted\\ \n x" 1'

    async def agent(run: RunInput) -> AsyncIterator[Any]:
        yield Usage(1, 1)

    async def test(gateway: Gateway) -> None:
        entry = gateway.registry.by_id["main"]
        gateway.registry.by_id["main"] = entry._replace(own_model=model)
        await chat(gateway)
        assert (await scrape(gateway))[f"gateway_tokens_total{{agent=main,model={model},type=prompt}}"] == 1

    counting(test, agents={"main": agent})
