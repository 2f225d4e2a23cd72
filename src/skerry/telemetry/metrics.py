"""Numbers for Prometheus, of what `measures` counts.

Source: Prometheus' text format 0.0.4; names as OpenTelemetry's compatibility document derives them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from skerry.errors import MissingExtra
from skerry.signals import HUB, Hub, Signal
from skerry.telemetry.conventions import SECONDS
from skerry.telemetry.gauges import GAUGES
from skerry.telemetry.measures import MEASURES, Kind, Measure, Values

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


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
        kinds: dict[Kind, tuple[Callable[..., Any], str]] = {
            "counter": (prometheus_client.Counter, "inc"),
            "gauge": (prometheus_client.Gauge, "set"),
            "histogram": (partial(prometheus_client.Histogram, buckets=SECONDS), "observe"),
        }
        self._rows: dict[type[Signal], _Rows] = {}
        for measure in MEASURES:
            make, verb = kinds[measure.kind]
            metric = make(measure.prometheus, measure.text, measure.labels, registry=self._registry)
            self._rows[measure.signal] = _Rows(measure, metric, verb)
        self._registry.register(_Gauges(prometheus_client.core.GaugeMetricFamily))
        self.close: Callable[[], None] = hub.subscribe(self._heard, measures=True)
        """Count no more."""

    def page(self) -> bytes:
        """All numbers as of now, in the text format of `CONTENT_TYPE`."""
        return self._generate(self._registry)

    def _heard(self, signal: Signal) -> None:
        rows = self._rows.get(type(signal))
        if rows is not None:
            rows.move(signal)


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

    def __init__(self, measure: Measure, metric: Any, verb: str) -> None:
        self._measure = measure
        self._metric = metric
        self._verb = verb
        self._shown = [measure.attributes.index(name) for name in measure.attributes if name not in measure.only_here]
        self._moves: dict[Values, Callable[[float], None]] = {}

    def move(self, signal: Signal) -> None:
        values = self._measure.of(signal)
        move = self._moves.get(values)
        if move is None:
            row = self._metric.labels(*(str(values[index]) for index in self._shown))  # the same to every thread
            self._moves[values] = move = getattr(row, self._verb)
        move(self._measure.amount(signal))
