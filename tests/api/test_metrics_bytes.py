"""Figures as text, read back by Prometheus's own parsers."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from gateway.api.metrics_bytes import exposition, prefers_openmetrics
from gateway.model.metrics import Distribution, Family, Sample

FAMILIES = (
    Family("requests", "counter", "How many.", (Sample((("code", "200"),), 3), Sample((("code", "404"),), 0.5))),
    Family("open", "gauge", 'A "gauge" with \\ and\nlines.', (Sample((), 7),)),
    Family("seconds", "histogram", "How long.", (Sample((("agent", "a"),), Distribution((0.5, 1.0), (1, 2, 3), 9.5)),)),
    Family("none", "counter", "Of which there are none yet.", ()),
)


def test_the_text() -> None:
    assert exposition([((), FAMILIES)]).decode() == (
        "# HELP requests_total How many.\n"
        "# TYPE requests_total counter\n"
        'requests_total{code="200"} 3\n'
        'requests_total{code="404"} 0.5\n'
        '# HELP open A "gauge" with \\\\ and\\nlines.\n'
        "# TYPE open gauge\n"
        "open 7\n"
        "# HELP seconds How long.\n"
        "# TYPE seconds histogram\n"
        'seconds_bucket{agent="a",le="0.5"} 1\n'
        'seconds_bucket{agent="a",le="1.0"} 3\n'
        'seconds_bucket{agent="a",le="+Inf"} 6\n'
        'seconds_sum{agent="a"} 9.5\n'
        'seconds_count{agent="a"} 6\n'
        "# HELP none_total Of which there are none yet.\n"
        "# TYPE none_total counter\n"
    )


def test_the_parser_of_prometheus_reads_it() -> None:
    requests, gauge, seconds, none = text_families(exposition([((), FAMILIES)]).decode())
    assert (requests.name, requests.type, requests.documentation) == ("requests", "counter", "How many.")
    assert [(one.name, one.labels, one.value) for one in requests.samples] == [
        ("requests_total", {"code": "200"}, 3),
        ("requests_total", {"code": "404"}, 0.5),
    ]
    assert gauge.documentation == FAMILIES[1].help
    assert seconds.type == "histogram"
    assert [(one.labels.get("le"), one.value) for one in seconds.samples] == [
        ("0.5", 1), ("1.0", 3), ("+Inf", 6), (None, 9.5), (None, 6),
    ]  # fmt: skip
    assert none.samples == []


def test_the_parser_of_openmetrics_reads_it() -> None:
    text = exposition([((), FAMILIES)], openmetrics=True).decode()
    assert text.endswith("\n# EOF\n")
    requests, gauge, seconds, none = openmetrics_families(text)  # type: ignore[no-untyped-call]  # it has no hints
    assert (requests.name, [one.name for one in requests.samples]) == ("requests", ["requests_total"] * 2)
    assert gauge.documentation == FAMILIES[1].help
    assert len(seconds.samples) == 5
    assert none.samples == []


def test_groups_of_a_family_stand_together() -> None:
    other = (Family("open", "gauge", "", (Sample((), 8),)), Family("late", "gauge", "", (Sample((), 1),)))
    groups = [((("worker", "1"),), FAMILIES), ((("worker", "2"),), other)]
    for openmetrics, read in ((False, text_families), (True, openmetrics_families)):
        found = {one.name: one for one in read(exposition(groups, openmetrics=openmetrics).decode())}
        assert list(found) == ["requests", "open", "seconds", "none", "late"]
        assert [(one.labels, one.value) for one in found["open"].samples] == [
            ({"worker": "1"}, 7),
            ({"worker": "2"}, 8),
        ]
        assert found["seconds"].samples[0].labels == {"worker": "1", "agent": "a", "le": "0.5"}


@given(st.lists(st.text(), min_size=1, max_size=3, unique=True), st.text())
def test_whatever_a_label_holds_is_read_back(values: list[str], help_text: str) -> None:
    samples = tuple(Sample((("name", value),), number) for number, value in enumerate(values))
    text = exposition([((), (Family("some", "gauge", help_text, samples),))]).decode()
    assert len(text.split("\n")) == len(values) + 3, "nothing makes a line of its own"
    [family] = text_families(text)
    told = [value.encode("utf-8", "replace").decode() for value in values]
    assert [(one.labels["name"], one.value) for one in family.samples] == list(zip(told, range(len(told)), strict=True))


@pytest.mark.parametrize(
    ("value", "shown"), [(inf, "+Inf"), (-inf, "-Inf"), (nan, "NaN"), (1e-9, "1e-09"), (2**70, str(2**70))]
)
def test_numbers(value: float, shown: str) -> None:
    text = exposition([((), (Family("some", "gauge", "", (Sample((), value),)),))])
    assert text.endswith(f"some {shown}\n".encode())


@pytest.mark.parametrize(
    ("accept", "asked"),
    [
        (b"", False),
        (b"*/*", False),
        (b"text/plain", False),
        (b"application/openmetrics-text", True),
        (b"Application/OpenMetrics-Text; version=1.0.0", True),
        (b"application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", True),
        (b"application/openmetrics-text;q=0.5, text/plain", False),
        (b"application/openmetrics-text;q=0", False),
        (b"application/openmetrics-text;q=much", False),
        (b"application/openmetrics-text;q=nan", False),
        (b"application/openmetrics-text;q=-1,,;,text/plain;q=0", False),
        (b"application/openmetrics-textual", False),
    ],
)
def test_who_asks_for_openmetrics(accept: bytes, asked: bool) -> None:
    assert prefers_openmetrics(accept) is asked
