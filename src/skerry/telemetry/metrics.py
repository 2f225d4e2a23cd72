"""Numbers for Prometheus, of what `measures` counts.

Source: Prometheus' text format 0.0.4; names as OpenTelemetry's compatibility document derives them.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import accumulate
from typing import Any, Final

from skerry.errors import MissingExtra
from skerry.signals import HUB, Hub, Signal
from skerry.telemetry.conventions import SECONDS
from skerry.telemetry.gauges import GAUGES
from skerry.telemetry.measures import MEASURES, Measure, Values

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
TOGETHER: Final = 512
"""Durations that are put into their buckets at once, at most."""
Move = Callable[[float], None]


class PrometheusMetrics:
    """Counts from now on what `hub` tells, and gives it as a page for Prometheus to read.

    Raises `MissingExtra` without `skerry[prometheus]`. Safe between threads.

    Example: `PrometheusMetrics().page()`
    """

    def __init__(self, *, hub: Hub = HUB) -> None:
        try:
            import prometheus_client
            import prometheus_client.core
        except ImportError as error:
            raise MissingExtra("metrics for Prometheus", "prometheus") from error
        self._generate = prometheus_client.generate_latest
        self._registry = prometheus_client.CollectorRegistry()
        self._rows: dict[type[Signal], _Rows] = {}
        for measure in MEASURES:
            name, text, labels = measure.prometheus, measure.text, measure.labels
            row: Callable[[list[str]], Move]
            if measure.kind == "histogram":
                durations = _Durations(measure, partial(prometheus_client.core.HistogramMetricFamily, name, text))
                self._registry.register(durations)
                row = durations.row
            elif measure.kind == "counter":
                row = partial(_moved, prometheus_client.Counter(name, text, labels, registry=self._registry), "inc")
            else:
                row = partial(_moved, prometheus_client.Gauge(name, text, labels, registry=self._registry), "set")
            self._rows[measure.signal] = _Rows(measure, row)
        self._registry.register(_Gauges(prometheus_client.core.GaugeMetricFamily))
        self.close: Callable[[], None] = hub.subscribe(self._heard, measures=True, wants=self._rows.__contains__)
        """Count no more."""

    def page(self) -> bytes:
        """All numbers as of now, in the text format of `CONTENT_TYPE`."""
        return self._generate(self._registry)

    def _heard(self, signal: Signal) -> None:
        rows = self._rows[type(signal)]
        values = rows.of(signal)
        move = rows.moves.get(values) or rows.begin(values)
        move(rows.amount(signal))


class _Gauges:
    """What is read when the page is asked for."""

    def __init__(self, family: Callable[..., Any]) -> None:
        self._family = family

    def collect(self) -> Iterator[Any]:
        for gauge in GAUGES:
            family = self._family(gauge.prometheus, gauge.text, labels=["policy"])
            for policy, value in gauge.read().items():
                family.add_metric([policy], value)
            yield family


class _Rows:
    """The rows of one metric that there are, each with what moves it: finding it again by its labels takes ten times as long."""

    def __init__(self, measure: Measure, row: Callable[[list[str]], Move]) -> None:
        self.of: Callable[[Any], Values] = measure.of
        self.amount: Callable[[Any], float] = measure.amount
        self.moves: dict[Values, Move] = {}
        self._row = row
        self._shown = [measure.attributes.index(name) for name in measure.attributes if name not in measure.only_here]

    def begin(self, values: Values) -> Move:
        """What moves the row of these values, which may be there already: to every thread it is the same."""
        move = self._row([str(values[index]) for index in self._shown])
        self.moves[values] = move
        return move


def _moved(metric: Any, verb: str, labels: list[str]) -> Move:
    move: Move = getattr(metric.labels(*labels), verb)
    return move


class _Durations:
    """A histogram. The client's own takes two locks for each number; here many are put into their buckets at once."""

    def __init__(self, measure: Measure, family: Callable[..., Any]) -> None:
        self._labels = measure.labels
        self._family = family
        self._rows: dict[tuple[str, ...], _Durations.Row] = {}

    def row(self, labels: list[str]) -> Move:
        return self._rows.setdefault(tuple(labels), _Durations.Row()).add

    def collect(self) -> Iterator[Any]:
        family = self._family(labels=self._labels)
        for labels, row in list(self._rows.items()):
            counts, total = row.told()
            edges = [*(str(edge) for edge in SECONDS), "+Inf"]
            family.add_metric(labels, list(zip(edges, accumulate(counts), strict=True)), total)
        yield family

    class Row:
        """How many took how long. A number waits until there are enough of them, or somebody asks; safe between threads."""

        def __init__(self) -> None:
            self._waiting: deque[float] = deque()
            self._counts = [0] * (len(SECONDS) + 1)
            self._total = 0.0
            self._lock = threading.Lock()

        def add(self, seconds: float) -> None:
            self._waiting.append(seconds)
            if len(self._waiting) >= TOGETHER:
                self.told()

        def told(self) -> tuple[list[int], float]:
            """The numbers of each bucket, not added up, and all seconds together."""
            with self._lock:
                taken = sorted([self._waiting.popleft() for _ in range(len(self._waiting))])
                self._total += sum(taken)
                below = 0
                for index, edge in enumerate(SECONDS):
                    upto = bisect_right(taken, edge, below)
                    self._counts[index] += upto - below
                    below = upto
                self._counts[-1] += len(taken) - below
                return list(self._counts), self._total
