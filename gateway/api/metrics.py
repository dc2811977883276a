"""GET /metrics: what is counted, for Prometheus and whoever else reads its format."""

from __future__ import annotations

from asyncio import gather
from collections.abc import Callable, Sequence
from logging import getLogger

from ..errors import GatewayError
from ..model.metrics import Family, Labels, Sample, Series
from ..ports import Exchange, Siblings
from ..tallies import Counter
from .metrics_bytes import OPENMETRICS, TEXT, exposition, prefers_openmetrics

__all__ = ["UNANSWERED", "Metrics"]

GATHER_SECONDS = 2.0
"""For the other workers' figures: one that has not answered by then is stuck, and a scrape is given up after ten."""

KIND = "metrics"
"""Of the question to another worker."""

UNANSWERED = Series(
    "gateway_scrapes_unanswered", "counter", ("of",), "Scrapes without the figures of a worker that gave none in time."
)

_logger = getLogger(__name__)


class Metrics:
    """The handler.  `families` gives the figures of this process, `siblings` are the others that serve the gateway.

    Where there are some, each figure is told with the number of its process, as the label `worker`.
    """

    def __init__(self, families: Callable[[], Sequence[Family]], siblings: Siblings | None = None) -> None:
        self._families = families
        self._siblings = siblings
        self._unanswered = Counter()
        if siblings is not None:
            siblings.handle(KIND, lambda _sender: tuple(self._own()))

    async def index(self, exchange: Exchange) -> None:
        """All figures, of all processes that answer in time."""
        groups = await self._groups()
        openmetrics = prefers_openmetrics(exchange.head.fields.get(b"accept", b""))
        kind = OPENMETRICS if openmetrics else TEXT
        body = exposition(groups, openmetrics=openmetrics)
        exchange.respond(200, ((b"content-type", kind), (b"cache-control", b"no-store")), body)

    async def _groups(self) -> list[tuple[Labels, Sequence[Family]]]:
        siblings = self._siblings
        if siblings is None:
            return [((), self._families())]
        numbers = [number for number in range(1, siblings.count + 1) if number != siblings.number]
        answers = await gather(*map(self._ask, numbers))
        found = {siblings.number: self._own(), **dict(zip(numbers, answers, strict=True))}
        return [((("worker", str(number)),), told) for number, told in sorted(found.items()) if told is not None]

    async def _ask(self, number: int) -> Sequence[Family] | None:
        assert self._siblings is not None, "there are others"
        try:
            families: Sequence[Family] = await self._siblings.ask(number, KIND, timeout=GATHER_SECONDS)
        except GatewayError as error:
            self._unanswered.add((str(number),))
            _logger.warning("a scrape goes without the figures of worker %d: %s", number, error)
            return None
        return families

    def _own(self) -> Sequence[Family]:
        name, kind, labels, text = UNANSWERED
        counts = self._unanswered.values.items()
        missing = tuple(Sample(tuple(zip(labels, key, strict=True)), count) for key, count in counts)
        return (*self._families(), Family(name, kind, text, missing))
