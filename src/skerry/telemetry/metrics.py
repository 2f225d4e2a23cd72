"""Numbers for Prometheus: each signal moves a counter, a gauge or a histogram, and nothing else is measured.

Labels are names that the code gives: policies, groups, types, sagas, routes. Keys, ids and texts of errors are none, so that
there are never more rows than names. Requests are named as OpenTelemetry's semantic conventions for HTTP metrics name them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

from skerry import signals
from skerry.errors import MissingExtra
from skerry.signals import HUB, Hub, Signal

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""The edges of a histogram of durations that the semantic conventions recommend."""
METHODS: Final = frozenset(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"])

Kind = Literal["counter", "gauge", "histogram"]
Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric. A signal's field `amount` says by how much it moves, or where a gauge stands; without one it is 1."""

    kind: Kind
    name: str
    text: str
    labels: tuple[str, ...]
    amount: str = ""

    def of(self, signal: Signal) -> tuple[Labels, float]:
        """For whom and by how much `signal` moves it."""
        if isinstance(signal, signals.RequestServed):
            return _request(signal), signal.seconds
        labels = {label: str(getattr(signal, label)) for label in self.labels}
        return labels, float(getattr(signal, self.amount)) if self.amount else 1.0


def _request(told: signals.RequestServed) -> Labels:
    method = told.method if told.method in METHODS else "_OTHER"
    return dict(zip(REQUEST, (method, told.route, str(told.status)), strict=True))


REQUEST: Final = ("http_request_method", "http_route", "http_response_status_code")
_DURATION: Final = "http_server_request_duration_seconds"
MEASURES: Final[Mapping[type[Signal], Measure]] = {
    signals.RequestServed: Measure("histogram", _DURATION, "How long requests took.", REQUEST),
    signals.RequestFailed: Measure("counter", "skerry_requests_failed", "Unexpected errors.", ("route",)),
    signals.BreakerChanged: Measure("counter", "skerry_breaker_changes", "Of state, to which.", ("policy", "after")),
    signals.CallRefused: Measure("counter", "skerry_calls_refused", "Calls refused here.", ("policy", "reason")),
    signals.TokenRefused: Measure("counter", "skerry_tokens_refused", "Tokens, by check.", ("provider", "check")),
    signals.KeysUnavailable: Measure("counter", "skerry_keys_unavailable", "Keys not fetched.", ("provider",)),
    signals.RetryPlanned: Measure("counter", "skerry_retries", "Attempts after a failed one.", ("policy",)),
    signals.RetryDenied: Measure("counter", "skerry_retries_denied", "Failures not retried.", ("policy", "reason")),
    signals.CallTimedOut: Measure("counter", "skerry_calls_timed_out", "Time-outs that fired.", ("policy", "scope")),
    signals.CallHedged: Measure("counter", "skerry_calls_hedged", "Attempts beside a slow one.", ("policy",)),
    signals.FallbackUsed: Measure("counter", "skerry_fallbacks", "Failed calls stood in for.", ("policy",)),
    signals.LimitChanged: Measure("gauge", "skerry_limit", "Calls let run at once.", ("policy",), "after"),
    signals.EventsRelayed: Measure("counter", "skerry_events_relayed", "Events handed over.", ("service",), "count"),
    signals.RelayFailed: Measure("counter", "skerry_relay_failures", "Hand-overs that failed.", ("service",)),
    signals.OutboxChanged: Measure("gauge", "skerry_outbox_full", "1: takes no more events.", ("service",), "full"),
    signals.EventHandled: Measure("counter", "skerry_events_handled", "Events.", ("group", "type", "duplicate")),
    signals.HandlerFailed: Measure("counter", "skerry_handler_failures", "Attempts that failed.", ("group", "type")),
    signals.EventParked: Measure("counter", "skerry_events_parked", "Dead, or held.", ("group", "type", "held")),
    signals.ConsumerLag: Measure("gauge", "skerry_consumer_lag", "Events not handled yet.", ("group",), "lag"),
    signals.ConsumerFailed: Measure("counter", "skerry_consumer_failures", "Could not read.", ("group",)),
    signals.SagaChanged: Measure("counter", "skerry_sagas", "Began, turned back or ended.", ("saga", "status")),
    signals.SagaStepFailed: Measure("counter", "skerry_saga_failures", "Attempts.", ("saga", "step", "action")),
}


class PrometheusMetrics:
    """Counts from now on what `hub` tells, and gives it as a page for Prometheus to read.

    Raises `MissingExtra` without `skerry[prometheus]`. Safe between threads.

    Example: `PrometheusMetrics().page()`
    """

    def __init__(self, *, hub: Hub = HUB) -> None:
        try:
            import prometheus_client
        except ImportError as error:
            raise MissingExtra("metrics for Prometheus", "prometheus") from error
        self._generate = prometheus_client.generate_latest
        self._registry = prometheus_client.CollectorRegistry()
        kinds: dict[Kind, tuple[Callable[..., Any], str]] = {
            "counter": (prometheus_client.Counter, "inc"),
            "gauge": (prometheus_client.Gauge, "set"),
            "histogram": (partial(prometheus_client.Histogram, buckets=SECONDS), "observe"),
        }
        self._moves: dict[type[Signal], tuple[Measure, Any, str]] = {}
        for signal, measure in MEASURES.items():
            make, verb = kinds[measure.kind]
            metric = make(measure.name, measure.text, measure.labels, registry=self._registry)
            self._moves[signal] = measure, metric, verb
        self.close: Callable[[], None] = hub.subscribe(self._heard)
        """Count no more."""

    def page(self) -> bytes:
        """All numbers as of now, in the text format of `CONTENT_TYPE`."""
        return self._generate(self._registry)

    def _heard(self, signal: Signal) -> None:
        found = self._moves.get(type(signal))
        if found is not None:
            measure, metric, verb = found
            labels, amount = measure.of(signal)
            getattr(metric.labels(**labels), verb)(amount)
